"""A linear-chain conditional random field (Lafferty, McCallum and Pereira 2001)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import tinygrad_rnn as tr
from tinygrad_rnn.nn import parameter, uniform
from tinygrad_rnn.nn.losses import checked_targets
from tinygrad_rnn.nn.unroll import running_steps


class CRF(tr.nn.Module):
    """Scores for whole label sequences: each step's own scores plus those of the transitions.

    Parameters
    ----------
    labels : int
        L, the number of labels.
    rng : numpy.random.Generator, int or None
        The initial values are uniform within ±0.1.
    dtype : dtype, default float64

    Attributes
    ----------
    transitions : Tensor (L, L)
        From a label to the next.
    start, end : Tensor (L,)
        Of the first and the last label.

    Examples
    --------
    >>> import numpy as np
    >>> crf = CRF(3, rng=0)
    >>> scores = tr.Tensor(np.random.default_rng(0).standard_normal((4, 1, 3)))
    >>> best = crf.decode(scores)
    >>> best.shape
    (4, 1)
    """

    def __init__(self, labels: int, rng: Any = None, dtype: npt.DTypeLike = np.float64) -> None:
        generator = np.random.default_rng(rng)
        self.transitions = parameter(uniform(generator, (labels, labels), 0.1), dtype)
        self.start = parameter(uniform(generator, (labels,), 0.1), dtype)
        self.end = parameter(uniform(generator, (labels,), 0.1), dtype)

    def loss(self, scores: tr.Tensor, labels: Any, lengths: Any = None) -> tr.Tensor:
        """The negative log likelihood of the labels, summed over the sequences.

        Parameters
        ----------
        scores : Tensor (T, B, L)
            Of every label at every step.
        labels : integer array (T, B)
        lengths : integer array (B,), optional
        """
        inside = _inside(scores, lengths)
        labels, _ = checked_targets(scores, labels, inside, None)
        with tr.scope("crf"):
            scores = tr.where(inside[..., None], scores, 0.0)  # what lies past an end takes no part
            t, b = np.nonzero(inside)
            own = scores[t, b, labels[t, b]].sum()
            t, b = t[t > 0], b[t > 0]
            moves = self.transitions[labels[t - 1, b], labels[t, b]].sum()
            last = labels[inside.sum(axis=0) - 1, np.arange(len(labels[0]))]
            ends = (self.start[labels[0]] + self.end[last]).sum()
            loss: tr.Tensor = self._log_total(scores, inside).sum() - own - moves - ends
        return loss

    def _log_total(self, scores: tr.Tensor, inside: Any) -> tr.Tensor:
        """The log of the sum over all label sequences, by the forward algorithm: (B,)."""
        alpha = self.start + scores[0]
        for t in range(1, len(scores)):
            paths = alpha[:, :, None] + self.transitions + scores[t][:, None, :]
            alpha = tr.where(inside[t][:, None], tr.logsumexp(paths, axis=1), alpha)
        total: tr.Tensor = tr.logsumexp(alpha + self.end, axis=1)
        return total

    def decode(self, scores: tr.Tensor, lengths: Any = None) -> npt.NDArray[np.int64]:
        """The best label sequence of each, by the Viterbi algorithm.

        Parameters
        ----------
        scores : Tensor (T, B, L)
        lengths : integer array (B,), optional

        Returns
        -------
        integer array (T, B)
            Zero past a sequence's end.
        """
        values, moves = scores.data, self.transitions.data
        steps, batch, labels = values.shape
        inside = _inside(scores, lengths)
        best = self.start.data + values[0]
        came_from = np.zeros((steps, batch, labels), np.int64)
        for t in range(1, steps):
            paths = best[:, :, None] + moves
            came_from[t] = paths.argmax(axis=1)
            best = np.where(inside[t][:, None], paths.max(axis=1) + values[t], best)
        found = np.zeros((steps, batch), np.int64)
        label = (best + self.end.data).argmax(axis=1)
        for t in reversed(range(steps)):
            found[t] = np.where(inside[t], label, 0)
            label = np.where(inside[t], came_from[t][np.arange(batch), label], label)
        return found


def _inside(scores: tr.Tensor, lengths: Any) -> np.ndarray:
    """Where the sequences have not ended: booleans (T, B)."""
    steps, batch = scores.shape[:2]
    return running_steps(np.full(batch, steps) if lengths is None else lengths, steps, batch)
