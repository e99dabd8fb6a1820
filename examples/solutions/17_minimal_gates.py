# %% [markdown]
# Answers to the exercises of [lesson 17](../17_minimal_gates.py); run each cell after the lesson's
# own.


# %% 1: the second step's factor also meets what the first step adds
def joined(first, second):
    (a1, b1), (a2, b2) = first, second
    return a2 * a1, a2 * b1 + b2


p, q, r = rng.normal(size=(3, 2))
assert np.allclose(joined(joined(p, q), r), joined(p, joined(q, r)))
assert np.isclose(joined(joined(p, q), r)[1], nn.scan(*np.stack([p, q, r], axis=1), 0.0)[-1])

# %% 2: σ(−b)¹⁰⁰ = ½, so −b is the logit of the 100th root of ½; b_n is 0, so nothing is added
keep = 0.5 ** (1 / 100)
bias = -np.log(keep / (1 - keep))
cell = MinGRUCell(1, 1)
cell.b_z.data = np.array([bias])
outputs, h = nn.unroll(cell, np.zeros((100, 1, 1)), np.ones((1, 1)))
assert np.isclose(h.item(), 0.5)
