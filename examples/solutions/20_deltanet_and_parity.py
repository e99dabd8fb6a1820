# %% [markdown]
# Answers to the exercises of [lesson 20](../20_deltanet_and_parity.py); run each cell after the
# lesson's own.

# %% 1: β = 2 and v = ½ give S − 2 (S − ½) = 1 − S; β = 0 leaves S alone. The inputs are (0, 1)
cell = DeltaNetCell(2, keys=1, values=1, longest=2.0)
by_hand = {"k": [1, 1], "q": [1, 1], "v": [0.5, 0.5], "beta": [-50, 50]}
for name, weights in by_hand.items():
    getattr(cell, f"W_{name}").data = np.array(weights, float)[:, None]
xs, parity = sequences(np.random.default_rng(2), 1000, 10)
assert np.allclose(tr.stack(nn.unroll(cell, xs)[0]).data[..., 0], parity)

# %% 2: two reflections turn by twice the angle between their keys
angle = np.pi / 3
reflections = [np.eye(2) - 2 * np.outer(k, k) for k in ([1, 0], [np.cos(angle), np.sin(angle)])]
turn = reflections[0] @ reflections[1]
assert not np.allclose(turn, np.eye(2))
assert np.allclose(np.linalg.matrix_power(turn, 3), np.eye(2))
