# %% [markdown]
# Answers to the exercises of [lesson 21](../21_xlstm.py); run each cell after the lesson's own.

# %% 1: n = e²ᵗ + ... + e² + 1 = e²ᵗ / (1 − e⁻²), nearly
first = int(np.ceil((np.log(np.finfo(float).max) + np.log(1 - np.exp(-2))) / 2))
try:
    with tr.detect_anomaly():
        unrolled(False, 2.0, 500)
except FloatingPointError as error:
    report = str(error)
assert f"t={first}: multiply made inf" in report

# %% 2: it is the largest exponent, and has become larger by 100
more = 100.0
C, n, m = nn.unroll(cell, xs[:, None, :])[1]
cell.b_i.data = cell.b_i.data + 100.0
C_after, n_after, m_after = nn.unroll(cell, xs[:, None, :])[1]
assert np.allclose(C.data, C_after.data)
assert np.allclose(m.data + more, m_after.data)
