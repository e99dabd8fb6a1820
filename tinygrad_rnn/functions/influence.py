"""Which loss reaches which step: one reverse traversal for each loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engine.backprop import seed, walk
from ..engine.tensor import Array, Tensor
from .trace import norm_of

__all__ = ["influence"]


def influence(losses: Sequence[Tensor], states: Sequence[Tensor]) -> Array:
    """The matrix of ‖∂L_t/∂h_s‖ (RNNbow, arXiv 1907.12545): which loss reaches which step.

    Parameters
    ----------
    losses : sequence of Tensors
        Single numbers.
    states : sequence of Tensors
        Such as the hidden state of every step.

    Returns
    -------
    ndarray of shape ``(len(losses), len(states))``
        Zero where a loss does not depend on a state.

    Raises
    ------
    ValueError
        If a loss has no history or more than one entry.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> h = [tr.Tensor(1.0, requires_grad=True)]
    >>> for _ in range(2):
    ...     h.append(0.5 * h[-1])
    >>> tr.influence(h, h)
    array([[1.  , 0.  , 0.  ],
           [0.5 , 1.  , 0.  ],
           [0.25, 0.5 , 1.  ]])
    """
    columns: dict[int, list[int]] = {}
    for s, state in enumerate(states):
        columns.setdefault(state.number, []).append(s)
    found = np.zeros((len(losses), len(states)))
    oldest = min(columns, default=0)
    for t, loss in enumerate(losses):
        for tensor, g in walk(loss, seed(loss, None, "influence"), oldest=oldest):
            for s in columns.get(tensor.number, ()):
                found[t, s] = norm_of(g)
    return found
