"""Gradient clipping (Pascanu, Mikolov and Bengio 2013)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..engine import Tensor

__all__ = ["clip_grad_norm", "clip_grad_value"]


def clip_grad_norm(
    parameters: Iterable[Tensor], max_norm: float, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients together so that their common norm is at most `max_norm`.

    Parameters
    ----------
    parameters : iterable of Tensors
    max_norm : float
    error_if_nonfinite : bool, default False
        Raise if the norm is infinite or NaN; otherwise such gradients are scaled by NaN or zero.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    FloatingPointError
        If asked; naming the parameters at fault. No gradient is changed.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Tensor([3.0, 4.0], requires_grad=True)
    >>> (0.5 * w * w).sum().backward()
    >>> tr.train.clip_grad_norm([w], 1.0)
    5.0
    >>> w.grad.round(6)
    array([0.6, 0.8])
    """
    having = [(p, p.grad) for p in parameters if p.grad is not None]
    total = math.sqrt(sum(float(np.vdot(g, g)) for _, g in having))
    if error_if_nonfinite and not math.isfinite(total):
        bad = [p.name or f"shape {p.shape}" for p, g in having if not np.isfinite(g).all()]
        raise FloatingPointError(
            f"the norm of the gradients is {total}, because of {', '.join(bad) or 'their size'}; "
            f"detect_anomaly() names the operation and the step where it began"
        )
    if not total <= max_norm:  # NaN too
        for p, g in having:
            p.grad = g * (max_norm / (total + 1e-6))
    return total


def clip_grad_value(parameters: Iterable[Tensor], max_value: float) -> None:
    """Clip every entry of every gradient to the range from -max_value to max_value.

    Parameters
    ----------
    parameters : iterable of Tensors
        Those without a gradient are left alone.
    max_value : float

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Tensor([3.0, -4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> tr.train.clip_grad_value([w], 7.0)
    >>> w.grad
    array([ 6., -7.])
    """
    for p in parameters:
        if p.grad is not None:
            p.grad = np.clip(p.grad, -max_value, max_value)
