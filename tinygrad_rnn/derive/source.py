"""From the graph of one step to the text of a NumPy program over all steps.

Every value gets a place: computed once, for all steps before the loop, in the loop, or for all
steps after it. Values in a loop get an array to be written into, shared where one dies as the next
is made. Then each is printed as one line. What the graph is, and where it comes from, is in
graph.py; running the text is in program.py.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .graph import Node, Step, depends_on, order, users

__all__ = ["Source", "write"]

INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "equal": "==",
    "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}  # fmt: skip
CALLS = {name: f"np.{name}" for name in (
    *INFIX, "positive", "negative", "exp", "log", "sqrt", "sin", "cos", "tanh", "sign", "maximum",
    "minimum",
)} | {"abs": "np.absolute", "sigmoid": "sigmoid"}  # fmt: skip
REDUCTIONS = ("sum", "max", "largest")  # along an axis
VIEWS = ("getitem", "transpose", "reshape", "broadcast_to")  # may share memory with their input
PLURALS = {"x": "xs", "target": "targets", "running": "running"}  # what changes with the step
FOREVER = 10**9
# From this many numbers on, a pass over memory costs more than a call: work stays in the cache.
LARGE = 512

SIGMOID = '''\
def sigmoid(x, out=None):
    """1 / (1 + exp(-x)), without overflow."""
    y = np.multiply(x, 0.5, out=out)
    np.tanh(y, out=y)
    y *= 0.5
    y += 0.5
    return y
'''
ROWS = """\
def rows(a):  # of all steps, as one matrix
    return a.reshape(-1, a.shape[-1])
"""


@dataclass(eq=False)
class Storage:
    """An array that values of a loop are written into, one of them at a time."""

    name: str
    kind: str  # "steps": one for each step; "state": one more; "work": the same at every step
    shape: tuple[int, ...]
    dtype: Any
    parent: Storage | None = None
    key: Any = None
    ranges: list[tuple[int, int, bool]] = field(default_factory=list)
    viewed: bool = False
    start: int = -1  # before this its place in the parent belongs to others

    def fits(self, first: int, last: int, in_place: bool) -> bool:
        """Whether a value may live here from `first` to `last` without meeting another."""
        return first >= self.start and all(
            b < first or (b == first and in_place) or a > last or (a == last and alone)
            for a, b, alone in self.ranges
        )


@dataclass
class Source:
    """The text, and the operations it calls by name."""

    text: str
    functions: dict[str, Any]


class _Names:
    """Names that are legal, and used once."""

    def __init__(self) -> None:
        self.taken = {"np", "T", "B", "H", "t", "dtype", "rows", "sigmoid", "saved"}

    def new(self, wish: str) -> str:
        wish = re.sub(r"\W", "_", wish)
        if keyword.iskeyword(wish) or not wish.isidentifier():
            wish = f"{wish}_"
        name, k = wish, 2
        while name in self.taken:
            name, k = f"{wish}_{k}", k + 1
        self.taken.add(name)
        return name


def is_basic(node: Node) -> bool:
    """Whether a node is a slice, which costs nothing."""
    return node.op == "getitem" and all(isinstance(k, slice) for k in node.kwargs["key"])


def batchable(node: Node, timed: set[Node]) -> bool:
    """Whether the operation can be written for all steps at once."""
    inputs = [x for x in node.nodes() if x in timed]
    if node.op in CALLS or node.op == "where":
        return all(len(x.shape) == len(node.shape) for x in inputs)
    if node.op == "matmul":
        a, b = node.inputs
        return isinstance(a, Node) and isinstance(b, Node) and (
            len(a.shape) == len(b.shape) == 2 and b not in timed
        )  # fmt: skip
    if node.op in REDUCTIONS:
        return node.kwargs.get("axis") is not None
    if node.op in ("reshape", "broadcast_to"):
        return node.op == "reshape" or all(len(x.shape) == len(node.shape) for x in inputs)
    return node.op == "getitem" and not node.kwargs["repeats"] and is_basic(node)


def write(step: Step, title: str) -> Source:
    """The program of a step."""
    return _Writer(step, title).source()


class _Writer:
    """Plans where each value of a step is computed and kept, and prints the two functions.

    A value has one of two homes: `array`, the name of what is there for all steps at once, or
    `slot`, the storage that a loop writes it into. A statement of a loop names what is indexed by
    the step between NUL characters until all are known; what is used twice is then bound first.
    """

    def __init__(self, step: Step, title: str) -> None:
        self.step = step
        self.title = title
        self.names = _Names()
        self.functions: dict[str, Any] = {}
        self.array: dict[Node, str] = {}  # weights, and what is there for all steps at once
        self.slot: dict[Node, tuple[Storage, str]] = {}  # the values of a loop, and which step
        self.text: dict[Node, str] = {}
        self.saved: dict[str, None] = {}
        self.lines: list[str] = []
        self.stems: dict[str, str] = {}
        self.here: set[str] = set()
        # What arrives from the next step is there for one step only: whoever asks for it, as it is,
        # gets a copy.
        copies = {d: Node("positive", (d,), d.shape, d.dtype, 0) for d in step.d_states}

        def lasting(nodes: Iterable[Node | None]) -> list[Node | None]:
            return [n if n is None else copies.get(n, n) for n in nodes]

        step.d_inputs, step.d_old_states = lasting(step.d_inputs), lasting(step.d_old_states)
        self.sums = [
            [(kind, tuple(copies.get(n, n) for n in nodes)) for kind, nodes in self.plan_sum(g)]
            for g in step.d_weights
        ]
        self.plan()

    # --- where each value is computed -----------------------------------------------------------

    def plan_sum(self, g: Node | None) -> list[tuple[str, tuple[Node, ...]]]:
        """A weight's gradient as sums over all steps of products and of columns."""
        found: list[tuple[str, tuple[Node, ...]]] = []
        waiting = [g] if g is not None else []
        while waiting:
            node = waiting.pop(0)
            a = node.inputs[0] if node.inputs else None
            if node.op == "add" and all(
                isinstance(x, Node) and x.shape == node.shape for x in node.inputs
            ):
                waiting += node.inputs
            elif node.op == "matmul" and isinstance(a, Node) and a.op == "transpose" and (
                len(a.shape) == len(node.inputs[1].shape) == 2 and not a.kwargs
            ):  # fmt: skip
                found.append(("product", (a.inputs[0], node.inputs[1])))
            elif node.op == "sum" and node.kwargs["axis"] == (0,) and isinstance(a, Node) and (
                len(a.shape) == 2 and not node.kwargs["keepdims"]
            ):  # fmt: skip
                found.append(("columns", (a,)))
            else:
                found.append(("steps", (node,)))
        return found

    def plan(self) -> None:
        step = self.step
        self.forward = order([step.output, *step.new_states])
        known = self.ahead = set(self.forward)
        roots = [n for terms in self.sums for _, nodes in terms for n in nodes]
        everything = order(
            [*self.forward, *step.d_inputs, *step.d_old_states, *roots, *step.d_states]
        )
        self.backward = [n for n in everything if n not in known]
        leaves = [*step.inputs, *step.states, step.d_output, *step.d_states]
        self.timed = depends_on(everything, leaves)
        self.place: dict[Node, str] = {}
        self.assign(self.forward, step.states, step.new_states)
        self.assign(self.backward, step.d_states, step.d_old_states)
        self.users = users(everything)
        outside = [step.output, *step.d_inputs, *roots]
        self.wanted = {n for n in outside if n is not None}

    def assign(
        self, nodes: Sequence[Node], carried: Sequence[Node], ends: Sequence[Node | None]
    ) -> None:
        """Once, before, in or after the loop: as early as can be, but not before it is needed."""
        waits = depends_on(nodes, carried)
        needed = set(order(ends))
        for node in nodes:
            if node.op == "leaf":
                continue
            before = {self.place.get(x) for x in node.nodes() if x in nodes}
            free, backward = batchable(node, self.timed), nodes is self.backward
            if node not in self.timed:
                place = "once"
            elif node in waits or "loop" in before or "after" in before:
                late = free and not (backward and any(x in carried for x in node.nodes()))
                place = "after" if late and node not in needed else "loop"
            else:
                place = "before" if free else "loop"
            size = int(np.prod(node.shape))
            if place == "before" and backward and node in needed and size > LARGE:
                place = "loop"  # one step's numbers are still in the cache there
            self.place[node] = place
        used = users(nodes)
        for node in reversed(nodes):
            later = {self.place[u] for u in used.get(node, ())}
            if self.place.get(node) == "before" and later == {"after"} and node not in needed:
                self.place[node] = "after"
            # What cannot be written for all steps at once is in the loop, and so what it needs.
            if self.place.get(node) == "after" and "loop" in later:
                self.place[node] = "loop"

    # --- printing -------------------------------------------------------------------------------

    def say(self, line: str = "") -> None:
        self.lines.append(f"    {line}" if line else "")

    def size(self, shape: Sequence[int], steps: str = "") -> str:
        batched = shape and shape[0] == self.B
        parts = (
            [steps] * bool(steps)
            + ["B"] * bool(batched)
            + [*map(self.length, shape[bool(batched) :])]
        )
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})"

    def length(self, n: int) -> str:
        """A length in units of the state's, as the reader thinks of it."""
        if n <= 0 or n % self.H or self.H == 1:
            return str(n)
        return "H" if n == self.H else f"{n // self.H} * H"

    def index(self, key: Sequence[Any]) -> str:
        def one(k: slice) -> str:
            start, stop = ("" if not e else self.length(e) for e in (k.start, k.stop))
            stop = "0" if k.stop == 0 else stop
            gap = " " if "*" in start + stop and start else ""
            tail = f":{k.step}" if k.step not in (None, 1) else ""
            return f"{start}{gap}:{gap or ' ' * ('*' in stop)}{stop}{tail}".strip()

        return ", ".join(one(k) for k in key)

    def dtype(self, dtype: Any) -> str:
        return "dtype" if dtype == self.step.states[0].dtype else f'"{dtype}"'

    def constant(self, x: Any) -> str:
        if isinstance(x, (bool, int, float)) and np.isfinite(x):
            return repr(x)
        name = self.names.new("constant")
        self.functions[name] = x
        return name

    def call(self, node: Node, inputs: Sequence[str], shift: int = 0, out: str = "") -> str:
        """The operation on these operands; `shift` is 1 where steps are the first axis."""
        op, kwargs = node.op, dict(node.kwargs)
        tail = f", out={out}" if out else ""
        if op in INFIX and not out:
            return f"{_bracket(inputs[0])} {INFIX[op]} {_bracket(inputs[1])}"
        if op == "negative" and not out:
            return f"-{_bracket(inputs[0])}"
        if op in CALLS:
            return f"{CALLS[op]}({', '.join(inputs)}{tail})"
        if op == "matmul" and all(len(x.shape) == 2 for x in node.nodes()):
            if not shift:
                return f"{_bracket(inputs[0])} @ {_bracket(inputs[1])}"
            shape = self.size(node.shape, "T")[1:-1]
            return f"(rows({_unbracket(inputs[0])}) @ {_bracket(inputs[1])}).reshape({shape})"
        if op in REDUCTIONS and kwargs.get("axis") is not None and shift:
            rank, axis = len(node.nodes()[0].shape), kwargs["axis"]
            axes = (axis,) if isinstance(axis, int) else axis
            kwargs["axis"] = tuple(a % rank + 1 for a in axes)
        if op in ("sum", "max"):
            axis, keep = kwargs.get("axis"), kwargs.get("keepdims", False)
            return f"np.{op}({inputs[0]}, axis={axis}, keepdims={keep}{tail})"
        if op == "reshape" and shift:
            return f"{_bracket(inputs[0])}.reshape({self.size(node.shape, 'T')})"
        if op == "broadcast_to" and shift:
            return f"np.broadcast_to({inputs[0]}, {self.size(node.shape, 'T')})"
        if op == "getitem" and is_basic(node):
            return f"{_bracket(inputs[0])}[{':, ' * shift}{self.index(kwargs['key'])}]"
        if op == "transpose" and not kwargs:
            return f"{_bracket(inputs[0])}.T"
        if op == "where":
            return f"np.where({', '.join(inputs)})"
        assert node.primitive is not None
        forward = node.primitive.forward
        name = next((n for n, f in self.functions.items() if f is forward), "")
        if not name:
            name = self.names.new(op.replace(" ", "_"))
            self.functions[name] = forward
        extra = [f"{k}={self.argument(v)}" for k, v in kwargs.items()]
        return f"{name}({', '.join([*inputs, *extra])})"

    def argument(self, x: Any) -> str:
        if isinstance(x, (bool, int, float, str, type(None), slice)):
            return repr(x)
        if isinstance(x, tuple):
            return f"({''.join(f'{self.argument(v)}, ' for v in x)})"
        return self.constant(x)

    # --- values for all steps at once -----------------------------------------------------------

    def whole(self, x: Any) -> str:
        """A value of all steps, or one that is the same at every step."""
        if not isinstance(x, Node):
            return self.constant(x)
        if x in self.text:
            return self.text[x]
        if x in self.array:
            return self.remember(self.array[x])
        if x in self.slot:
            storage, at = self.slot[x]
            return (
                self.remember(storage.name)
                + {"t": "", "t + 1": "[1:]", "before": "[:-1]"}[
                    "before" if storage.kind == "state" and at == "t" else at
                ]
            )
        raise AssertionError(f"{x.op} has no value")  # pragma: no cover

    def remember(self, name: str) -> str:
        if self.in_backward and name not in self.here:
            self.saved[name] = None
        return name

    def batch(self, place: str, nodes: Sequence[Node], keep: set[Node], comment: str) -> None:
        """Print what is computed once, or for all steps at once; inline what is used once."""
        todo = [n for n in nodes if self.place.get(n) == place]
        if todo and comment:
            self.say()
            self.say(f"# {comment}")
        for node in todo:
            text = self.call(node, [self.whole(x) for x in node.inputs], place != "once")
            inside = [u for u in self.users.get(node, ()) if self.place.get(u) == place]
            uses = sum(u.nodes().count(node) for u in self.users.get(node, ()))
            if len(inside) == uses == 1 and node not in keep and len(text) < 50:
                self.text[node] = text
                continue
            if node.op == "transpose" and any(
                self.place.get(u) == "loop" for u in self.users.get(node, ())
            ):
                text = f"np.ascontiguousarray({text})"  # read at every step
            name = self.names.new(self.plural(node) if place != "once" else self.label(node))
            self.here.add(name)
            self.array[node] = name
            self.stems[name] = self.label(node)
            self.say(f"{name} = {_unbracket(text)}")

    def label(self, node: Node) -> str:
        """The name in the cell's code, or one that says what it is for."""
        if node.name:
            return node.name
        used = [u for u in self.users.get(node, ()) if u is not node]
        parts = [u.name or "" for u in sorted(used, key=_start) if u.op == "getitem"]
        if parts and all(parts):
            return _together([part for part in parts if part])
        if node.op == "assemble":
            parts = [x.name or "" for x in node.nodes()]
            if all(p.startswith("d_") for p in parts):
                return "d_" + _together([part[2:] for part in parts])
        first = node.nodes()[0].name if node.nodes() else None
        if node.op == "matmul" and all(x.name for x in node.nodes()):
            return "_".join(x.name or "" for x in node.nodes())
        if node.op == "transpose" and first:
            return f"{first}_T"
        if len(node.inputs) == 1 and first and node.op in CALLS:
            return f"{node.op}_{first}"
        ahead, steps = node, 0
        while ahead.name is None and steps < 8:  # what it is a part of
            near = [u for u in self.users.get(ahead, ()) if (u in self.ahead) != self.in_backward]
            if len(near) != 1:
                break
            ahead, steps = near[0], steps + 1
        if ahead.name:
            stem = ahead.name.removeprefix("d_")
            return f"slope_{stem}" if stem != ahead.name else f"to_{stem}"
        if ahead is not node and any(u.op == "getitem" for u in self.users.get(ahead, ())):
            return self.label(ahead)
        return "part"

    def plural(self, node: Node) -> str:
        label = self.label(node)
        return f"{label}es" if len(label) > 3 and label.endswith("s") else f"{label}s"

    # --- loops ----------------------------------------------------------------------------------

    def loop(
        self, nodes: Sequence[Node], carried: Sequence[Node], ends: Sequence[Node | None]
    ) -> list[tuple[str, str]]:
        """Give every value of the loop its array; return the copies that end an iteration."""
        body = [n for n in nodes if self.place.get(n) == "loop"]
        self.body = body
        at = {n: k for k, n in enumerate(body)}
        inside = set(body)
        last: dict[Node, int] = {}
        kept: set[Node] = set()
        for node in [*carried, *body]:
            used = self.users.get(node, ())
            last[node] = max((at[u] for u in used if u in inside), default=at.get(node, -1))
            outside = any(u not in inside for u in used if self.place.get(u))
            if (node in self.wanted or outside) and (self.in_backward or node not in ends):
                kept.add(node)
        last |= {node: FOREVER for node in [*ends, *kept] if node in inside}
        for node in reversed(body):  # a view lives in its input
            for x in node.nodes():
                if node.op in VIEWS and x in last:
                    last[x] = max(last[x], last[node])
        slot = self.slot
        copies: list[tuple[str, str]] = []

        def put(node: Node, storage: Storage, step: str = "t") -> None:
            end = FOREVER if node in kept or node in ends else last[node]
            storage.ranges.append((at.get(node, -1), end, node.op in CALLS))
            slot[node] = (storage, step)

        def part(node: Node, storage: Storage, key: Any) -> Storage:
            storage.viewed = True
            wish = self.plural(node) if storage.kind == "steps" else self.label(node)
            found = self.declare(wish, storage.kind, node, storage, key)
            if is_basic(node):
                found.start = at[node]
                base = node.nodes()[0]
                others = [u for u in self.users[base] if u is not node]
                if base in kept or base in ends or any(
                    not is_basic(u) or _overlap(key, u.kwargs["key"], base.shape) for u in others
                ):  # fmt: skip
                    found.ranges.append((-1, FOREVER, False))  # somebody else looks there
            return found

        def may(node: Node, storage: Storage) -> bool:
            end = FOREVER if node in kept or node in ends else last[node]
            alike = storage.shape == node.shape and storage.dtype == node.dtype
            return alike and storage.fits(at[node], end, node.op in CALLS)

        def writable(node: Any) -> bool:
            return node in inside and node not in slot and (
                node.op in CALLS or node.op in ("sum", "max", "assemble")
                or (node.op == "matmul" and all(len(x.shape) == 2 for x in node.nodes()))
            )  # fmt: skip

        # 1. What is carried to the next iteration goes straight to where that one looks for it.
        for leaf, end in zip(carried, ends, strict=True):
            if self.in_backward:
                storage = self.declare(leaf.name or "d_state", "carry", leaf)
                slot[leaf] = (storage, "t")
                storage.ranges.append((-1, last[leaf], False))
            else:
                storage = self.declare(self.plural(leaf), "state", leaf)
                slot[leaf] = (storage, "t")
            self.carriers.append(storage)
            step = "t" if self.in_backward else "t + 1"
            if writable(end) and end is not None and (
                not self.in_backward
                or (end not in kept and storage.fits(at[end], FOREVER, end.op in CALLS))
            ):  # fmt: skip
                put(end, storage, step)
            else:
                copies.append((storage.name, step))
                self.copied[storage.name] = end
        # 2. The parts of what is put together are written where they belong.
        for node in body:
            if node.op == "assemble" and writable(node):
                storage = self.declare(
                    self.plural(node) if node in kept else self.label(node),
                    "steps" if node in kept else "work", node,
                )  # fmt: skip
                put(node, storage)
                for x, key in zip(node.nodes(), node.kwargs["keys"], strict=True):
                    if writable(x) and x.op != "assemble":
                        last[x] = max(last[x], last[node])
                        put(x, part(x, storage, key))
        # 3. In place of an input that is not needed any more, best one that is kept for all steps.
        for node in body:
            source = node.nodes()[0] if node.nodes() else None
            if node in slot:
                continue
            if is_basic(node) and len(node.kwargs["key"]) > 0 and source is not None:
                if writable(source):
                    keep = any(self.grows_into(n, kept) for n in self.users[source])
                    put(source, self.declare(
                        self.plural(source) if keep else self.label(source),
                        "steps" if keep else "work", source,
                    ))  # fmt: skip
                found = self.storage_of(source)
                if found and (found.kind == "steps" or (found.kind == "work" and node not in kept)):
                    put(node, part(node, found, node.kwargs["key"]))
                    continue
            if node.op in CALLS:
                options = [s for x in node.nodes() if x in inside or x in self.array or x in carried
                           if (s := self.storage_of(x, last)) and may(node, s)]  # fmt: skip
                options = [s for s in options if self.mine(s)]
                if self.in_backward and node in kept:
                    options = []  # a gradient that is kept has an array of its own name
                options.sort(key=lambda s: ("carry", "steps", "work").index(s.kind))
                options = [s for s in options if s.kind == "steps" or node not in kept]
                if options:
                    put(node, options[0])
                    continue
            if node in kept:
                put(node, self.declare(self.plural(node), "steps", node))
        # 4. The rest goes where its consumer will be, or into work space.
        for node in reversed(body):
            if not writable(node):
                continue
            homes = [slot[u] for u in self.users.get(node, ()) if u in slot and u.op in CALLS]
            spare = [(s, "t") for s in self.work if not s.viewed and s.kind == "work"]
            for storage, step in [*homes, *spare]:
                if may(node, storage) and self.mine(storage):
                    put(node, storage, step)
                    break
            else:
                put(node, self.declare(self.label(node), "work", node))
        return copies

    def mine(self, storage: Storage) -> bool:
        """Whether this loop may write there: not into what the forward pass has saved."""
        while storage.parent:
            storage = storage.parent
        return storage in self.work

    def grows_into(self, node: Node, kept: set[Node]) -> bool:
        """Whether a slice, or what is computed in its place, is kept for all steps."""
        return node in kept or any(u in kept and u.op in CALLS for u in self.users.get(node, ()))

    def storage_of(self, node: Any, last: dict[Node, int] | None = None) -> Storage | None:
        if node in self.slot:
            found = self.slot[node][0]
            return found if last is None or found.kind not in ("state",) else None
        if self.place.get(node) == "before" and node in self.array and node.op not in VIEWS:
            storage = Storage(self.array[node], "steps", node.shape, node.dtype)
            used = self.users.get(node, ())
            at = {n: k for k, n in enumerate(self.body)}
            end = max((FOREVER if u.op in VIEWS else at.get(u, FOREVER) for u in used), default=0)
            if all(is_basic(u) for u in used):
                end = -1  # only its slices are used
            storage.ranges.append((-1, FOREVER if node in self.wanted else end, False))
            if self.in_backward == (node in self.backward):
                self.work.append(storage)
            self.slot[node] = (storage, "t")
            return storage
        return None

    def declare(
        self, wish: str, kind: str, node: Node, parent: Storage | None = None, key: Any = None
    ) -> Storage:
        storage = Storage(self.names.new(wish), kind, node.shape, node.dtype, parent, key)
        self.work.append(storage)
        self.here.add(storage.name)
        self.stems[storage.name] = self.label(node)
        return storage

    def step_text(self, x: Any) -> str:
        """A value inside of a loop: a marker for arrays that are indexed by the step."""
        if not isinstance(x, Node):
            return self.constant(x)
        if x in self.local:
            return self.local[x]
        if x in self.slot:
            storage, at = self.slot[x]
            if storage.kind in ("work", "carry"):
                return storage.name
            return f"\0{self.remember(storage.name)}[{at}]\0"
        name = self.whole(x)
        return f"\0{name}[t]\0" if x in self.timed else name

    def statement(self, node: Node) -> None:
        """One line of a loop."""
        if node.op == "assemble":
            storage = self.slot[node][0]
            for x, key in zip(node.nodes(), node.kwargs["keys"], strict=True):
                if x not in self.slot or self.slot[x][0].parent is not storage:
                    target = self.step_text(node)
                    self.inner.append(f"{target}[{self.index(key)}] = {self.step_text(x)}")
            return
        if node in self.slot and is_basic(node) and self.slot[node][0].parent:
            return
        inputs = [self.step_text(x) for x in node.inputs]
        if node not in self.slot:
            text = _unbracket(self.call(node, inputs))
            name = self.names.new(self.label(node))
            self.inner.append(f"{name} = {text}")
            self.local[node] = name
            return
        out = self.step_text(node)
        storage = self.slot[node][0]
        if node.op == "matmul":
            whole = storage.parent is None
            function = "np.dot" if whole else "np.matmul"
            self.inner.append(f"{function}({inputs[0]}, {inputs[1]}, out={out})")
        elif node.op in ("add", "subtract", "multiply", "divide") and inputs[0] == out:
            self.inner.append(f"{out} {INFIX[node.op]}= {_unbracket(inputs[1])}")
        elif node.op in ("add", "multiply") and inputs[1] == out:
            self.inner.append(f"{out} {INFIX[node.op]}= {_unbracket(inputs[0])}")
        elif node.op in CALLS or node.op in ("sum", "max"):
            self.inner.append(self.call(node, inputs, out=out))
        else:
            self.inner.append(f"{out}[...] = {_unbracket(self.call(node, inputs))}")

    def print_loop(
        self, head: str, nodes: Sequence[Node], carried: Sequence[Node],
        ends: Sequence[Node | None], comment: str,
    ) -> None:  # fmt: skip
        self.inner: list[str] = []
        self.local: dict[Node, str] = {}
        self.work: list[Storage] = []
        self.carriers: list[Storage] = []
        self.copied: dict[str, Node | None] = {}
        self.steps: set[str] = set()
        copies = self.loop(nodes, carried, ends)
        joined = self.side_by_side()
        outside = set(self.names.taken)
        for node in self.body:
            if node not in joined:
                self.statement(node)
            elif joined[node] is not None:
                text = f"\0{joined[node]}[t]\0" if joined[node] in self.steps else joined[node]
                self.inner.append(f"{CALLS[node.op]}({text}, out={text})")
        for name, at in copies:
            end = self.copied[name]
            value = "0" if end is None else self.step_text(end)
            self.inner.append(f"{name}[{'...' if self.in_backward else at}] = {value}")
        self.say()
        self.say("# What the loop writes into.")
        for storage in self.work:
            self.declaration(storage)
        self.say()
        self.say(f"# {comment}")
        self.say(head)
        count: dict[str, int] = {}
        for line in self.inner:
            for found in re.findall("\0(.*?)\0", line):
                count[found] = count.get(found, 0) + 1
        bound: dict[str, str] = {}
        for found, uses in count.items():
            name, at = found[:-1].split("[")
            if uses > 1 and (at == "t + 1" or name not in {c.name for c in self.carriers}):
                stem = self.stems.get(name, name.removesuffix("s"))
                bound[found] = self.names.new(stem if stem not in self.names.taken else f"{stem}_t")
        items = list(bound.items())
        for k in range(0, len(items), 4):
            group = items[k : k + 4]
            self.say(f"    {', '.join(v for _, v in group)} = {', '.join(f for f, _ in group)}")
        for line in self.inner:
            self.say("    " + re.sub("\0(.*?)\0", lambda m: bound.get(m[1], m[1]), line))
        self.names.taken = outside | set(self.functions)

    def side_by_side(self) -> dict[Node, str | None]:
        """Slices that one function is applied to in place, next to each other: one call for all.

        Maps the first of them to the name of the whole slice and the others to None.
        """
        found: dict[Node, str | None] = {}
        groups: dict[tuple[str, Node], list[Node]] = {}
        for node in self.body:
            x = node.nodes()[0] if len(node.inputs) == 1 and node.op in CALLS else None
            if x and is_basic(x) and x in self.slot and self.slot[node] == self.slot[x]:
                groups.setdefault((node.op, x.nodes()[0]), []).append(node)
        for nodes in groups.values():
            nodes.sort(key=lambda n: _start(n.nodes()[0]))
            keys = [n.nodes()[0].kwargs["key"] for n in nodes]
            run = 1
            while run < len(nodes) and keys[run - 1][-1].stop == keys[run][-1].start:
                run += 1
            if run == 1 or any(k[:-1] != keys[0][:-1] for k in keys):
                continue
            storage = self.slot[nodes[0]][0]
            key = (*keys[0][:-1], slice(keys[0][-1].start, keys[run - 1][-1].stop))
            label = "".join(n.name or "" for n in nodes[:run])
            name = self.names.new(f"{label}s" if storage.kind == "steps" else label)
            self.work.append(Storage(name, storage.kind, (), storage.dtype, storage.parent, key))
            self.stems[name] = label
            if storage.kind == "steps":
                self.steps.add(name)
            first = min(nodes[:run], key=self.body.index)
            found |= {n: name if n is first else None for n in nodes[:run]}
        return found

    def declaration(self, storage: Storage) -> None:
        if storage.name in self.array.values():
            return
        if storage.parent:
            steps = ":, " * (storage.kind == "steps")
            self.say(f"{storage.name} = {storage.parent.name}[{steps}{self.index(storage.key)}]")
        elif storage.kind == "carry":
            self.say(f"{storage.name} = {storage.name}.copy()")
        else:
            steps = {"steps": "T", "state": "T + 1", "work": ""}[storage.kind]
            self.say(f"{storage.name} = np.empty({self.size(storage.shape, steps)}, "
                     f"{self.dtype(storage.dtype)})")  # fmt: skip
            if storage.kind == "state":
                k = self.carriers.index(storage)
                self.say(f"{storage.name}[0] = {self.arguments[len(self.step.inputs) + k]}")

    # --- the two functions ----------------------------------------------------------------------

    def source(self) -> Source:
        step = self.step
        self.B, self.H = step.states[0].shape[0], step.states[0].shape[-1]
        self.in_backward = False
        for node in step.inputs:
            self.array[node] = self.names.new(PLURALS[node.name or "x"])
        states = [self.names.new(s.name or "state") for s in step.states]
        for node in step.weights:
            self.array[node] = self.names.new(node.name or "W")
        weights = [self.array[w] for w in step.weights]
        self.arguments = [*(self.array[x] for x in step.inputs), *states, *weights]
        self.say(self.sizes("xs", states[0]))
        forward = self.forward
        keep = {step.output, *step.new_states} | {
            x for n in self.backward for x in n.nodes() if x in set(forward)
        } | self.wanted  # fmt: skip
        self.batch("once", forward, keep, "What needs only the weights.")
        self.batch("before", forward, keep, "What needs only the inputs: all steps at once.")
        self.print_loop(
            "for t in range(T):", forward, step.states, step.new_states, "The recurrence."
        )
        finals = [f"{c.name}[T]" for c in self.carriers]
        hidden = {n for n in step.new_states if n not in self.slot}
        for node, c in zip(step.new_states, self.carriers, strict=True):
            if node in hidden or self.slot[node][0].kind != "state":
                self.slot[node] = (c, "t + 1")  # from here on it is looked for there
        self.batch("after", forward, keep, "What the recurrence does not need: all steps at once.")
        output = self.whole(step.output)
        if step.output not in self.timed:
            output = f"np.broadcast_to({output}, {self.size(step.output.shape, 'T')})"
        opening, self.lines = self.lines, []
        arguments = ", ".join(self.arguments)
        backward = self.print_backward(states)
        saved = [s for s in self.saved if s not in weights] + [
            w for w in weights if w in self.saved
        ]
        body = "\n".join(opening + backward)
        helpers = [t for t, mark in ((SIGMOID, "sigmoid("), (ROWS, "rows(")) if mark in body]
        text = "\n".join([
            "import numpy as np\n\n",
            *(f"{helper}\n" for helper in helpers),
            f"def forward({arguments}):",
            f'    """{self.title} over all steps: outputs, last state, what the way back needs."""',
            *opening, "",
            f"    return {output}, {_tuple(finals)}, {_tuple(saved)}\n\n",
            f"def backward(saved, d_ys, {', '.join(self.d_names)}):",
            '    """The gradients of what forward was given, in its order."""',
            f"    {_tuple(saved)[1:-1]} = saved" if saved else "    # Nothing was saved.",
            *backward, "",
        ])  # fmt: skip
        return Source(text, self.functions)

    def sizes(self, sequence: str, state: str) -> str:
        rank = len(self.step.states[0].shape)
        names = "(B, H)" if rank == 2 else "(B, *_, H)" if rank > 2 else "(B,)"
        return f"T, {names}, dtype = len({sequence}), {state}.shape, {state}.dtype"

    def print_backward(self, states: Sequence[str]) -> list[str]:
        step = self.step
        self.in_backward, self.here = True, {"d_ys"}
        self.text = {}
        self.names.taken.add("d_ys")
        self.array[step.d_output] = "d_ys"
        for leaf, name in zip(step.d_states, states, strict=True):
            leaf.name = f"d_{name}"
        self.say(self.sizes("d_ys", f"d_{states[0]}"))
        nodes = self.backward
        keep = self.wanted
        comment = "What does not wait for the gradient."
        self.batch("once", nodes, keep, comment)
        self.batch(
            "before",
            nodes,
            keep,
            "" if any(self.place.get(n) == "once" for n in nodes) else comment,
        )
        self.arguments = []
        self.print_loop(
            "for t in reversed(range(T)):", nodes, step.d_states, step.d_old_states,
            "The recurrence, backwards.",
        )  # fmt: skip
        self.d_names = [c.name for c in self.carriers]
        self.batch("after", nodes, keep, "What the recurrence does not need: all steps at once.")
        self.say()
        self.say("# One product over all steps for each weight.")
        gradients = []
        for node in step.d_inputs:
            gradients.append("None" if node is None else self.whole_or_repeated(node))
        gradients += ["None"] * (len(step.inputs) - 1) + self.d_names
        for weight, terms in zip(step.weights, self.sums, strict=True):
            if not terms:
                gradients.append("None")
                continue
            name = self.names.new(f"d_{self.array[weight]}")
            self.say(f"{name} = {' + '.join(self.sum_text(kind, n) for kind, n in terms)}")
            gradients.append(name)
        self.say(f"return {', '.join(gradients)}")
        return self.lines

    def whole_or_repeated(self, node: Node) -> str:
        text = self.whole(node)
        if node in self.timed:
            return text
        return f"np.broadcast_to({text}, {self.size(node.shape, 'T')})"

    def sum_text(self, kind: str, nodes: tuple[Node, ...]) -> str:
        if any(n not in self.timed for n in nodes):
            kind = "repeated" if kind == "steps" else kind
        whole = [self.whole_or_repeated(n) for n in nodes]
        if kind == "product":
            return f"rows({whole[0]}).T @ rows({whole[1]})"
        if kind == "columns":
            return f"rows({whole[0]}).sum(axis=0)"
        return f"{_bracket(whole[0])}.sum(axis=0)"


def _overlap(one: Sequence[slice], other: Sequence[slice], shape: Sequence[int]) -> bool:
    """Whether two slices have an entry in common."""
    return all(
        set(range(n)[a]) & set(range(n)[b]) for a, b, n in zip(one, other, shape, strict=False)
    )


def _together(names: Sequence[str]) -> str:
    """One name for several side by side: ``ifgo``, or ``rzn_h`` for r_h, z_h and n_h."""
    split = [name.partition("_") for name in names]
    for kept, other in ((0, 2), (2, 0)):
        if len({part[other] for part in split}) == 1 and all(
            len(part[kept]) == 1 for part in split
        ):
            letters, rest = "".join(part[kept] for part in split), split[0][other]
            return "_".join([letters, rest][:: 1 if kept == 0 else -1]).strip("_")
    return "_".join(names)


def _start(node: Node) -> int:
    key = node.kwargs.get("key", ())
    return key[-1].start or 0 if key and isinstance(key[-1], slice) else 0


def _bracket(text: str) -> str:
    closed = (
        re.fullmatch(r"[\w.]+|\0[^\0]*\0|[\w.]*(\[[^\[\]]*\])?", text)
        or (re.match(r"[\w.]*\(", text) and _closes_last(text))
        or re.fullmatch(r"\(rows\([^()]*\) @ \w+\)\.reshape\([^()]*\)", text)
    )
    return text if closed else f"({text})"


def _closes_last(text: str) -> bool:
    """Whether the first bracket closes at the very end."""
    depth = 0
    for k, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if depth == 0 and letter in ")]" and k < len(text) - 1:
            return False
    return True


def _tuple(names: Sequence[str]) -> str:
    return f"({', '.join(names)}{',' * (len(names) == 1)})"


def _unbracket(text: str) -> str:
    return (
        text[1:-1] if text.startswith("(") and text.endswith(")") and _closes_last(text) else text
    )
