import numpy as np


def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    return 1.0 / (1.0 + np.exp(np.minimum(-x, 88.0 if x.dtype.char in "fF" else 709.0)))


def rows(a):  # of all steps, as one matrix
    return a.reshape(-1, a.shape[-1])


def forward(xs, h, c, W_xh, W_hh, b):
    """LSTMCell over all steps: outputs, last state, what the way back needs."""
    T, (B, H) = len(xs), h.shape

    # What needs only the inputs: all steps at once.
    from_xs = xs @ W_xh + b

    hs = np.empty((T + 1, *h.shape), h.dtype)
    hs[0] = h
    cs = np.empty((T + 1, *c.shape), c.dtype)
    cs[0] = c
    is_ = np.empty((T, B, H), h.dtype)
    fs = np.empty((T, B, H), h.dtype)
    gs = np.empty((T, B, H), h.dtype)
    os = np.empty((T, B, H), h.dtype)
    tanh_cs = np.empty((T, B, H), h.dtype)

    # The recurrence.
    for t in range(T):
        ifgo = from_xs[t] + h @ W_hh
        if_ = sigmoid(ifgo[:, :2 * H])
        i = is_[t] = if_[:, :H]
        f = fs[t] = if_[:, H:2 * H]
        g = gs[t] = np.tanh(ifgo[:, 2 * H:3 * H])
        o = os[t] = sigmoid(ifgo[:, 3 * H:4 * H])
        c = cs[t + 1] = f * c + i * g
        tanh_c = tanh_cs[t] = np.tanh(c)
        h = hs[t + 1] = o * tanh_c

    return hs[1:], (h, c), (xs, W_hh, hs, cs, is_, fs, gs, os, tanh_cs)


def backward(saved, d_ys, d_h, d_c):
    """The gradients of what forward was given, in its order."""
    xs, W_hh, hs, cs, is_, fs, gs, os, tanh_cs = saved
    T, (B, H) = len(d_ys), d_h.shape

    # What does not wait for the gradient.
    slope_cs = os * (1.0 - tanh_cs * tanh_cs)
    slope_os = tanh_cs * os * (1.0 - os)
    slope_gs = is_ * (1.0 - gs * gs)
    slope_fs = cs[:-1] * fs * (1.0 - fs)
    slope_is = gs * is_ * (1.0 - is_)

    d_ifgos = np.empty((T, B, 4 * H), d_h.dtype)

    # The recurrence, backwards.
    for t in reversed(range(T)):
        d_h = d_ys[t] + d_h
        d_c = d_c + slope_cs[t] * d_h
        d_o = slope_os[t] * d_h
        d_g = slope_gs[t] * d_c
        d_f = slope_fs[t] * d_c
        d_i = slope_is[t] * d_c
        d_ifgo = d_ifgos[t] = np.concatenate([d_i, d_f, d_g, d_o], axis=1)
        d_c = d_c * fs[t]
        d_h = d_ifgo @ W_hh.T

    # One product over all steps for each weight.
    d_W_xh = rows(xs).T @ rows(d_ifgos)
    d_W_hh = rows(hs[:-1]).T @ rows(d_ifgos)
    d_b = rows(d_ifgos).sum(axis=0)
    return None, d_h, d_c, d_W_xh, d_W_hh, d_b
