import numpy as np


def sigmoid(x, out=None):
    """1 / (1 + exp(-x)), without overflow."""
    y = np.multiply(x, 0.5, out=out)
    np.tanh(y, out=y)
    y *= 0.5
    y += 0.5
    return y


def rows(a):  # of all steps, as one matrix
    return a.reshape(-1, a.shape[-1])


def forward(xs, h, c, W_xh, W_hh, b):
    """LSTMCell over all steps: outputs, last state, what the way back needs."""
    T, (B, H), dtype = len(xs), h.shape, h.dtype

    # What needs only the inputs: all steps at once.
    ifgos = (rows(xs) @ W_xh).reshape(T, B, 4 * H) + b

    # What the loop writes into.
    hs = np.empty((T + 1, B, H), dtype)
    hs[0] = h
    cs = np.empty((T + 1, B, H), dtype)
    cs[0] = c
    os = ifgos[:, :, 3 * H : 4 * H]
    fs = ifgos[:, :, H : 2 * H]
    is_ = ifgos[:, :, :H]
    gs = ifgos[:, :, 2 * H : 3 * H]
    tanh_cs = np.empty((T, B, H), dtype)
    to_c = np.empty((B, H), dtype)
    h_W_hh = np.empty((B, 4 * H), dtype)
    ifs = ifgos[:, :, : 2 * H]

    # The recurrence.
    for t in range(T):
        o, if_, g, c_t = os[t], ifs[t], gs[t], cs[t + 1]
        tanh_c = tanh_cs[t]
        np.dot(hs[t], W_hh, out=h_W_hh)
        ifgos[t] += h_W_hh
        sigmoid(o, out=o)
        sigmoid(if_, out=if_)
        np.multiply(fs[t], cs[t], out=to_c)
        np.tanh(g, out=g)
        np.multiply(is_[t], g, out=c_t)
        c_t += to_c
        np.tanh(c_t, out=tanh_c)
        np.multiply(o, tanh_c, out=hs[t + 1])

    return hs[1:], (hs[T], cs[T]), (gs, is_, tanh_cs, os, cs, fs, xs, hs, W_hh)


def backward(saved, d_ys, d_h, d_c):
    """The gradients of what forward was given, in its order."""
    gs, is_, tanh_cs, os, cs, fs, xs, hs, W_hh = saved
    T, (B, H), dtype = len(d_ys), d_h.shape, d_h.dtype

    # What does not wait for the gradient.
    W_hh_T = np.ascontiguousarray(W_hh.T)
    slope_is = (gs * is_) * (1.0 - is_)
    slope_cs = os * (1.0 - (tanh_cs * tanh_cs))
    slope_fs = (cs[:-1] * fs) * (1.0 - fs)
    slope_gs = is_ * (1.0 - (gs * gs))
    slope_os = (tanh_cs * os) * (1.0 - os)

    # What the loop writes into.
    d_h = d_h.copy()
    d_c = d_c.copy()
    d_ifgos = np.empty((T, B, 4 * H), dtype)
    d_is = d_ifgos[:, :, :H]
    d_fs = d_ifgos[:, :, H : 2 * H]
    d_gs = d_ifgos[:, :, 2 * H : 3 * H]
    d_os = d_ifgos[:, :, 3 * H : 4 * H]

    # The recurrence, backwards.
    for t in reversed(range(T)):
        slope_c = slope_cs[t]
        d_h += d_ys[t]
        slope_c *= d_h
        d_c += slope_c
        np.multiply(slope_is[t], d_c, out=d_is[t])
        np.multiply(slope_fs[t], d_c, out=d_fs[t])
        np.multiply(slope_gs[t], d_c, out=d_gs[t])
        np.multiply(slope_os[t], d_h, out=d_os[t])
        np.dot(d_ifgos[t], W_hh_T, out=d_h)
        d_c *= fs[t]

    # One product over all steps for each weight.
    d_W_xh = rows(xs).T @ rows(d_ifgos)
    d_W_hh = rows(hs[:-1]).T @ rows(d_ifgos)
    d_b = rows(d_ifgos).sum(axis=0)
    return None, d_h, d_c, d_W_xh, d_W_hh, d_b
