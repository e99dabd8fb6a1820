"""What a check found: true if all is well; it describes what is not, as text or as a page."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .claim import Comparison, Entry
from .error import ErrorTrace

__all__ = ["GradientError", "Operation", "Report"]

_SHOWN = 5


class Operation(NamedTuple):
    """What the local check says of one operation, over all its recorded uses.

    Attributes
    ----------
    method : str
        "complex step" or "differences".
    uses, wrong : int
        How many uses were checked, and of how many a rule is wrong.
    worst : float
        The largest relative error.
    """

    method: str
    uses: int
    wrong: int
    worst: float


@dataclass
class Report:
    """The outcome of `gradcheck` and its relatives. Truthy if nothing is wrong.

    Attributes
    ----------
    name : str
        Of what was checked.
    comparisons : list of Comparison
        Every gradient, compared with numeric derivatives.
    operations : list of Comparison
        The rules of every recorded operation by itself, one for each input.
    diagnosis : list of str
        What kind of mistake it looks like.
    notes : list of str
        How it was checked: seed, cotangents, tolerances.
    make_trace : callable or None
        What `trace` calls when it is asked for.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> report = tr.check.gradcheck(lambda x: tr.tanh(x), [0.5, -1.0])
    >>> bool(report), report.by_op["tanh"].method
    (True, 'complex step')
    """

    name: str
    comparisons: list[Comparison] = field(default_factory=list)
    operations: list[Comparison] = field(default_factory=list)
    diagnosis: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    make_trace: Callable[[], ErrorTrace] | None = None

    def __bool__(self) -> bool:
        return not (self.diagnosis or any(c.having("wrong") for c in self._all))

    @property
    def _all(self) -> list[Comparison]:
        return self.comparisons + self.operations

    @property
    def culprits(self) -> list[Comparison]:
        """The operations at fault, oldest first; each has op, input, step, path and diagnosis."""
        return [c for c in self.operations if c.having("wrong")]

    @property
    def inconclusive(self) -> list[Entry]:
        """The entries that could not be decided, of gradients and of single operations."""
        return [e for c in self._all for e in c.having("inconclusive")]

    def worst(self, k: int = _SHOWN) -> list[Entry]:
        """The `k` entries of the gradients that lie farthest beyond what is allowed."""
        entries = [e for c in self.comparisons for e in c.decided]
        located = [e for e in entries if e.index is not None] or entries
        located.sort(key=lambda e: (e.verdict == "wrong", e.error / (e.allowed or 1e-300)))
        return located[::-1][:k]

    @property
    def by_op(self) -> dict[str, Operation]:
        """What was found about each kind of operation."""
        groups: dict[str, list[Comparison]] = {}
        for compared in self.operations:
            groups.setdefault(compared.op, []).append(compared)
        return {
            name: Operation(
                next((c.method for c in group if c.method != "complex step"), "complex step"),
                len({c.claim.node for c in group}),
                len({c.claim.node for c in group if c.having("wrong")}),
                max(c.worst for c in group),
            )
            for name, group in groups.items()
        }

    @property
    def by_step(self) -> dict[int, float]:
        """The largest relative error at each time step."""
        found: dict[int, float] = {}
        for compared in self._all:
            size = compared.size
            for entry in compared.decided:
                if entry.step is not None:
                    found[entry.step] = max(found.get(entry.step, 0.0), entry.error / size)
        return dict(sorted(found.items()))

    def settled(self, raise_exception: bool) -> Report:
        """The report itself; `GradientError` instead if anything is wrong and it may be raised."""
        if raise_exception and not self:
            raise GradientError(self)
        return self

    @functools.cached_property
    def trace(self) -> ErrorTrace:
        """The error on every tensor and along every arrow, for ``viz.draw(report)``.

        Raises
        ------
        ValueError
            If there is no recorded graph, as in `check_gradients`.
        """
        if self.make_trace is None:
            raise ValueError(f"{self.name} recorded no graph, so there is no error to draw on it")
        return self.make_trace()

    def __str__(self) -> str:
        verdict = "passed" if self else "FAILED"
        if self and self.inconclusive and not any(c.decided for c in self.comparisons):
            verdict = "is inconclusive: no entry could be decided"
        undecided = [str(entry) for entry in self.inconclusive]
        more = [f"and {len(undecided) - _SHOWN} more"] * (len(undecided) > _SHOWN)
        gradients = (
            (c.variable.name, str(c.variable.array.shape), c.how, c.method, _outcome(c))
            for c in self.comparisons
        )
        operations = (
            (name, f"{o.uses} ×", o.method, f"{o.wrong} wrong" if o.wrong else _off_by(o.worst))
            for name, o in self.by_op.items()
        )
        sections = [
            *self._at_fault(),
            ("worst entries", [str(e) for e in self.worst() if e.verdict == "wrong"]),
            ("inconclusive", undecided[:_SHOWN] + more),
            ("gradients", _aligned(gradients)),
            ("each operation by itself", _aligned(operations)),
            ("how", self.notes),
        ]
        lines = [f"{self.name} {verdict}", *(f"  {sentence}" for sentence in self.diagnosis)]
        for title, sentences in sections:
            if sentences:
                lines += [f"  {title}", *(f"    {sentence}" for sentence in sentences)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f'<div class="gradcheck"><pre>{html.escape(str(self))}</pre></div>'

    def _at_fault(self) -> Iterator[tuple[str, list[str]]]:
        """The first use of each wrong rule, and what is known of it."""
        groups: dict[Any, list[Comparison]] = {}
        for found in self.culprits:
            key = found.primitive, found.input, found.claim.order
            groups.setdefault(key, []).append(found)
        for first, *more in groups.values():
            yield (
                f"at fault: {first}",
                [f"it looks like this: {s}" for s in first.diagnosis]
                + [f"the same at {len(more)} more"] * bool(more)
                + [str(entry) for entry in first.having("wrong")[:_SHOWN]],
            )


class GradientError(AssertionError):
    """A gradient is wrong; raised by the checks.

    Attributes
    ----------
    report : Report
        What was found. The error's text is the report's.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> square = tr.primitive("square", lambda x: x * x, lambda g, y, x: g * x)
    >>> try:
    ...     tr.check.gradcheck(square, [1.0, 2.0])
    ... except AssertionError as error:
    ...     print(error.report.culprits[0].diagnosis)
    ['a constant factor: 0.5 times what it should be']
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def _outcome(comparison: Comparison) -> str:
    wrong, undecided = comparison.having("wrong"), comparison.having("inconclusive")
    parts = [f"{len(wrong)} of {len(comparison.entries)} wrong"] if wrong else []
    parts += [f"{len(undecided)} inconclusive"] if undecided else []
    return ", ".join(parts) or _off_by(comparison.worst)


def _off_by(error: float) -> str:
    return f"off by {error:.1e}"


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """The rows of a table as lines."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
