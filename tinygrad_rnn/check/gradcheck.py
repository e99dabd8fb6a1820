"""`gradcheck`: is the gradient right, and if not, which rule is wrong, where and when.

The whole function claims a gradient, and so does every recorded operation by itself. Each claim is
settled by numbers. The two together name the culprit: an operation that is wrong by itself or, if
none is, the record (something was cut off) or the traversal.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import Array, Tensor
from ..functions import backprop, detect_anomaly
from .claim import Claim, Comparison, Variable, excuse, nearby, place_of, settle
from .diagnosis import diagnose
from .error import error_trace
from .nodes import check_node, replay
from .numeric import Value
from .report import Report
from .subject import Function, nodes_of, subject, weighted

__all__ = ["gradcheck", "gradgradcheck"]

_COTANGENTS = 3
_NOISE = 200.0  # what rounding may do to a whole net, in units of ε times its largest gradient
_SHOWN = 3  # constants that are named
_SINGLE = 2.0**29  # how much coarser single precision is than double


@np.errstate(all="ignore")  # what is not finite is reported, with its place
def gradcheck(
    f: Callable[..., Any],
    *inputs: Any,
    order: int = 1,
    seed: int = 0,
    truncated: bool = False,
    raise_exception: bool = True,
) -> Report:
    """Check the gradient of a function, or of a Module, with respect to all it depends on.

    Random signed cotangents are pulled back and compared with derivatives by complex step, exact
    to rounding, or with extrapolated central differences where an operation is not analytic: entry
    by entry or, in large arrays, along random directions and at a sample of entries. Then each
    recorded operation is checked by itself, so that a wrong rule is named with its place and time
    step.

    Parameters
    ----------
    f : callable or Module
        Takes tensors, returns a tensor, or tuples, lists and dicts of them. Parameters that it
        uses without being given them, such as a cell's, are found in the record and checked too.
    *inputs : array_like, Tensor, or tuples and lists of them
        Floating-point arrays become leaves that require a gradient. Tensors that require none,
        such as indices, are passed on as constants.
    order : {1, 2}
        2 checks the second derivative too, by differentiating the gradient's own graph.
    seed : int
        Of all that is drawn at random.
    truncated : bool
        Take what was detached as constant, at its recorded value: for truncated backpropagation
        through time, whose gradient is not that of `f`.
    raise_exception : bool
        Raise if anything is wrong. False returns the report in any case.

    Returns
    -------
    Report
        Truthy if nothing is wrong. Entries at a kink, where there is no derivative to compare
        with, are inconclusive: neither right nor wrong.

    Raises
    ------
    GradientError
        An AssertionError that carries the report as its `report`, if anything is wrong.
    TypeError
        If an input is not floating point, or `f` returns no tensor.
    ValueError
        If nothing requires a gradient, or `f` is not deterministic or writes into its inputs.
    FloatingPointError
        If the forward pass makes NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.ElmanCell(3, 4, rng=0)
    >>> xs = np.random.default_rng(0).normal(size=(5, 2, 3))
    >>> report = tr.check.gradcheck(lambda xs: tr.nn.unroll(cell, xs), xs)
    >>> bool(report), [c.variable.name for c in report.comparisons]
    (True, ['xs', 'W_xh', 'W_hh', 'b'])

    A wrong rule is named:

    >>> bad = tr.primitive("tanh", np.tanh, lambda g, y, x: g * (1.0 - y))
    >>> cell = tr.nn.ElmanCell(3, 4, nonlinearity=bad, rng=0)
    >>> f = lambda xs: tr.nn.unroll(cell, xs)
    >>> report = tr.check.gradcheck(f, xs, raise_exception=False)
    >>> print(report.culprits[0])
    tanh, input 0, elman / t=0
    """
    if order not in (1, 2):
        raise ValueError(f"order={order} was given to gradcheck; there are 1 and 2")
    function, report = subject(f, inputs), Report("gradcheck")
    nodes: list[Tensor] = []
    for now in range(1, order + 1):
        rng = np.random.default_rng(seed)
        if now == 2:
            outputs = function.call()
            nodes = _computed(outputs)
            function = function.gradient(_drawn(outputs, rng))
        _check(_Combined(function, rng, truncated), nodes, report)
        if not report:
            break
    report.notes.append(f"seed {seed}, {_COTANGENTS} random signed cotangents, order {now}")
    if now < order:
        report.notes.append("order 2 was not checked, as order 1 is wrong or undecided")
    if truncated:
        report.notes.append("what was detached is frozen at its recorded value")
    return report.settled(raise_exception)


def gradgradcheck(f: Callable[..., Any], *inputs: Any, **options: Any) -> Report:
    """``gradcheck(f, *inputs, order=2, ...)``: the gradient, and the gradient of the gradient.

    The products of the Hessian with random directions are compared with complex steps of the
    gradient, entry by entry.

    Parameters
    ----------
    f, *inputs, **options
        As for `gradcheck`.

    Returns
    -------
    Report

    Raises
    ------
    GradientError
        As `gradcheck`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> report = tr.check.gradgradcheck(lambda x: (tr.sigmoid(x) ** 2).sum(), [0.5, -1.0])
    >>> bool(report), [c.variable.name for c in report.comparisons]
    (True, ['x', 'x, second order'])
    """
    return gradcheck(f, *inputs, order=2, **options)


@dataclass(slots=True)
class _Record:
    """One run of a function: what was recorded, and the gradients that it claims.

    Attributes
    ----------
    nodes : list of Tensor
        The operations, oldest first.
    root : Tensor
        The outputs combined by the first cotangent.
    claim : Claim
    replayed : callable
        As the claim's `value`, with all constants as recorded.
    """

    nodes: list[Tensor]
    root: Tensor
    claim: Claim
    replayed: Value


class _Combined:
    """A function whose outputs are combined by random cotangents."""

    def __init__(self, function: Function, rng: np.random.Generator, truncated: bool) -> None:
        self.function, self.rng, self.truncated = function, rng, truncated
        outputs = function.call()
        self.draws = [_drawn(outputs, rng) for _ in range(_COTANGENTS)]

    def record(self) -> _Record:
        """Run it once at the leaves' present values."""
        function, draws = self.function, self.draws
        leaves, outputs = list(function.leaves.values()), function.call()
        nodes = _computed(outputs)
        roots = [weighted(outputs, draw) for draw in draws]

        def finish(values: Mapping[int, Any]) -> Array:
            found = [values.get(out.number, out.data) for out in outputs]
            return np.array([weighted(found, draw) for draw in draws])

        largest = _largest_gradient(roots[0])
        variables = [
            Variable(name, leaf.data, [g.data for g in gradients], _steps(nodes, leaf))
            for (name, leaf), *gradients in zip(
                function.leaves.items(), *map(function.pulled, roots), strict=True
            )
        ]
        for variable in variables:
            variable.noise = _NOISE * largest
        products = (u * out.data for u, out in zip(draws[0], outputs, strict=True))
        replayed = replay(nodes, leaves, finish)
        claim = Claim(
            value=replayed if self.truncated else function.combined(draws),
            variables=variables,
            dtype=np.result_type(*(leaf.dtype for leaf in leaves)),
            size=max(largest, float(sum(np.abs(product).sum() for product in products))),
            analytic=all(node.primitive and node.primitive.analytic for node in nodes),
        )
        if any(_narrows(node) for node in nodes):
            claim.dtype, claim.size = np.float32, claim.size * _SINGLE
        return _Record(nodes, roots[0], claim, replayed)

    def nearby(self, record: _Record) -> _Record:
        """The same at leaves moved a little."""
        arrays = [v.array for v in record.claim.variables]
        with self.function.at(nearby(arrays, self.rng)):
            return self.record()


def _narrows(node: Tensor) -> bool:
    """Whether an operation casts double precision to single."""
    sizes = [x.dtype.itemsize for x in node.inputs if isinstance(x, Tensor)]
    return max(sizes) > node.dtype.itemsize


def _largest_gradient(root: Tensor) -> float:
    """The norm of the largest gradient anywhere behind a tensor."""
    if not root.requires_grad:
        return 0.0
    trace = backprop(root)
    sizes = (trace.norm(tensor) or 0.0 for tensor in trace.tensors)
    return max((size for size in sizes if math.isfinite(size)), default=0.0)


def _steps(nodes: Sequence[Tensor], leaf: Tensor) -> int | Mapping[int, int] | None:
    """The time step in which each row of a leaf is used, or the whole of it."""
    rows: dict[int, int] = {}
    steps: set[int | None] = set()
    for node in nodes:
        if any(x is leaf for x in node.inputs):
            step = node.scope.step if node.scope else None
            key = node.kwargs.get("key", ())
            if step is not None and len(key) == 1 and isinstance(key[0], int):
                rows[key[0] % len(leaf)] = step
            steps.add(step)
    if len({step - row for row, step in rows.items()}) == 1:  # those cut off follow suit
        row, step = next(iter(rows.items()))
        return {k: k + step - row for k in range(len(leaf))}
    return rows or (steps.pop() if len(steps) == 1 else None)


def _check(function: _Combined, below: Sequence[Tensor], report: Report) -> None:
    """Settle all claims of one order, and explain those that fail.

    Of the operations `below`, which the function is the gradient of, the rules are moved.
    """

    def check_operations(record: _Record) -> list[Comparison]:
        found = [c for node in record.nodes for c in check_node(node, function.rng)]
        return found + [c for node in below for c in check_node(node, function.rng, order=2)]

    record, undecided = function.record(), False
    report.operations = check_operations(record)
    compared = settle(record.claim, function.rng)
    if any(c.having("wrong") for c in compared) and not report.culprits and _finite(record):
        # A mistake is a mistake nearby, too. At a special point, such as a kink, the rules follow
        # a convention, and what comes of a chain of them need not be a derivative.
        moved = function.nearby(record)
        again = check_operations(moved)
        undecided = any(c.having("inconclusive") for c in again)
        if any(c.having("wrong") for c in again):
            report.operations = again
        else:
            excuse(compared, settle(moved.claim, function.rng))
        record = moved
    report.comparisons += compared
    if any(c.having("wrong") for c in compared) or report.culprits:
        report.diagnosis.append(_explain(function, record, report, undecided))
        report.diagnosis += [f"{c.variable.name}: {s}" for c in compared for s in diagnose(c)]
    root, faulty = record.root, [c for c in report.culprits if c.claim.order == 1]
    report.make_trace = lambda: error_trace(root, faulty)


def _explain(function: _Combined, record: _Record, report: Report, undecided: bool) -> str:
    """What is wrong: a rule, the traversal, or the record."""
    if report.culprits:
        more = len(report.culprits) - 1
        return f"a rule is wrong: {report.culprits[0]}{f', and {more} more' if more else ''}"
    if not _finite(record):
        return f"the gradient is not finite: {_anomaly(function)}"
    if undecided:
        return "the gradient is wrong, though no rule is found wrong; not all could be decided"
    as_recorded = dataclasses.replace(record.claim, value=record.replayed)
    if any(c.having("wrong") for c in settle(as_recorded, function.rng)):
        return (
            "every rule is right by itself, so the traversal is wrong: the gradient changes on its "
            "way between operations"
        )
    cut = _changed(record.nodes, function.nearby(record).nodes)
    return (
        "every rule is right by itself, and so is the traversal: the graph is wrong. Something "
        "that depends on the inputs has no history (detach, .data, no_grad)"
        + (f": {'; '.join(cut)}" if cut else "")
    )


def _changed(nodes: Sequence[Tensor], again: Sequence[Tensor]) -> list[str]:
    """The first uses of constants that differ between two records, made at nearby inputs."""
    found: dict[int, str] = {}
    for node, other in zip(nodes, again, strict=False):
        if node.primitive is not other.primitive:
            break
        for i, x in enumerate(node.inputs):
            before, after = np.asarray(node.arrays[i]), np.asarray(other.arrays[i])
            is_constant = not (isinstance(x, Tensor) and x.requires_grad)
            if is_constant and before.dtype.kind == "f" and not np.array_equal(before, after):
                found.setdefault(id(x), place_of(node, i))
    return list(found.values())[:_SHOWN]


def _anomaly(function: _Combined) -> str:
    """Where the gradient's first NaN or infinity comes from."""
    try:
        with detect_anomaly():
            function.record()
    except FloatingPointError as error:
        return str(error)
    return "its entries are too large"


def _drawn(outputs: Sequence[Tensor], rng: np.random.Generator) -> list[Array]:
    return [rng.normal(size=out.shape).astype(out.dtype) for out in outputs]


def _finite(record: _Record) -> bool:
    return all(np.isfinite(v.gradients[0]).all() for v in record.claim.variables)


def _computed(outputs: Sequence[Tensor]) -> list[Tensor]:
    return [node for node in nodes_of(outputs) if node.primitive]
