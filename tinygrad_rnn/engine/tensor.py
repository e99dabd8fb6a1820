"""A tensor is a value and how it was made; a primitive is what makes it.

This file is the whole of recording. `Tensor` holds an array and its history: the primitive that
made it, that primitive's inputs, the scope it was made in, and a number that grows with every
tensor. `Primitive` is one line of the table of derivatives: a forward function on arrays and, side
by side, one derivative rule for each input. Calling a primitive on tensors computes and records.

The primitives are in primitives.py. How the record is walked backwards is described in
backprop.py: because a tensor's inputs always carry smaller numbers than the tensor itself, walking
by falling number *is* reverse-mode differentiation.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import operator
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy import ndarray

from .scope import recording

__all__ = ["Array", "Primitive", "Rule", "Tensor", "operations", "primitive"]

Array: TypeAlias = npt.NDArray[Any]
Rule: TypeAlias = Callable[..., Any]

# Every operation by its name. Tensor's operators look their operation up here when they are called,
# so that this file can be read, and imported, before the table is filled.
operations: dict[str, Any] = {}

_next_number = itertools.count().__next__
_new = object.__new__
_NO_KWARGS: dict[str, Any] = {}


def _binary(name: str) -> Callable[[Tensor, Any], Tensor]:
    return lambda self, other: operations[name].apply((self, other))


def _reflected(name: str) -> Callable[[Tensor, Any], Tensor]:
    return lambda self, other: operations[name].apply((other, self))


class Tensor:
    """An array that remembers how it was made.

    Parameters
    ----------
    array : array_like
        The value; copied, and locked against writing. float32 and float64 are kept as given;
        integers and booleans serve as indices and constants; complex numbers as complex steps.
    requires_grad : bool, default False
        Whether gradients with respect to this tensor are wanted.
    name : str, optional
        Shown in pictures, errors and reports.
    dtype : dtype, optional
        Convert to this first.

    Attributes
    ----------
    primitive : Primitive or None
        What made it; None for a leaf.
    inputs : tuple
        The primitive's inputs, in order: tensors, and constants as they were given.
    arrays : tuple of ndarray
        The inputs' values when it was made. Rules use these, so a parameter that is given new
        data later does not spoil a graph recorded earlier.
    kwargs : dict
        The primitive's keyword arguments.
    scope : Scope or None
        Where it was made.
    number : int
        Grows with every tensor made.

    Raises
    ------
    TypeError
        If the array is not of one of these dtypes, or integers are to require a gradient.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Tensor([1.0, -2.0], requires_grad=True, name="w")
    >>> loss = (w * w).sum()
    >>> loss.backward()
    >>> w.grad
    array([ 2., -4.])
    """

    __slots__ = (
        "__weakref__", "_data", "_grad", "arrays", "inputs", "kwargs", "name", "number",
        "primitive", "requires_grad", "scope",
    )  # fmt: skip

    def __init__(
        self,
        array: Any,
        requires_grad: bool = False,
        name: str | None = None,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        if isinstance(array, Tensor):
            data = np.asarray(array._data, dtype=dtype)  # locked already: shared, not copied
        else:
            data = np.array(array, dtype=dtype, order="C")
        if data.dtype.char not in "fdFD" and (requires_grad or data.dtype.kind not in "iub"):
            raise TypeError(
                f"a Tensor {'that requires a gradient ' * requires_grad}was given {data.dtype}; "
                f"expected float32 or float64 (integers and booleans for constants, complex "
                f"numbers for complex steps): give dtype=np.float64, or write 1.0 instead of 1"
            )
        data.setflags(write=False)
        self._data: Array = data
        self._grad: Any = None
        self.requires_grad = requires_grad
        self.name = name
        self.primitive: Primitive | None = None
        self.inputs: tuple[Any, ...] = ()
        self.arrays: tuple[Any, ...] = ()
        self.kwargs: Mapping[str, Any] = _NO_KWARGS
        self.scope = recording.scope
        self.number = _next_number()

    @property
    def data(self) -> Array:
        """The value, a read-only array. Assigning rebinds a leaf; what was recorded keeps its own.

        The assigned array is copied, so the caller may continue to write into it.
        """
        return self._data

    @data.setter
    def data(self, new: Any) -> None:
        if self.primitive is not None:
            raise ValueError(
                f"{self.describe()} was computed; only a leaf can be given new data: detach() it"
            )
        self._data = self._own(new, "data")

    @property
    def grad(self) -> Array | None:
        """The gradient that `backward` left on this leaf, a read-only array of its shape, or None.

        Several backward passes add up, as in PyTorch; assign None to start afresh. The gradient of
        a computed tensor is not kept: ask ``grad(loss, h)``, or ``backprop`` for all of them.
        """
        if self._grad is None:
            return None
        gradient = np.asarray(self._grad).view()
        gradient.setflags(write=False)
        return gradient

    @grad.setter
    def grad(self, new: Any) -> None:
        self._grad = None if new is None else self._own(new, "a gradient", cast=True)

    def _own(self, new: Any, what: str, cast: bool = False) -> Array:
        """A locked copy of an array that fits: whoever holds `new` may go on writing into it."""
        new = np.asarray(new)
        if new.shape != self.shape or not (
            new.dtype == self.dtype or (cast and new.dtype.kind == "f")
        ):
            raise ValueError(
                f"{self.describe()}, was given {what} of {new.dtype}, shape {new.shape}; expected "
                f"{self.dtype} of its own shape. Make a new Tensor to change either"
            )
        new = np.array(new, self.dtype, order="C")
        new.setflags(write=False)
        return new  # type: ignore[no-any-return]

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The array's dtype."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of entries."""
        return self._data.size

    @property
    def T(self) -> Tensor:
        """The transpose, with all axes reversed."""
        return operations["transpose"](self)  # type: ignore[no-any-return]

    def numpy(self) -> Array:
        """The value as a read-only array; the history stays behind. Same as `data`."""
        return self._data

    def item(self) -> Any:
        """The only entry, as a Python number."""
        return self._data.item()

    def detach(self) -> Tensor:
        """The same value as a constant leaf: no gradient flows back through it."""
        return Tensor(self, name=self.name)

    def backward(self, gradient: Any = None) -> None:
        """Walk the record backwards and add every leaf's gradient to its `grad`.

        Parameters
        ----------
        gradient : array_like, optional
            The gradient of this tensor, of its shape; 1 if it has a single entry.

        Raises
        ------
        ValueError
            If there is no history to walk, or the gradient is missing or of another shape.
        RuntimeError
            If a state carried history over from an earlier sequence whose backward has run.

        Examples
        --------
        >>> import tinygrad_rnn as tr
        >>> x = tr.Tensor(3.0, requires_grad=True)
        >>> (x * x).backward()
        >>> x.grad
        array(6.)
        """
        operations["backward"](self, gradient)

    def recorded(self) -> Tensor:
        """What a walk goes through: this tensor, or one with its history if it has none at hand.

        What `tinygrad_rnn.nn.unroll` did not keep is recorded again here.
        """
        return self

    def describe(self) -> str:
        """Name, maker, shape and scope in a few words, for messages.

        Examples
        --------
        >>> import tinygrad_rnn as tr
        >>> tr.Tensor([[1.0]], name="W").describe()
        'W, shape (1, 1)'
        """
        maker = f"the output of {self.primitive.name}" if self.primitive else "a leaf tensor"
        place = f", recorded in {self.scope.path}" if self.scope and self.primitive else ""
        return f"{self.name or maker}, shape {self.shape}{place}"

    def __repr__(self) -> str:
        value = np.array2string(self._data, separator=", ", prefix="Tensor(", threshold=100)
        maker = f", {self.primitive.name}" if self.primitive else ""
        wants = ", requires_grad=True" if self.requires_grad and not self.primitive else ""
        return f"Tensor({value}{maker}{wants})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickled tensor is a leaf: its history would include the whole graph. One that was
        # computed becomes a constant, or a module that keeps it would come back with a parameter.
        return Tensor, (self._data, self.requires_grad and self.primitive is None, self.name)

    def _plain(self, asked_by: str) -> Array:
        """The value for what computes outside of the graph; refused where a gradient would end."""
        if self.requires_grad:
            raise TypeError(
                f"{asked_by} was given {self.describe()}, and its gradient would be lost; use the "
                f"operations of tinygrad_rnn, or say x.item() or x.detach() for the plain value"
            )
        return self._data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self._plain("NumPy"), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        # NumPy asks here what `array * tensor` is.
        name = ufunc.__name__
        if method == "__call__" and not kwargs and len(inputs) == 2 and name in operations:
            return operations[name](*inputs)
        better = f"use tr.{name}" if name in operations else "use x.numpy() for the plain array"
        raise TypeError(f"np.{name} was given {self.describe()}, a Tensor; {better}")

    def __deepcopy__(self, memo: Any = None) -> Tensor:
        if self.primitive is not None:
            raise TypeError(
                f"a copy of {self.describe()}, would have no history, and its gradient would be "
                f"lost; say x.detach() for the plain value, or compute it twice"
            )
        return Tensor(self, self.requires_grad, self.name)

    __copy__ = __deepcopy__

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec else str(self), spec)

    if TYPE_CHECKING:  # at run time this would slow down every attribute: see `methods`

        def __getattr__(self, name: str) -> Callable[..., Any]: ...

    def __neg__(self) -> Tensor:
        return operations["negative"](self)  # type: ignore[no-any-return]

    def __abs__(self) -> Tensor:
        return operations["abs"](self)  # type: ignore[no-any-return]

    def __getitem__(self, key: Any) -> Tensor:
        return operations["getitem"](self, key)  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self._data)))

    def __pos__(self) -> Tensor:
        return self

    def __invert__(self) -> Tensor:
        return operations["invert"](self)  # type: ignore[no-any-return]

    def __bool__(self) -> bool:
        return bool(self._data)

    def __float__(self) -> float:
        return float(self._plain("float()"))

    def __int__(self) -> int:
        return int(self._plain("int()"))

    def __index__(self) -> int:
        return operator.index(self._plain("an index").item())

    # Two tensors are the same key only if they are the same object; == compares their entries.
    __hash__ = object.__hash__

    __add__ = _binary("add")
    __radd__ = _reflected("add")
    __sub__ = _binary("subtract")
    __rsub__ = _reflected("subtract")
    __mul__ = _binary("multiply")
    __rmul__ = _reflected("multiply")
    __truediv__ = _binary("divide")
    __rtruediv__ = _reflected("divide")
    __pow__ = _binary("power")
    __rpow__ = _reflected("power")
    __matmul__ = dot = _binary("matmul")
    __rmatmul__ = _reflected("matmul")
    __eq__ = _binary("equal")  # type: ignore[assignment]
    __ne__ = _binary("not_equal")  # type: ignore[assignment]
    __lt__ = _binary("less")
    __le__ = _binary("less_equal")
    __gt__ = _binary("greater")
    __ge__ = _binary("greater_equal")
    __and__ = _binary("bitwise_and")
    __or__ = _binary("bitwise_or")


def methods(**named: Any) -> None:
    """Make operations methods of tensors too: x.tanh() is tanh(x)."""
    operations.update(named)
    for name, operation in named.items():
        setattr(Tensor, name, lambda self, *args, _f=operation, **kwargs: _f(self, *args, **kwargs))


@dataclass(eq=False, repr=False)  # no slots: each has a docstring of its own
class Primitive:
    """One operation: how to compute it, its derivatives, and every other fact about it.

    Called on plain arrays it returns a plain array. Called with at least one `Tensor` it returns a
    `Tensor`, and records itself if an input requires a gradient. Made by `primitive`. It takes its
    docstring, its signature and its place in a module from `forward`, and is pickled and copied
    as functions are: by that place. An operation is known by this object, never by its name.

    Attributes
    ----------
    name : str
        For messages and reports.
    forward : callable
        ``forward(*arrays, **settings) -> array``. Parameters before a ``/`` are the inputs, those
        after it are settings; without a ``/`` all positional ones are inputs.
    rules : tuple of callables
        One for each input: ``rule(g, y, *inputs, **settings)`` takes the gradient of the output,
        the output and the inputs and returns that input's contribution, in the output's own shape
        if that is easier (broadcasting is undone by the traversal). None where there is no
        derivative. No rules at all make a constant.
    symbol : str
        For pictures, such as ``σ``.
    analytic : bool
        Whether `forward` is complex-differentiable, so that a complex step can check it.
    joint : bool
        One rule that returns the contributions of all inputs at once, for primitives that take any
        number of them.
    entrywise : bool
        Whether each entry of the output depends on one entry of each input, as broadcast.
    view : bool
        Whether the entries of the output are entries of the input, rearranged or selected.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.tanh, tr.tanh.symbol, len(tr.matmul.rules)
    (<primitive tanh>, 'tanh', 2)
    >>> tr.tanh.rules[0](1.0, 0.5, None)  # the gradient of the output, the output, the input
    0.75
    """

    name: str
    forward: Callable[..., Any]
    rules: tuple[Any, ...]
    symbol: str
    analytic: bool = True
    joint: bool = False
    entrywise: bool = False
    view: bool = False

    def __post_init__(self) -> None:
        functools.update_wrapper(self, self.forward, updated=())
        # NumPy's own functions have parameters, such as out=, that no rule takes: they have no "/".
        function = inspect.isfunction(self.forward)
        parameters = inspect.signature(self.forward).parameters.values() if function else ()
        inputs = [p for p in parameters if p.kind is p.POSITIONAL_ONLY]
        self._count = len(inputs) or sys.maxsize
        settings = [p for p in parameters if inputs and p.kind is p.POSITIONAL_OR_KEYWORD]
        self._settings = [p.name for p in settings]
        self._defaults = {p.name: p.default for p in settings if p.default is not p.empty}

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        if len(inputs) > self._count:
            given = dict(zip(self._settings, inputs[self._count :], strict=False))
            if len(inputs) > self._count + len(given) or given.keys() & kwargs.keys():
                raise TypeError(
                    f"{self.name} takes {self._count} inputs and {self._settings or 'no settings'},"
                    f" each once, but was given {len(inputs)} arguments and {list(kwargs)}"
                )
            inputs, kwargs = inputs[: self._count], given | kwargs
        if self._defaults:  # a record has every setting, whether it was given or not
            kwargs = self._defaults | kwargs
        return self.apply(inputs, kwargs)

    def apply(self, inputs: tuple[Any, ...], kwargs: Mapping[str, Any] = _NO_KWARGS) -> Any:
        """Compute, and record if an input requires a gradient."""
        # This is the path that every operation takes: it is written to be quick.
        arrays: list[Any] = []
        needs_grad: bool | None = None  # None: no tensor among the inputs
        has_constant = False
        for x in inputs:
            if isinstance(x, Tensor):
                needs_grad = needs_grad or x.requires_grad
                arrays.append(x._data)
            else:
                has_constant = True
                arrays.append(x)
        if needs_grad is None:
            return self.forward(*inputs, **kwargs)
        if has_constant:
            inputs = tuple(x if isinstance(x, (Tensor, float, int)) else locked(x) for x in inputs)
            arrays = [x._data if isinstance(x, Tensor) else x for x in inputs]
        try:
            y = self.forward(*arrays, **kwargs) if kwargs else self.forward(*arrays)
        except (ValueError, TypeError, IndexError) as error:
            raise located(error, self.name, arrays) from None
        if type(y) is not ndarray:
            y = np.asarray(y)
        y.setflags(False)  # read-only
        out = _new(Tensor)
        out._data = y
        out._grad = out.name = None
        out.number = _next_number()
        out.scope = recording.scope
        if needs_grad and self.rules and recording.enabled:
            out.requires_grad, out.primitive, out.kwargs = True, self, kwargs
            out.inputs, out.arrays = inputs, tuple(arrays)
        else:
            out.requires_grad, out.primitive, out.kwargs = False, None, _NO_KWARGS
            out.inputs = out.arrays = ()
        if recording.watcher is not None:
            recording.watcher.made(self, arrays, kwargs, out)
        return out

    @property
    def sentence(self) -> str:
        """What happens to the gradient: the part of the docstring's summary after a semicolon.

        Examples
        --------
        >>> import tinygrad_rnn as tr
        >>> tr.add.sentence
        'both inputs get the gradient of the sum.'
        """
        summary = (inspect.getdoc(self.forward) or "").split("\n\n")[0]
        return " ".join(summary.partition(";")[2].split())

    @property
    def formula(self) -> tuple[str, ...]:
        """The derivatives as written in the docstring: lines that begin with ∂, cut at semicolons.

        Examples
        --------
        >>> import tinygrad_rnn as tr
        >>> tr.multiply.formula
        ('∂(a ⊙ b)/∂a = b', '∂(a ⊙ b)/∂b = a')
        """
        lines = (inspect.getdoc(self.forward) or "").split("\n")
        return tuple(part for line in lines if line.startswith("∂") for part in line.split("; "))

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __reduce__(self) -> str:
        name: str = self.forward.__name__
        if getattr(sys.modules.get(self.__module__), name, None) is not self:
            raise pickle.PicklingError(
                f"the operation {self.name} cannot be pickled: it is not found as "
                f"{self.__module__}.{name}; declare it by @primitive above a function of a module"
            )
        return name

    def __deepcopy__(self, memo: Any) -> Primitive:
        return self


def located(error: Exception, name: str, arrays: Sequence[Any]) -> Exception:
    """The error again, with the place, the operation and the shapes in front."""
    kind = next(k for k in (IndexError, ValueError, TypeError) if isinstance(error, k))
    place = f"in {recording.scope.path}: " if recording.scope else ""
    shapes = " and ".join(str(np.shape(array)) for array in arrays)
    return kind(f"{place}cannot {name} {shapes}: {error}")


def locked(x: Any) -> Array:
    """A constant as an array that nobody can write into behind the graph's back."""
    array = np.asarray(x)
    owner = array if array.base is None else array.base
    if array.flags.writeable or not isinstance(owner, ndarray) or owner.flags.writeable:
        if array is x or array.base is not None:
            array = array.copy()
        array.setflags(write=False)
    return array


def primitive(
    name: str | None = None,
    forward: Callable[..., Any] | None = None,
    *each_rule: Rule | None,
    rules: Sequence[Rule | None] = (),
    symbol: str | None = None,
    **facts: bool,
) -> Callable[..., Any]:
    """Declare an operation: a decorator for its forward function, with the rules beside it.

    ``primitive(name, forward, rule0, rule1, ...)`` does the same for a function that exists.

    Parameters
    ----------
    name : str, optional
        For messages, reports and pictures; the function's own name by default.
    forward : callable, optional
        ``forward(*arrays, **settings) -> array``. It gets read-only arrays. Parameters before a
        ``/`` are the inputs, those after it are settings.
    *each_rule : callable or None
        For each input ``rule(g, y, *inputs, **settings)``: the gradient of the output, the output
        and the inputs give the input's contribution. Written with operators and with methods and
        operations that arrays and tensors share, it serves every order of derivative.
    rules : sequence
        The same, for the decorator.
    symbol : str, optional
        For pictures; the name by default.
    **facts : bool
        `analytic` (True by default), `joint`, `entrywise`, `view`: see `Primitive`.

    Returns
    -------
    Primitive
        Its docstring is that of `forward`. The player shows the part of the first sentence after a
        semicolon, and the lines that begin with ∂.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> @tr.primitive(rules=[lambda g, y, x: g * 3 * x * x], entrywise=True)
    ... def cube(x, /):
    ...     return x * x * x
    >>> x = tr.Tensor(2.0, requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad
    array(12.)
    """

    def declare(f: Callable[..., Any]) -> Primitive:
        called = name or f.__name__
        return Primitive(called, f, each_rule or tuple(rules), symbol or called, **facts)

    return declare if forward is None else declare(forward)
