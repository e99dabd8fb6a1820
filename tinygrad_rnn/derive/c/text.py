"""A schedule printed as C99: two functions, forward and backward, written to be read.

Expressions are syntax trees, as in NumPy's text: C and Python write sums, products and calls
alike. Sizes that do not change from call to call are written as numbers; T and B are arguments.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...engine import primitives as p
from ...functions import reductions as r
from ..record import DeriveError, Node
from ..schedule import PLURALS, Schedule, Sum, axis_of
from ..spelling import number_in_c, spelled_in_c
from .fuse import Fused, Task, is_basic

__all__ = ["Block", "Printed", "with_helpers", "write"]

_TYPES = {
    "float64": "double", "float32": "float", "bool": "bool", "int64": "int64_t",
    "int32": "int32_t", "int16": "int16_t", "int8": "int8_t", "uint8": "uint8_t",
}  # fmt: skip
_DEFINED = re.compile(r"^(?:static|void|#define)[\w *]*?\b(\w+)[(;]", re.M)


def _read_helpers() -> list[tuple[list[str], str]]:
    """The blocks of helpers.c, each with the names that it defines, and those for float."""
    text = Path(__file__).with_name("helpers.c").read_text(encoding="utf-8")
    blocks = [(_DEFINED.findall(block), block) for block in text.rstrip().split("\n\n")[1:]]
    known = {name for names, _ in blocks for name in names}
    words = "|".join([*known - {"where", "entry", "part"}, "gemm", "fabs", "copysign"])
    for names, block in [*blocks]:
        if "double" in block and f"{names[0]}f" not in known:
            block = re.sub(rf"\b({words})\b", r"\1f", block).replace("double", "float")
            block = re.sub(r"\b\d+\.\d+\b", r"\g<0>f", block)
            blocks.append(([f"{name}f" for name in names], block))
    return blocks


_HELPERS = _read_helpers()
_HEADERS = ("math", "stdbool", "stdint", "stddef", "string")
# Words of C, of its headers, of the helpers and of this text; what a cell calls so is renamed.
_TAKEN = (
    """
    asm auto break case char const continue default do double else enum extern float for goto if
    inline int long main register restrict return short signed sizeof static struct switch typedef
    typeof union unsigned void volatile while bool true false linux unix
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf exp exp2 expm1 fabs floor
    hypot log log10 log1p log2 pow rint sin sinh sqrt tan tanh trunc memset memcpy
    T B H t k k1 k2 k3 k4 k5 k6 row col saved work wrong top total best count forward backward
""".split()
    + [name for names, _ in _HELPERS for name in [*names, "gemm"]]
)
_ALONG = (p.sum, r.max, r.min, r.softmax, r.log_softmax, r.logsumexp)
_LONGEST = 60  # letters of an expression that is written within another one


class Block(NamedTuple):
    """An array that the text names: so many `slots` of a shape, one for each step."""

    name: str
    slots: str  # "T", "T + 1", "2", or "" for what stays
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    batched: bool = False

    def whole(self, T: int) -> tuple[int, ...]:
        """The shape with the slots."""
        return (self.count(T), *self.shape) if self.slots else self.shape

    def count(self, T: int) -> int:
        """How many slots there are."""
        return {"": 1, "2": 2, "T": T, "T + 1": T + 1}[self.slots]

    @property
    def step(self) -> int:
        """The bytes of one slot."""
        return math.prod(self.shape) * self.dtype.itemsize

    def size(self, T: int) -> int:
        """In bytes, up to the next line of the cache."""
        return -(-self.count(T) * self.step // 64) * 64


@dataclass
class Printed:
    """The text of a program, and the arrays of its two functions by name.

    `arguments` are those of the functions, in order, behind T and B; `saved` and `work` are cut
    into arrays by the functions themselves. `output` names the array of the outputs and tells
    whether they begin at its second slot.
    """

    text: str = ""
    blocks: dict[str, Block] = field(default_factory=dict)
    arguments: list[list[str]] = field(default_factory=lambda: [[], []])
    saved: list[Block] = field(default_factory=list)
    work: list[list[Block]] = field(default_factory=lambda: [[], []])
    constants: dict[str, Any] = field(default_factory=dict)
    output: tuple[str, int] = ("", 0)
    inputs: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    gradients: list[str | None] = field(default_factory=list)
    d_ys: str = ""
    d_states: list[str] = field(default_factory=list)


def write(plan: Schedule, title: str) -> Printed:
    """The program of a schedule as C.

    Raises
    ------
    DeriveError
        For an operation that has no spelling in C, or numbers that have no type.
    """
    return _Writer(plan, title).found


def with_helpers(text: str) -> str:
    """A text behind the headers and the helpers that it calls."""
    for names, block in reversed(_HELPERS):
        if any(re.search(rf"\b{name}\b", text) for name in names):
            text = f"{block}\n\n{text}"
    return "\n".join([*(f"#include <{name}.h>" for name in _HEADERS), "", text])


class _Writer:
    def __init__(self, plan: Schedule, title: str) -> None:
        self.plan, self.title, self.step = plan, title, plan.step
        self.fused = Fused(plan)
        _, *rest = self.step.states[0].shape
        self.H = rest[0] if len(rest) == 1 else 0
        self.found = Printed()
        self.taken = set(_TAKEN)
        self.at: dict[Any, tuple[Block, str]] = {}  # array, and the slot of step t
        self.next: dict[Node, tuple[Block, str]] = {}  # where a state's next value goes
        self.local: dict[Node, ast.expr] = {}
        self.index: list[str] = []
        self.lines: list[str] = []
        self.depth = 0
        self.inputs = [
            self.given(n, PLURALS.get(n.name or "", "xs"), "T") for n in self.step.inputs
        ]
        states = [self.block(n.name or "state", "", n) for n in self.step.states]
        weights = [self.given(n, n.name or "W", "") for n in self.step.weights]
        d_states = [
            self.block(f"d_{b.name}", "", n) for b, n in zip(states, self.step.states, strict=True)
        ]
        d_ys = self.given(self.step.d_output, "d_ys", "T")
        d_weights = [
            self.block(f"d_{b.name}", "", n)
            for b, n, terms in zip(weights, self.step.weights, plan.sums, strict=True) if terms
        ]  # fmt: skip
        self.place_values()
        d_x = [] if self.fused.d_x is None else [self.results()]
        found = self.found
        found.inputs, found.states, found.weights = (
            [b.name for b in blocks] for blocks in (self.inputs, states, weights)
        )
        found.gradients = [d_x[0].name if d_x else None, *[None] * (len(self.inputs) - 1)]
        found.gradients += [b.name for b in d_states]
        found.d_ys, found.d_states = d_ys.name, [b.name for b in d_states]
        each = iter(d_weights)
        found.gradients += [next(each).name if terms else None for terms in plan.sums]
        bodies = []
        for k, ends in enumerate([states, d_states]):
            self.lines, self.depth = [], 1
            self.function(k, ends, d_weights)
            bodies.append(self.lines)
        constants = [self.found.blocks[name] for name in self.found.constants]
        common = [*self.inputs, *weights, *constants]
        heads = [
            [*self.inputs, *states, *weights, *constants],
            [*common, d_ys, *d_states, *d_x, *d_weights],
        ]
        self.found.text = self.source(heads, bodies, [*states, d_ys, *d_states, *d_x, *d_weights])

    # --- arrays ---------------------------------------------------------------------------------

    def block(self, wish: str, slots: str, x: Any) -> Block:
        """A new array for a node or a constant, with a name of its own."""
        name = free(wish, self.taken)
        self.taken.add(name)
        batched = isinstance(x, Node) and self.fused.batched(x)
        found = self.found.blocks[name] = Block(name, slots, shape_of(x), x.dtype, batched)
        self.type(found)
        return found

    def given(self, node: Node, wish: str, slots: str) -> Block:
        found = self.block(wish, slots, node)
        self.at[node] = found, "t" if slots else ""
        return found

    def place_values(self) -> None:
        """Give an array to what has to be in memory."""
        fused = self.fused
        ends = {state: end for end, state in fused.ends.items()}
        for k, part in enumerate(self.plan.passes):
            for state in part.carried:
                whole = fused.memory.get(state, 1) > 1
                block = self.block(self.plan.plural(state), "T + 1" if whole else "2", state)
                slots = ("t", "t + 1") if whole else ("t % 2", "(t + 1) % 2")
                before, after = slots[:: -1 if k else 1]
                self.at[state], self.next[state] = (block, before), (block, after)
                if state in ends:
                    self.at[ends[state]] = block, after
                kept = state in fused.crosses or ends.get(state) in fused.crosses
                (self.found.saved if kept and not k else self.found.work[k]).append(block)
            for node, place in fused.place.items():
                if place.section[0] != k or node not in fused.memory or node in fused.ends:
                    continue
                if node is fused.d_x and k:
                    self.given(node, "d_xs", "T")
                    continue
                whole = fused.memory[node] > 1 and node in self.plan.timed
                label = self.plan.plural(node) if whole else self.plan.label(node)
                block = self.block(label, "T" if whole else "", node)
                self.at[node] = block, "t" if whole else ""
                kept = node in fused.crosses and not k
                (self.found.saved if kept else self.found.work[k]).append(block)
        block, slot = self.at[self.step.output]
        self.found.output = block.name, int(slot == "t + 1")

    def results(self) -> Block:
        """Where the gradient of the inputs goes; what is not computed into it is copied."""
        d_x = self.fused.d_x
        assert d_x is not None
        if d_x in self.at and self.at[d_x][0].name == "d_xs":
            return self.at[d_x][0]
        copied = replace(d_x)
        block = self.block("d_xs", "T", d_x)
        self.next[copied] = block, "t"
        self.fused.loops[1, "results"] = {0: [[Task(copied, d_x, turns=True)]]}
        return block

    # --- text -----------------------------------------------------------------------------------

    def source(
        self, heads: Sequence[Sequence[Block]], bodies: Sequence[Sequence[str]],
        written: Sequence[Block],
    ) -> str:  # fmt: skip
        """The file: headers, the helpers that are used, both functions."""
        functions = []
        for k, name in enumerate(("forward", "backward")):
            text = "\n".join(bodies[k])
            used = [b for b in heads[k] if re.search(rf"\b{b.name}\b", text)]
            self.found.arguments[k] = [b.name for b in used]
            parameters = ["int64_t T", "int64_t B"]
            parameters += [("" if b in written else "const ") + self.declared(b) for b in used]
            parameters += ["char *saved", "char *work"]
            cuts = [self.cut(b, "saved") for b in self.found.saved]
            cuts += [self.cut(b, "work") for b in self.found.work[k]]
            head = textwrap.fill(
                f"int64_t {name}({', '.join(parameters)})", 100, subsequent_indent=" " * 8
            )
            lines = [
                head,
                "{",
                "    int64_t wrong = 0;",
                *cuts,
                *bodies[k],
                "    return wrong;",
                "}",
            ]
            functions.append("\n".join(lines))
        text = "\n\n".join(functions)
        if re.search(r"\bH\b", text):
            text = f"enum {{ H = {self.H} }};\n\n{text}"
        return f"/* {self.title} over all steps, and its gradient. */\n{with_helpers(text)}\n"

    def type(self, x: Any) -> str:
        name = np.dtype(x.dtype).name
        if name not in _TYPES:
            raise self.refused(f"numbers of type {name} have no type there")
        return _TYPES[name]

    def refused(self, why: str) -> DeriveError:
        return DeriveError(
            f"{self.title} cannot be printed as C: {why}; derive(cell, target='numpy') works"
        )

    def length(self, n: int) -> str:
        """A length in units of the state's, as the reader thinks of it."""
        whole = self.H > 1 and n > 0 and n % self.H == 0
        return ("H" if n == self.H else f"{n // self.H} * H") if whole else str(n)

    def lengths(self, block: Any, batched: bool) -> list[str]:
        return ["B" if batched and k == 0 else self.length(n) for k, n in enumerate(block)]

    def declared(self, block: Block) -> str:
        """As a parameter: ``double xs[T][B][8]``."""
        sizes = [block.slots] * bool(block.slots) + self.lengths(block.shape, block.batched)
        if not sizes:
            return f"{self.type(block)} *{block.name}"
        return f"{self.type(block)} {block.name}" + "".join(f"[{n}]" for n in sizes)

    def cut(self, block: Block, memory: str) -> str:
        """The line that cuts an array off a piece of memory."""
        sizes = [block.slots] * bool(block.slots) + self.lengths(block.shape, block.batched)
        first, *rest = sizes or ["1"]
        name = f"(*{block.name})" if rest else f"*{block.name}"
        count = f"({first})" if " " in first else first
        return (
            f"    {self.type(block)} {name}{''.join(f'[{n}]' for n in rest)} = "
            f"part(&{memory}, {count} * sizeof *{block.name});"
        )

    def say(self, *lines: str) -> None:
        self.lines += ["    " * self.depth + line if line else "" for line in lines]

    @contextlib.contextmanager
    def loop(self, head: str) -> Iterator[None]:
        """What is said within is in the loop's brackets."""
        self.say(f"for ({head}) {{" if head else "{")
        self.depth += 1
        yield
        self.depth -= 1
        self.say("}")

    @contextlib.contextmanager
    def entries(
        self, shape: Sequence[int], batched: bool, axes: Sequence[int] | None = None,
        index: Sequence[str] = (), simd: str | None = "",
    ) -> Iterator[list[str]]:  # fmt: skip
        """Loops over the entries of a shape, along some axes; gives the index of an entry.

        `simd` is what the pragma says of the innermost loop, or None if its order matters.
        """
        names = ["row", *(f"k{n}" for n in range(1, len(shape))), "col"]
        names = ["row"] if batched and len(shape) == 1 else [*names[: len(shape) - 1], "col"]
        found = [*index] or ["0"] * len(shape)
        sizes = self.lengths(shape, batched)
        axes = range(len(shape)) if axes is None else axes
        axes = [k for k in axes if sizes[k] != "1"]
        with contextlib.ExitStack() as stack:
            if not axes:
                stack.enter_context(self.loop(""))
            for k in axes:
                found[k] = names[k]
                if k == axes[-1] and simd is not None:
                    self.say(f"#pragma omp simd {simd}".rstrip())
                i = names[k]
                stack.enter_context(self.loop(f"int64_t {i} = 0; {i} < {sizes[k]}; {i}++"))
            yield found

    # --- values ---------------------------------------------------------------------------------

    def cell(self, x: Node, index: Sequence[str], next: bool = False) -> str:
        """An entry of an array at this step."""
        block, slot = (self.next if next else self.at)[x]
        places = [slot] * bool(slot) + [*index]
        return block.name + "".join(f"[{k}]" for k in places or ["0"])

    def where(self, x: Any) -> tuple[Block, str]:
        """The array of a node or a constant, and its slot at this step."""
        return self.at[x] if isinstance(x, Node) else (self.constant(x), "")

    def pointer(self, x: Any, whole: bool = False) -> str:
        """The first entry of an array at this step, or of all steps."""
        block, slot = self.where(x)
        slot = {"t": "0", "t + 1": "1"}[slot] if whole else slot
        return block.name + (f"[{slot}]" if slot else "") + "[0]" * (len(block.shape) - 1)

    def constant(self, x: Any) -> Block:
        name = next((k for k, v in self.found.constants.items() if v is x), None)
        if name is None:
            name = self.block("constant", "", x).name
            self.found.constants[name] = x
        return self.found.blocks[name]

    def read(self, x: Any, index: Sequence[str], suffix: str = "") -> ast.expr:
        """An entry of an operand, which broadcasts."""
        if np.ndim(x) == 0 and not isinstance(x, Node):
            return ast.Name(
                number_in_c(x.item() if isinstance(x, (np.ndarray, np.generic)) else x, suffix)
            )
        shape = shape_of(x)
        batched = self.fused.batched(x) if isinstance(x, Node) else False
        index = [
            "0" if n == 1 and not (batched and k == 0) else i
            for k, (n, i) in enumerate(zip(shape, index[len(index) - len(shape) :], strict=True))
        ]
        if not isinstance(x, Node):
            return ast.Name(self.constant(x).name + "".join(f"[{i}]" for i in index))
        if x in self.local and index == self.index:
            return self.local[x]
        if x in self.fused.inline:
            return self.expression(x, index)
        if self.fused.through(x):
            return self.view(x, index)
        return ast.Name(self.cell(x, index))

    def view(self, x: Node, index: Sequence[str]) -> ast.expr:
        """An entry of a slice, a transpose and so on: where it stands in the source."""
        do, source = x.primitive, x.inputs[0]
        shape = source.shape
        if do is p.broadcast_to:
            return self.read(source, index)
        if do is p.transpose:
            axes = x.settings.get("axes") or range(len(shape))[::-1]
            places = dict(zip((a % len(shape) for a in axes), index, strict=True))
            return self.read(source, [places[k] for k in range(len(shape))])
        if do is p.take:
            return self.read(source, self.taken_from(x.settings["key"], shape, index))
        if self.fused.keeps_order(x):
            long = iter(index[k] for k in self.fused.long_axes(x))
            there = self.fused.long_axes(source)
            return self.read(source, [next(long) if k in there else "0" for k in range(len(shape))])
        block, slot = self.where(source)  # a cast, since C knows the bounds of each axis
        row = f"((const {self.type(block)} *){f'&{block.name}[{slot}]' if slot else block.name})"
        return ast.Name(f"{row}[{self.flat(x, index)}]")

    def flat(self, x: Node, index: Sequence[str]) -> str:
        """The number of an entry in the row of all."""
        found = "0"
        for i, n in zip(index, self.lengths(x.shape, self.fused.batched(x)), strict=True):
            found = f"({found})" if " + " in found else found
            n = f"({n})" if " " in n else n
            found = i if found == "0" else f"{found} * {n}" + (f" + {i}" if i != "0" else "")
        return found

    def taken_from(
        self, key: Sequence[Any], shape: Sequence[int], index: Sequence[str]
    ) -> list[str]:
        """Where the entry at an index of ``array[key]`` stands in the array."""
        waiting, axis = iter(index), 0
        found: list[str] = []
        named = sum(k is not None and k is not ... for k in key)
        full = [slice(None)] * (len(shape) - named)
        at = next((n for n, k in enumerate(key) if k is ...), len(key))
        for k in [*key[:at], *full, *key[at + 1 :]]:
            if k is None:
                next(waiting)
                continue
            if isinstance(k, int):
                found.append(str(k % shape[axis]))
            else:
                start, _, step = k.indices(shape[axis])
                place = next(waiting)
                if step != 1:
                    place = f"({place}) * ({step})"
                first = [self.length(start)] if start else []
                found.append(" + ".join([*first, *([place] if place != "0" else [])]) or "0")
            axis += 1
        return found

    def expression(self, node: Node, index: Sequence[str]) -> ast.expr:
        """One entry of a value, calculated."""
        do = node.primitive
        assert do is not None
        kinds = [x.dtype for x in node.nodes if x.dtype != bool] or [node.dtype]
        dtype = node.dtype if node.dtype.kind == "f" else np.result_type(*kinds)
        suffix = "f" if dtype == np.float32 else ""
        if do is p.astype:
            return cast(self.type(node), self.read(node.inputs[0], index))
        if do is p.take and not is_basic(node):
            source = node.inputs[0]
            at = self.where(source)
            return ast.Name(self.key_entry(node, at, shape_of(source), node, index))
        if do in (p.transpose, p.take, p.broadcast_to, p.reshape):
            return self.view(node, index)
        operands = []
        for x in node.inputs:
            entry = self.read(x, index, suffix)
            other = isinstance(x, (Node, np.ndarray)) and x.dtype not in (dtype, bool)
            operands.append(cast(_TYPES[dtype.name], entry) if other else entry)
        found = spelled_in_c(do, operands, node.settings, suffix)
        if found is None:
            raise self.refused(
                f"{do.name} works entry by entry, but is no single expression of NumPy's functions"
            )
        return cast("bool", found) if node.dtype == bool and do is p.add else found

    def key_entry(
        self, node: Node, array: tuple[Block, str], shape: Sequence[int], like: Node,
        index: Sequence[str],
    ) -> str:  # fmt: skip
        """The entry of an array that the node's key names, for an index of ``array[key]``."""
        (block, slot), key = array, node.settings["key"]
        places: list[str]
        name = block.name + (f"[{slot}]" if slot else "")
        if is_basic(node):
            places = self.taken_from(key, shape, index)
        elif len(key) == 1 and isinstance(key[0], Node):
            rank = len(key[0].shape)
            word = ast.unparse(self.read(key[0], index[:rank]))
            places = [f"entry({word}, {shape[0]}, &wrong)", *index[rank:]]
        else:
            row = f"(({self.type(block)} *){'&' * bool(slot)}{name})"
            return f"{row}[{self.table(key, shape, like, index)}]"
        return name + "".join(f"[{k}]" for k in places)

    def table(self, key: Any, shape: Sequence[int], like: Node, index: Sequence[str]) -> str:
        """Where an entry stands, looked up: a key that is constant is one array of places."""
        if any(isinstance(k, Node) for k in key):
            raise self.refused(
                "an index with arrays among others, computed in the step, is not known"
            )
        places = np.arange(math.prod(shape)).reshape(shape)[key].reshape(-1)
        same = next((v for v in self.found.constants.values() if np.array_equal(v, places)), places)
        return f"{self.constant(same).name}[{self.flat(like, index)}]"

    # --- functions ------------------------------------------------------------------------------

    def function(self, k: int, ends: Sequence[Block], d_weights: Sequence[Block]) -> None:
        """The statements of one pass."""
        for (which, where), levels in self.fused.loops.items():
            if which != k or (not levels and where != "loop"):
                continue
            comment = self.plan.passes[k].comments.get(where, "What is asked for.")
            self.say("", f"/* {comment} */")
            if where == "loop":
                self.recurrence(k, ends, levels)
                continue
            for level, loops in sorted(levels.items()):
                if level % 2:
                    for (task,) in loops:
                        self.product(task.node, whole=True)
                elif where == "once":
                    self.each(loops)
                else:
                    with self.loop("int64_t t = 0; t < T; t++"):
                        self.each(loops)
        if k:
            self.say("", "/* The gradient of each weight, over all steps. */")
            for block, terms in zip(d_weights, filter(None, self.plan.sums), strict=True):
                size = self.lengths(block.shape, False)[0] if block.shape else "1"
                self.say(f"memset({block.name}, 0, {size} * sizeof *{block.name});")
                for term in terms:
                    self.sum(term, block)

    def recurrence(self, k: int, ends: Sequence[Block], levels: Any) -> None:
        """The loop over the steps, from the first state to the last, or back."""
        part = self.plan.passes[k]
        blocks = [self.at[leaf][0] for leaf in part.carried]
        last = ["T" if block.slots == "T + 1" else "T % 2" for block in blocks]
        zero = ["0"] * len(last)
        for block, end, slot in zip(blocks, ends, (zero, last)[k], strict=True):
            self.say(f"memcpy({block.name}[{slot}], {end.name}, sizeof {block.name}[0]);")
        with self.loop(("int64_t t = 0; t < T; t++", "int64_t t = T - 1; t >= 0; t--")[k]):
            self.each(levels.get(0, []))
        for block, end, slot in zip(blocks, ends, (last, zero)[k], strict=True):
            self.say(f"memcpy({end.name}, {block.name}[{slot}], sizeof {block.name}[0]);")

    def each(self, loops: Sequence[Sequence[Task]]) -> None:
        """Loops over entries, one after another."""
        for tasks in loops:
            first = tasks[0]
            if first.entrywise:
                self.together(tasks)
            elif first.node.primitive is p.matmul:
                self.product(first.node)
            elif first.node.primitive in _ALONG:
                self.along(first.node)
            elif first.node.primitive is p.scatter:
                node = first.node
                with self.entries(node.shape, self.fused.batched(node)) as index:
                    self.say(f"{self.cell(node, index)} = 0;")
                self.scatter(node, self.at[node])
            else:
                name = first.node.primitive.name if first.node.primitive else ""
                raise self.refused(f"{name} does not work entry by entry, and is not known there")

    def batched(self, task: Task) -> bool:
        """Whether the first axis of what a task computes is that of the sequences."""
        like = task.node if task.k < 0 else task.value
        return isinstance(like, Node) and self.fused.batched(like)

    def together(self, tasks: Sequence[Task]) -> None:
        """One loop over entries in which all of this is computed."""
        names: set[str] = set()
        with self.entries(tasks[0].shape, self.batched(tasks[0])) as index:
            self.index, self.local = index, {}
            for task in tasks:
                node = task.node
                if task.turns:
                    value = self.read(0.0 if task.value is None else task.value, index)
                    self.say(f"{self.cell(node, index, next=True)} = {ast.unparse(value)};")
                elif task.k >= 0:
                    text = ast.unparse(self.read(task.value, index))
                    self.say(f"{self.cell(node, self.among(task, index))} = {text};")
                else:
                    tree = self.expression(node, index)
                    to = f"{self.cell(node, index)} = " if node in self.at else ""
                    uses = self.fused.near.get(node, 0)
                    text = ast.unparse(tree)
                    if not to and uses == 1 and len(text) <= _LONGEST and not node.told:
                        self.local[node] = tree
                    elif uses:
                        wish = self.plan.label(node)
                        name = free(wish, self.taken | names, f"new_{wish}")
                        names.add(name)
                        self.say(f"const {self.type(node)} {name} = {to}{text};")
                        self.local[node] = ast.Name(name)
                    else:
                        self.say(f"{to}{text};")
        self.index, self.local = [], {}

    def among(self, task: Task, index: Sequence[str]) -> list[str]:
        """Where an entry of a part stands in the whole."""
        node = task.node
        axis = node.settings.get("axis", 0) % len(node.shape)
        found = [*index]
        if node.primitive is p.stack:
            found.insert(axis, str(task.k))
            return found
        before = sum(shape_of(x)[axis] for x in node.inputs[: task.k])
        if before:
            found[axis] = self.length(before) + (f" + {found[axis]}" if found[axis] != "0" else "")
        return found

    def product(self, node: Node, whole: bool = False) -> None:
        """A matrix product, of one step or of all."""
        a, b = node.inputs
        shapes = [x.shape for x in (a, b)]
        suffix = "f" if node.dtype == np.float32 else ""
        plain = all(isinstance(x, Node) and x.dtype == node.dtype for x in (a, b))
        if [len(s) for s in shapes] == [2, 2] and plain and node.dtype.kind == "f":
            m = self.lengths(node.shape, self.fused.batched(node))[0]
            rows = f"T * {m}" if whole else m
            n, k = map(self.length, (shapes[1][1], shapes[1][0]))
            k = "B" if self.fused.batched(b) else k
            self.say(
                f"product{suffix}({rows}, {n}, {k}, {self.pointer(a, whole)}, {self.pointer(b)}, "
                f"{self.pointer(node, whole)});"
            )
            return
        with self.entries(node.shape, self.fused.batched(node), simd=None) as index:
            rest = [*index]
            column = [rest.pop()] if len(shapes[1]) > 1 else []
            row = [rest.pop()] if len(shapes[0]) > 1 else []
            size = shapes[0][-1]
            self.say(f"{self.type(node)} total = 0;")
            with self.loop(f"int64_t k = 0; k < {self.length(size)}; k++"):
                left = self.read(a, [*rest, *row, "k"], suffix)
                right = self.read(b, [*rest, "k", *column], suffix)
                self.say(f"total += {ast.unparse(ast.BinOp(left, ast.Mult(), right))};")
            self.say(f"{self.cell(node, index)} = total;")

    def along(self, node: Node) -> None:
        """An operation along some axes."""
        do, x = node.primitive, node.inputs[0]
        rank, axes = len(x.shape), axis_of(node)
        axes = range(rank) if axes is None else axes if isinstance(axes, tuple) else (axes,)
        axes = sorted(a % rank for a in axes) if rank else []
        f = "f" if node.dtype == np.float32 else ""
        real, batched = self.type(node), self.fused.batched(x)
        around = [k for k in range(rank) if k not in axes]
        with self.entries(x.shape, batched, around, simd=None) as outer:
            keeps = len(node.shape) == rank
            y = [k for n, k in enumerate(outer) if keeps or n not in axes]

            def inner(line: str, simd: str | None = "") -> None:
                with self.entries(x.shape, batched, axes, outer, simd) as index:
                    entry = ast.unparse(self.read(x, index, f))
                    self.say(line.format(x=entry, y=self.cell(node, index if keeps else y)))

            if do is p.sum:
                self.say(f"{real} total = 0;")
                inner("total += {x};", "reduction(+:total)")
                self.say(f"{self.cell(node, y)} = total;")
                return
            if do in (r.max, r.min):
                self.say(f"{real} best = {'-' if do is r.max else ''}INFINITY;")
                inner(f"best = v{'max' if do is r.max else 'min'}imum{f}({{x}}, best);", None)
                self.say(f"{self.cell(node, y)} = best;")
                return
            self.say(f"{real} top = -INFINITY, total = 0;")
            inner(f"top = vmaximum{f}(top, {{x}});", None)
            if do is r.logsumexp:
                self.say(f"top = fabs{f}(top) < INFINITY ? top : 0;")
            sums = f"vexp{f}({{x}} - top)"
            inner(f"total += {'{y} = ' * (do is r.softmax)}{sums};", "reduction(+:total)")
            if do is r.logsumexp:
                self.say(f"{self.cell(node, y)} = log{f}(total) + top;")
            elif do is r.softmax:
                inner("{y} /= total;")
            else:
                self.say(f"total = log{f}(total);")
                inner("{y} = {x} - top - total;")

    def scatter(self, node: Node, to: tuple[Block, str]) -> None:
        """Entries added where a key says."""
        x = node.inputs[0]
        simd = "" if is_basic(node) else None
        with self.entries(x.shape, self.fused.batched(x), simd=simd) as index:
            entry = self.key_entry(node, to, node.settings["shape"], x, index)
            self.say(f"{entry} += {ast.unparse(self.read(x, index))};")

    def sum(self, term: Sum, block: Block) -> None:
        """A part of a weight's gradient, over all steps."""
        a, *rest = term.values
        if term.kind == "product":
            b = rest[0]
            whole = all(n in self.plan.timed for n in (a, b))
            rows = self.lengths(a.shape, self.fused.batched(a) or self.fused.batched(b))[0]
            sizes = ", ".join(map(self.length, (a.shape[1], b.shape[1])))
            pointers = ", ".join(self.pointer(n, whole) for n in (a, b))
            with contextlib.nullcontext() if whole else self.loop("int64_t t = 0; t < T; t++"):
                self.say(
                    f"product_over_rows{'f' * (block.dtype == np.float32)}("
                    f"{'T * ' * whole}{rows}, {sizes}, {pointers}, {block.name}[0]);"
                )
            return
        with self.loop("int64_t t = 0; t < T; t++"):
            if term.kind == "scatter":
                self.scatter(term.node, (block, ""))
                return
            with self.entries(a.shape, self.fused.batched(a)) as index:
                to = index[1:] if term.kind == "columns" else index
                place = "".join(f"[{k}]" for k in to or ["0"])
                self.say(f"{block.name}{place} += {ast.unparse(self.read(a, index))};")


def cast(kind: str, x: ast.expr) -> ast.expr:
    """An entry as another type."""
    return ast.Call(ast.Name(f"({kind})"), [x], [])


def shape_of(x: Any) -> tuple[int, ...]:
    """That of a node or a constant."""
    return x.shape if isinstance(x, Node) else np.shape(x)


def free(wish: str, taken: set[str], *others: str) -> str:
    """A legal name that is not taken: the wish, another one, or one with a number."""
    wishes = itertools.chain([wish, *others], (f"{wish}_{k}" for k in itertools.count(2)))
    legal = (re.sub(r"\W|[^\x00-\x7f]", lambda m: f"u{ord(m[0]):x}", w) for w in wishes)
    return next(name for name in legal if name not in taken)
