"""What a check found: true if all is well; it describes what is not, as text or as a page."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .claim import Comparison, Entry
from .graph import ErrorTrace

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


# A heading, sentences, and a table: its first row names the columns.
_Section = tuple[str, list[str], Sequence[Sequence[str]]]


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
    properties : dict from str to str or None
        What else was checked; None if it holds, a sentence otherwise.
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
    properties: dict[str, str | None] = field(default_factory=dict)
    diagnosis: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    make_trace: Callable[[], ErrorTrace] | None = None

    def __bool__(self) -> bool:
        return not (
            self.culprits
            or any(sentence is not None for sentence in self.properties.values())
            or any(c.having("wrong") for c in self.comparisons)
        )

    @property
    def culprits(self) -> list[Comparison]:
        """The operations at fault, oldest first; each has op, input, step, path and diagnosis."""
        return [c for c in self.operations if c.having("wrong")]

    @property
    def inconclusive(self) -> list[Entry]:
        """The entries that could not be decided, of gradients and of single operations."""
        return [e for c in (*self.comparisons, *self.operations) for e in c.having("inconclusive")]

    def worst(self, k: int = _SHOWN) -> list[Entry]:
        """The `k` entries of the gradients that lie farthest beyond what is allowed."""
        entries = [e for c in self.comparisons for e in c.decided]
        wrong_first = sorted(entries, key=lambda e: (e.verdict != "wrong", -_excess(e)))
        located = [e for e in wrong_first if e.index is not None]
        return (located or wrong_first)[:k]

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
        for compared in (*self.comparisons, *self.operations):
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
        lines = []
        for i, (title, sentences, table) in enumerate(self._sections()):
            indent = "  " * (i > 0)
            lines.append(indent + title)
            lines += [f"{indent}  {sentence}" for sentence in sentences]
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            for row in table:
                cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                lines.append(f"{indent}  {'  '.join(cells)}".rstrip())
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f'<div class="gradcheck"><pre>{html.escape(str(self))}</pre></div>'

    def _sections(self) -> list[_Section]:
        verdict = "passed" if self else "FAILED"
        if self and self.inconclusive and not any(c.decided for c in self.comparisons):
            verdict = "is inconclusive: no entry could be decided"
        sections: list[_Section] = [(f"{self.name} {verdict}", self.diagnosis, [])]
        groups: dict[Any, list[Comparison]] = {}
        for found in self.culprits:
            key = found.primitive, found.input, found.claim.order
            groups.setdefault(key, []).append(found)
        for first, *more in groups.values():
            sentences = [f"it looks like this: {s}" for s in first.diagnosis]
            sentences += [f"the same at {len(more)} more uses"] * bool(more)
            wrong = first.having("wrong")[:_SHOWN]
            sections.append((f"at fault: {first}", sentences, _entries(wrong)))
        if wrong := [e for e in self.worst() if e.verdict == "wrong"]:
            sections.append(("worst entries", [], _entries(wrong)))
        if undecided := self.inconclusive:
            shown = [f"inconclusive, {e.why} at {e.where}" for e in undecided[:_SHOWN]]
            left = len(undecided) - len(shown)
            sections.append(("inconclusive", shown + [f"and {left} more"] * (left > 0), []))
        gradients = [("gradient of", "shape", "compared", "method", "outcome")] + [
            (c.variable.name, str(c.variable.array.shape), c.how, c.method, _outcome(c))
            for c in self.comparisons
        ]
        sections.append(("gradients", [], gradients))
        operations = [("operation", "uses", "method", "largest error")] + [
            (name, str(o.uses), o.method, f"{o.wrong} wrong" if o.wrong else f"{o.worst:.1e}")
            for name, o in self.by_op.items()
        ]
        if self.operations:
            sections.append(("each operation by itself", [], operations))
        broken = [s for s in self.properties.values() if s is not None]
        held = ", ".join(name for name, s in self.properties.items() if s is None)
        sections.append(("also", broken + [f"holds: {held}"] * bool(held) + self.notes, []))
        return sections


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
    return ", ".join(parts) or f"{comparison.worst:.1e}"


def _excess(entry: Entry) -> float:
    return entry.error / (entry.allowed or 1e-300)


def _entries(entries: Sequence[Entry]) -> Sequence[Sequence[str]]:
    return [("entry", "t", "analytic", "numeric", "|a - n| > allowed")] + [
        (
            e.place,
            "" if e.step is None else str(e.step),
            f"{e.analytic:.9g}",
            f"{e.numeric:.9g}",
            f"{e.error:.3g} > {e.allowed:.1e}",
        )
        for e in entries
    ]
