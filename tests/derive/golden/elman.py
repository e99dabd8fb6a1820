import numpy as np


def rows(a):  # of all steps, as one matrix
    return a.reshape(-1, a.shape[-1])


def forward(xs, h, W_xh, W_hh, b):
    """ElmanCell over all steps: outputs, last state, what the way back needs."""
    T, (B, H), dtype = len(xs), h.shape, h.dtype

    # What needs only the inputs: all steps at once.
    to_a_hs = (rows(xs) @ W_xh).reshape(T, B, H) + b

    # What the loop writes into.
    hs = np.empty((T + 1, B, H), dtype)
    hs[0] = h
    h_W_hh = np.empty((B, H), dtype)

    # The recurrence.
    for t in range(T):
        to_a_h = to_a_hs[t]
        np.dot(hs[t], W_hh, out=h_W_hh)
        to_a_h += h_W_hh
        np.tanh(to_a_h, out=hs[t + 1])

    return hs[1:], (hs[T],), (hs, xs, W_hh)


def backward(saved, d_ys, d_h):
    """The gradients of what forward was given, in its order."""
    hs, xs, W_hh = saved
    T, (B, H), dtype = len(d_ys), d_h.shape, d_h.dtype

    # What does not wait for the gradient.
    W_hh_T = np.ascontiguousarray(W_hh.T)
    slope_a_hs = 1.0 - (hs[1:] * hs[1:])

    # What the loop writes into.
    d_h = d_h.copy()
    d_a_hs = np.empty((T, B, H), dtype)

    # The recurrence, backwards.
    for t in reversed(range(T)):
        d_a_h = d_a_hs[t]
        d_h += d_ys[t]
        np.multiply(d_h, slope_a_hs[t], out=d_a_h)
        np.dot(d_a_h, W_hh_T, out=d_h)

    # One product over all steps for each weight.
    d_W_xh = rows(xs).T @ rows(d_a_hs)
    d_W_hh = rows(hs[:-1]).T @ rows(d_a_hs)
    d_b = rows(d_a_hs).sum(axis=0)
    return None, d_h, d_W_xh, d_W_hh, d_b
