"""What a vertex is called: the weights' names in their cell, symbols, scopes' names, states.

Nothing here looks at positions. Names come, in this order, from the caller, from a tensor itself,
from the attributes of the modules that the scopes belong to, and from the code of a cell.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import Tensor

from .collect import Band, Graph, Step, Vertex, is_view
from .contract import Level, named_scope
from .scale import number, subscript

__all__ = ["name_all", "tooltip", "values"]

_LONGEST = 14
_MOST_VALUES = 4  # of a tensor whose values are written out
_LAYER = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def name_all(
    graph: Graph, level: Level = "op", words: Sequence[Any] | None = None, names: Any = None
) -> None:
    """Give every vertex its label, and every band the letters of its states.

    Parameters
    ----------
    graph : Graph
    level : {"op", "scope", "cell"}
        The one that the graph was contracted to.
    words : sequence, optional
        What to write on the input of each step.
    names : object, optional
        A module, or a dict from names to tensors or modules.
    """
    known = _tensor_names([owner for band in graph.bands for owner in band.owners])
    for number_, path in _tensor_names([names], whole=True).items():
        short = path.split(".")[-1]
        known.setdefault(number_, path if short in known.values() else short)
    steps = {id(v): (band, s) for band in graph.bands for s in band.steps for v in s.vertices}
    for band in graph.bands:
        band.letters = [] if band.after else _letters(band)
        for step in band.steps:  # initial states stand outside of their step
            steps.update((id(v), (band, step)) for v in step.starts())
    namer = _Namer(graph, level, words, known)
    for vertex in graph.vertices:
        label = namer.label(vertex, *steps.get(id(vertex), (None, None)))
        vertex.label = label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"


def tooltip(vertex: Vertex) -> str:
    """Name, place, shape and sizes in a few lines."""
    tensor = vertex.tensor
    if tensor is None:
        return vertex.label
    maker = tensor.primitive.name if tensor.primitive else "leaf"
    where = f" in {tensor.scope.path}" if tensor.scope and tensor.primitive else ""
    lines = [vertex.label, maker + where, f"shape {tensor.shape}"]
    data = tensor.data
    if data.size and data.dtype.kind in "fiu":
        largest = float(np.abs(data).max())
        lines.append(f"mean {number(float(data.mean()))}, max|·| {number(largest)}")
    return "\n".join([*lines, f"drawn: {number(vertex.value)}"])


def values(vertex: Vertex) -> str:
    """The values of a small tensor, written out; empty for a larger one."""
    data = np.asarray(vertex.data)
    if not 1 <= data.size <= _MOST_VALUES or data.dtype.kind not in "fiu":
        return ""
    said = ", ".join(number(float(value)) for value in data.ravel())
    return said if data.size == 1 else f"[{said}]"


def _tensor_names(owners: Iterable[Any], whole: bool = False) -> dict[int, str]:
    """The attribute names, or whole paths, of the tensors that objects hold, by tape number."""
    found: dict[int, str] = {}
    seen: set[int] = set()
    waiting = [("", owner) for owner in owners]
    for name, value in waiting:  # grows as it goes
        before = f"{name}." if whole and name else ""
        if isinstance(value, Tensor):
            found.setdefault(value.number, name)
        elif id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, Mapping):
                waiting += [(f"{before}{key}", item) for key, item in value.items()]
            elif isinstance(value, list | tuple):
                waiting += [(f"{name}{subscript(i)}", item) for i, item in enumerate(value)]
            elif hasattr(value, "__dict__") and not isinstance(value, type):
                waiting += [(f"{before}{key}", item) for key, item in vars(value).items()]
    return found


def _letters(band: Band) -> list[str]:
    """A name for each state: its initial tensor's, the one in the cell's code, else h, c, ..."""
    letters = [""] * band.states
    for step in band.steps:
        for vertex in step.starts():
            named = vertex.tensor is not None and vertex.tensor.name
            letters[vertex.state or 0] = letters[vertex.state or 0] or named or ""
    if not any(letters) and band.owners:
        letters = _names_in_code(band.owners[-1], band.states) or letters
    spare = [letter for letter in "hcsuvw" if letter not in letters]
    return [letter or (spare.pop(0) if spare else f"s{k}") for k, letter in enumerate(letters)]


def _names_in_code(cell: Any, count: int) -> list[str]:
    """What a cell's own code calls its states, as in ``l, h = state``."""
    try:
        code = ast.parse(textwrap.dedent(inspect.getsource(type(cell).__call__)))
        parameters = inspect.signature(cell).parameters.values()
        state = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD][1]
    except (AttributeError, IndexError, OSError, SyntaxError, TypeError, ValueError):
        return []
    for node in ast.walk(code):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            (target, *_), read = node.targets, node.value.id
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            names = [part.id for part in parts if isinstance(part, ast.Name)]
            if read == state and len(names) == len(parts) == count:
                return names
    return [state] if count == 1 and state != "state" else []


class _Namer:
    """Labels vertices in the order of the tape; remembers short names, to write f⊙c."""

    def __init__(
        self, graph: Graph, level: Level, words: Sequence[Any] | None, known: Mapping[int, str]
    ) -> None:
        self.level, self.words, self.known = level, words, dict(known)
        self.timed = graph.slots > 0
        self.short: dict[int, str] = {}
        self._name_weights(graph)

    def _name_weights(self, graph: Graph) -> None:
        """Every shared leaf by a name of its own: the same in several layers gets a number."""
        shared = [v for v in graph.vertices if v.tensor is not None and not v.computed
                  and v.place is None and v.readers]  # fmt: skip
        alike: dict[str, list[Vertex]] = {}
        unnamed = 0
        for vertex in shared:
            assert vertex.tensor is not None
            name = vertex.tensor.name or self.known.get(vertex.number, "")
            if not name:
                name = "W" if vertex.tensor.ndim > 1 else "b"
                name += subscript(unnamed) if unnamed else ""
                unnamed += 1
            alike.setdefault(name, []).append(vertex)
        for name, found in alike.items():
            for n, vertex in enumerate(found, 1):
                layer = f"⁽{str(n).translate(_LAYER)}⁾" if len(found) > 1 else ""
                self.known[vertex.number] = self.short[id(vertex)] = name + layer

    def label(self, vertex: Vertex, band: Band | None, step: Step | None) -> str:
        tensor, t = vertex.tensor, None if step is None else step.t
        index = "" if t is None else subscript(t)
        name = "" if tensor is None else self.short.get(id(vertex)) or tensor.name or ""
        name = name or self.known.get(vertex.number, "")
        state = vertex.state is not None and band is not None and bool(band.letters)
        if state and band is not None:
            vertex.letter = self.short[id(vertex)] = band.letters[vertex.state or 0]
        if vertex.initial:
            return f"{vertex.letter} init"
        if vertex.is_input:
            if self.words is not None and t is not None and t < len(self.words):
                return str(self.words[t])
            return name or f"x{index}"
        if not vertex.computed:
            if name:
                self.short[id(vertex)] = name
            return name or ("x" if tensor is not None and tensor.requires_grad else "const")
        said = name or (vertex.letter + index if state else "")
        if vertex.final:
            one = tensor is not None and tensor.size == 1
            return name or ("loss" if self.timed and one else said or self._operation(vertex))
        if state:
            return said if self.level != "op" else f"{self._operation(vertex)} → {said}"
        if name:
            self.short[id(vertex)] = name
            return name
        return self._operation(vertex) if self.level == "op" else self._part(vertex, band, index)

    def _part(self, vertex: Vertex, band: Band | None, index: str) -> str:
        """What stands for several operations: by the name of its scope, or what is textbooks'."""
        scope = named_scope(vertex)
        if scope is not None:
            return _short_name(scope.name)
        if vertex.is_output:
            return f"y{index}"
        if (
            band is not None
            and band.after
            and vertex.tensor is not None
            and vertex.tensor.size == 1
        ):
            return f"L{index}"
        weights = [e.source for e in vertex.inputs if e.source.place is None]
        if vertex.place is None:
            return "inputs" if all(r.is_input for r in vertex.readers) else self._operation(vertex)
        return "z" if len(weights) > 1 else self._operation(vertex)

    def _operation(self, vertex: Vertex) -> str:
        tensor = vertex.tensor
        assert tensor is not None
        primitive = tensor.primitive
        assert primitive is not None
        symbol = primitive.symbol
        direct = {
            e.index: e.source for e in vertex.inputs
            if self.level == "op" or tensor.inputs[e.index] is e.source.tensor
        }  # fmt: skip
        operands: list[str] = []
        fixed: list[bool] = []  # a weight or a number, which the symbol is written with
        for i, x in enumerate(tensor.inputs):
            source, value = direct.get(i), x.data if isinstance(x, Tensor) else x
            plain = source is None and np.ndim(value) == 0 and np.asarray(value).dtype.kind in "fiu"
            operands.append(number(float(value)) if plain else self.short.get(id(source), ""))
            weight = source is not None and not source.computed and source.place is None
            fixed.append(plain or weight)
        if is_view(vertex):
            return f"{operands[0]}[ ]" if operands[0] and symbol == "[ ]" else symbol
        if len(operands) == 1:
            return f"{symbol} {self._ends(vertex)}".rstrip()
        if primitive is tr.where:
            return "mask"
        if len(operands) == 2:
            left, right = operands
            both = f"{left}⊙{right}"
            if primitive is tr.power and right:
                return f"^{right}"
            if primitive is tr.multiply and left and right and len(both) <= _LONGEST:
                return both
            space = "" if primitive is tr.matmul else " "
            if right and fixed[1]:
                return f"{symbol}{space}{right}"
            if left and fixed[0]:
                return f"{left}{space}{symbol}"
        return symbol

    def _ends(self, vertex: Vertex) -> str:
        """The name of the scope that a vertex ends, such as that of a gate."""
        scope = named_scope(vertex)
        inside = all(named_scope(reader) is scope for reader in vertex.readers)
        if scope is None or scope.step is None or inside:
            return ""
        self.short[id(vertex)] = name = _short_name(scope.name)
        return name


def _short_name(scope: str) -> str:
    """``input gate`` is drawn as ``input``."""
    return scope.removesuffix(" gate")
