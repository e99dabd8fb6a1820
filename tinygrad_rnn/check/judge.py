"""From comparisons to a verdict: how close is close enough, what a wrong one looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .compare import Comparison, Tolerance, Variable, compare, settle_method
from .diagnosis import diagnose
from .numeric import Method, Value
from .report import Report

__all__ = ["Judge"]

_NOISE = 200.0  # what rounding may do to a whole net, in units of ε times its largest gradient


class Judge:
    """Holds gradients against numbers, with one method and one tolerance.

    Attributes
    ----------
    method : {"complex step", "differences"}
        The complex step where the function takes it.
    tolerance : Tolerance
    """

    def __init__(
        self,
        value: Value,
        variables: Sequence[Variable],
        method: Method,
        rng: np.random.Generator,
        dtype: Any,
        largest: float,
        every_entry: int,
    ) -> None:
        self.method = settle_method(value, variables, method, rng)
        eps = float(np.finfo(dtype).eps)
        # A complex step is exact; extrapolated differences are so to about 1e-10 of the values.
        relative = eps**0.6 if self.method == "complex step" else max(eps**0.6, 1e-7)
        self.tolerance = Tolerance(relative, _NOISE * eps * largest)
        self._largest = largest or 1.0
        self._variables, self._rng, self._every_entry = variables, rng, every_entry

    def compare(self, value: Value) -> list[Comparison]:
        """Hold the variables' gradients against numeric ones of `value`."""
        return compare(
            value, self._variables, self.method, self._rng, self.tolerance, self._every_entry
        )

    def report(self, report: Report, value: Value) -> None:
        """Write the comparisons down, with their errors by time step."""
        report.comparisons = self.compare(value)
        for comparison in report.comparisons:
            for entry in comparison.entries:
                if entry.verdict != "inconclusive":
                    report.note_step(entry.step, entry.error / self._largest)
        report.notes.append(
            f"allowed: |analytic - numeric| <= {self.tolerance.absolute:.1e} + "
            f"{self.tolerance.relative:.1e} |numeric|"
        )

    @staticmethod
    def describe(report: Report) -> None:
        """Add what each wrong gradient looks like."""
        for comparison in report.comparisons:
            variable, right = comparison.variable, comparison.numeric
            if comparison.having("wrong") and right is not None:
                steps = variable.steps if isinstance(variable.steps, Mapping) else None
                sentences = diagnose(variable.gradients[0], right[0], steps)
                report.diagnosis += [f"{variable.name}: {sentence}" for sentence in sentences]
