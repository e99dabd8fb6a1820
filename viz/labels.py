"""What a vertex is called: the weights' names in their cell, symbols, scopes' names, states.

Nothing here looks at positions. Names come, in this order, from the caller, from a tensor itself,
from the attributes of the modules that the scopes belong to, and from the code of a cell.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import Tensor
from tinygrad_rnn.nn import Module

from .collect import Band, Graph, Step, Vertex
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
    known = _tensor_names([*(owner for band in graph.bands for owner in band.owners), names])
    places: dict[Vertex, tuple[Band, Step]] = {}
    for band in graph.bands:
        band.letters = [] if band.after else _letters(band)
        for step in band.steps:  # initial states stand outside of their step
            places |= dict.fromkeys([*step.vertices, *step.starts()], (band, step))
    namer = _Namer(graph, level, words, known)
    for vertex in graph.vertices:
        label = namer.label(vertex, *places.get(vertex, (None, None)))
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


def _tensor_names(owners: Iterable[Any]) -> dict[int, str]:
    """The attribute names of the parameters of modules, or of those in dicts, by tape number."""
    found: dict[int, str] = {}
    for owner in owners:
        module = owner if isinstance(owner, Module) else Module()
        if isinstance(owner, Mapping):
            vars(module).update((str(name), part) for name, part in owner.items())
        for path, parameter in module.named_parameters().items():
            name = re.sub(r"\.(\d+)$", lambda m: subscript(int(m[1])), path)
            found.setdefault(parameter.number, name.split(".")[-1])
    return found


def _letters(band: Band) -> list[str]:
    """A name for each state: its initial tensor's, the one in the cell's code, else h, c, ..."""
    letters = [""] * band.states
    for vertex in (vertex for step in band.steps for vertex in step.starts()):
        letters[vertex.state or 0] = letters[vertex.state or 0] or vertex.name
    if not any(letters) and band.owners:
        letters = _names_in_code(band.owners[-1], band.states) or letters
    spare = [letter for letter in "hcsuvw" if letter not in letters]
    return [letter or (spare.pop(0) if spare else f"s{k}") for k, letter in enumerate(letters)]


def _names_in_code(cell: Any, count: int) -> list[str]:
    """What a cell's own code calls its states, as in ``l, h = state``."""
    try:
        code = inspect.getsource(type(cell).__call__)
        parameters = inspect.signature(cell).parameters.values()
        state = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD][1]
    except (AttributeError, IndexError, OSError, TypeError, ValueError):
        return []
    for listed in re.findall(rf"^\s*\(?([\w, ]+)\)? = {state}\s*(?:#.*)?$", code, re.MULTILINE):
        names: list[str] = listed.strip(", ").split(", ")
        if len(names) == count:
            return names
    return [state] if count == 1 and state != "state" else []


class _Namer:
    """Labels vertices in the order of the tape; remembers short names, to write f⊙c."""

    def __init__(
        self, graph: Graph, level: Level, words: Sequence[Any] | None, known: Mapping[int, str]
    ) -> None:
        self.level, self.words, self.known = level, words, dict(known)
        self.timed = graph.slots > 0
        self.short: dict[Vertex, str] = {}
        self._name_weights(graph)

    def _name_weights(self, graph: Graph) -> None:
        """Every shared leaf by a name of its own: the same in several layers gets a number."""
        shared = [v for v in graph.vertices if v.tensor is not None and not v.computed
                  and v.step is None and v.readers]  # fmt: skip
        alike: dict[str, list[Vertex]] = {}
        unnamed = 0
        for vertex in shared:
            name = vertex.name or self.known.get(vertex.number, "")
            if not name:
                name = "W" if vertex.data.ndim > 1 else "b"
                name += subscript(unnamed) if unnamed else ""
                unnamed += 1
            alike.setdefault(name, []).append(vertex)
        for name, found in alike.items():
            for n, vertex in enumerate(found, 1):
                layer = f"⁽{str(n).translate(_LAYER)}⁾" if len(found) > 1 else ""
                self.known[vertex.number] = self.short[vertex] = name + layer

    def label(self, vertex: Vertex, band: Band | None, step: Step | None) -> str:
        t = None if step is None else step.t
        index = "" if t is None else subscript(t)
        name = self.short.get(vertex) or vertex.name or self.known.get(vertex.number, "")
        if vertex.state is not None and band is not None and band.letters:
            vertex.letter = self.short[vertex] = band.letters[vertex.state]
        elif name and not vertex.is_input and not vertex.final:
            self.short[vertex] = name
        if vertex.initial:
            return f"{vertex.letter} init"
        if vertex.is_input and self.words is not None and t is not None and t < len(self.words):
            return str(self.words[t])
        if not vertex.computed or vertex.is_input:
            leaf = "x" if vertex.needs_grad else "const"
            return name or (f"x{index}" if vertex.is_input else leaf)
        said = name or (vertex.letter and vertex.letter + index)
        if vertex.final and not name and self.timed and vertex.data.size == 1:
            return "loss"
        if vertex.letter and self.level == "op" and not vertex.final:
            return f"{self._operation(vertex)} → {said}"
        return said or (
            self._operation(vertex)
            if self.level == "op" or vertex.final
            else self._part(vertex, band, index)
        )

    def _part(self, vertex: Vertex, band: Band | None, index: str) -> str:
        """What stands for several operations: by the name of its scope, or what is textbooks'."""
        scope = named_scope(vertex)
        if scope is not None:
            return scope.name.removesuffix(" gate")
        if vertex.is_output:
            return f"y{index}"
        if band is not None and band.after and vertex.data.size == 1:
            return f"L{index}"
        if vertex.step is None and all(reader.is_input for reader in vertex.readers):
            return "inputs"
        weights = [link for link in vertex.inputs if link.source.step is None]
        return "z" if len(weights) > 1 and vertex.step is not None else self._operation(vertex)

    def _operation(self, vertex: Vertex) -> str:
        """An operation by its symbol, with the gate that it ends, or with short operands."""
        assert vertex.tensor is not None
        assert vertex.operation is not None
        operation, inputs, symbol = vertex.operation, vertex.tensor.inputs, vertex.operation.symbol
        direct = {
            e.index: e.source for e in vertex.inputs
            if self.level == "op" or inputs[e.index] is e.source.tensor
        }  # fmt: skip
        operands = [self._operand(x, direct.get(i)) for i, x in enumerate(inputs)]
        left, right = (operands + 2 * [("", False)])[:2]
        if operation.view:
            return f"{left[0]}[ ]" if left[0] and symbol == "[ ]" else symbol
        if len(operands) == 1:
            return f"{symbol} {self._ends(vertex)}".rstrip()
        both = f"{left[0]}⊙{right[0]}"
        if operation is tr.where:
            return "mask"
        if len(operands) > 2:
            return symbol
        if operation is tr.power and right[0]:
            return f"^{right[0]}"
        if operation is tr.multiply and left[0] and right[0] and len(both) <= _LONGEST:
            return both
        space = "" if operation is tr.matmul else " "
        if all(right):
            return f"{symbol}{space}{right[0]}"
        return f"{left[0]}{space}{symbol}" if all(left) else symbol

    def _operand(self, x: Any, source: Vertex | None) -> tuple[str, bool]:
        """What an operand is called, and if the symbol is written with it: a weight, a number."""
        value = np.asarray(x.data if isinstance(x, Tensor) else x)
        if source is None and value.ndim == 0 and value.dtype.kind in "fiu":
            return number(float(value)), True
        weight = source is not None and not source.computed and source.step is None
        return self.short.get(source, "") if source is not None else "", weight

    def _ends(self, vertex: Vertex) -> str:
        """The name of the scope that a vertex ends, such as that of a gate."""
        scope = named_scope(vertex)
        inside = all(named_scope(reader) is scope for reader in vertex.readers)
        if scope is None or scope.step is None or inside:
            return ""
        self.short[vertex] = name = scope.name.removesuffix(" gate")
        return name
