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


def forward(xs, h, c, W_xh, W_hh, b, p_i, p_f, p_o):
    """PeepholeLSTMCell over all steps: outputs, last state, what the way back needs."""
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
    to_a_o = np.empty((B, H), dtype)
    to_c = np.empty((B, H), dtype)
    h_W_hh = np.empty((B, 4 * H), dtype)

    # The recurrence.
    for t in range(T):
        f, i, g, c_t = fs[t], is_[t], gs[t], cs[t + 1]
        o, tanh_c = os[t], tanh_cs[t]
        np.dot(hs[t], W_hh, out=h_W_hh)
        ifgos[t] += h_W_hh
        np.multiply(p_f, cs[t], out=to_a_o)
        f += to_a_o
        sigmoid(f, out=f)
        np.multiply(f, cs[t], out=to_c)
        np.multiply(p_i, cs[t], out=to_a_o)
        i += to_a_o
        sigmoid(i, out=i)
        np.tanh(g, out=g)
        np.multiply(i, g, out=c_t)
        c_t += to_c
        np.multiply(p_o, c_t, out=to_a_o)
        o += to_a_o
        sigmoid(o, out=o)
        np.tanh(c_t, out=tanh_c)
        np.multiply(o, tanh_c, out=hs[t + 1])

    return hs[1:], (hs[T], cs[T]), (gs, is_, tanh_cs, os, cs, fs, xs, hs, W_hh, p_i, p_f, p_o)


def backward(saved, d_ys, d_h, d_c):
    """The gradients of what forward was given, in its order."""
    gs, is_, tanh_cs, os, cs, fs, xs, hs, W_hh, p_i, p_f, p_o = saved
    T, (B, H), dtype = len(d_ys), d_h.shape, d_h.dtype

    # What does not wait for the gradient.
    W_hh_T = np.ascontiguousarray(W_hh.T)
    slope_a_is = (gs * is_) * (1.0 - is_)
    slope_cs = os * (1.0 - (tanh_cs * tanh_cs))
    slope_a_os = (tanh_cs * os) * (1.0 - os)
    slope_a_fs = (cs[:-1] * fs) * (1.0 - fs)
    slope_gs = is_ * (1.0 - (gs * gs))

    # What the loop writes into.
    d_h = d_h.copy()
    d_c = d_c.copy()
    d_a_i_a_f_g_a_os = np.empty((T, B, 4 * H), dtype)
    d_a_is = d_a_i_a_f_g_a_os[:, :, :H]
    d_a_fs = d_a_i_a_f_g_a_os[:, :, H : 2 * H]
    d_gs = d_a_i_a_f_g_a_os[:, :, 2 * H : 3 * H]
    d_a_os = d_a_i_a_f_g_a_os[:, :, 3 * H : 4 * H]
    slope_c = np.empty((B, H), dtype)

    # The recurrence, backwards.
    for t in reversed(range(T)):
        slope_c_t, d_a_o, d_a_i, d_a_f = slope_cs[t], d_a_os[t], d_a_is[t], d_a_fs[t]
        d_h += d_ys[t]
        slope_c_t *= d_h
        d_c += slope_c_t
        np.multiply(slope_a_os[t], d_h, out=d_a_o)
        np.multiply(d_a_o, p_o, out=slope_c)
        d_c += slope_c
        np.multiply(slope_a_is[t], d_c, out=d_a_i)
        np.multiply(slope_a_fs[t], d_c, out=d_a_f)
        np.multiply(slope_gs[t], d_c, out=d_gs[t])
        np.dot(d_a_i_a_f_g_a_os[t], W_hh_T, out=d_h)
        d_c *= fs[t]
        np.multiply(d_a_f, p_f, out=slope_c)
        d_c += slope_c
        np.multiply(d_a_i, p_i, out=slope_c)
        d_c += slope_c

    # What the recurrence does not need: all steps at once.
    parts = d_a_is * cs[:-1]
    parts_2 = d_a_fs * cs[:-1]
    parts_3 = d_a_os * cs[1:]

    # One product over all steps for each weight.
    d_W_xh = rows(xs).T @ rows(d_a_i_a_f_g_a_os)
    d_W_hh = rows(hs[:-1]).T @ rows(d_a_i_a_f_g_a_os)
    d_b = rows(d_a_i_a_f_g_a_os).sum(axis=0)
    d_p_i = rows(parts).sum(axis=0)
    d_p_f = rows(parts_2).sum(axis=0)
    d_p_o = rows(parts_3).sum(axis=0)
    return None, d_h, d_c, d_W_xh, d_W_hh, d_b, d_p_i, d_p_f, d_p_o
