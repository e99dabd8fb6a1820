"""Backpropagation through time written by hand in NumPy: the floor that the engine is held against.

Each function takes the parameters, the inputs (T, B, I) and the targets (T, B) and returns the
loss, cross entropy summed over all steps, and the gradient of every parameter. Written with care:
inputs are projected for all steps at once, buffers are allocated once, weight gradients are one
product after the loop.
"""

from __future__ import annotations

import numpy as np

Arrays = dict[str, np.ndarray]


def parameters(cell: str, I: int, H: int, classes: int, rng: np.random.Generator) -> Arrays:  # noqa: E741
    """Starting values: W_xh, W_hh, b of the cell (and b_hn of a GRU), V and d of the readout."""
    gates = {"elman": 1, "lstm": 4, "gru": 3}[cell]
    shapes = {"W_xh": (I, gates * H), "W_hh": (H, gates * H), "b": (gates * H,)}
    if cell == "gru":
        shapes["b_hn"] = (H,)
    shapes |= {"V": (H, classes), "d": (classes,)}
    return {name: rng.uniform(-1, 1, shape) / np.sqrt(H) for name, shape in shapes.items()}


def sigmoid(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    np.negative(x, out=out)
    np.exp(out, out=out)
    out += 1.0
    return np.reciprocal(out, out=out)


def readout(P: Arrays, hs: np.ndarray, Y: np.ndarray) -> tuple[float, np.ndarray, Arrays]:
    """The loss of all steps, its gradient by every h, and by V and d."""
    T, B, H = hs.shape
    flat = hs.reshape(T * B, H)
    z = flat @ P["V"]
    z += P["d"]
    z -= z.max(axis=1, keepdims=True)
    rows, y = np.arange(T * B), Y.ravel()
    chosen = z[rows, y].sum()
    np.exp(z, out=z)
    total = z.sum(axis=1, keepdims=True)
    loss = np.log(total).sum() - chosen
    z /= total
    z[rows, y] -= 1.0
    return loss, (z @ P["V"].T).reshape(T, B, H), {"V": flat.T @ z, "d": z.sum(axis=0)}


def before(hs: np.ndarray) -> np.ndarray:
    """The state that each step started from."""
    shifted = np.zeros_like(hs)
    shifted[1:] = hs[:-1]
    return shifted


def project(X: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    T, B, size = X.shape
    a = X.reshape(T * B, size) @ W
    a += b
    return a.reshape(T, B, -1)


def weights(X: np.ndarray, hs: np.ndarray, da: np.ndarray) -> Arrays:
    flat = da.reshape(-1, da.shape[-1])
    return {
        "W_xh": X.reshape(len(flat), -1).T @ flat,
        "W_hh": before(hs).reshape(len(flat), -1).T @ flat,
        "b": flat.sum(axis=0),
    }


def elman(P: Arrays, X: np.ndarray, Y: np.ndarray) -> tuple[float, Arrays]:
    T, B, _ = X.shape
    H = len(P["W_hh"])
    hs = project(X, P["W_xh"], P["b"])
    h, tmp = np.zeros((B, H), X.dtype), np.empty((B, H), X.dtype)
    for t in range(T):
        np.dot(h, P["W_hh"], out=tmp)
        hs[t] += tmp
        h = np.tanh(hs[t], out=hs[t])
    loss, dh_out, grads = readout(P, hs, Y)
    da = np.empty_like(hs)
    dh, W_T = np.zeros((B, H), X.dtype), np.ascontiguousarray(P["W_hh"].T)
    for t in reversed(range(T)):
        dh += dh_out[t]
        np.multiply(hs[t], hs[t], out=tmp)
        np.subtract(1.0, tmp, out=tmp)
        np.multiply(dh, tmp, out=da[t])
        np.dot(da[t], W_T, out=dh)
    return loss, grads | weights(X, hs, da)


def lstm(P: Arrays, X: np.ndarray, Y: np.ndarray) -> tuple[float, Arrays]:
    T, B, _ = X.shape
    H = len(P["W_hh"])
    gates = project(X, P["W_xh"], P["b"])
    cs, hs, tanh_c = (np.empty((T, B, H), X.dtype) for _ in range(3))
    h, c = np.zeros((B, H), X.dtype), np.zeros((B, H), X.dtype)
    a, tmp = np.empty((B, 4 * H), X.dtype), np.empty((B, H), X.dtype)
    for t in range(T):
        np.dot(h, P["W_hh"], out=a)
        gates[t] += a
        i, f, g, o = (gates[t, :, k * H : (k + 1) * H] for k in range(4))
        sigmoid(gates[t, :, : 2 * H], out=gates[t, :, : 2 * H])
        np.tanh(g, out=g)
        sigmoid(o, out=o)
        np.multiply(f, c, out=cs[t])
        np.multiply(i, g, out=tmp)
        cs[t] += tmp
        c = cs[t]
        np.tanh(c, out=tanh_c[t])
        h = np.multiply(o, tanh_c[t], out=hs[t])
    loss, dh_out, grads = readout(P, hs, Y)
    da = np.empty_like(gates)
    dh, dc, W_T = (
        np.zeros((B, H), X.dtype),
        np.zeros((B, H), X.dtype),
        np.ascontiguousarray(P["W_hh"].T),
    )
    zero = np.zeros((B, H), X.dtype)
    for t in reversed(range(T)):
        i, f, g, o = (gates[t, :, k * H : (k + 1) * H] for k in range(4))
        di, df, dg, do = (da[t, :, k * H : (k + 1) * H] for k in range(4))
        dh += dh_out[t]
        np.multiply(dh, tanh_c[t], out=do)
        np.multiply(tanh_c[t], tanh_c[t], out=tmp)
        np.subtract(1.0, tmp, out=tmp)
        tmp *= o
        tmp *= dh
        dc += tmp
        np.multiply(dc, g, out=di)
        np.multiply(dc, cs[t - 1] if t else zero, out=df)
        np.multiply(dc, i, out=dg)
        np.multiply(g, g, out=tmp)
        np.subtract(1.0, tmp, out=tmp)
        dg *= tmp
        for d, y in ((di, i), (df, f), (do, o)):
            np.subtract(1.0, y, out=tmp)
            tmp *= y
            d *= tmp
        dc *= f
        np.dot(da[t], W_T, out=dh)
    return loss, grads | weights(X, hs, da)


def gru(P: Arrays, X: np.ndarray, Y: np.ndarray) -> tuple[float, Arrays]:
    T, B, _ = X.shape
    H = len(P["W_hh"])
    gates = project(X, P["W_xh"], P["b"])
    hs, inner = np.empty((T, B, H), X.dtype), np.empty((T, B, H), X.dtype)
    h, a, tmp = np.zeros((B, H), X.dtype), np.empty((B, 3 * H), X.dtype), np.empty((B, H), X.dtype)
    for t in range(T):
        np.dot(h, P["W_hh"], out=a)
        rz, n = gates[t, :, : 2 * H], gates[t, :, 2 * H :]
        rz += a[:, : 2 * H]
        sigmoid(rz, out=rz)
        r, z = rz[:, :H], rz[:, H:]
        np.add(a[:, 2 * H :], P["b_hn"], out=inner[t])
        np.multiply(r, inner[t], out=tmp)
        n += tmp
        np.tanh(n, out=n)
        np.subtract(h, n, out=hs[t])  # h' = n + z (h - n)
        hs[t] *= z
        hs[t] += n
        h = hs[t]
    loss, dh_out, grads = readout(P, hs, Y)
    da, dg = (
        np.empty_like(gates),
        np.empty((T, B, 3 * H), X.dtype),
    )  # before and behind the reset gate
    dh, W_T = np.zeros((B, H), X.dtype), np.ascontiguousarray(P["W_hh"].T)
    zero, carried = np.zeros((B, H), X.dtype), np.empty((B, H), X.dtype)
    for t in reversed(range(T)):
        r, z, n = (gates[t, :, k * H : (k + 1) * H] for k in range(3))
        dr, dz, dn = (da[t, :, k * H : (k + 1) * H] for k in range(3))
        dh += dh_out[t]
        np.subtract(1.0, z, out=tmp)
        np.multiply(dh, tmp, out=dn)
        np.subtract(hs[t - 1] if t else zero, n, out=dz)
        dz *= dh
        tmp *= z
        dz *= tmp
        np.multiply(n, n, out=tmp)
        np.subtract(1.0, tmp, out=tmp)
        dn *= tmp
        np.multiply(dn, inner[t], out=dr)
        np.subtract(1.0, r, out=tmp)
        tmp *= r
        dr *= tmp
        dg[t, :, : 2 * H] = da[t, :, : 2 * H]
        np.multiply(dn, r, out=dg[t, :, 2 * H :])
        np.multiply(dh, z, out=carried)
        np.dot(dg[t], W_T, out=dh)
        dh += carried
    flat, flat_g = da.reshape(T * B, -1), dg.reshape(T * B, -1)
    return loss, grads | {
        "W_xh": X.reshape(T * B, -1).T @ flat,
        "W_hh": before(hs).reshape(T * B, H).T @ flat_g,
        "b": flat.sum(axis=0),
        "b_hn": flat_g[:, 2 * H :].sum(axis=0),
    }


CELLS = {"elman": elman, "lstm": lstm, "gru": gru}
