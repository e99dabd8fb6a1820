"""`gradcheck`: is the gradient right, and if not, which rule is wrong, where and when.

Gradients of the whole function are held against numbers, and every recorded operation is checked
by itself. The two together name the culprit: an operation that is wrong by itself or, if none is,
the record (something was cut off) or the traversal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine import Array, Tensor
from ..engine.backprop import pull
from ..functions import backprop, detect_anomaly
from .compare import Variable
from .diagnosis import diagnose
from .graph import cuts, error_trace, replay
from .judge import Judge
from .nodes import check_nodes, method_of
from .numeric import Method, Value
from .report import Operation, Report
from .subject import Subject, nodes_of, weighted_sum

__all__ = ["gradcheck", "gradgradcheck"]

_COTANGENTS = 3


@np.errstate(all="ignore")  # what is not finite is reported, with its place
def gradcheck(
    f: Callable[..., Any],
    *inputs: Any,
    order: int = 1,
    seed: int = 0,
    truncated: bool = False,
    every_entry: int = 256,
) -> Report:
    """Check the gradient of a function, or of a Module, with respect to all it depends on.

    Random signed cotangents are pulled back and compared with derivatives by complex step, exact
    to rounding, or with extrapolated central differences where an operation is not analytic. Then
    each recorded operation is checked by itself, so that a wrong rule is named with its place and
    time step.

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
    every_entry : int
        Arrays up to this size are compared entry by entry, larger ones along random directions
        and at a sample of entries.

    Returns
    -------
    Report
        Truthy if nothing is wrong.

    Raises
    ------
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
    >>> report = tr.check.gradcheck(lambda xs: tr.nn.unroll(cell, xs), xs)
    >>> print(report.culprits[0])
    tanh, input 0, elman / t=0
    """
    if order not in (1, 2):
        raise ValueError(f"order={order} was given to gradcheck; there are 1 and 2")
    subject = Subject(f, inputs)
    report = _Check(subject, 1, seed, truncated, every_entry).report
    if order == 2 and not report:
        report.notes.append("order 2 was not checked, as order 1 is wrong")
    elif order == 2:
        second = _Check(subject, 2, seed, truncated, every_entry).report
        second.comparisons = report.comparisons + second.comparisons
        return second
    return report


def gradgradcheck(f: Callable[..., Any], *inputs: Any, **options: Any) -> Report:
    """``gradcheck(f, *inputs, order=2, ...)``: the gradient, and the gradient of the gradient.

    The products of the Hessian with random directions are held against complex steps of the
    gradient, and the Hessian must be symmetric.

    Parameters
    ----------
    f, *inputs, **options
        As for `gradcheck`.

    Returns
    -------
    Report

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> report = tr.check.gradgradcheck(lambda x: (tr.sigmoid(x) ** 2).sum(), [0.5, -1.0])
    >>> bool(report), report.properties["the Hessian is symmetric"]
    (True, None)
    """
    return gradcheck(f, *inputs, order=2, **options)


class _Check:
    """One order of derivative, checked: see `report`."""

    def __init__(
        self, subject: Subject, order: int, seed: int, truncated: bool, every_entry: int
    ) -> None:
        self.subject, self.order = subject, order
        self.rng = rng = np.random.default_rng(seed)
        weights = [rng.normal(size=out.shape).astype(out.dtype) for out in subject.call()]

        def run(record: bool) -> list[Tensor]:
            return subject.call() if order == 1 else subject.slopes(weights, create_graph=record)

        self.outputs = outputs = run(record=True)
        self.draws = draws = [
            [rng.normal(size=out.shape).astype(out.dtype) for out in outputs]
            for _ in range(_COTANGENTS)
        ]

        def combined(values: Sequence[Any]) -> Array:
            return np.array([
                sum(np.sum(u * out) for u, out in zip(draw, values, strict=True)) for draw in draws
            ])  # fmt: skip

        def finish(values: dict[int, Any]) -> Array:
            return combined([values.get(out.number, out.data) for out in outputs])

        def called(arrays: Sequence[Any]) -> Array:
            with subject.at(arrays):
                return combined([out.data for out in run(record=False)])

        self.run, self.finish = run, finish
        self.roots = [weighted_sum(outputs, draw) for draw in draws]
        self.nodes = [node for node in nodes_of(outputs) if node.primitive]
        self.replayed = replay(self.nodes, subject.leaves, finish)
        self.gradients = [self._pulled(root) for root in self.roots]
        self.variables = [
            Variable(
                name if order == 1 else f"{name}, second order",
                leaf.data,
                [gradients[i] for gradients in self.gradients],
                self._steps(leaf),
            )
            for i, (name, leaf) in enumerate(zip(subject.names, subject.leaves, strict=True))
        ]
        self.report = Report("gradcheck")
        self.report.notes.append(
            f"seed {seed}, {_COTANGENTS} random signed cotangents, order {order}"
        )
        self._check_operations()
        self.judge = self._judge(self.replayed if truncated else called, every_entry)
        self.report.by_step = dict(sorted(self.report.by_step.items()))
        if truncated:
            self.report.notes.append("what was detached is frozen at its recorded value")
        self._check_properties()
        self._explain()
        root, culprits = self.roots[0], self.report.culprits
        faulty = [finding for finding in culprits if finding.order == 1]
        self.report.make_trace = lambda: error_trace(root, faulty)

    def _pulled(self, root: Tensor, gradient: float = 1.0) -> list[Array]:
        leaves = self.subject.leaves
        found: list[Any] = [None] * len(leaves)
        if root.requires_grad:
            found = pull(root, leaves, np.full(root.shape, gradient, root.dtype), False)
        return [
            np.zeros(leaf.shape, leaf.dtype) if g is None else np.asarray(g)
            for leaf, g in zip(leaves, found, strict=True)
        ]

    def _steps(self, leaf: Tensor) -> int | Mapping[int, int] | None:
        """The time step in which each row of a leaf is used, or the whole of it."""
        rows: dict[int, int] = {}
        steps: set[int | None] = set()
        for node in self.nodes:
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

    def _check_operations(self) -> None:
        report = self.report
        parts = [(self.nodes, 1)]
        if self.order == 2:
            parts.append(([n for n in nodes_of(self.subject.call()) if n.primitive], 2))
        for nodes, order in parts:
            for node, method, entries, findings in check_nodes(nodes, self.rng, order):
                assert node.primitive is not None
                op = report.by_op.setdefault(node.primitive.name, Operation(method))
                op.method = method
                op.nodes += 1
                op.wrong += any(f.comparison.having("wrong") for f in findings)
                op.inconclusive += any(f.comparison.having("inconclusive") for f in findings)
                error = max((e.relative for e in entries if e.verdict != "inconclusive"), default=0)
                op.worst = max(op.worst, error)
                report.note_step(node.scope.step if node.scope else None, error)
                report.findings += findings
        for finding in report.culprits:
            comparison = finding.comparison
            if comparison.numeric is not None:
                claimed = comparison.variable.gradients[0]
                right = comparison.numeric[0]
                finding.diagnosis = diagnose(claimed, right, parts=finding.unsummed)

    def _judge(self, value: Value, every_entry: int) -> Judge:
        """Hold the gradients of the whole function against numbers."""
        method: Method = "complex step"
        if any(method_of(node.primitive) == "differences" for node in self.nodes) or any(
            op.method == "differences" for op in self.report.by_op.values()
        ):
            method = "differences"
        largest = 0.0
        if self.roots[0].requires_grad:
            trace = backprop(self.roots[0])
            sizes = (trace.norm(tensor) or 0.0 for tensor in trace.tensors)
            largest = max((size for size in sizes if math.isfinite(size)), default=0.0)
        dtype = self.subject.dtype
        judge = Judge(value, self.variables, method, self.rng, dtype, largest, every_entry)
        judge.report(self.report, value)
        return judge

    def _check_properties(self) -> None:
        """What holds of any gradient, whatever the function."""
        subject, roots, gradients = self.subject, self.roots, self.gradients
        allowed = self.judge.tolerance.absolute * 10
        for name, result, expected, distance in (
            (
                "a zero cotangent gives exactly zero",
                self._pulled(roots[0], 0.0),
                [np.zeros(leaf.shape) for leaf in subject.leaves],
                0.0,
            ),
            (
                "linear in the cotangent",
                self._pulled(2.0 * roots[0] - 3.0 * roots[1]),
                [2.0 * a - 3.0 * b for a, b in zip(gradients[0], gradients[1], strict=True)],
                allowed,
            ),
            ("the same in a second pass", self._pulled(roots[0]), gradients[0], 0.0),
        ):
            off = [
                variable
                for variable, a, b in zip(self.variables, result, expected, strict=True)
                if not (np.abs(a - b) <= distance).all()
            ]
            self.report.properties[name] = (
                f"does not hold: {name}; see the gradient of {off[0].name}" if off else None
            )
        other = [out.dtype for out in self.outputs if out.dtype != subject.dtype]
        self.report.properties["dtype kept"] = (
            f"dtype not kept: the inputs are {subject.dtype}, but an output is {other[0]}"
            if other and self.order == 1
            else None
        )
        if self.order == 2:
            ways = [
                sum(np.sum(g * u) for g, u in zip(gradients[k], self.draws[1 - k], strict=True))
                for k in (0, 1)
            ]
            size = sum(
                np.abs(g * u).sum() for g, u in zip(gradients[0], self.draws[1], strict=True)
            )
            holds = abs(ways[0] - ways[1]) <= allowed + self.judge.tolerance.relative * size
            self.report.properties["the Hessian is symmetric"] = (
                None if holds else f"the Hessian is not symmetric: {ways[0]:.9g}, {ways[1]:.9g}"
            )

    def _anomaly(self) -> str:
        """Where the gradient's first NaN or infinity comes from."""
        try:
            with detect_anomaly():
                self._pulled(weighted_sum(self.run(True), self.draws[0]))
        except FloatingPointError as error:
            return str(error)
        return "its entries are too large"

    def _explain(self) -> None:
        """Say what is wrong: a rule, the record, or the traversal; and what it looks like."""
        report = self.report
        wrong = [c for c in report.comparisons if c.having("wrong")]
        if report.culprits:
            more = len(report.culprits) - 1
            also = f", and {more} more" if more else ""
            report.diagnosis.append(f"a rule is wrong: {report.culprits[0]}{also}")
        elif not all(np.isfinite(g).all() for g in self.gradients[0]):
            report.diagnosis.append(f"the gradient is not finite: {self._anomaly()}")
        elif wrong and any(c.having("wrong") for c in self.judge.compare(self.replayed)):
            report.diagnosis.append(
                "every rule is right by itself, so the traversal is wrong: the gradient changes "
                "on its way between operations"
            )
        elif wrong:
            near = [v.array + 1e-3 * self.rng.normal(size=v.array.shape) for v in self.variables]
            with self.subject.at(near):
                again = [node for node in nodes_of(self.subject.call()) if node.primitive]
            found = cuts(self.nodes, again, self.finish) if self.order == 1 else []
            report.diagnosis.append(
                "every rule is right by itself, and so is the traversal: the graph is wrong. "
                "Something that depends on the inputs has no history (detach, .data, no_grad)"
                + (f": {'; '.join(map(str, found))}" if found else "")
            )
        self.judge.describe(report)
