"""All that a cell can reach: to run it on other numbers, and to notice when something has changed.

A cell is a module, an object of a plain class or a function; its weights and settings are
attributes, or sit in lists, closures, globals and namespaces. `Surroundings` walks all of it once.
It makes a copy whose tensors hold other numbers, so that a recording can prove that it does not
depend on them, and leaves the cell itself alone. And it notes what was found where, so that a
program can tell whether it still is the program of its cell.
"""

from __future__ import annotations

import copy
import functools
import operator
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..engine import Primitive, Scope, Tensor
from ..nn.module import Module

__all__ = ["Place", "Surroundings"]

_LIBRARIES = {"tinygrad_rnn", "numpy", *sys.stdlib_module_names} - {"__main__", "types"}
_PLAIN = (bool, int, float, complex, str, bytes, np.generic, np.dtype)


class Place(NamedTuple):
    """Where a value was found: its path, for messages, and how to look there again."""

    path: str
    look: Callable[[], Any]
    value: Any

    def changed(self) -> bool:
        """Whether another value is there by now, or none."""
        try:
            now = self.look()
        except (LookupError, AttributeError, ValueError):
            return True
        return now is not self.value and not _equal(now, self.value)


def _equal(a: Any, b: Any) -> bool:
    """Whether these are equal numbers, texts or arrays."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    return isinstance(a, _PLAIN) and bool(a == b or (a != a and b != b))


class Surroundings:
    """Everything that some cells and functions can reach, and a copy of it.

    Parameters
    ----------
    roots : list
        Cells, readouts.
    numbers : callable, optional
        Gives the copy of a tensor its array; the tensor's own by default.

    Attributes
    ----------
    roots : list
        The copies, to be called instead.
    tensors : list
        Path, tensor and copy of each tensor found.
    places, copied : list of Place
        What was found where, among the originals and among the copies.
    """

    def __init__(self, roots: list[Any], numbers: Callable[[Tensor], Any] = lambda x: x) -> None:
        self.numbers = numbers
        self.tensors: list[tuple[str, Tensor, Tensor]] = []
        self.places: list[Place] = []
        self.copied: list[Place] = []
        self._copies: dict[int, Any] = {}
        self._alive: list[Any] = []  # so that no new object gets the identity of one seen
        self.roots = [self._copy(root, "") for root in roots]

    def changed(self) -> list[str]:
        """The paths of what a run of the copy has changed, in the copy or in the original."""
        return [place.path for place in [*self.copied, *self.places] if place.changed()]

    def _copy(self, x: Any, path: str) -> Any:
        if isinstance(x, (*_PLAIN, Primitive, Scope)) or x is None:
            return x
        if id(x) not in self._copies:
            self._alive.append(x)
            self._copies[id(x)] = x  # what refers to itself meets itself
            self._copies[id(x)] = self._copied(x, path)
        return self._copies[id(x)]

    def _copied(self, x: Any, path: str) -> Any:
        if isinstance(x, Tensor):
            new: Any = Tensor(self.numbers(x), x.requires_grad, x.name)
            self._note(
                self.places, path, functools.partial(getattr, x, "requires_grad"), x.requires_grad
            )
            self.tensors.append((path, x, new))
            return new
        if isinstance(x, (np.ndarray, np.random.Generator)):
            return copy.deepcopy(x)
        if isinstance(x, (list, dict)) and type(x) in (list, dict):
            new = self._copies[id(x)] = [None] * len(x) if isinstance(x, list) else dict(x)
            parts = x if isinstance(x, dict) else dict(enumerate(x))
            self._parts(path, dict(parts), operator.getitem, x, new)
            self._length(path, x, new)
            return new
        if isinstance(x, tuple):
            items = self._sequence(path, x)
            return type(x)(*items) if hasattr(x, "_fields") else tuple(items)
        if isinstance(x, types.MethodType):
            return types.MethodType(self._copy(x.__func__, path), self._copy(x.__self__, path))
        if isinstance(x, functools.partial):
            arguments = self._copy((x.args, x.keywords), path)
            return functools.partial(self._copy(x.func, path), *arguments[0], **arguments[1])
        if isinstance(x, types.FunctionType):
            return x if _library(x.__module__) else self._function(x, path)
        if isinstance(x, type):
            return x if _library(x.__module__) else self._class(x, path)
        if hasattr(type(x), "__unroll__"):  # another program
            return x
        if hasattr(x, "__dict__") and (isinstance(x, Module) or not _library(type(x).__module__)):
            return self._instance(x, path)
        return x

    def _parts(
        self, path: str, parts: Mapping[Any, Any], look: Callable[[Any, Any], Any], x: Any,
        new: Any = None,
    ) -> bool:  # fmt: skip
        """Put copies of the parts of `x` into `new`; whether any of them is another object."""
        other = False
        for name, value in parts.items():
            at = _join(path, name)
            self._note(self.places, at, functools.partial(look, x, name), value)
            part = self._copy(value, at)
            other = other or part is not value
            if look is _content:
                new[name] = types.CellType(part)
            else:
                (vars(new) if look is getattr else new)[name] = part
            if look is not _of_class:
                self._note(self.copied, at, functools.partial(look, new, name), part)
        return other

    def _note(self, places: list[Place], path: str, look: Callable[[], Any], value: Any) -> None:
        places.append(Place(path, look, value.copy() if isinstance(value, np.ndarray) else value))

    def _length(self, path: str, x: Any, new: Any) -> None:
        self._note(self.places, path, x.__len__, len(x))
        self._note(self.copied, path, new.__len__, len(x))

    def _sequence(self, path: str, x: Any) -> list[Any]:
        new = dict(enumerate(x))
        self._parts(path, dict(new), operator.getitem, x, new)
        return list(new.values())

    def _instance(self, x: Any, path: str) -> Any:
        try:
            new = self._copies[id(x)] = copy.copy(x)
        except Exception:  # what cannot be copied is used as it is
            return x
        parts = dict(vars(x))
        self._parts(path, parts, getattr, x, new)
        self._length(path, vars(x), vars(new))
        settings = {k: v for kind in type(x).__mro__[::-1] for k, v in vars(kind).items()}
        for name, value in settings.items():
            if isinstance(value, _PLAIN) and name not in parts and not name.startswith("__"):
                self._note(self.places, name, functools.partial(getattr, x, name), value)
        kind = self._copy(type(x), path)
        if kind is not type(x):
            new.__class__ = kind
        return new

    def _class(self, x: type, path: str) -> type:
        """A class, or one with copies of its methods and values if any of them differ."""
        kinds = (types.FunctionType, Tensor, np.ndarray, Module, list, tuple, dict)
        own: dict[str, Any] = {}
        other = False
        for base in x.__mro__[::-1]:
            if not _library(base.__module__):
                parts = {
                    name: value for name, value in vars(base).items()
                    if isinstance(value, kinds[: 1 if name.startswith("__") else None])
                }  # fmt: skip
                other |= self._parts(path, parts, _of_class, base, own)
        return type(x)(x.__name__, (x,), own) if other else x

    def _function(self, x: types.FunctionType, path: str) -> Any:
        """A function, or one with another closure and other globals if any part of them differs."""
        names, codes = set(), [x.__code__]
        while codes:
            code = codes.pop()
            names |= {*code.co_names}
            codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
        used = {name: x.__globals__[name] for name in sorted(names) if name in x.__globals__}
        fresh = dict(x.__globals__)
        other = False
        for name, space in list(used.items()):
            if isinstance(space, types.ModuleType):
                del used[name]
                if not _library(space.__name__):  # only what the function may look up there
                    fresh[name] = types.SimpleNamespace(**vars(space))
                    parts = {k: v for k, v in vars(space).items() if k in names}
                    other |= self._parts(_join(path, name), parts, getattr, space, fresh[name])
        other |= self._parts(path, used, operator.getitem, x.__globals__, fresh)
        cells = dict(zip(x.__code__.co_freevars, x.__closure__ or (), strict=True))
        held = {k: cell.cell_contents for k, cell in cells.items() if _filled(cell)}
        closed: dict[str, types.CellType] = dict(cells)
        other |= self._parts(path, held, _content, cells, closed)
        defaults = self._copy(x.__defaults__, path)
        if not other and defaults is x.__defaults__:
            return x
        closure = tuple(closed.values())
        new = types.FunctionType(x.__code__, fresh, x.__name__, defaults, closure)
        new.__kwdefaults__ = self._copy(x.__kwdefaults__, path)
        vars(new).update(vars(x))
        return new


def _join(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)


def _library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _LIBRARIES


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _content(cells: Mapping[str, types.CellType], name: str) -> Any:
    return cells[name].cell_contents


def _of_class(kind: Any, name: str) -> Any:
    return vars(kind)[name]
