"""`scan`: a recurrence that is linear in its state, over all steps as one operation.

Such a step is a pair (a, b): it turns h into ``a ⊙ h + b``. Two steps, one after the other, are
another such pair, and it does not matter which neighbours are joined first (Blelloch 1990). Here
the steps stand in √T blocks of √T. They are joined within all blocks at once, and then the state is
handed from block to block.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import broadcast_to, primitive
from ..functions import concatenate

__all__ = ["scan"]


def _scan_rule(g: Any, h: Any, a: Any, b: Any, h0: Any) -> tuple[Any, ...]:
    # The gradient of h_t is g_t and what comes back through the next step: δ_t = g_t + a_t+1 δ_t+1.
    # That is a scan too, from the last step to the first.
    a = broadcast_to(a, shape=h.shape)
    back = concatenate([a[:1], a[:0:-1]])  # the first meets the zero that it starts from
    d = scan(back, g[::-1], 0.0)[::-1]
    before = concatenate([broadcast_to(h0, shape=h.shape[1:])[None], h[:-1]])
    return d * before, d, d[0] * a[0]


@primitive(rules=[_scan_rule], joint=True)
def scan(a: Any, b: Any, h0: Any, /) -> Any:
    """``h_t = a_t ⊙ h_t-1 + b_t``, all steps at once; the gradient is a scan from last to first.

    For δ_t, what has arrived at h_t from all later steps:
    ∂L/∂b_t = δ_t; ∂L/∂a_t = δ_t ⊙ h_t-1; ∂L/∂h_0 = a_1 ⊙ δ_1

    Parameters
    ----------
    a, b : Tensor or array_like, shape (T, ...)
        What each step keeps of the state, and what it adds: time first. An `a` of fewer axes, such
        as (H,), is the same at every step, as in NumPy.
    h0 : Tensor, array or number
        The state before the first step, of the shape of one step or one that broadcasts to it.

    Returns
    -------
    Tensor of shape (T, ...), or array if there is no Tensor
        The states after every step.

    Raises
    ------
    ValueError
        If there are no steps, or the shapes do not broadcast.

    Notes
    -----
    The factors of up to √T neighbours are multiplied with each other, which is safe where they are
    at most 1, as gates are. Where such a product overflows, the result may be NaN although the
    states are finite.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> a, b = tr.Tensor([0.5, 0.5, 0.0], requires_grad=True), np.array([1.0, 1.0, 1.0])
    >>> h = tr.nn.scan(a, b, 4.0)
    >>> h
    Tensor([3. , 2.5, 1. ], scan)
    >>> h[1].backward()
    >>> a.grad
    array([2., 3., 0.])
    """
    T, *sizes = np.broadcast_shapes(np.shape(a), np.shape(b), (1, *np.shape(h0)))
    if T == 0:
        raise ValueError("there are no steps; it needs at least one")
    length, dtype = math.isqrt(T - 1) + 1, np.result_type(a, b, h0)
    blocks = -(-T // length)
    keep, h = (np.full((blocks * length, *sizes), fill, dtype) for fill in (1, 0))
    keep[:T], h[:T] = a, b  # what is added behind the last step keeps the state
    keeps, hs = (x.reshape(blocks, length, *sizes) for x in (keep, h))
    for t in range(1, length):
        hs[:, t] += keeps[:, t] * hs[:, t - 1]
        keeps[:, t] *= keeps[:, t - 1]
    for block in range(blocks):
        hs[block] += keeps[block] * h0
        h0 = hs[block, -1]
    return h[:T]
