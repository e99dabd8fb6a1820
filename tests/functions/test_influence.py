"""Which loss reaches which step, against one separate gradient for each pair."""

from __future__ import annotations

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn

from ..cells import CELLS, each_cell


@each_cell
def test_influence_is_that_of_each_loss_alone(name: str) -> None:
    """The batched walk against one separate gradient for each pair."""
    cell, rng = CELLS[name](2, 3), np.random.default_rng(0)
    outputs, _ = nn.unroll(cell, rng.standard_normal((4, 2, 2)), lengths=[4, 2])
    targets = rng.integers(0, 3, (4, 2))
    losses = [nn.cross_entropy(h, y) for h, y in zip(outputs, targets, strict=True)]
    found = tr.influence(losses, outputs)
    expected = np.zeros((4, 4))
    for t, loss in enumerate(losses):
        for s, h in enumerate(outputs[: t + 1]):
            try:
                expected[t, s] = np.linalg.norm(tr.grad(loss, h)[0].data)
            except ValueError:  # the sequence that this loss sees has ended before
                expected[t, s] = 0.0
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-16)
