"""Gradient clipping (Pascanu, Mikolov and Bengio 2013)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..engine import Tensor

__all__ = ["clip_grad_norm"]


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients together so that their common norm is at most `max_norm`.

    Returns
    -------
    float
        The norm before clipping.

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
    if total > max_norm:
        for p, g in having:
            p.grad = g * (max_norm / (total + 1e-6))
    return total
