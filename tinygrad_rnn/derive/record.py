"""One step of a cell as a graph of operations: the equations, and their gradient.

`record` runs a copy of the cell, asks the engine for the gradient of that step as a graph, and
watches both being recorded. It does so several times on different numbers, in the inputs, the
state and the weights: what is not the same each time, Python has computed from the data, and no
program can repeat it. Operations that are equal become one.
"""

from __future__ import annotations

import contextlib
import itertools
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array, Primitive, Tensor, primitive, where
from ..engine import primitives as p
from ..engine.backprop import walk
from ..engine.scope import recording
from ..functions.anomaly import user_line
from ..nn.names import named_call
from ..nn.unroll import _returned
from .surroundings import Surroundings

__all__ = ["DeriveError", "Node", "Recorded", "Step", "quiet", "record", "sample", "together"]

# A step has several results and a traversal starts from one: this joins them, and hands each the
# gradient that stands beside it.
_join = primitive(
    "step",
    lambda *_: np.zeros(()),
    lambda g, y, *ends: (*ends[len(ends) // 2 :], *[None] * (len(ends) // 2)),
    joint=True,
)

# What a step is recorded at: a seed, and the sizes of input and state; the first two with its
# gradient. Some are others with all signs turned, and some are zero.
_TRIALS = (
    (1, 1.0, 1.0), (2, 1e-3, 1e-3), (3, 1e2, 1e2), (3, -1e2, -1e2), (4, 1.0, 1.0), (4, -1.0, -1.0),
    (5, 1.0, 0.0), (6, 0.0, 1.0), (7, 0.0, 0.0),
)  # fmt: skip


class DeriveError(ValueError):
    """A cell cannot be written as a program; the message names the operation and its line.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> class Growing(tr.nn.ElmanCell):
    ...     def __call__(self, x, h):
    ...         return h, tr.concatenate([h, h], axis=-1)
    >>> try:
    ...     tr.derive(Growing(2, 3)).source
    ... except tr.DeriveError as error:
    ...     print(str(error).partition(";")[0])
    Growing was given float64 (7, 3) as its state and returned (float64 (7, 3), float64 (7, 6))
    """


@dataclass(eq=False)
class Node:
    """One value of a step: a leaf, or an operation on other nodes and constants.

    Settings may hold nodes too: the words that are looked up in a table.
    """

    primitive: Primitive | None
    inputs: tuple[Any, ...]
    settings: Mapping[str, Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str | None = None
    number: int = 0
    told: bool = False  # whether the cell's own code has this name
    nodes: list[Node] = field(init=False)  # the inputs that are no constants

    def __post_init__(self) -> None:
        self.nodes = []
        exchanged((self.inputs, self.settings), self.nodes.append)

    def on(self, new: Callable[[Node], Node]) -> Node:
        """The same operation on other nodes."""
        inputs, settings = exchanged((self.inputs, self.settings), new)
        return replace(self, inputs=inputs, settings=settings)


def exchanged(x: Any, new: Callable[[Any], Any], kind: type = Node) -> Any:
    """A setting with each node in it, or each object of another kind, exchanged for a new one."""
    if isinstance(x, kind):
        return new(x)
    if isinstance(x, (tuple, list)):
        return type(x)(exchanged(part, new, kind) for part in x)
    if isinstance(x, Mapping):
        return {key: exchanged(part, new, kind) for key, part in x.items()}
    return x


@dataclass(eq=False)
class Step:
    """What one step computes, forward and backward.

    Leaves by what they change with: `inputs` (x, the target, the mask) and `d_output` with the time
    step, `states` and `d_states` are carried from step to step, `weights` stay.
    """

    inputs: list[Node]
    states: list[Node]
    weights: list[Node]
    output: Node
    new_states: list[Node]
    d_output: Node
    d_states: list[Node]
    d_inputs: list[Node | None]
    d_old_states: list[Node | None]
    d_weights: list[Node | None]

    def roots(self) -> list[Node]:
        """What is asked of a step, forward and backward."""
        gradients = (*self.d_inputs, *self.d_old_states, *self.d_weights)
        return [self.output, *self.new_states, *(n for n in gradients if n is not None)]


@dataclass
class Recorded:
    """A step, the weights it met, and what can be run again to be compared with a program."""

    step: Step
    weights: list[Tensor]
    copies: list[Tensor]  # of the weights, for the copies of cell and readout among `surroundings`
    surroundings: Surroundings
    several: bool  # whether the state is a tuple


class _Watcher:
    """Sees every operation as it is made, whether it is recorded or constant."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.first = Tensor(0).number
        self.of: dict[int, Node] = {}  # by the identity of the array
        self.known: dict[Any, Node] = {}
        self.history: list[Any] = []
        self.alive: list[Any] = []
        self.outside = surroundings.tensors
        self.inputs: list[Node] = []
        self.states: list[Node] = []
        self.weights: dict[Tensor, Node] = {}
        self.gradients: dict[int, Node] = {}  # by the number of the tensor
        self.lines: dict[int, str] = {}  # by the identity of the array
        self.line: str | None = None  # of the operation whose rules are running

    def leaf(self, tensor: Tensor, name: str) -> Node:
        node = Node(None, (), {}, tensor.shape, tensor.dtype, name, len(self.alive))
        self.of[id(tensor.data)] = node
        self.alive.append(tensor.data)
        return node

    def weight(self, tensor: Tensor, name: str) -> Node:
        if tensor not in self.weights:
            self.weights[tensor] = self.leaf(tensor, name.replace(".", "_"))
        return self.weights[tensor]

    def node(self, array: Any, tensor: Any = None) -> Any:
        """What stands for an operand: a node, or the operand itself if it is a constant."""
        if id(array) in self.outside:
            copy, _, path = self.outside[id(array)]
            return self.weight(copy, path)
        if isinstance(tensor, Tensor) and tensor.number < self.first:
            return self.weight(tensor, tensor.name or "W")
        return self.of.get(id(array), array)

    def made(
        self, by: Primitive, arrays: Sequence[Any], settings: Mapping[str, Any], out: Tensor
    ) -> None:
        tensors = out.inputs or (None,) * len(arrays)
        inputs = tuple(map(self.node, arrays, tensors))
        settings = exchanged(settings, self.node, np.ndarray)
        node = Node(by, inputs, settings, out.shape, out.dtype, number=len(self.alive))
        if not node.nodes:
            return
        file, number = user_line()
        line = self.line or f"{Path(file).name}, line {number}"
        try:
            constants = pickle.dumps(exchanged((inputs, settings), lambda n: ("node", n.number)))
        except Exception as error:
            raise DeriveError(
                f"{by.name} at {line} cannot be derived: an argument is no data: {error}"
            ) from None
        key = (by, constants)
        self.history.append((key, line))
        self.of[id(out.data)] = self.known.setdefault(key, node)
        self.lines[id(out.data)] = line
        self.alive.append(out.data)

    def sent(self, *_: Any) -> None:
        """Messages need no watching."""


@contextlib.contextmanager
def quiet(watcher: Any = None) -> Iterator[None]:
    """Record for ourselves: in no scope, for no other watcher, and leave all as it was."""
    before = recording.enabled, recording.scope, recording.watcher
    recording.enabled, recording.scope, recording.watcher = True, None, watcher
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        recording.enabled, recording.scope, recording.watcher = before


def sample(
    like: Array, shape: tuple[int, ...], rng: np.random.Generator, scale: float = 1.0
) -> Array:
    """Random numbers of the dtype of `like`; integers of its range, but not all the same."""
    if like.dtype.kind == "b":
        return rng.random(shape) < 0.5
    if like.dtype.kind in "iu":
        low, high = (int(like.min()), int(like.max())) if like.size else (0, 0)
        return rng.integers(min(low, 0), max(high, 1) + 1, shape).astype(like.dtype)
    return (scale * rng.standard_normal(shape)).astype(like.real.dtype)


def record(
    cell: Any, readout: Any, xs: Array, state: Any, targets: Array | None, masked: bool,
    wants_x: bool,
) -> Recorded:  # fmt: skip
    """Record one step and its gradient.

    Raises
    ------
    DeriveError
        If recordings differ: Python looked at the data, or drew random numbers; or if a step
        changes what the cell holds.
    """
    rng = np.random.default_rng(0)
    title = type(cell).__name__

    def other(tensor: Tensor) -> Array:
        """Numbers of the size of the tensor's own."""
        data = tensor.data.real  # of a weight that a complex step moves
        if data.dtype.kind != "f" or not data.size:
            return data.copy()
        size = float(np.sqrt(np.mean(np.square(data, dtype=np.float64))))
        return sample(data, data.shape, rng, size if 0 < size < np.inf else 1.0)

    several = isinstance(state, tuple)
    parts = [sample(part.data, part.shape, rng) for part in (state if several else (state,))]
    worlds = [Surroundings([cell, readout], other) for _ in range(2)]
    for k, (seed, size, state_size) in enumerate(_TRIALS):
        draw = np.random.default_rng(seed)
        world = worlds[k > 0]
        watcher = _Watcher(world)
        given = (
            Tensor(sample(xs, xs.shape[1:], draw, size), xs.dtype.kind in "fc"),
            [Tensor(sample(s, s.shape, draw, state_size), s.dtype.kind == "f") for s in parts],
            None if targets is None else Tensor(sample(targets, targets.shape[1:], draw)),
        )
        ahead = None
        with quiet(watcher):
            try:
                ahead = _forward(watcher, world.roots, given, several, masked, named=k == 0)
                new, forward = ahead[1], list(watcher.history)
                dtypes = [n.dtype for n in new]
                if dtypes != [part.dtype for part in parts]:  # a state that gains precision
                    wide = [Tensor(part, dtype=d) for part, d in zip(parts, dtypes, strict=True)]
                    state = tuple(wide) if several else wide[0]
                    return record(cell, readout, xs, state, targets, masked, wants_x)
                if k < 2:  # the gradient too
                    step = _backward(watcher, given, ahead, wants_x)
            except Exception as error:
                if isinstance(error, DeriveError) or (k == 0 and ahead is None):
                    raise  # what is wrong with the input is said as `unroll` says it
                raise DeriveError(f"{title} cannot be derived: {error}") from error
        if changed := world.changed():
            raise DeriveError(
                f"{title} cannot be derived: a step changes {', '.join(changed)}, which a program, "
                f"derived from one step, would not do; carry it in the state, or run the cell with "
                f"unroll"
            )
        if k == 0:
            first, expected = (step, watcher), forward
        _compare(title, expected, forward)
        if k == 1:
            _compare(title, first[1].history, watcher.history)
    step, watcher = first
    originals = {copy: tensor for copy, tensor, _ in worlds[0].tensors.values()}
    step.weights = list(watcher.weights.values())
    step.d_weights = [watcher.gradients.get(w.number) for w in watcher.weights]
    weights = [originals.get(w, w) for w in watcher.weights]
    return Recorded(step, weights, list(watcher.weights), worlds[0], several)


def _forward(
    watcher: _Watcher, roots: Sequence[Any], given: Any, several: bool, masked: bool, named: bool
) -> tuple[Tensor, list[Tensor]]:
    """Run the step, and note the names in its code: its output, and the parts of its new state."""
    call = named_call if named else lambda function, *arguments: (function(*arguments), {})
    cell, readout = roots
    x, old, target = given
    title = type(cell).__name__
    watcher.inputs = [watcher.leaf(x, "x")]
    watcher.states = [watcher.leaf(s, f"state_{i}") for i, s in enumerate(old)]
    state = tuple(old) if several else old[0]
    result, names = call(cell, x, state)
    try:
        output, state = _returned(cell, result, state)
    except TypeError as error:  # what `unroll` says of it
        raise DeriveError(str(error)) from None
    new = list(state) if several else [state]
    if readout is not None:
        if target is not None:
            watcher.inputs.append(watcher.leaf(target, "target"))
        output, more = call(readout, output, *(() if target is None else (target,)))
        names = more | names
        if not isinstance(output, Tensor) or output.shape[:1] != x.shape[:1]:
            raise DeriveError(
                f"the readout returned {getattr(output, 'shape', type(output).__name__)}; expected "
                f"something for each of the {len(x)} sequences of the step, such as their losses"
            )
    for end in [output, *new]:
        if not isinstance(watcher.node(end.data), Node):
            raise DeriveError(
                f"{title} returned a {type(end).__name__} that it has not computed from its input, "
                f"its state or its weights; a program has nothing to compute it from"
            )
    _give_names(watcher, names)
    if masked:
        running = Tensor(np.arange(len(x))[:, None] % 2 == 0)
        watcher.inputs.append(watcher.leaf(running, "running"))
        for node in (watcher.node(n.data) for n in new):  # what it is called where all are running
            node.name = f"new_{node.name}" if node.primitive and node.name else node.name
        output, *new = (
            where(running if n.ndim == 2 else running.reshape((-1, *[1] * (n.ndim - 1))), n, o)
            for n, o in zip([output, *new], [0.0, *old], strict=True)
        )
    return output, new


def _backward(watcher: _Watcher, given: Any, ahead: Any, wants_x: bool) -> Step:
    """Ask for the gradient of the step that has just been run, as a graph."""
    x, old, _ = given
    output, new = ahead
    ends = [output, *new]
    d_ends = [Tensor(np.ones(end.shape, end.dtype)) for end in ends]
    labels = ["d_y", *(f"d_{s.name}" for s in watcher.states)]
    d_leaves = [watcher.leaf(d, label) for d, label in zip(d_ends, labels, strict=True)]
    names = {id(node): node.name for node in watcher.of.values()}
    joined = _join(*ends, *d_ends)
    found = watcher.gradients
    if isinstance(joined, Tensor) and joined.requires_grad:
        oldest = min(t.number for t in (x, *watcher.weights))
        for tensor, g in walk(joined, Tensor(np.zeros(())), True, oldest):
            watcher.line = watcher.lines.get(id(tensor.data))
            node = watcher.node(g.data)
            if tensor is joined or not isinstance(node, Node):
                continue
            found[tensor.number] = node
            label = names.get(id(watcher.of.get(id(tensor.data))))
            if node.primitive and node.name is None and label:
                node.name = f"d_{label}"
    return Step(
        watcher.inputs, watcher.states, [], watcher.node(output.data),
        [watcher.node(n.data) for n in new], d_leaves[0], d_leaves[1:],
        [found.get(x.number) if wants_x else None], [found.get(s.number) for s in old], [],
    )  # fmt: skip


def _give_names(watcher: _Watcher, names: Mapping[Tensor, str]) -> None:
    """Call values as the cell's code does, and what they are made of after them."""
    for tensor, name in names.items():
        node = watcher.of.get(id(tensor.data))
        if node in watcher.states:
            node.name = name
        elif node and node.primitive and not node.told:
            node.name, node.told = name, True
    slices: dict[Node, list[Node]] = {}
    for node in watcher.known.values():
        if node.primitive is p.take and node.name and node.nodes:
            slices.setdefault(node.nodes[0], []).append(node)
        if node.told and len(node.inputs) == 1 and node.primitive and node.primitive.entrywise:
            (a,) = node.inputs  # the activation, as it is before the nonlinearity
            a.name = a.name or f"a_{node.name}"
    for whole, parts in slices.items():
        whole.name = whole.name or together([part.name or "" for part in sorted(parts, key=_start)])


def _start(node: Node) -> int:
    key = node.settings["key"][-1]
    return key.start or 0 if isinstance(key, slice) else 0


def together(names: Sequence[str]) -> str:
    """One name for several side by side: ``ifgo``, or ``rzn_h`` for r_h, z_h and n_h."""
    split = [name.partition("_") for name in names]
    for kept, other in ((0, 2), (2, 0)):
        same = len({part[other] for part in split}) == 1
        if same and all(len(part[kept]) == 1 for part in split):
            letters, rest = "".join(part[kept] for part in split), split[0][other]
            return "_".join([letters, rest][:: 1 if kept == 0 else -1]).strip("_")
    return "_".join(names)


def _compare(title: str, one: list[Any], other: list[Any]) -> None:
    # The longer record has the operation that the other one lacks, and its line.
    longer, shorter = sorted((one, other), key=len, reverse=True)
    for (key, line), (same, _) in itertools.zip_longest(longer, shorter, fillvalue=(None, "")):
        if key is not None and key != same:
            raise DeriveError(
                f"{title} cannot be derived: {key[0].name} at {line} was recorded differently for "
                f"different numbers. Python branches on the data there, or a constant is computed "
                f"from it or drawn at random; use where and operations on tensors instead, or run "
                f"the cell with unroll"
            )
