"""Learning rates that change while training: ``optimiser.lr = cosine(0.1, epoch, 50)``."""

from __future__ import annotations

import math

__all__ = ["Plateau", "cosine", "staircase"]


def staircase(lr: float, epoch: int, every: int, factor: float = 0.1) -> float:
    """`lr` multiplied by `factor` each time `every` epochs have passed.

    Parameters
    ----------
    lr : float
        The initial learning rate.
    epoch : int
        Counted from 0.
    every : int
    factor : float, default 0.1

    Returns
    -------
    float

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> [tr.train.staircase(1.0, epoch, every=2, factor=0.5) for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    return lr * float(factor ** (epoch // every))


def cosine(lr: float, epoch: int, epochs: int, lowest: float = 0.0) -> float:
    """From `lr` to `lowest` along half a cosine (Loshchilov and Hutter 2017).

    Parameters
    ----------
    lr : float
        The initial learning rate.
    epoch, epochs : int
        The epoch, counted from 0, and the number of epochs.
    lowest : float, default 0

    Returns
    -------
    float

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> [round(tr.train.cosine(1.0, epoch, 4), 3) for epoch in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return lowest + (lr - lowest) * (1 + math.cos(math.pi * epoch / epochs)) / 2


class Plateau:
    """A learning rate that falls when a score has not improved for a while.

    Parameters
    ----------
    lr : float
    factor : float, default 0.1
    patience : int, default 10
        How many epochs to wait for a better score.
    threshold : float, default 1e-4
        The relative decrease of the score that counts as an improvement.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> plateau = tr.train.Plateau(1.0, factor=0.5, patience=1)
    >>> [plateau(loss) for loss in (3.0, 2.0, 2.0, 2.0, 1.0)]
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    def __init__(
        self, lr: float, factor: float = 0.1, patience: int = 10, threshold: float = 1e-4
    ) -> None:
        self.lr = lr
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.best, self.waited = math.inf, 0

    def __call__(self, score: float) -> float:
        """The learning rate after an epoch with this score; lower is better."""
        if score < self.best * (1 - self.threshold):
            self.best, self.waited = score, 0
        else:
            self.waited += 1
            if self.waited > self.patience:
                self.lr *= self.factor
                self.waited = 0
        return self.lr
