import numpy as np


def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    return 1.0 / (1.0 + np.exp(np.minimum(-x, 88.0 if x.dtype.char in "fF" else 709.0)))


def rows(a):  # of all steps, as one matrix
    return a.reshape(-1, a.shape[-1])


def forward(xs, h, W_xh, b, W_hh, b_hn):
    """GRUCell over all steps: outputs, last state, what the way back needs."""
    T, (B, H) = len(xs), h.shape

    # What needs only the inputs: all steps at once.
    rzn_xs = xs @ W_xh + b
    r_xs = rzn_xs[:, :, :H]
    z_xs = rzn_xs[:, :, H:2 * H]
    n_xs = rzn_xs[:, :, 2 * H:3 * H]

    hs = np.empty((T + 1, *h.shape), h.dtype)
    hs[0] = h
    rs = np.empty((T, B, H), h.dtype)
    zs = np.empty((T, B, H), h.dtype)
    to_a_ns = np.empty((T, B, H), h.dtype)
    ns = np.empty((T, B, H), h.dtype)
    to_hs = np.empty((T, B, H), h.dtype)

    # The recurrence.
    for t in range(T):
        rzn_h = h @ W_hh
        r_h = rzn_h[:, :H]
        z_h = rzn_h[:, H:2 * H]
        n_h = rzn_h[:, 2 * H:3 * H]
        r = rs[t] = sigmoid(r_xs[t] + r_h)
        z = zs[t] = sigmoid(z_xs[t] + z_h)
        to_a_n = to_a_ns[t] = n_h + b_hn
        n = ns[t] = np.tanh(n_xs[t] + r * to_a_n)
        to_h = to_hs[t] = 1.0 - z
        h = hs[t + 1] = to_h * n + z * h

    return hs[1:], (h,), (xs, W_hh, hs, rs, zs, to_a_ns, ns, to_hs)


def backward(saved, d_ys, d_h):
    """The gradients of what forward was given, in its order."""
    xs, W_hh, hs, rs, zs, to_a_ns, ns, to_hs = saved
    T, (B, H) = len(d_ys), d_h.shape

    # What does not wait for the gradient.
    slope_a_ns = to_hs * (1.0 - ns * ns)
    slope_a_zs = (hs[:-1] - ns) * zs * to_hs
    slope_a_rs = to_a_ns * rs * (1.0 - rs)

    d_n_hs = np.empty((T, B, H), d_h.dtype)
    d_rzn_hs = np.empty((T, B, 3 * H), d_h.dtype)
    d_rzn_xs = np.empty((T, B, 3 * H), d_h.dtype)

    # The recurrence, backwards.
    for t in reversed(range(T)):
        d_h = d_ys[t] + d_h
        d_a_n = slope_a_ns[t] * d_h
        d_n_h = d_n_hs[t] = d_a_n * rs[t]
        d_a_z = slope_a_zs[t] * d_h
        d_a_r = slope_a_rs[t] * d_a_n
        d_rzn_h = d_rzn_hs[t] = np.concatenate([d_a_r, d_a_z, d_n_h], axis=1)
        d_rzn_xs[t] = np.concatenate([d_a_r, d_a_z, d_a_n], axis=1)
        d_h = d_h * zs[t] + d_rzn_h @ W_hh.T

    # One product over all steps for each weight.
    d_W_xh = rows(xs).T @ rows(d_rzn_xs)
    d_b = rows(d_rzn_xs).sum(axis=0)
    d_W_hh = rows(hs[:-1]).T @ rows(d_rzn_hs)
    d_b_hn = rows(d_n_hs).sum(axis=0)
    return None, d_h, d_W_xh, d_b, d_W_hh, d_b_hn
