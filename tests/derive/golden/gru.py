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


def forward(xs, h, W_xh, b, W_hh, b_hn):
    """GRUCell over all steps: outputs, last state, what the way back needs."""
    T, (B, H), dtype = len(xs), h.shape, h.dtype

    # What needs only the inputs: all steps at once.
    rzn_xs = (rows(xs) @ W_xh).reshape(T, B, 3 * H) + b
    z_xs = rzn_xs[:, :, H : 2 * H]
    n_xs = rzn_xs[:, :, 2 * H : 3 * H]
    r_xs = rzn_xs[:, :, :H]

    # What the loop writes into.
    hs = np.empty((T + 1, B, H), dtype)
    hs[0] = h
    rzn_hs = np.empty((T, B, 3 * H), dtype)
    z_hs = rzn_hs[:, :, H : 2 * H]
    to_hs = np.empty((T, B, H), dtype)
    r_hs = rzn_hs[:, :, :H]
    n_hs = rzn_hs[:, :, 2 * H : 3 * H]
    ns = np.empty((T, B, H), dtype)
    to_h = np.empty((B, H), dtype)

    # The recurrence.
    for t in range(T):
        z_h, to_h_t, r_h, n_h = z_hs[t], to_hs[t], r_hs[t], n_hs[t]
        n, h_t = ns[t], hs[t + 1]
        np.dot(hs[t], W_hh, out=rzn_hs[t])
        z_h += z_xs[t]
        sigmoid(z_h, out=z_h)
        np.subtract(1.0, z_h, out=to_h_t)
        r_h += r_xs[t]
        sigmoid(r_h, out=r_h)
        n_h += b_hn
        np.multiply(r_h, n_h, out=n)
        n += n_xs[t]
        np.tanh(n, out=n)
        np.multiply(to_h_t, n, out=to_h)
        np.multiply(z_h, hs[t], out=h_t)
        h_t += to_h

    return hs[1:], (hs[T],), (n_hs, r_hs, ns, to_hs, z_hs, hs, xs, W_hh)


def backward(saved, d_ys, d_h):
    """The gradients of what forward was given, in its order."""
    n_hs, r_hs, ns, to_hs, z_hs, hs, xs, W_hh = saved
    T, (B, H), dtype = len(d_ys), d_h.shape, d_h.dtype

    # What does not wait for the gradient.
    W_hh_T = np.ascontiguousarray(W_hh.T)
    slope_a_rs = (n_hs * r_hs) * (1.0 - r_hs)
    slope_a_ns = to_hs * (1.0 - (ns * ns))
    slope_a_zs = z_hs * to_hs

    # What the loop writes into.
    d_h = d_h.copy()
    d_a_r_a_z_n_hs = np.empty((T, B, 3 * H), dtype)
    d_a_rs = d_a_r_a_z_n_hs[:, :, :H]
    d_a_zs = d_a_r_a_z_n_hs[:, :, H : 2 * H]
    d_n_hs = d_a_r_a_z_n_hs[:, :, 2 * H : 3 * H]
    d_a_rzns = np.empty((T, B, 3 * H), dtype)
    d_a_ns = d_a_rzns[:, :, 2 * H : 3 * H]
    slope_z = np.empty((B, H), dtype)
    slope_h = np.empty((B, H), dtype)

    # The recurrence, backwards.
    for t in reversed(range(T)):
        d_a_n, d_a_r, d_a_z, d_a_rzn = d_a_ns[t], d_a_rs[t], d_a_zs[t], d_a_rzns[t]
        d_h += d_ys[t]
        np.multiply(d_h, z_hs[t], out=slope_h)
        np.multiply(slope_a_ns[t], d_h, out=d_a_n)
        np.multiply(slope_a_rs[t], d_a_n, out=d_a_r)
        np.multiply(d_h, hs[t], out=slope_z)
        d_h *= ns[t]
        np.negative(d_h, out=d_h)
        d_h += slope_z
        np.multiply(slope_a_zs[t], d_h, out=d_a_z)
        np.multiply(d_a_n, r_hs[t], out=d_n_hs[t])
        np.dot(d_a_r_a_z_n_hs[t], W_hh_T, out=d_h)
        d_h += slope_h
        d_a_rzn[:, :H] = d_a_r
        d_a_rzn[:, H : 2 * H] = d_a_z

    # One product over all steps for each weight.
    d_W_xh = rows(xs).T @ rows(d_a_rzns)
    d_b = rows(d_a_rzns).sum(axis=0)
    d_W_hh = rows(hs[:-1]).T @ rows(d_a_r_a_z_n_hs)
    d_b_hn = rows(d_n_hs).sum(axis=0)
    return None, d_h, d_W_xh, d_b, d_W_hh, d_b_hn
