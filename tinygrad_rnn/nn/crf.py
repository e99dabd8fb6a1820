"""A linear-chain conditional random field (Lafferty, McCallum and Pereira 2001)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import Tensor, where
from ..functions import logsumexp, take_along_axis
from .initialisers import Seed, parameter, uniform
from .module import Module

__all__ = ["CRF"]


class CRF(Module):
    """Scores for whole label sequences: each step's own scores plus those of the transitions.

    Parameters
    ----------
    labels : int
        L, the number of labels.
    rng : numpy.random.Generator, int or None
        Starting values are uniform within ±0.1.
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
    >>> import tinygrad_rnn as tr
    >>> crf = tr.nn.CRF(3, rng=0)
    >>> scores = tr.Tensor(np.random.default_rng(0).standard_normal((4, 1, 3)))
    >>> best = crf.decode(scores)
    >>> best.shape
    (4, 1)
    """

    def __init__(self, labels: int, rng: Seed = None, dtype: npt.DTypeLike = np.float64) -> None:
        generator = np.random.default_rng(rng)
        self.transitions = parameter(uniform(generator, (labels, labels), 0.1), dtype)
        self.start = parameter(uniform(generator, (labels,), 0.1), dtype)
        self.end = parameter(uniform(generator, (labels,), 0.1), dtype)

    def loss(self, scores: Tensor, labels: Any, lengths: Any = None) -> Tensor:
        """The negative log likelihood of the labels, summed over the sequences.

        Parameters
        ----------
        scores : Tensor (T, B, L)
            Of every label at every step.
        labels : integer array (T, B)
        lengths : integer array (B,), optional
        """
        labels = np.asarray(labels)
        steps, batch, _ = scores.shape
        last = np.full(batch, steps) - 1 if lengths is None else np.asarray(lengths) - 1
        inside = np.arange(steps)[:, None] <= last
        labels = np.where(inside, labels, 0)

        own = take_along_axis(scores, labels[..., None], axis=-1)[..., 0]
        moves = self.transitions[labels[:-1], labels[1:]] * inside[1:]
        ends = self.start[labels[0]] + self.end[labels[last, np.arange(batch)]]
        of_the_labels = (own * inside).sum() + moves.sum() + ends.sum()
        loss: Tensor = self._log_total(scores, inside).sum() - of_the_labels
        return loss

    def _log_total(self, scores: Tensor, inside: Any) -> Tensor:
        """The log of the sum over all label sequences, by the forward algorithm: (B,)."""
        alpha = self.start + scores[0]
        for t in range(1, len(scores)):
            paths = alpha[:, :, None] + self.transitions + scores[t][:, None, :]
            alpha = where(inside[t][:, None], logsumexp(paths, axis=1), alpha)
        total: Tensor = logsumexp(alpha + self.end, axis=1)
        return total

    def decode(self, scores: Tensor, lengths: Any = None) -> npt.NDArray[np.int64]:
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
        last = np.full(batch, steps) - 1 if lengths is None else np.asarray(lengths) - 1
        best = self.start.data + values[0]
        came_from = np.zeros((steps, batch, labels), np.int64)
        for t in range(1, steps):
            paths = best[:, :, None] + moves
            came_from[t] = paths.argmax(axis=1)
            running = (t <= last)[:, None]
            best = np.where(running, paths.max(axis=1) + values[t], best)
        found = np.zeros((steps, batch), np.int64)
        label = (best + self.end.data).argmax(axis=1)
        for t in reversed(range(steps)):
            running = t <= last
            found[t] = np.where(running, label, 0)
            label = np.where(running, came_from[t][np.arange(batch), label], label)
        return found
