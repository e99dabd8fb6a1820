"""One step of a cell as a graph of operations: the equations, and their gradient.

`record` runs the cell once, asks the engine for the gradient of that step as a graph, and watches
both being recorded. Equal operations become one, and sums and products are regrouped so that what
does not wait for the recurrence stands together. How the graph is printed is in source.py.
"""

from __future__ import annotations

import inspect
import itertools
import pickle
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array, Primitive, Tensor, primitive, where
from ..engine.backprop import walk
from ..engine.scope import recording
from ..nn import named_call
from ..nn.module import Module
from ..nn.names import watched

__all__ = ["DeriveError", "Node", "Step", "modules_of", "order", "record", "regroup"]

_OURS = tuple(str(Path(__file__).parents[1] / floor) for floor in ("engine", "functions"))


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
    Growing turns part 0 of its state from float64 of shape (7, 3) into float64 of shape (7, 6)
    """


@dataclass(eq=False)
class Node:
    """One value of a step: a leaf, or an operation on other nodes and constants."""

    op: str
    inputs: tuple[Any, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    number: int
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    primitive: Primitive | None = None
    name: str | None = None
    line: str = ""

    def nodes(self) -> list[Node]:
        """The inputs that are not constants."""
        return [x for x in self.inputs if isinstance(x, Node)]


@dataclass(eq=False)
class Step:
    """What one step computes, forward and backward.

    Leaves by what they change with: `inputs` (x, and the mask) and `d_output` with the time step,
    `states` and `d_states` are carried from step to step, `weights` stay.
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


class _Watcher:
    """Stands where `detect_anomaly` stands and sees every operation, recorded or constant."""

    def __init__(self) -> None:
        self.of: dict[int, Node] = {}  # by the identity of the array
        self.known: dict[Any, Node] = {}
        self.history: list[Any] = []
        self.alive: list[Any] = []

    def leaf(self, tensor: Tensor, name: str) -> Node:
        node = Node("leaf", (), tensor.shape, tensor.dtype, len(self.alive), name=name)
        self.of[id(tensor.data)] = node
        self.alive.append(tensor.data)
        return node

    def node(self, tensor: Tensor) -> Node:
        if id(tensor.data) not in self.of:
            return self.leaf(tensor, tensor.name or "constant")
        return self.of[id(tensor.data)]

    def made(
        self, made_by: Primitive, arrays: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
    ) -> None:
        inputs = tuple(self.of.get(id(a), a) for a in arrays)
        if not any(isinstance(x, Node) for x in inputs):
            return
        try:
            constants = pickle.dumps([kwargs, [x for x in inputs if not isinstance(x, Node)]])
        except Exception as error:
            raise DeriveError(f"{made_by.name} has an argument that is not data: {error}") from None
        numbers = tuple(x.number if isinstance(x, Node) else -1 for x in inputs)
        key = (made_by.name, numbers, constants)
        frame: Any = sys._getframe(2)
        while frame.f_back and frame.f_code.co_filename.startswith(_OURS):
            frame = frame.f_back
        line = f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"
        self.history.append((key, line))
        if key not in self.known:
            self.known[key] = Node(
                made_by.name, inputs, out.shape, out.dtype, len(self.alive), dict(kwargs), made_by,
                line=line,
            )  # fmt: skip
        self.of[id(out.data)] = self.known[key]
        self.alive.append(out.data)

    def sent(self, *_: Any) -> None:
        """Messages need no check."""


def record(
    cell: Any, x: Array, state: Any, wants_x: bool, masked: bool,
    readout: Any = None, target: Array | None = None,
) -> Step:  # fmt: skip
    """Record one step and its gradient; twice, on different numbers, to see that nothing depends.

    Raises
    ------
    DeriveError
        If the two recordings differ: Python looked at the data, or drew random numbers.
    """
    rng = np.random.default_rng(0)
    several = isinstance(state, tuple)
    parts = [rng.standard_normal(s.shape).astype(s.dtype) for s in (state if several else [state])]
    x = rng.standard_normal(x.shape).astype(x.dtype) if x.dtype.kind == "f" else x
    targets = None if target is None else (target, -target)
    results = []
    for k, sign in enumerate((1, -1)):
        moved = [sign * p for p in parts]
        read = readout, targets and targets[k]
        results.append(_record_once(cell, sign * x, moved, several, wants_x, masked, read))
    (step, history), (_, again) = results
    # The longer record has the operation that the other one lacks, and its line.
    history, again = sorted((history, again), key=len, reverse=True)
    for (one, line), (other, _) in itertools.zip_longest(history, again, fillvalue=(("",), "")):
        if one != other:
            raise DeriveError(
                f"{type(cell).__name__} cannot be derived: {one[0]} at {line} was recorded "
                f"differently for different numbers. Python branches on the data there, or a "
                f"constant is computed from it or drawn at random; use where and operations on "
                f"tensors instead, or run the cell with unroll"
            )
    return step


def _record_once(
    cell: Any, x: Array, parts: list[Array], several: bool, wants_x: bool, masked: bool, read: Any
) -> tuple[Step, list[Any]]:
    watcher = _Watcher()
    before, recording.watcher = recording.watcher, watcher
    try:
        with np.errstate(all="ignore"):
            return _record(watcher, cell, x, parts, several, wants_x, masked, read), watcher.history
    finally:
        recording.watcher = before


def _record(
    watcher: _Watcher, cell: Any, x: Array, parts: list[Array], several: bool, wants_x: bool,
    masked: bool, read: tuple[Any, Array | None],
) -> Step:  # fmt: skip
    readout, target = read
    parameters = tensors_of(cell, readout)
    weights = [watcher.leaf(p, path.replace(".", "_")) for path, p in parameters.items()]
    x_t = Tensor(x, requires_grad=wants_x)
    old = [Tensor(part, requires_grad=True) for part in parts]
    inputs = [watcher.leaf(x_t, "x")]
    states = [watcher.leaf(s, f"state_{i}") for i, s in enumerate(old)]
    output, new, names = named_call(cell, x_t, tuple(old) if several else old[0])
    new = list(new) if isinstance(new, tuple) else [new]
    if readout is not None:
        given = [] if target is None else [Tensor(target)]
        inputs += [watcher.leaf(tensor, "target") for tensor in given]
        output, more = watched(readout, output, *given)
        names = more | names
        if not isinstance(output, Tensor) or output.shape[:1] != x.shape[:1]:
            raise DeriveError(
                f"the readout returned {getattr(output, 'shape', type(output).__name__)}; expected "
                f"something for each of the {len(x)} sequences of the step, such as their losses"
            )
    for tensor in (t for t in [output, *new] if not isinstance(t, Tensor)):
        raise DeriveError(f"{type(cell).__name__} returned a {type(tensor).__name__}: give tensors")
    for tensor, name in names.items():
        node = watcher.of.get(id(tensor.data))
        if node and (node.op != "leaf" or node in states):
            node.name = name
    for node in watcher.known.values():
        a = node.inputs[0]
        if node.op in ("tanh", "sigmoid", "relu") and node.name and isinstance(a, Node):
            a.name = a.name or f"a_{node.name}"  # the activation, as it is before the nonlinearity
    if masked:
        running = Tensor(np.ones((len(x), 1), bool))
        inputs.append(watcher.leaf(running, "running"))
        output, *new = (
            where(running if n.ndim == 2 else running.reshape(-1, *[1] * (n.ndim - 1)), n, o)
            for n, o in zip([output, *new], [0.0, *old], strict=True)
        )
    ends = [output, *new]
    for k, (end, old_part) in enumerate(zip(new, old, strict=True)):
        if end.shape != old_part.shape or end.dtype != old_part.dtype:
            raise DeriveError(
                f"{type(cell).__name__} turns part {k} of its state from {old_part.dtype} of shape "
                f"{old_part.shape} into {end.dtype} of shape {end.shape}; a program needs a state "
                f"that stays alike. Give initial_state the shape and dtype of the state"
            )
    d_ends = [Tensor(np.ones(end.shape, end.dtype)) for end in ends]
    labels = ["d_y", *(f"d_{s.name}" for s in states)]
    d_leaves = [watcher.leaf(d, label) for d, label in zip(d_ends, labels, strict=True)]
    # The step has several results and the traversal starts from one: join them.
    join = primitive("step", lambda *_: np.zeros(()), lambda *_: tuple(d_ends), joint=True)
    wanted = [x_t, *old, *(p for p in parameters.values() if p.requires_grad)]
    found: dict[int, Node] = {}
    joined = join(*ends)
    if isinstance(joined, Tensor) and joined.requires_grad:
        for tensor, g in walk(joined, Tensor(np.zeros(())), True, min(t.number for t in wanted)):
            if tensor is joined:
                continue
            node = found[tensor.number] = watcher.node(g)
            label = watcher.of[id(tensor.data)].name
            if node.op != "leaf" and node.name is None and label:
                node.name = f"d_{label}"
    return Step(
        inputs, states, weights, watcher.node(output), [watcher.node(n) for n in new],
        d_leaves[0], d_leaves[1:],
        [found.get(x_t.number) if wants_x else None],
        [found.get(s.number) for s in old],
        [found.get(p.number) if p.requires_grad else None for p in parameters.values()],
    )  # fmt: skip


def tensors_of(cell: Any, readout: Any = None) -> dict[str, Tensor]:
    """The parameters by path, and the constants among the attributes; a readout's come last."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for module in (cell, modules_of(readout)):
        if not isinstance(module, Module):
            continue
        own = {name: value for name, value in vars(module).items() if isinstance(value, Tensor)}
        for path, tensor in (module.named_parameters() | own).items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                found[f"readout.{path}" if path in found else path] = tensor
    return found


def modules_of(readout: Any) -> Any:
    """A readout as a Module: of a function, the modules and tensors that it refers to."""
    if readout is None or isinstance(readout, Module):
        return readout
    used = inspect.getclosurevars(readout)
    holder = Module()
    for name, value in {**used.globals, **used.nonlocals}.items():
        if isinstance(value, (Module, Tensor)):
            setattr(holder, name, value)
    return holder


def order(roots: Iterable[Node | None]) -> list[Node]:
    """Everything the roots depend on, each node after its inputs."""
    found: dict[Node, None] = {}
    waiting = [root for root in roots if root is not None][::-1]
    while waiting:
        node = waiting[-1]
        missing = [x for x in node.nodes() if x not in found]
        if missing:
            waiting += missing[::-1]
        else:
            found[waiting.pop()] = None
    return list(found)


def users(nodes: Iterable[Node]) -> dict[Node, list[Node]]:
    """Who uses each node."""
    found: dict[Node, list[Node]] = {}
    for node in nodes:
        for x in node.nodes():
            found.setdefault(x, []).append(node)
    return found


def depends_on(nodes: Iterable[Node], leaves: Iterable[Node]) -> set[Node]:
    """The nodes, given in order, that depend on one of the leaves."""
    found = set(leaves)
    for node in nodes:
        if any(x in found for x in node.nodes()):
            found.add(node)
    return found


def regroup(step: Step) -> Step:
    """The same step with sums and products regrouped; see the three rewritings below.

    Products: ``(d·y)·(1 - y)`` becomes ``d·(y·(1 - y))``, so that the second factor does not wait
    for d. Sums likewise. Slices written into zeros and added become one array put together.
    """
    roots: list[Node | None] = [
        step.output, *step.new_states, *step.d_inputs, *step.d_old_states, *step.d_weights,
    ]  # fmt: skip
    nodes = order(roots)
    used = users(nodes)
    for root in roots:
        if root is not None:
            used.setdefault(root, []).append(root)
    carried = depends_on(nodes, [*step.states, *step.d_states])
    d_carried = depends_on(nodes, step.d_states)
    gradients = depends_on(nodes, [step.d_output, *step.d_states])
    timed = depends_on(nodes, [*step.inputs, *step.states, step.d_output, *step.d_states])

    def wait(node: Any, loop: set[Node]) -> int:
        """How long a value is waited for: weights, what is known before the loop, the loop."""
        return 1 + (node in loop) if node in timed else 0

    new: dict[Node, Node] = {}
    for node in nodes:
        inputs = tuple(new[x] if isinstance(x, Node) else x for x in node.inputs)
        made = node
        if inputs != node.inputs:
            made = Node(
                node.op, inputs, node.shape, node.dtype, node.number, node.kwargs, node.primitive,
                node.name, node.line,
            )  # fmt: skip
        if node.op in ("add", "multiply"):
            terms = list(_terms(node, used))
            pieces = [t for t in terms if isinstance(t, Node) and t.op == "scatter"]
            if node.op == "add" and (axis := _tiles(node, pieces)) is not None:
                pieces.sort(key=lambda p: p.kwargs["key"][axis].start)
                keys = [p.kwargs["key"] for p in pieces]
                whole = Node(
                    "assemble", tuple(new[p.nodes()[0]] for p in pieces), node.shape, node.dtype,
                    node.number, {"keys": keys}, name=node.name, line=node.line,
                )  # fmt: skip
                terms = [t for t in terms if t not in pieces]
                made = (
                    whole if not terms else _joined(node, [whole, *(new.get(t, t) for t in terms)])
                )
            else:
                loop = d_carried if node in gradients else carried
                levels = [wait(t, loop) if isinstance(t, Node) else 0 for t in terms]
                fits = all(
                    w == 0 or t.shape == node.shape for t, w in zip(terms, levels, strict=True)
                )
                if fits and len(terms) > 2 and len(set(levels)) > 1:
                    terms = [new[t] if isinstance(t, Node) else t for t in terms]
                    grouped = [
                        [t for t, w in zip(terms, levels, strict=True) if (w == 2) == late]
                        for late in (False, True)
                    ]
                    early = [_joined(node, grouped[0], name=None)] if grouped[0] else []
                    made = _joined(node, [*early, *grouped[1]])
        new[node] = made

    def of(node: Any) -> Any:
        return None if node is None else new.get(node, node)

    return Step(
        step.inputs, step.states, step.weights, of(step.output), [*map(of, step.new_states)],
        step.d_output, step.d_states, [*map(of, step.d_inputs)], [*map(of, step.d_old_states)],
        [*map(of, step.d_weights)],
    )  # fmt: skip


def _terms(node: Node, used: Mapping[Node, list[Node]]) -> Iterator[Any]:
    """The operands of a chain of one operation, as far as nobody else uses what is between."""
    waiting = [*node.inputs[::-1]]
    while waiting:
        x = waiting.pop()
        if isinstance(x, Node) and x.op == node.op and len(used[x]) == 1 and x.shape == node.shape:
            waiting += x.inputs[::-1]
        else:
            yield x


def _joined(like: Node, terms: Sequence[Any], name: str | None = "") -> Node:
    """The operation of `like` on any number of operands, from the left."""
    result = terms[0]
    for k, term in enumerate(terms[1:], 2):
        shape = np.broadcast_shapes(np.shape(result), np.shape(term))
        last = k == len(terms) and name == ""
        result = Node(
            like.op, (result, term), shape, like.dtype, like.number, {}, like.primitive,
            like.name if last else None, like.line,
        )  # fmt: skip
    return result  # type: ignore[no-any-return]


def _tiles(node: Node, pieces: Sequence[Node]) -> int | None:
    """The axis along which slices put side by side cover the whole array, if they do."""
    if len(pieces) < 2:
        return None
    keys = [p.kwargs["key"] for p in pieces]
    axis = len(keys[0]) - 1
    whole = (slice(None),) * axis
    if not all(
        len(k) == axis + 1 and k[:-1] == whole and isinstance(k[-1], slice)
        and k[-1].step is None and isinstance(k[-1].start, int) and isinstance(k[-1].stop, int)
        for k in keys
    ):  # fmt: skip
        return None
    spans = sorted((k[-1].start, k[-1].stop) for k in keys)
    meets = all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    return axis if meets and spans[0][0] == 0 and spans[-1][1] == node.shape[axis] else None
