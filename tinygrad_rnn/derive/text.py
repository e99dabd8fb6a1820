"""A schedule printed as NumPy: two functions, forward and backward, written to be read.

Each value becomes an expression of Python's own syntax trees, which `ast.unparse` turns into text
with all the brackets it needs. How an operation is spelled is known by the operation: what its
forward function returns, with the operands in the place of the parameters. What cannot be spelled
so is called by a name that the program's namespace binds.
"""

from __future__ import annotations

import ast
import itertools
import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine import primitives as p
from ..functions import sigmoid
from .record import Node
from .rewrite import is_slice
from .schedule import ALONG_AXIS, PLURALS, Pass, Schedule, Sum, axis_of
from .spelling import spelled

__all__ = ["write"]

_LONGEST = 56  # letters of an expression that is written within another one

HELPERS = {"sigmoid": '''\
def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    return 1.0 / (1.0 + np.exp(np.minimum(-x, 88.0 if x.dtype.char in "fF" else 709.0)))
''', "rows": """\
def rows(a):  # of all steps, as one matrix
    return a.reshape(-1, a.shape[-1])
"""}  # fmt: skip
_WORDS = ("T", "B", "H", "t", *HELPERS)


def write(plan: Schedule, title: str) -> tuple[str, dict[str, Any]]:
    """The program of a schedule as text, and what it calls by a name that it does not define."""
    writer = _Writer(plan, title)
    return writer.source(), writer.namespace


# --- syntax trees -------------------------------------------------------------------------------


def _parsed(text: str) -> Any:
    return ast.parse(text, mode="eval").body  # Any: a Name, mostly, and then it has an id


def _call(function: str, *arguments: ast.expr, **settings: ast.expr) -> ast.Call:
    return ast.Call(
        _parsed(function), [*arguments], [ast.keyword(k, v) for k, v in settings.items()]
    )


def _tuple(parts: Iterable[ast.expr]) -> ast.expr:
    return ast.Tuple([*parts], ast.Load())


def _at_t(whole: ast.expr) -> ast.expr:
    """Step t of an array of all steps: of ``hs``, of ``hs[1:]`` or of ``hs[:-1]``."""
    later = isinstance(whole, ast.Subscript) and ast.unparse(whole.slice) == "1:"
    name = whole.value if isinstance(whole, ast.Subscript) else whole
    return ast.Subscript(name, _parsed("t + 1" if later else "t"), ast.Load())


# --- the two functions --------------------------------------------------------------------------


class _Writer:
    """Prints a schedule.

    `whole` says how a value is written where all steps are at hand, or where it is the same at
    each; `local` how a loop writes what it has computed itself.
    """

    def __init__(self, plan: Schedule, title: str) -> None:
        self.plan, self.title, self.step = plan, title, plan.step
        self.B, *rest = self.step.states[0].shape
        self.H = rest[0] if len(rest) == 1 else 0
        self.taken = {"np", "saved", "slice", *_WORDS}
        self.namespace: dict[str, Any] = {}
        self.whole: dict[Node, Any] = {}
        self.local: dict[Node, ast.expr] = {}
        self.inside = False  # of a loop
        self.lines: list[str] = []

    def source(self) -> str:
        """Both functions, and what they need to run."""
        step, plan = self.step, self.plan
        for node in step.inputs:
            self.taken.add(PLURALS[node.name or "x"])
            self.whole[node] = _parsed(PLURALS[node.name or "x"])
        states = [self.new(s.name or "state") for s in step.states]
        for node in step.weights:
            self.whole[node] = _parsed(self.new(node.name or "W"))
        arguments = [self.whole[n].id for n in step.inputs]
        arguments += [*states, *(self.whole[n].id for n in step.weights)]
        self.batch("once", plan.forward)
        self.batch("before", plan.forward)
        self.loop(plan.forward, states, "for t in range(T):")
        self.batch("after", plan.forward)
        output = self.repeated(step.output)
        opening, self.lines = self.lines, []
        known = {n.id: None for x in self.whole.values() for n in ast.walk(x) if hasattr(n, "id")}
        closing = self.backward(states)
        read = {
            n.id for n in ast.walk(ast.parse("if 1:\n" + "\n".join(closing))) if hasattr(n, "id")
        }
        saved = [name for name in known if name in read and name not in ("np", *_WORDS)]
        body = "\n".join(opening + closing)
        helpers = [text for name, text in HELPERS.items() if f"{name}(" in body]
        return "\n".join([
            "import numpy as np\n\n",
            *(f"{helper}\n" for helper in helpers),
            f"def forward({', '.join(arguments)}):",
            f'    """{self.title} over all steps: outputs, last state, what the way back needs."""',
            self.sizes("xs", states[0], opening), *opening, "",
            f"    return {output}, {_listed(states)}, {_listed(saved)}\n\n",
            f"def backward(saved, d_ys, {', '.join(f'd_{s}' for s in states)}):",
            '    """The gradients of what forward was given, in its order."""',
            f"    {_listed(saved)[1:-1]} = saved" if saved else "    # Nothing was saved.",
            self.sizes("d_ys", f"d_{states[0]}", closing), *closing, "",
        ])  # fmt: skip

    def backward(self, states: Sequence[str]) -> list[str]:
        step, plan = self.step, self.plan.backward
        carried = [f"d_{s}" for s in states]
        self.taken |= {"d_ys", *carried}
        self.whole[step.d_output] = _parsed("d_ys")
        self.batch("once", plan)
        self.batch("before", plan)
        self.loop(plan, carried, "for t in reversed(range(T)):")
        self.batch("after", plan)
        self.say("", "# One product over all steps for each weight.")
        gradients = ["None" if n is None else self.repeated(n) for n in step.d_inputs]
        gradients += ["None"] * (len(step.inputs) - 1) + carried
        for weight, terms in zip(step.weights, self.plan.sums, strict=True):
            gradients.append(self.new(f"d_{self.whole[weight].id}") if terms else "None")
            if terms:
                self.say(f"{gradients[-1]} = {' + '.join(map(self.total, terms))}")
        self.say(f"return {', '.join(gradients)}")
        return self.lines

    def repeated(self, node: Node) -> str:
        """A value of all steps, also where it is the same at each."""
        text = self.operand(node)
        if node not in self.plan.timed:
            text = _call("np.broadcast_to", text, self.shape(node.shape, every=True))
        return ast.unparse(text)

    def total(self, term: Sum) -> str:
        """A part of a weight's gradient, over all steps."""
        if term.kind == "scatter":
            return ast.unparse(self.expression(term.node))
        values = [self.repeated(n) for n in term.values]
        if term.kind == "product":
            return f"rows({values[0]}).T @ rows({values[1]})"
        return f"rows({values[0]}).sum(axis=0)" if term.kind == "columns" else (
            f"np.sum({values[0]}, axis=0)"
        )  # fmt: skip

    def say(self, *lines: str) -> None:
        self.lines += [f"    {line}" if line else "" for line in lines]

    def sizes(self, sequence: str, state: str, lines: Sequence[str]) -> str:
        """The line that takes the lengths from the arguments, as far as they are asked for."""
        B, H = (re.search(rf"\b{letter}\b", "\n".join(lines)) for letter in "BH")
        names, value = ("(B, H)", f"{state}.shape") if H else ("B", f"len({state})")
        return (
            f"    T, {names} = len({sequence}), {value}" if B or H else f"    T = len({sequence})"
        )

    # --- values for all steps at once, and values that are the same at each ---------------------

    def batch(self, place: str, part: Pass) -> None:
        """Print what needs no loop; what is used once is written where it is used."""
        said = False
        for node in part.places[place]:
            text, timed = self.expression(node), node in self.plan.timed
            used = self.plan.users.get(node, [])
            uses = len(used) + self.plan.results.count(node)
            here = not any(
                u in part.places["loop"] or (u in self.plan.ahead) != (node in self.plan.ahead)
                for u in used
            )
            short = len(ast.unparse(text)) <= _LONGEST and not node.told
            if (not timed and node.primitive is p.transpose) or (
                uses == 1 and here and short and node not in part.ends
                and node not in (self.step.output, *self.step.d_inputs)
            ):  # fmt: skip
                self.whole[node] = text
                continue
            if not said:
                self.say("", f"# {part.comments[place]}")
            said = True
            name = self.new(self.plan.plural(node) if timed else self.plan.label(node))
            self.say(f"{name} = {ast.unparse(text)}")
            self.whole[node] = _parsed(name)

    # --- loops ----------------------------------------------------------------------------------

    def loop(self, part: Pass, states: Sequence[str], head: str) -> None:
        """Print a loop; what is carried from step to step is in variables of these names."""
        body, forward = part.places["loop"], part is self.plan.forward
        carried = {leaf: _parsed(name) for leaf, name in zip(part.carried, states, strict=True)}
        arrays, into = self.storage(part, states)
        inner = [] if forward else [f"{into[n][0]} = {carried[n].id}" for n in carried if n in into]
        self.inside, self.local = True, dict(carried)
        statements: list[tuple[Node, Any, ast.expr]] = []  # a value, its variable, its text
        for node in body:
            text = self.expression(node)
            uses = [u for u in self.plan.users.get(node, ()) if u in body]
            once = len(uses) == 1 and node not in into and node not in part.ends
            if once and len(ast.unparse(text)) <= _LONGEST and not _deserves_name(node, uses[0]):
                self.local[node] = text
            elif uses or node in part.ends:
                statements.append((node, ast.Name(""), text))
                self.local[node] = statements[-1][1]
            elif node in into:
                statements.append((node, None, text))
        ends = [None if end is None else self.operand(end) for end in part.ends]
        self.christen(statements, carried, part.ends, ends)
        for node, variable, text in statements:
            targets = [*([variable.id] if variable else []), *into.get(node, ())]
            inner.append(" = ".join([*targets, ast.unparse(text)]))
        turned = {}  # what could not take the old one's name at once
        for (leaf, variable), end in zip(carried.items(), ends, strict=True):
            value = f"np.zeros_like({variable.id})" if end is None else ast.unparse(end)
            inner += [f"{place} = {value}" for place in into.get(leaf, ()) if forward]
            if value != variable.id:
                turned[variable.id] = value
        if turned:
            inner.append(f"{', '.join(turned)} = {', '.join(turned.values())}")
        self.inside, self.local = False, {}
        lines = [f"    {line}" for line in inner or ["pass"]]
        self.say("", *arrays, "", f"# {part.comments['loop']}", head, *lines)

    def storage(self, part: Pass, states: Sequence[str]) -> tuple[list[str], dict[Node, list[str]]]:
        """The lines that make arrays for what a loop keeps, and where in them each value goes.

        A state's array has one step more: its old values are ``hs[:-1]``, its new ones ``hs[1:]``.
        """
        body, kept = part.places["loop"], self.plan.kept
        lines: list[str] = []
        into: dict[Node, list[str]] = {}
        forward = part is self.plan.forward
        for leaf, end, state in zip(part.carried, part.ends, states, strict=True):
            if forward and (leaf in kept or (end in kept and end in body)):
                name = self.new(self.plan.plural(leaf))
                lines += [f"{name} = np.empty((T + 1, *{state}.shape), {state}.dtype)"]
                lines += [f"{name}[0] = {state}"]
                self.whole[leaf] = _parsed(f"{name}[:-1]")
                if end in body:
                    self.whole[end] = _parsed(f"{name}[1:]")
                into.setdefault(end if end in body else leaf, []).append(f"{name}[t + 1]")
        for node in [*([] if forward else part.carried), *body]:
            if node in kept and node not in into:
                name, dtype = self.new(self.plan.plural(node)), f"np.{node.dtype.name}"
                if node.dtype == self.step.states[0].dtype:
                    dtype = f"{states[0]}.dtype"
                shape = ast.unparse(self.shape(node.shape, every=True))
                lines.append(f"{name} = np.empty({shape}, {dtype})")
                into[node] = [f"{name}[t]"]
                self.whole[node] = _parsed(name)
        return lines, into

    def christen(
        self, statements: Sequence[Any], carried: Mapping[Node, Any], new: Sequence[Node | None],
        ends: Sequence[ast.expr | None],
    ) -> None:  # fmt: skip
        """Name the loop's variables; a name is given again once nobody reads its last bearer.

        So the new h is called h where the old one is done with, and ``a, b = b, new_b`` exchanges
        what has to be exchanged at one stroke.
        """
        last: dict[int, int] = {}  # the last statement that reads a variable
        for k, text in enumerate(
            [*(text for *_, text in statements), _tuple(e for e in ends if e)]
        ):
            last |= {id(found): k for found in ast.walk(text) if isinstance(found, ast.Name)}
        bearers = {variable.id: variable for variable in carried.values()}
        for k, (node, variable, _) in enumerate(statements):
            own = [x.id for x, end in zip(carried.values(), new, strict=True) if end is node]
            wish = own[0] if own else _legal(self.plan.label(node))
            wishes = [*own, wish, f"new_{wish}"] if wish in bearers else [wish]
            for name in itertools.chain(wishes, (f"{wish}_{n}" for n in itertools.count(2))):
                free = name not in self.taken
                if last.get(id(bearers[name]), -1) <= k if name in bearers else free:
                    break
            if variable:
                variable.id = name
                bearers[name] = variable
        self.taken |= set(bearers)

    # --- one operation --------------------------------------------------------------------------

    def operand(self, x: Any) -> Any:
        """An operand where all steps are at hand, or, in a loop, at this step."""
        if not isinstance(x, Node):
            return self.value(x)
        if x in self.local:
            return self.local[x]
        whole: ast.expr = self.whole[x]
        return _at_t(whole) if self.inside and x in self.plan.timed else whole

    def expression(self, node: Node) -> ast.expr:
        """The operation on its operands; for all steps at once unless this is a loop."""
        do, settings = node.primitive, dict(node.settings)
        assert do is not None
        timed = node.nodes[0] is node.inputs[0] and node.nodes[0] in self.plan.timed
        words = do is p.scatter and len(node.nodes) > 1  # rows of a table: for all steps alike
        every = not self.inside and node in self.plan.timed and not words
        operands = [self.operand(x) for x in node.inputs]
        if do is p.matmul:
            return ast.BinOp(operands[0], ast.MatMult(), operands[1])
        if do is p.transpose and settings.get("axes") is None:
            return ast.Attribute(operands[0], "T", ast.Load())
        if do is p.take:
            key = [ast.Slice()] * (every and timed) + [*map(self.index, settings["key"])]
            return ast.Subscript(operands[0], key[0] if len(key) == 1 else _tuple(key), ast.Load())
        if do is sigmoid:
            return _call("sigmoid", *operands)
        if do in ALONG_AXIS and (every or isinstance(settings.get("axis"), tuple)):
            settings["axis"] = _from_behind(node, axis_of(node))
        if do is p.scatter and every:
            settings["key"] = (slice(None), *settings["key"])
        written = {k: self.value(v) for k, v in settings.items()}
        if do in (p.reshape, p.broadcast_to, p.scatter):
            written["shape"] = self.shape(settings["shape"], every)
        text = spelled(do, operands, written)
        return text or _call(self.bound(do.forward, do.name), *operands, **written)

    # --- numbers, shapes, settings --------------------------------------------------------------

    def length(self, n: int) -> Any:
        """A length in units of the state's, as the reader thinks of it."""
        whole = self.H > 1 and n > 0 and n % self.H == 0
        return _parsed(("H" if n == self.H else f"{n // self.H} * H") if whole else repr(n))

    def shape(self, shape: Sequence[int], every: bool = False) -> ast.expr:
        batched = bool(shape) and shape[0] == self.B
        names = [_parsed("T")] * every + [_parsed("B")] * batched
        return _tuple(names + [self.length(n) for n in shape[batched:]])

    def index(self, key: Any) -> Any:
        if isinstance(key, slice):
            start = key.start if (key.step or 1) < 0 else key.start or None
            ends = start, key.stop, key.step
            return ast.Slice(*(None if n is None else self.length(n) for n in ends))
        if isinstance(key, np.ndarray) and key.ndim == 1 and key.dtype.kind == "i" and key.size < 9:
            return _parsed(repr(key.tolist()))
        return self.value(key)

    def value(self, x: Any) -> Any:
        """A constant or a setting."""
        if isinstance(x, Node):
            return self.operand(x)
        if isinstance(x, (tuple, list)):
            parts = [*map(self.value, x)]
            return _tuple(parts) if isinstance(x, tuple) else ast.List(parts, ast.Load())
        if isinstance(x, slice):
            ends = (x.start, x.stop, x.step) if x.step else (x.start, x.stop)
            return _call("slice", *map(self.value, ends if any(ends) else (None,)))
        if type(x) in (bool, int, str, type(None)) or (type(x) is float and np.isfinite(x)):
            return _parsed(repr(x))
        if x is ...:
            return _parsed("...")
        if isinstance(x, (type, np.dtype)) and hasattr(np, np.dtype(x).name):
            return _parsed(f"np.{np.dtype(x).name}")
        return _parsed(self.bound(x, "constant"))

    # --- names ----------------------------------------------------------------------------------

    def new(self, wish: str) -> str:
        """A name that is legal and not yet used."""
        wish = _legal(wish)
        numbered = (f"{wish}_{k}" for k in itertools.count(2))
        name = next(n for n in itertools.chain([wish], numbered) if n not in self.taken)
        self.taken.add(name)
        return name

    def bound(self, x: Any, wish: str) -> str:
        """The name of an object that has no text."""
        name = next((k for k, v in self.namespace.items() if v is x), None) or self.new(wish)
        self.namespace[name] = x
        return name


def _legal(wish: str) -> str:
    wish = re.sub(r"\W", "_", wish)
    return wish if wish.isidentifier() and not keyword.iskeyword(wish) else f"{wish}_"


def _listed(names: Sequence[str]) -> str:
    return f"({', '.join(names)}{',' * (len(names) == 1)})"


def _deserves_name(node: Node, user: Node) -> bool:
    """Whether a reader expects a line for a value that is used once."""
    if user.primitive is p.concatenate:
        return node.name is not None
    return node.told and not (is_slice(node) and user.name == node.name)


def _from_behind(node: Node, axis: Any) -> Any:
    """An axis, or several, counted from the last one: the same for one step and for all."""
    rank = len(node.shape if node.primitive is p.stack else node.nodes[0].shape)
    axes = tuple(a % rank - rank for a in (axis if isinstance(axis, tuple) else (axis,)))
    return axes if len(axes) > 1 else axes[0]
