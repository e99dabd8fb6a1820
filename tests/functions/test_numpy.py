"""Random calls: what NumPy takes gives the same values, what it refuses is refused.

What only rearranges, selects or adds up entries is linear. So its gradient is known without any
derivative: for every cotangent u, the gradient times x sums to u times f(x).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr


def axis(rng: np.random.Generator, n: int, several: bool = False) -> Any:
    """An axis of an array with n axes, now and then one that is not there, or None, or several."""
    if several and rng.random() < 0.4:
        return tuple(rng.integers(-n - 1, n + 1, size=rng.integers(0, n + 2)).tolist())
    kind = rng.choice([int, np.int64, np.int32])
    return None if rng.random() < 0.2 else kind(rng.integers(-n - 1, n + 1))


def pair(rng: np.random.Generator, n: int) -> tuple[int, int]:
    a, b = rng.integers(-n - 1, n + 1, size=2).tolist()
    return a, b


# For each operation, arguments for an array of n axes. The linear ones first.
ARGUMENTS: dict[str, Any] = {
    "squeeze": lambda rng, n: (axis(rng, n, True),),
    "expand_dims": lambda rng, n: (axis(rng, n, True) or 0,),
    "moveaxis": lambda rng, n: (pair(rng, n), pair(rng, n)),
    "swapaxes": lambda rng, n: pair(rng, n),
    "transpose": lambda rng, n: (tuple(rng.permutation(n) - rng.choice([0, n])),),
    "repeat": lambda rng, n: (int(rng.integers(0, 3)), axis(rng, n)),
    "tile": lambda rng, n: (rng.integers(0, 3, size=rng.integers(0, 4)).tolist(),),
    "flip": lambda rng, n: (axis(rng, n, True),),
    "roll": lambda rng, n: (int(rng.integers(-5, 5)), axis(rng, n, True)),
    "pad": lambda rng, n: (
        rng.integers(0, 3, size=(n, 2)).tolist(),
        str(rng.choice(["constant", "edge", "reflect", "symmetric", "wrap"])),
    ),
    "split": lambda rng, n: (rng.choice([1, 2, 3]), axis(rng, n) or 0),
    "reshape": lambda rng, n: ((-1,),),
    "cumsum": lambda rng, n: (axis(rng, n),),
    "sum": lambda rng, n: (axis(rng, n, True),),
    "mean": lambda rng, n: (axis(rng, n, True),),
    "var": lambda rng, n: (axis(rng, n, True),),
    "std": lambda rng, n: (axis(rng, n, True),),
    "prod": lambda rng, n: (axis(rng, n, True),),
    "max": lambda rng, n: (axis(rng, n, True),),
    "min": lambda rng, n: (axis(rng, n, True),),
    "any": lambda rng, n: (axis(rng, n, True),),
    "all": lambda rng, n: (axis(rng, n, True),),
    "argmax": lambda rng, n: (axis(rng, n),),
}
LINEAR = list(ARGUMENTS)[: list(ARGUMENTS).index("var")]


def calls(name: str) -> Iterator[tuple[np.ndarray, tuple[Any, ...]]]:
    rng = np.random.default_rng([*name.encode()])
    for _ in range(150):
        shape = rng.integers(0, 4, size=rng.integers(1, 4)).tolist()
        kind = rng.choice([float, int], p=[0.8, 0.2])
        yield rng.uniform(-3, 3, size=shape).astype(kind), ARGUMENTS[name](rng, len(shape))


def outcome(function: Any, *args: Any) -> list[Any] | None:
    """The results, or None where it raises."""
    try:
        found = function(*args)
    except (ValueError, IndexError, TypeError):
        return None
    return list(found) if isinstance(found, list) else [found]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ARGUMENTS)
def test_it_does_what_numpy_does(name: str) -> None:
    compared = refused = 0
    for x, args in calls(name):
        with np.errstate(all="ignore"):
            wanted = outcome(getattr(np, name), x, *args)
        leaf = tr.Tensor(x, requires_grad=x.dtype.kind == "f")
        found = outcome(getattr(tr, name), leaf, *args)
        assert (found is None) == (wanted is None), f"{name} of {x.shape}, {args}: {found}"
        if wanted is None or found is None:
            refused += 1
            continue
        for y, z in zip(found, wanted, strict=True):
            assert y.dtype == z.dtype
            np.testing.assert_allclose(y.data, z, rtol=1e-12, err_msg=f"{x.shape}, {args}")
            if name in LINEAR and y.requires_grad and np.isfinite(z).all():
                u = np.random.default_rng(0).normal(size=y.shape)
                (gradient,) = tr.grad(y, leaf, u)
                np.testing.assert_allclose((gradient.data * x).sum(), (u * z).sum(), atol=1e-9)
        compared += 1
    assert compared > 10
    assert refused > 5 or name in ("tile", "reshape", "pad", "transpose")
