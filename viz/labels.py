"""What a vertex is called: the weights' names in their cell, symbols, gates' letters, states.

Nothing here looks at positions. Names come, in this order, from the caller, from a tensor itself,
and from the attributes of the modules that the scopes belong to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_rnn import Tensor

from .collect import Band, Graph, Step, Vertex
from .scale import number, subscript

__all__ = ["name_all", "tooltip"]

_LONGEST = 14
_GATES = {"forget": "f", "input": "i", "output": "o", "update": "z", "reset": "r", "cell": "g"}
_FUNCTIONS = frozenset({"sigmoid", "tanh", "relu", "softplus"})
_PAIRS = frozenset({"multiply", "add", "subtract", "divide", "matmul"})


def name_all(graph: Graph, words: Sequence[str] | None = None, names: Any = None) -> None:
    """Give every vertex its label, and every band the letters of its states.

    Parameters
    ----------
    graph : Graph
    words : sequence of str, optional
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
    namer = _Namer(graph, words, known)
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
    """A name for each state: that of its initial tensor, else h and c, in the order of use."""
    letters = [""] * band.states
    for step in band.steps:
        for vertex in step.starts():
            named = vertex.tensor is not None and vertex.tensor.name
            letters[vertex.state or 0] = letters[vertex.state or 0] or named or ""
    spare = [letter for letter in "hcsuvw" if letter not in letters]
    return [letter or (spare.pop(0) if spare else f"s{k}") for k, letter in enumerate(letters)]


class _Namer:
    """Labels vertices in the order of the tape; remembers short names, to write i⊙g."""

    def __init__(self, graph: Graph, words: Sequence[str] | None, known: Mapping[int, str]) -> None:
        self.words, self.known = words, known
        self.timed = graph.slots > 0
        steps = [step for band in graph.bands if not band.after for step in band.steps]
        firsts = [[v for v in step.vertices if v.is_input][:1] for step in steps]
        self.inputs = {id(vertex) for found in firsts for vertex in found}
        self.short: dict[int, str] = {}
        self.unnamed = 0

    def label(self, vertex: Vertex, band: Band | None, step: Step | None) -> str:
        tensor, t = vertex.tensor, None if step is None else step.t
        name = "" if tensor is None else tensor.name or self.known.get(tensor.number, "")
        state = vertex.state is not None and band is not None and bool(band.letters)
        if state and band is not None:
            vertex.letter = self.short[id(vertex)] = band.letters[vertex.state or 0]
        if vertex.initial:
            return f"{vertex.letter} init"
        if id(vertex) in self.inputs:
            if self.words is not None and t is not None and t < len(self.words):
                return self.words[t]
            return name or f"x{'' if t is None else subscript(t)}"
        if not vertex.computed:
            if not name and vertex.place is None and vertex.readers:
                name = "W" if tensor is not None and tensor.ndim > 1 else "b"
                name += subscript(self.unnamed) if self.unnamed else ""
                self.unnamed += 1
            if name:
                self.short[id(vertex)] = name
            return name or ("x" if tensor is not None and tensor.requires_grad else "const")
        base = self._operation(vertex, band)
        if vertex.final:
            one = tensor is not None and tensor.size == 1
            return name or ("loss" if self.timed and one else base)
        if state:
            return f"{base} → {name or vertex.letter + ('' if t is None else subscript(t))}"
        if name:
            self.short[id(vertex)] = name
        return name or base

    def _operation(self, vertex: Vertex, band: Band | None) -> str:
        tensor = vertex.tensor
        assert tensor is not None
        assert tensor.primitive is not None
        symbol, kind = tensor.primitive.symbol, tensor.primitive.name
        links = {link.index: link.source for link in vertex.inputs}
        operands: list[str] = []
        fixed: list[bool] = []  # a weight or a number, which the symbol is written with
        for i, x in enumerate(tensor.inputs):
            source, value = links.get(i), x.data if isinstance(x, Tensor) else x
            number_itself = source is None and np.ndim(value) == 0 and not np.iscomplexobj(value)
            operands.append(
                number(float(value)) if number_itself else self.short.get(id(source), "")
            )
            weight = source is not None and not source.computed and source.place is None
            fixed.append(number_itself or weight)
        if kind in _FUNCTIONS:
            gate = _gate(vertex, band)
            if gate and vertex.state is None:
                self.short[id(vertex)] = gate
            return f"{symbol} {gate}".rstrip()
        if kind == "power" and operands[1]:
            return f"^{operands[1]}"
        if kind in _PAIRS:
            left, right = operands
            space = "" if kind == "matmul" else " "
            if kind == "multiply" and left and right:
                return f"{left}⊙{right}"
            if right and fixed[1]:
                return f"{symbol}{space}{right}"
            if left and fixed[0]:
                return f"{left}{space}{symbol}"
        if kind == "getitem" and operands[0]:
            return f"{operands[0]}[ ]"
        return "mask" if kind == "where" else symbol


def _gate(vertex: Vertex, band: Band | None) -> str:
    """The letter of the gate whose scope the vertex ends, such as f for "forget gate"."""
    scope = vertex.tensor.scope if vertex.tensor is not None else None
    if scope is None or scope.t is not None or scope.step is None:
        return ""
    if all(r.tensor is not None and r.tensor.scope is scope for r in vertex.readers):
        return ""
    word = scope.name.split(" ")[0]
    candidate = "n" if band is not None and band.states == 1 else "g"
    return _GATES.get(word, candidate if word == "candidate" else word)
