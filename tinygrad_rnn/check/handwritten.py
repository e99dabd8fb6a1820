"""`check_gradients`: a function of plain arrays and a gradient written by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine import Array
from .claim import Claim, Variable, excuse, nearby, settle
from .diagnosis import diagnose
from .report import Report
from .subject import argument_names, floating

__all__ = ["check_gradients"]

_NOISE = 200.0  # what rounding may do to a gradient, in units of ε times its largest entry


@np.errstate(all="ignore")
def check_gradients(
    f: Callable[..., Any],
    df: Callable[..., Any],
    *xs: Any,
    time: Sequence[str | int] = (),
    seed: int = 0,
    raise_exception: bool = True,
) -> Report:
    """Check hand-written gradients, such as a student's backpropagation through time in NumPy.

    Parameters
    ----------
    f : callable
        ``f(*xs)`` returns a single number.
    df : callable
        ``df(*xs)`` returns the gradient of `f` with respect to each of `xs`, in their order; for
        a dict, a dict with the same names.
    *xs : float32 or float64 arrays, or one dict of them
    time : sequence of names or positions
        Those of `xs` whose first axis is time, for errors to name the step.
    seed : int
        Of the directions and entries drawn where there are too many.
    raise_exception : bool
        Raise if anything is wrong. False returns the report in any case.

    Returns
    -------
    Report
        Truthy if nothing is wrong.

    Raises
    ------
    GradientError
        An AssertionError that carries the report as its `report`, if anything is wrong.
    TypeError
        If an input is not floating point.
    ValueError
        If `f` does not return a single finite number, is not deterministic or changes its inputs,
        or `df` returns something that does not match them.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> f, df = lambda x: np.sum(x**2), lambda x: x
    >>> report = tr.check.check_gradients(f, df, x, raise_exception=False)
    >>> report.diagnosis
    ['x: a constant factor: 0.5 times what it should be']
    """
    named = len(xs) == 1 and isinstance(xs[0], Mapping)
    given = xs[0] if named else dict(zip(argument_names(f, len(xs)), xs, strict=True))
    arrays = {name: floating(x, name, "let f know indices by itself") for name, x in given.items()}
    inputs = list(arrays.values())

    def call(function: Callable[..., Any], at: Sequence[Any]) -> Any:
        copies = {name: np.array(array) for name, array in zip(arrays, at, strict=True)}
        result = function(copies.copy()) if named else function(*copies.values())
        for (name, copy), array in zip(copies.items(), at, strict=True):
            if not np.array_equal(copy, array):
                raise ValueError(f"the function changes its input {name}; let it work on a copy")
        return result

    def value(at: Sequence[Any]) -> Array:
        return np.asarray(call(f, at)).reshape(-1)

    first = value(inputs)
    if first.shape != (1,) or not np.isfinite(first).all():
        raise ValueError(
            f"f returned {f'{first.size} numbers' if first.size != 1 else first[0]}; expected a "
            f"single finite one. Reduce an array, for instance to a sum with random weights"
        )
    if first != value(inputs):
        raise ValueError("f is not deterministic: called again it returns another number")
    report = Report("check_gradients", notes=[f"seed {seed}"])
    rng = np.random.default_rng(seed)

    def claim(at: Sequence[Any]) -> Claim:
        variables = []
        gradients = _gradients(call(df, at), named, list(arrays))
        for i, (name, array, gradient) in enumerate(zip(arrays, at, gradients, strict=True)):
            steps = {t: t for t in range(len(array))} if name in time or i in time else None
            gradient, sentence = _fitted(gradient, array.shape)
            if sentence and at is inputs:
                report.diagnosis.append(f"df: the gradient of {name} {sentence}")
            noise = _NOISE * float(np.abs(gradient).max(initial=0.0))
            variables.append(Variable(str(name), array, [gradient], steps, noise))
        return Claim(value, variables, np.result_type(*inputs), float(np.abs(value(at)[0])))

    report.comparisons = compared = settle(claim(inputs), rng)
    if any(c.having("wrong") for c in compared):
        excuse(compared, settle(claim(nearby(inputs, rng)), rng))
    report.diagnosis += [f"{c.variable.name}: {s}" for c in compared for s in diagnose(c)]
    return report.settled(raise_exception)


def _gradients(result: Any, named: bool, names: Sequence[Any]) -> list[Array]:
    """What `df` returned, in the order of the inputs."""
    if named:
        fits = isinstance(result, Mapping) and result.keys() == set(names)
        found = [result[name] for name in names] if fits else []
    else:
        found = list(result) if isinstance(result, (tuple, list)) and len(names) > 1 else [result]
    if len(found) != len(names):
        got = sorted(result) if isinstance(result, Mapping) else type(result).__name__
        raise ValueError(f"df returned {got}; expected a gradient for each of {list(names)}")
    return [np.asarray(gradient, dtype=np.float64) for gradient in found]


def _fitted(gradient: Array, shape: tuple[int, ...]) -> tuple[Array, str]:
    """A gradient of the right shape, and what had to be done to it."""
    if gradient.shape == shape:
        return gradient, ""
    lead = tuple(range(gradient.ndim - len(shape)))
    was = f": its shape is {gradient.shape} instead of {shape}"
    if lead and gradient.shape[len(lead) :] == shape:
        return gradient.sum(axis=lead), f"is not summed over the broadcast axis {lead[0]}{was}"
    if gradient.shape[::-1] == shape:
        return gradient.T, f"is transposed{was}"
    raise ValueError(f"df returned a gradient of shape {gradient.shape} for an input of {shape}")
