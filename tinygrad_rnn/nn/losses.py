"""Losses: one number from outputs and targets.

All take ``mask``, False where there is nothing to learn, such as past the end of a sentence, and
``reduction``, the sum (over all steps and sequences) or the mean over what the mask leaves.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..engine import Array, Tensor
from ..functions import log_softmax, softplus, take_along_axis

__all__ = ["binary_cross_entropy", "cross_entropy", "mse", "negative_log_likelihood"]

Reduction = Literal["sum", "mean"]


def _reduced(each: Tensor, mask: Any, reduction: Reduction) -> Tensor:
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction={reduction!r} was given; expected 'sum' or 'mean'")
    keep = _mask(mask, each.shape)
    total: Tensor = (each * keep).sum()
    return total / max(int(keep.sum()), 1) if reduction == "mean" else total


def _mask(mask: Any, shape: tuple[int, ...]) -> Array:
    keep = np.ones(shape, bool) if mask is None else np.asarray(mask, bool)
    if keep.shape != shape:
        raise ValueError(f"the mask has shape {keep.shape}; expected {shape}, one for each loss")
    return keep


def cross_entropy(
    logits: Tensor,
    targets: Any,
    mask: Any = None,
    ignore_index: int | None = None,
    reduction: Reduction = "sum",
) -> Tensor:
    """``-log softmax(logits)[target]``, summed over all steps and sequences.

    Parameters
    ----------
    logits : Tensor of shape (..., C)
        Scores before the softmax, for instance (T, B, C).
    targets : array_like of integers (...), or of numbers (..., C)
        The right class of each, or a distribution over the classes.
    mask : array_like of booleans (...), optional
    ignore_index : int, optional
        A target that stands for nothing to learn.
    reduction : {"sum", "mean"}

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
    if targets.dtype.kind == "f" and targets.shape == logits.shape:
        weighted = log_softmax(logits) * targets.astype(logits.dtype)
        return _reduced(-weighted.sum(axis=-1), mask, reduction)
    return negative_log_likelihood(log_softmax(logits), targets, mask, ignore_index, reduction)


def negative_log_likelihood(
    log_probabilities: Tensor,
    targets: Any,
    mask: Any = None,
    ignore_index: int | None = None,
    reduction: Reduction = "sum",
) -> Tensor:
    """``-log_probabilities[target]``; for outputs that are probabilities already, give their log.

    Parameters
    ----------
    log_probabilities : Tensor of shape (..., C)
    targets : array_like of integers (...)
    mask, ignore_index, reduction
        As for `cross_entropy`.

    Raises
    ------
    ValueError
        If shapes do not fit, or a target is not a class.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> p = tr.Tensor([[0.25, 0.75]])
    >>> round(tr.nn.negative_log_likelihood(tr.log(p), [0]).item(), 4)
    1.3863
    """
    targets = np.asarray(targets)
    classes = log_probabilities.shape[-1]
    if targets.shape != log_probabilities.shape[:-1] or targets.dtype.kind not in "iu":
        raise ValueError(
            f"the targets have shape {targets.shape} and dtype {targets.dtype}; expected integers "
            f"of shape {log_probabilities.shape[:-1]}, one class for each row of scores "
            f"{log_probabilities.shape}"
        )
    keep = _mask(mask, targets.shape)
    if ignore_index is not None:
        keep = keep & (targets != ignore_index)
    wanted = targets[keep]
    if wanted.size and (wanted.min() < 0 or wanted.max() >= classes):
        raise ValueError(
            f"the targets are classes from {wanted.min()} to {wanted.max()}; the scores have "
            f"{classes} classes, 0 to {classes - 1}"
        )
    index = np.where(keep, targets, 0)[..., None]
    chosen = take_along_axis(log_probabilities, index, axis=-1)[..., 0]
    return _reduced(-chosen, keep, reduction)


def binary_cross_entropy(
    logits: Tensor, targets: Any, mask: Any = None, reduction: Reduction = "sum"
) -> Tensor:
    """Cross entropy of ``sigmoid(logits)`` with targets between 0 and 1, without overflow.

    Parameters
    ----------
    logits : Tensor
    targets : array_like of its shape
    mask, reduction
        As for `cross_entropy`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.nn.binary_cross_entropy(tr.Tensor([-1000.0, 1000.0]), [1, 1]).item()
    1000.0
    """
    targets = _like(targets, logits)
    return _reduced(softplus(logits) - logits * targets, mask, reduction)


def mse(outputs: Tensor, targets: Any, mask: Any = None, reduction: Reduction = "mean") -> Tensor:
    """The squared error, averaged by default.

    Parameters
    ----------
    outputs : Tensor
    targets : Tensor or array_like
        Of the outputs' shape.
    mask : array_like of booleans, of that shape, optional
        Which entries count.
    reduction : {"mean", "sum"}

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    ValueError
        If the shapes differ, or for another `reduction`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.nn.mse(tr.Tensor([1.0, 3.0]), [1.0, 1.0]).item()
    2.0
    """
    error = outputs - _like(targets, outputs)
    return _reduced(error * error, mask, reduction)


def _like(targets: Any, outputs: Tensor) -> Any:
    """Targets in the outputs' dtype; a Tensor stays one."""
    if not isinstance(targets, Tensor):
        targets = np.asarray(targets, dtype=outputs.dtype)
    if targets.shape != outputs.shape:
        raise ValueError(f"the targets have shape {targets.shape}, the outputs {outputs.shape}")
    return targets
