"""Losses: one number from outputs and targets."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..engine import Tensor
from ..functions import log_softmax, take_along_axis

__all__ = ["cross_entropy"]

Reduction = Literal["sum", "mean"]


def cross_entropy(
    logits: Tensor,
    targets: Any,
    mask: Any = None,
    reduction: Reduction = "sum",
) -> Tensor:
    """``-log softmax(logits)[target]``, summed over all steps and sequences.

    Parameters
    ----------
    logits : Tensor of shape (..., C)
        Scores before the softmax, for instance (T, B, C).
    targets : array_like of integers, shape (...)
        The right class of each.
    mask : array_like of booleans, shape (...), optional
        False where there is nothing to learn, such as past the end of a sentence.
    reduction : {"sum", "mean"}
        The mean is over what the mask leaves.

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    ValueError
        If shapes do not fit, or a target is not a class.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> loss = tr.nn.cross_entropy(tr.Tensor(np.zeros((3, 2, 4))), np.ones((3, 2), int))
    >>> round(loss.item() / float(np.log(4)), 6)
    6.0
    """
    targets = np.asarray(targets)
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"cross_entropy was given targets of shape {targets.shape} for logits of shape "
            f"{logits.shape}; expected {logits.shape[:-1]}, one class for each row of scores"
        )
    classes = logits.shape[-1]
    keep = np.ones(targets.shape, bool) if mask is None else np.asarray(mask, bool)
    wanted = targets[keep]
    if wanted.size and (wanted.min() < 0 or wanted.max() >= classes):
        raise ValueError(
            f"cross_entropy was given classes from {wanted.min()} to {wanted.max()}; the logits "
            f"have {classes} classes, 0 to {classes - 1}"
        )
    chosen = take_along_axis(log_softmax(logits), np.where(keep, targets, 0)[..., None], axis=-1)
    loss: Tensor = -(chosen[..., 0] * keep).sum()
    return loss / max(int(keep.sum()), 1) if reduction == "mean" else loss
