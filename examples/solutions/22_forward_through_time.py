# %% [markdown]
# Answers to the exercises of [lesson 22](../22_forward_through_time.py); run each cell after the
# lesson's own.

# %% 1: as many as there are weights
steps = by_loss.shape[1]
assert steps * H == (H * sum(w.size for w in weights))

# %% 2: scatter / √N = 0.01 · length
number = int((shares.std() / (0.01 * length)) ** 2)
means = [rng.choice(shares, number).mean() for _ in range(100)]
assert 0.007 < np.std(means) / length < 0.013
