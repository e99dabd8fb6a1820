"""What is being checked: a function of tensors, the leaves it depends on, and ways to run it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine import Array, Tensor
from ..functions import detect_anomaly
from ..functions.trace import tape
from ..functions.transforms import pulled
from ..nn import Module
from .numeric import Value

__all__ = ["Function", "argument_names", "floating", "nodes_of", "subject", "weighted"]

_WRITES = (
    "f writes into its inputs, or into what it computed from them; their values are needed for "
    "the gradient: compute a new array instead"
)


class Function:
    """A function of leaves that it holds itself, which can be run at other values of them.

    Attributes
    ----------
    leaves : dict from names to Tensors
    run : callable
        Returns the outputs. It is told whether they need a history, and may leave it out if not.
    """

    def __init__(self, leaves: dict[Any, Tensor], run: Callable[[bool], list[Tensor]]) -> None:
        self.leaves, self.run = leaves, run

    def call(self) -> list[Tensor]:
        """The outputs, with their history."""
        return self.run(True)

    @contextmanager
    def at(self, arrays: Sequence[Any]) -> Iterator[None]:
        """The leaves hold other values inside a ``with`` block: all double, or all complex."""
        leaves = list(self.leaves.values())
        before = [leaf._data for leaf in leaves]
        dtype = np.result_type(np.float64, *arrays)
        try:
            for leaf, array in zip(leaves, arrays, strict=True):
                leaf._data = np.array(array, dtype=dtype)
                leaf._data.setflags(write=False)
            yield
        finally:
            for leaf, data in zip(leaves, before, strict=True):
                leaf._data = data

    def combined(self, draws: Sequence[Sequence[Array]]) -> Value:
        """As a function of arrays: a sum of the outputs for each cotangent, as `weighted`."""

        def value(arrays: Sequence[Any]) -> Array:
            with self.at(arrays):
                outputs = [out.data for out in self.run(False)]
            return np.array([weighted(outputs, draw) for draw in draws])

        return value

    def pulled(self, output: Tensor, create_graph: bool = False) -> list[Tensor]:
        """The gradients of a single number, one for each leaf."""
        start = np.ones(output.shape, output.dtype)
        return pulled(output, list(self.leaves.values()), start, create_graph)

    def gradient(self, weights: Sequence[Array]) -> Function:
        """The gradients of the weighted sum of the outputs, as a function of the same leaves."""
        return Function(
            {f"{name}, second order": leaf for name, leaf in self.leaves.items()},
            lambda record: self.pulled(weighted(self.call(), weights), record),
        )


def subject(f: Callable[..., Any], inputs: Sequence[Any]) -> Function:
    """A user's function: of the inputs given, and of the parameters that it uses by itself."""
    leaves: dict[Any, Tensor] = {}
    names = argument_names(f, len(inputs))
    given = [_leaf(x, name, leaves) for x, name in zip(inputs, names, strict=True)]
    function = Function(leaves, functools.partial(_call, f, given, leaves))
    outputs, again = function.call(), function.call()
    for i, (one, other) in enumerate(zip(outputs, again, strict=True)):
        if not np.isfinite(one.data).all():
            with detect_anomaly():  # names the first operation at fault
                function.call()
            raise FloatingPointError(f"output {i} of f is not finite")
        if not np.array_equal(one.data, other.data):
            raise ValueError(
                f"f is not deterministic: its output {i} differs between two runs by up to "
                f"{np.abs(one.data - other.data).max():.3g}; fix the seed of what it draws, "
                f"or call eval() if it drops units"
            )
    _add_parameters(f, leaves, outputs, again)
    if not leaves:
        raise ValueError(
            "gradcheck was given nothing that requires a gradient: no floating-point input, "
            "and no parameter with requires_grad=True that f depends on"
        )
    if not any(out.requires_grad for out in outputs):
        raise ValueError(
            "nothing that f returns requires a gradient; was it detached, computed under "
            "no_grad, or made from .data?"
        )
    return function


def _leaf(x: Any, name: str, leaves: dict[Any, Tensor]) -> Any:
    """An argument for the function; what is to be moved in it is added to the leaves."""
    if isinstance(x, (tuple, list)) and any(isinstance(p, (Tensor, np.ndarray)) for p in x):
        return type(x)(_leaf(part, f"{name}[{i}]", leaves) for i, part in enumerate(x))
    if isinstance(x, Tensor) and not x.requires_grad:
        return x
    array = floating(x, name, "pass indices as a Tensor, which is taken as a constant")
    if not isinstance(x, Tensor) or x.primitive is not None:
        x = Tensor(array, requires_grad=True, name=name)
    if not any(x is leaf for leaf in leaves.values()):
        leaves[name] = x
    return x


def _call(
    f: Callable[..., Any], given: Sequence[Any], leaves: Mapping[Any, Tensor], record: bool
) -> list[Tensor]:
    """Run the user's function; its floating-point outputs in one flat list."""
    before = [(leaf, leaf.data, leaf.data.copy()) for leaf in leaves.values()]
    try:
        result = f(*given)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise ValueError(_WRITES) from error
    for leaf, data, values in before:
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


def _add_parameters(
    f: Any, leaves: dict[Any, Tensor], outputs: Sequence[Tensor], again: Sequence[Tensor]
) -> None:
    """Leaves that the function uses without being given them, the same ones in each run."""
    module = f if isinstance(f, Module) else Module()
    named = {parameter: path for path, parameter in module.named_parameters().items()}
    lasting = {leaf for leaf in nodes_of(again) if leaf.primitive is None} - {*leaves.values()}
    for leaf in nodes_of(outputs):
        if leaf in lasting:
            name = named.get(leaf) or leaf.name or f"a leaf of shape {leaf.shape}"
            count = sum(known.split(" #")[0] == name for known in leaves)
            leaves[f"{name} #{count + 1}" if count else name] = leaf


def floating(x: Any, name: Any, indices: str) -> Array:
    """What was given as an input, as an array of a dtype that can be moved."""
    array: Array = np.asarray(x.data if isinstance(x, Tensor) else x)
    if array.dtype.char not in "fd":
        raise TypeError(
            f"the check was given {array.dtype} for {name}; only float32 and float64 can be moved "
            f"a little. Write numbers such as 1.0; {indices}"
        )
    return array


def weighted(parts: Sequence[Any], weights: Sequence[Array]) -> Any:
    """The sum over all entries of all tensors or arrays, each times its weight."""
    return sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True))


def nodes_of(outputs: Sequence[Tensor]) -> list[Tensor]:
    """All that the outputs depend on and that requires a gradient, the oldest first."""
    return [tensor for tensor in reversed(tape(*outputs)) if tensor.requires_grad]


def _flat(result: Any) -> list[Tensor]:
    """The tensors in a nest of tuples, lists and dicts."""
    if isinstance(result, Mapping):
        result = list(result.values())
    if isinstance(result, (tuple, list)):
        return [tensor for part in result for tensor in _flat(part)]
    return [result] if isinstance(result, Tensor) else []


def argument_names(f: Callable[..., Any], count: int) -> list[str]:
    """The names of a function's positional arguments, as far as it has them."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return (names + [f"input {i}" for i in range(len(names), count)])[:count]
