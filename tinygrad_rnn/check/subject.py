"""What is being checked: a function of tensors, the leaves it depends on, and ways to run it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine import Array, Tensor
from ..functions import detect_anomaly
from ..functions.trace import tape
from ..functions.transforms import pull
from ..nn import Module

__all__ = ["Subject", "argument_names", "floating", "nodes_of", "weighted_sum"]


_WRITES = (
    "f writes into its inputs, or into what it computed from them; their values are needed for "
    "the gradient: compute a new array instead"
)


class Subject:
    """A function and its leaves: the inputs given, and the parameters that it uses by itself.

    Attributes
    ----------
    leaves : list of Tensor
    names : list of str
    """

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any]) -> None:
        self.f = f
        self.leaves: list[Tensor] = []
        self.names: list[str] = []
        names = argument_names(f, len(inputs))
        self.inputs = [self._leaf(x, name) for x, name in zip(inputs, names, strict=True)]
        outputs, again = self.call(), self.call()
        self._refuse_bad(outputs, again)
        self._add_parameters(outputs, again)
        if not self.leaves:
            raise ValueError(
                "gradcheck was given nothing that requires a gradient: no floating-point input, "
                "and no parameter with requires_grad=True that f depends on"
            )
        if not any(out.requires_grad for out in outputs):
            raise ValueError(
                "nothing that f returns requires a gradient; was it detached, computed under "
                "no_grad, or made from .data?"
            )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The widest of the leaves'."""
        return np.result_type(*(leaf.dtype for leaf in self.leaves))

    def _leaf(self, x: Any, name: str) -> Any:
        if isinstance(x, (tuple, list)) and any(isinstance(p, (Tensor, np.ndarray)) for p in x):
            return type(x)(self._leaf(part, f"{name}[{i}]") for i, part in enumerate(x))
        if isinstance(x, Tensor) and not x.requires_grad:
            return x
        array = floating(x, name, "pass indices as a Tensor, which is taken as a constant")
        if not isinstance(x, Tensor) or x.primitive is not None:
            x = Tensor(array, requires_grad=True, name=name)
        if not any(leaf is x for leaf in self.leaves):
            self.leaves.append(x)
            self.names.append(name)
        return x

    def call(self) -> list[Tensor]:
        """Run the function; its floating-point outputs in one flat list."""
        before = [(leaf.data, leaf.data.copy()) for leaf in self.leaves]
        try:
            result = self.f(*self.inputs)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise ValueError(_WRITES) from error
        for leaf, (data, values) in zip(self.leaves, before, strict=True):
            if leaf.data is not data:
                raise ValueError("f gives its inputs new data; a gradient is asked at the old ones")
            if not np.array_equal(data, values, equal_nan=True):
                raise ValueError(_WRITES)
        found = [out for out in _flat(result) if out.dtype.kind in "fc"]
        if not found:
            raise TypeError(
                f"f returned {type(result).__name__}, without any floating-point Tensor in it: "
                f"there is no gradient to check. Return the Tensor itself, not .data or .item()"
            )
        return found

    def _refuse_bad(self, outputs: Sequence[Tensor], again: Sequence[Tensor]) -> None:
        for i, (one, other) in enumerate(zip(outputs, again, strict=True)):
            if not np.isfinite(one.data).all():
                with detect_anomaly():  # names the first operation at fault
                    self.call()
                raise FloatingPointError(f"output {i} of f is not finite")
            if not np.array_equal(one.data, other.data):
                raise ValueError(
                    f"f is not deterministic: its output {i} differs between two runs by up to "
                    f"{np.abs(one.data - other.data).max():.3g}; fix the seed of what it draws, "
                    f"or call eval() if it drops units"
                )

    def _add_parameters(self, outputs: Sequence[Tensor], again: Sequence[Tensor]) -> None:
        """Leaves that the function uses without being given them, the same ones in each run."""
        module = self.f if isinstance(self.f, Module) else Module()
        named = {parameter: path for path, parameter in module.named_parameters().items()}
        lasting = {leaf for leaf in nodes_of(again) if leaf.primitive is None}
        for leaf in nodes_of(outputs):
            if leaf not in lasting or any(leaf is known for known in self.leaves):
                continue
            name = named.get(leaf) or leaf.name or f"a leaf of shape {leaf.shape}"
            count = sum(known.split(" #")[0] == name for known in self.names)
            self.leaves.append(leaf)
            self.names.append(f"{name} #{count + 1}" if count else name)

    @contextmanager
    def at(self, arrays: Sequence[Any]) -> Iterator[None]:
        """The leaves hold other values inside a ``with`` block: all double, or all complex."""
        before = [leaf._data for leaf in self.leaves]
        dtype = np.result_type(np.float64, *arrays)
        try:
            for leaf, array in zip(self.leaves, arrays, strict=True):
                leaf._data = np.array(array, dtype=dtype)
                leaf._data.setflags(write=False)
            yield
        finally:
            for leaf, data in zip(self.leaves, before, strict=True):
                leaf._data = data

    def slopes(self, weights: Sequence[Array], create_graph: bool) -> list[Tensor]:
        """The gradients of the outputs' weighted sum, one for each leaf."""
        total = weighted_sum(self.call(), weights)
        found = self.pulled(total, create_graph=create_graph)
        return [g if isinstance(g, Tensor) else Tensor(g) for g in found]

    def pulled(
        self, output: Tensor, gradient: float = 1.0, create_graph: bool = False
    ) -> list[Any]:
        """The gradients of one output, one for each leaf; zeros where it does not depend on it."""
        found: list[Any] = [None] * len(self.leaves)
        if output.requires_grad:
            start = np.full(output.shape, gradient, output.dtype)
            found = pull(output, self.leaves, start, create_graph)
        return [
            np.zeros(leaf.shape, leaf.dtype) if g is None else g
            for leaf, g in zip(self.leaves, found, strict=True)
        ]


def floating(x: Any, name: Any, indices: str) -> Array:
    """What was given as an input, as an array of a dtype that can be moved."""
    array: Array = np.asarray(x.data if isinstance(x, Tensor) else x)
    if array.dtype.char not in "fd":
        raise TypeError(
            f"the check was given {array.dtype} for {name}; only float32 and float64 can be moved "
            f"a little. Write numbers such as 1.0; {indices}"
        )
    return array


def weighted_sum(tensors: Sequence[Tensor], weights: Sequence[Array]) -> Tensor:
    """The sum over all entries of all tensors, each times its weight."""
    total: Any = 0.0
    for tensor, weight in zip(tensors, weights, strict=True):
        total = total + (tensor * weight).sum()
    result: Tensor = total
    return result


def nodes_of(outputs: Sequence[Tensor]) -> list[Tensor]:
    """All that the outputs depend on and that requires a gradient, the oldest first."""
    return [tensor for tensor in reversed(tape(*outputs)) if tensor.requires_grad]


def _flat(result: Any) -> list[Tensor]:
    """The tensors in a nest of tuples, lists and dicts."""
    found, waiting = [], [result]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            waiting += reversed(list(part.values()))
        elif isinstance(part, (tuple, list)):
            waiting += reversed(part)
        elif isinstance(part, Tensor):
            found.append(part)
    return found


def argument_names(f: Callable[..., Any], count: int) -> list[str]:
    """The names of a function's positional arguments, as far as it has them."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return (names + [f"input {i}" for i in range(len(names), count)])[:count]
