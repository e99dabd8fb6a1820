import numpy as np


def rows(a):  # of all steps, as one matrix
    return a.reshape(-1, a.shape[-1])


def forward(xs, h, W_xh, W_hh, b):
    """ElmanCell over all steps: outputs, last state, what the way back needs."""
    T = len(xs)

    # What needs only the inputs: all steps at once.
    from_xs = xs @ W_xh + b

    hs = np.empty((T + 1, *h.shape), h.dtype)
    hs[0] = h

    # The recurrence.
    for t in range(T):
        h = hs[t + 1] = np.tanh(from_xs[t] + h @ W_hh)

    return hs[1:], (h,), (xs, W_hh, hs)


def backward(saved, d_ys, d_h):
    """The gradients of what forward was given, in its order."""
    xs, W_hh, hs = saved
    T, (B, H) = len(d_ys), d_h.shape

    # What does not wait for the gradient.
    slope_a_hs = 1.0 - hs[1:] * hs[1:]

    d_a_hs = np.empty((T, B, H), d_h.dtype)

    # The recurrence, backwards.
    for t in reversed(range(T)):
        d_a_h = d_a_hs[t] = (d_ys[t] + d_h) * slope_a_hs[t]
        d_h = d_a_h @ W_hh.T

    # One product over all steps for each weight.
    d_W_xh = rows(xs).T @ rows(d_a_hs)
    d_W_hh = rows(hs[:-1]).T @ rows(d_a_hs)
    d_b = rows(d_a_hs).sum(axis=0)
    return None, d_h, d_W_xh, d_W_hh, d_b
