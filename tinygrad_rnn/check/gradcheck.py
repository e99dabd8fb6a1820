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
from .claim import Claim, Comparison, Variable, excuse, nearby, settle
from .diagnosis import diagnose
from .graph import cuts, error_trace, replay
from .nodes import check_node
from .report import Report
from .subject import Subject, nodes_of, weighted_sum

__all__ = ["gradcheck", "gradgradcheck"]

_COTANGENTS = 3
_NOISE = 200.0  # what rounding may do to a whole net, in units of ε times its largest gradient
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
    subject = Subject(f, inputs)
    report = Report("gradcheck")
    for now in range(1, order + 1):
        _check(_Function(subject, now, seed, truncated), report)
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
    gradient, and the Hessian must be symmetric.

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
    >>> bool(report), report.properties["the Hessian is symmetric"]
    (True, None)
    """
    return gradcheck(f, *inputs, order=2, **options)


class _Function:
    """A subject at one order of derivative, with its outputs combined by random cotangents."""

    def __init__(self, subject: Subject, order: int, seed: int, truncated: bool) -> None:
        self.subject, self.order, self.truncated = subject, order, truncated
        self.rng = rng = np.random.default_rng(seed)
        self.weights = [rng.normal(size=out.shape).astype(out.dtype) for out in subject.call()]
        outputs = self.run()
        self.draws = [
            [rng.normal(size=out.shape).astype(out.dtype) for out in outputs]
            for _ in range(_COTANGENTS)
        ]

    def run(self, record: bool = True) -> list[Tensor]:
        """Its outputs; of order 2 they are the gradients of a weighted sum."""
        if self.order == 1:
            return self.subject.call()
        return self.subject.slopes(self.weights, create_graph=record)

    def called(self, arrays: Sequence[Any]) -> Array:
        """The combined outputs at other values of the leaves."""
        with self.subject.at(arrays):
            return self._combined([out.data for out in self.run(record=False)])

    def record(self) -> _Record:
        """Run it once at the leaves' present values."""
        subject, outputs = self.subject, self.run()
        nodes = _computed(outputs)
        roots = [weighted_sum(outputs, draw) for draw in self.draws]

        def finish(values: Mapping[int, Any]) -> Array:
            return self._combined([values.get(out.number, out.data) for out in outputs])

        largest, order = _largest_gradient(roots[0]), ", second order" if self.order == 2 else ""
        variables = [
            Variable(name + order, leaf.data, claimed, _steps(nodes, leaf), _NOISE * largest)
            for name, leaf, *claimed in zip(
                subject.names, subject.leaves, *map(subject.pulled, roots), strict=True
            )
        ]
        products = (np.abs(u * out.data) for u, out in zip(self.draws[0], outputs, strict=True))
        claim = Claim(
            value=replay(nodes, subject.leaves, finish) if self.truncated else self.called,
            variables=variables,
            dtype=subject.dtype,
            size=max(largest, sum(float(product.sum()) for product in products)),
            analytic=all(node.primitive and node.primitive.analytic for node in nodes),
        )
        if any(_narrows(node) for node in nodes):
            claim.dtype, claim.size = np.float32, claim.size * _SINGLE
        return _Record(outputs, nodes, roots, finish, claim)

    def nearby(self, record: _Record) -> _Record:
        """The same at leaves moved a little."""
        arrays = [v.array for v in record.claim.variables]
        with self.subject.at(nearby(arrays, self.rng)):
            return self.record()

    def _combined(self, values: Sequence[Any]) -> Array:
        return np.array([
            sum(np.sum(u * out) for u, out in zip(draw, values, strict=True))
            for draw in self.draws
        ])  # fmt: skip


@dataclass(slots=True)
class _Record:
    """One run of a function: what was recorded, and the gradients that it claims."""

    outputs: list[Tensor]
    nodes: list[Tensor]
    roots: list[Tensor]
    finish: Callable[[Mapping[int, Any]], Array]
    claim: Claim


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


def _check(function: _Function, report: Report) -> None:
    """Settle all claims of one order, and explain those that fail."""
    record, undecided = function.record(), False
    report.operations = _check_operations(function, record)
    compared = settle(record.claim, function.rng)
    _check_properties(function, record, report)
    if any(c.having("wrong") for c in compared) and not report.culprits and _finite(record):
        # A mistake is a mistake nearby, too. At a special point, such as a kink, the rules follow
        # a convention, and what comes of a chain of them need not be a derivative.
        record = function.nearby(record)
        again = _check_operations(function, record)
        undecided = any(c.having("inconclusive") for c in again)
        if any(c.having("wrong") for c in again):
            report.operations = again
        else:
            excuse(compared, settle(record.claim, function.rng))
    report.comparisons += compared
    if any(c.having("wrong") for c in compared) or report.culprits:
        report.diagnosis.append(_explain(function, record, report, undecided))
        report.diagnosis += [f"{c.variable.name}: {s}" for c in compared for s in diagnose(c)]
    root, faulty = record.roots[0], [c for c in report.culprits if c.claim.order == 1]
    report.make_trace = lambda: error_trace(root, faulty)


def _check_operations(function: _Function, record: _Record) -> list[Comparison]:
    """Check every operation by itself, and at order 2 the rules of those of the first order."""
    parts = [(record.nodes, 1)]
    if function.order == 2:
        parts.append((_computed(function.subject.call()), 2))
    return [
        found
        for nodes, order in parts
        for node in nodes
        for found in check_node(node, function.rng, order)
    ]


def _check_properties(function: _Function, record: _Record, report: Report) -> None:
    """What holds of any gradient, whatever the function."""
    claim, roots, (u, v, *_) = record.claim, record.roots, function.draws
    pulled = function.subject.pulled
    of_u, of_v, *_ = zip(*(variable.gradients for variable in claim.variables), strict=True)
    allowed = 10 * claim.eps * max(variable.noise for variable in claim.variables)

    def note(name: str, result: Sequence[Array], expected: Any, distance: float = 0.0) -> None:
        off = [
            variable.name
            for variable, a, b in zip(claim.variables, result, expected, strict=True)
            if not (np.abs(a - b) <= distance)[np.isfinite(variable.gradients[0])].all()
        ]
        sentence = f"does not hold: {name}; see the gradient of {off[0]}" if off else None
        report.properties[name] = sentence

    zeros = [np.zeros(g.shape) for g in of_u]
    note("a zero cotangent gives exactly zero", pulled(roots[0], 0.0), zeros)
    both = [2.0 * a - 3.0 * b for a, b in zip(of_u, of_v, strict=True)]
    note("linear in the cotangent", pulled(2.0 * roots[0] - 3.0 * roots[1]), both, allowed)
    note("the same in a second pass", pulled(roots[0]), of_u)
    if function.order == 1:
        dtype = function.subject.dtype
        other = [out.dtype for out in record.outputs if out.dtype != dtype]
        sentence = f"the inputs are {dtype}, but an output is {other[0]}" if other else None
        report.properties["dtype kept"] = sentence and f"dtype not kept: {sentence}"
        return
    products = [(g * w, h * x) for g, w, h, x in zip(of_u, v, of_v, u, strict=True)]
    vHu, uHv = (float(sum(part.sum() for part in parts)) for parts in zip(*products, strict=True))
    size = sum(float(np.abs(part).sum()) for part, _ in products)
    differ = abs(vHu - uHv) > allowed + claim.eps**0.6 * size
    sentence = f"the Hessian is not symmetric: {vHu:.9g}, {uHv:.9g}" if differ else None
    report.properties["the Hessian is symmetric"] = sentence


def _explain(function: _Function, record: _Record, report: Report, undecided: bool) -> str:
    """What is wrong: a rule, the traversal, or the record."""
    if report.culprits:
        more = len(report.culprits) - 1
        return f"a rule is wrong: {report.culprits[0]}{f', and {more} more' if more else ''}"
    if not _finite(record):
        return f"the gradient is not finite: {_anomaly(function)}"
    if undecided:
        return "the gradient is wrong, though no rule is found wrong; not all could be decided"
    replayed = replay(record.nodes, function.subject.leaves, record.finish)
    as_recorded = dataclasses.replace(record.claim, value=replayed)
    if any(c.having("wrong") for c in settle(as_recorded, function.rng)):
        return (
            "every rule is right by itself, so the traversal is wrong: the gradient changes on its "
            "way between operations"
        )
    found = []
    if function.order == 1:
        found = cuts(record.nodes, function.nearby(record).nodes, record.finish)
    return (
        "every rule is right by itself, and so is the traversal: the graph is wrong. Something "
        "that depends on the inputs has no history (detach, .data, no_grad)"
        + (f": {'; '.join(found)}" if found else "")
    )


def _anomaly(function: _Function) -> str:
    """Where the gradient's first NaN or infinity comes from."""
    try:
        with detect_anomaly():
            function.subject.pulled(weighted_sum(function.run(), function.draws[0]))
    except FloatingPointError as error:
        return str(error)
    return "its entries are too large"


def _finite(record: _Record) -> bool:
    return all(np.isfinite(v.gradients[0]).all() for v in record.claim.variables)


def _computed(outputs: Sequence[Tensor]) -> list[Tensor]:
    return [node for node in nodes_of(outputs) if node.primitive]
