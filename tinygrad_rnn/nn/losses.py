"""Losses: one number from outputs and targets, the sum over all steps and sequences.

That is the lecture's loss of a sequence, and every loss's default. ``reduction="mean"`` divides it
by how many losses were summed, and is 0 where there were none; ``"none"`` returns them one by one.
``mask`` is False where there is nothing to learn, such as past the end of a sentence: values there,
NaN included, affect neither the loss nor any gradient.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np

from ..engine import Array, Tensor, scope, where
from ..engine.primitives import take
from ..engine.tensor import locked
from ..functions import log_softmax, softplus

__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "mse", "negative_log_likelihood",
]  # fmt: skip

Reduction = Literal["sum", "mean", "none"]


def cross_entropy(
    logits: Tensor,
    targets: Any,
    mask: Any = None,
    ignore_index: int | None = None,
    reduction: Reduction = "sum",
    weight: Any = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """``-log softmax(logits)[target]``, summed over all steps and sequences.

    Parameters
    ----------
    logits : Tensor of shape (..., C)
        Scores before the softmax, for instance (T, B, C).
    targets : array_like of integers (...), or Tensor or array_like of numbers (..., C)
        The right class of each, or a distribution over the classes.
    mask : array_like of booleans (...), optional
        False where there is nothing to learn.
    ignore_index : int, optional
        A target value that is not learned from.
    reduction : {"sum", "mean", "none"}
        The mean leaves out what is masked or ignored; for classes with weights it is the weighted
        mean, as in PyTorch.
    weight : array_like of numbers (C,), optional
        The cost of a mistake on each class.
    label_smoothing : float, default 0
        The share of each target that is spread evenly over all classes (Szegedy et al. 2016).

    Returns
    -------
    Tensor of shape (), or (...) for ``reduction="none"``

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
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing} was given; expected a share, 0 to 1")
    with scope("cross entropy"):
        targets, keep = checked_targets(logits, targets, mask, ignore_index)
        log_p = log_softmax(_kept(keep, logits))
        return _likelihood(log_p, targets, keep, reduction, weight, label_smoothing)


def negative_log_likelihood(
    log_probabilities: Tensor,
    targets: Any,
    mask: Any = None,
    ignore_index: int | None = None,
    reduction: Reduction = "sum",
    weight: Any = None,
) -> Tensor:
    """``-log_probabilities[target]``; for outputs that are probabilities already, give their log.

    Parameters
    ----------
    log_probabilities : Tensor of shape (..., C)
    targets : array_like of integers (...)
    mask, ignore_index, reduction, weight
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
    with scope("negative log likelihood"):
        targets, keep = checked_targets(log_probabilities, targets, mask, ignore_index)
        log_p = _kept(keep, log_probabilities)
        return _likelihood(log_p, targets, keep, reduction, weight)


def binary_cross_entropy_with_logits(
    logits: Tensor,
    targets: Any,
    mask: Any = None,
    reduction: Reduction = "sum",
    pos_weight: Any = None,
) -> Tensor:
    """Cross entropy of ``sigmoid(logits)`` with targets between 0 and 1, without overflow.

    Parameters
    ----------
    logits : Tensor
    targets : Tensor or array_like of its shape
    mask, reduction
        As for `cross_entropy`.
    pos_weight : array_like, optional
        The cost of missing a 1, relative to missing a 0; broadcast to the logits.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.nn.binary_cross_entropy_with_logits(tr.Tensor([-1000.0, 1000.0]), [1, 1]).item()
    1000.0
    """
    with scope("binary cross entropy"):
        keep = _mask(mask, logits.shape)
        y = _kept(keep, _shaped("targets", targets, logits.shape, logits))
        z = _kept(keep, logits)
        each = softplus(-z)
        if pos_weight is not None:
            each = each * (1.0 + (np.asarray(pos_weight, each.dtype) - 1.0) * y)
        return _reduced(each + (1.0 - y) * z, keep, reduction)


def mse(outputs: Tensor, targets: Any, mask: Any = None, reduction: Reduction = "sum") -> Tensor:
    """The squared error, summed by default as all losses are; PyTorch's default is the mean.

    Parameters
    ----------
    outputs : Tensor
    targets : Tensor or array_like
        Of the outputs' shape.
    mask : array_like of booleans, of that shape, optional
        Which entries count.
    reduction : {"sum", "mean", "none"}

    Returns
    -------
    Tensor of shape (), or of the outputs' for ``reduction="none"``

    Raises
    ------
    ValueError
        If the shapes differ, or for another `reduction`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.nn.mse(tr.Tensor([1.0, 3.0]), [1.0, 1.0], reduction="mean").item()
    2.0
    """
    with scope("squared error"):
        keep = _mask(mask, outputs.shape)
        error = _kept(keep, outputs - _shaped("targets", targets, outputs.shape, outputs))
        return _reduced(error * error, keep, reduction)


def checked_targets(
    scores: Tensor, targets: Any, mask: Any, ignore_index: int | None
) -> tuple[Any, Array | None]:
    """Classes or distributions that fit, 0 where there is nothing to learn; where there is some."""
    classes, shape = scores.shape[-1], scores.shape[:-1]
    targets = targets if isinstance(targets, Tensor) else np.asarray(targets)
    keep = _mask(mask, shape)
    if targets.dtype.kind == "f" and targets.shape == scores.shape and ignore_index is None:
        return _kept(keep, _shaped("targets", targets, scores.shape, scores)), keep
    if targets.dtype.kind not in "iu" or targets.shape != shape:
        raise ValueError(
            f"the targets have shape {targets.shape} and dtype {targets.dtype}; expected integers "
            f"of shape {shape}, one class for each row of scores {scores.shape}, or, without an "
            f"ignore_index, distributions of the scores' shape"
        )
    targets = np.asarray(targets)
    if ignore_index is not None:
        keep = (targets != ignore_index) & (True if keep is None else keep)
    if keep is not None:
        targets = np.where(keep, targets, 0)
    if targets.size and (targets.min() < 0 or targets.max() >= classes):
        raise ValueError(
            f"the targets are classes from {targets.min()} to {targets.max()}; the scores have "
            f"{classes} classes, 0 to {classes - 1}"
        )
    return targets, keep


def _likelihood(
    log_p: Tensor,
    targets: Any,
    keep: Array | None,
    reduction: Reduction,
    weight: Any,
    smoothing: float = 0.0,
) -> Tensor:
    classes, count, hard = log_p.shape[-1], None, targets.dtype.kind != "f"
    if weight is not None:
        weight = _shaped("weight", weight, (classes,), log_p)
        log_p = log_p * weight
        count = _kept(keep, weight[targets]).sum() if hard else None
    if hard:
        each = -take(log_p, key=(*_rows(targets.shape), locked(targets)), repeats=False)
    else:
        each = -(log_p * targets).sum(axis=-1)
    if smoothing:
        each = each * (1.0 - smoothing) - log_p.sum(axis=-1) * (smoothing / classes)
    return _reduced(each, keep, reduction, count)


@functools.lru_cache(maxsize=64)  # a loss at each step has the same rows
def _rows(shape: tuple[int, ...]) -> list[Array]:
    return [locked(rows) for rows in np.indices(shape, sparse=True)]


def _reduced(each: Tensor, keep: Array | None, reduction: Reduction, count: Any = None) -> Tensor:
    """Their sum, their mean, which is the sum divided by `count` or their number, or each."""
    if reduction not in ("sum", "mean", "none"):
        raise ValueError(f"reduction={reduction!r} was given; expected 'sum', 'mean' or 'none'")
    each = _kept(keep, each)
    if reduction == "none":
        return each
    total: Tensor = each.sum()
    if reduction == "sum":
        return total
    if count is None:
        count = each.size if keep is None else keep.sum()
    return total / float(count or 1)


def _mask(mask: Any, shape: tuple[int, ...]) -> Array | None:
    if mask is None:
        return None
    if (mask := np.asarray(mask)).dtype.kind not in "biu":
        raise ValueError(
            f"the mask holds {mask.dtype}; expected booleans. Weigh with 'none' losses"
        )
    keep: Array = _shaped("mask", mask.astype(bool), shape)
    return keep


def _kept(keep: Array | None, x: Any) -> Any:
    """`x` with zeros where there is nothing to learn, so that no operation sees what was there."""
    if keep is None:
        return x
    return where(keep.reshape(*keep.shape, *[1] * (x.ndim - keep.ndim)), x, 0.0)


def _shaped(what: str, value: Any, shape: tuple[int, ...], like: Tensor | None = None) -> Any:
    """A Tensor as it is, or an array in the floating dtype of `like`; refused in another shape."""
    if like is not None and not isinstance(value, Tensor):
        value = np.asarray(value, np.result_type(like.dtype, np.float32))
    if value.shape != shape:
        raise ValueError(f"the {what} of a loss was given in shape {value.shape}; expected {shape}")
    return value
