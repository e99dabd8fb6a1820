"""What a cell reads besides its input and state: to run it on other numbers, and to notice changes.

A cell is a module, an object of a plain class or a function; its weights and settings are
attributes, or sit in lists, closures, globals and namespaces. `Surroundings` makes a copy of it
whose tensors hold other numbers, so that a recording can prove that it does not depend on them,
and leaves the cell itself alone. Objects are copied as far as they are read: what was found where
is noted, so that a program can tell whether it still is the program of its cell.
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
_PLAIN = (bool, int, float, complex, str, bytes, np.generic, np.dtype, type(None))
_MISSING = object()


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
    """A copy of some cells and functions, and of what they read.

    Parameters
    ----------
    roots : list
        Cells, readouts.
    numbers : callable
        Gives the copy of a tensor its array.

    Attributes
    ----------
    roots : list
        The copies, to be called instead.
    tensors : dict
        Copy, original and path of each tensor, by the identity of the copy's array.
    places, copied : list of Place
        What was found where, among the originals and among the copies.
    """

    def __init__(self, roots: list[Any], numbers: Callable[[Tensor], Any]) -> None:
        self.numbers = numbers
        self.tensors: dict[int, tuple[Tensor, Tensor, str]] = {}
        self.places: list[Place] = []
        self.copied: list[Place] = []
        self._objects: list[tuple[str, dict[str, Any], dict[str, Any], set[str]]] = []
        self._copies: dict[int, Any] = {}
        self._alive: list[Any] = []  # so that no new object gets the identity of one seen
        self.roots = [self._copy(root, "") for root in roots]

    def changed(self) -> list[str]:
        """The paths of what a run of the copy has changed, in the copy or in the original."""
        found = [place.path for place in [*self.copied, *self.places] if place.changed()]
        for path, before, state, seen in self._objects:  # what is written without being read
            for name in {*before, *state}:
                unread = name not in seen or name not in before
                if unread and state.get(name, _MISSING) is not before.get(name, _MISSING):
                    found.append(f"{path}.{name}" if path else name)
        return sorted({*found})

    def _copy(self, x: Any, path: str) -> Any:
        if isinstance(x, (*_PLAIN, Primitive, Scope)):
            return x
        if id(x) not in self._copies:
            self._alive.append(x)
            self._copies[id(x)] = x  # what refers to itself meets itself
            self._copies[id(x)] = self._copied(x, path)
        return self._copies[id(x)]

    def _copied(self, x: Any, path: str) -> Any:
        if isinstance(x, Tensor):
            new: Any = Tensor(self.numbers(x), x.requires_grad, x.name)
            self._note(self.places, path, functools.partial(getattr, x, "requires_grad"))
            self.tensors[id(new.data)] = new, x, path
        elif isinstance(x, (np.ndarray, np.random.Generator)):
            new = copy.deepcopy(x)
        elif type(x) in (list, dict):
            new = self._copies[id(x)] = copy.copy(x)
            parts = dict(enumerate(x)) if isinstance(x, list) else dict(x)
            self._parts(path, parts, operator.getitem, x, new)
            self._note(self.places, path, x.__len__)
            self._note(self.copied, path, new.__len__)
        elif isinstance(x, tuple):
            parts = dict(enumerate(x))
            self._parts(path, dict(parts), operator.getitem, x, parts)
            new = type(x)(*parts.values()) if hasattr(x, "_fields") else tuple(parts.values())
        elif isinstance(x, types.MethodType):
            new = types.MethodType(self._copy(x.__func__, path), self._copy(x.__self__, path))
        elif isinstance(x, functools.partial):
            arguments = self._copy((x.args, x.keywords), path)
            new = functools.partial(self._copy(x.func, path), *arguments[0], **arguments[1])
        elif isinstance(x, types.FunctionType) and not _library(x):
            new = self._function(x, path)
        elif isinstance(x, type) and not _library(x):
            new = self._class(x, path)
        elif isinstance(x, Module) or not _library(x):
            new = self._instance(x, path)
        else:
            new = x
        return new

    def _note(self, places: list[Place], path: str, look: Callable[[], Any]) -> None:
        value = look()
        places.append(Place(path, look, value.copy() if isinstance(value, np.ndarray) else value))

    def _parts(
        self, path: str, parts: Mapping[Any, Any], look: Callable[[Any, Any], Any], x: Any, new: Any
    ) -> bool:  # fmt: skip
        """Put copies of the parts of `x` into `new`; whether any of them is another object."""
        other = False
        for name, value in parts.items():
            at = f"{path}.{name}" if path else str(name)
            self._note(self.places, at, functools.partial(look, x, name))
            part = self._copy(value, at)
            other = other or part is not value
            new[name] = types.CellType(part) if look is _content else part
            if look is not _of_class:
                look_there = look if look is _content else operator.getitem
                self._note(self.copied, at, functools.partial(look_there, new, name))
        return other

    def _instance(self, x: Any, path: str) -> Any:
        """A copy of an object whose attributes are copied when they are read for the first time."""
        base = self._copy(type(x), path)
        own, seen = getattr(x, "__dict__", {}), {"__class__"}
        is_module = isinstance(x, types.ModuleType)

        def read(new: Any, name: str) -> Any:
            if name not in seen:
                names = [*own] if name == "__dict__" else [name] if name in own else []
                seen.update(names, [name])
                for part in [n for n in names if state.get(n, _MISSING) is own[n]]:
                    self._parts(path, {part: own[part]}, operator.getitem, own, state)
                if isinstance(getattr(type(x), name, None), _PLAIN) and not names:
                    look = functools.partial(getattr, x, name, _MISSING)
                    self._note(self.places, f"{path}.{name}" if path else name, look)
            return base.__getattribute__(new, name)

        try:
            new = types.ModuleType(x.__name__) if is_module else copy.copy(x)
            state = vars(new)
            state.update(own if is_module else {})
            new.__class__ = type(base.__name__, (base,), {"__getattribute__": read})
        except Exception:  # what cannot be copied so is used as it is, and all of it is watched
            slots = [name for kind in type(x).__mro__ for name in getattr(kind, "__slots__", ())]
            parts = {k: getattr(x, k) for k in (*slots, *own) if hasattr(x, k)}
            self._parts(path, parts, getattr, x, {})
            return x
        # What a module imports when it is asked for the first time is no change.
        self._objects.append((path, dict(own) if is_module else own, state, seen))
        return new

    def _class(self, x: type, path: str) -> type:
        """A class, or one with copies of its methods and values if any of them differ."""
        kinds = (types.FunctionType, Tensor, np.ndarray, Module, list, tuple, dict)
        own: dict[str, Any] = {}
        other = False
        for base in (base for base in x.__mro__[::-1] if not _library(base)):
            for name, value in vars(base).items():
                if isinstance(value, kinds[: 1 if name.startswith("__") else None]):
                    other |= self._parts(path, {name: value}, _of_class, base, own)
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
        other = self._parts(path, used, operator.getitem, x.__globals__, fresh)
        cells = dict(zip(x.__code__.co_freevars, x.__closure__ or (), strict=True))
        held = {k: cell.cell_contents for k, cell in cells.items() if cell != types.CellType()}
        closed: dict[str, types.CellType] = dict(cells)
        other |= self._parts(path, held, _content, cells, closed)
        defaults = self._copy((x.__defaults__, x.__kwdefaults__), path)
        if not other and defaults == (x.__defaults__, x.__kwdefaults__):
            return x
        closure = tuple(closed.values())
        new = types.FunctionType(x.__code__, fresh, x.__name__, defaults[0], closure)
        new.__kwdefaults__ = defaults[1]
        vars(new).update(vars(x))
        return new


def _library(x: Any) -> bool:
    """Whether a module, a function, a class or an object is none of the user's."""
    if isinstance(x, types.ModuleType):
        home = x.__name__
    else:
        home = (x if isinstance(x, (types.FunctionType, type)) else type(x)).__module__
    return (home or "").partition(".")[0] in _LIBRARIES


def _content(cells: Mapping[str, types.CellType], name: str) -> Any:
    return cells[name].cell_contents


def _of_class(kind: Any, name: str) -> Any:
    return vars(kind)[name]
