# %% [markdown]
# Answers to the exercises of [lesson 19](../19_selective_state_space.py); run each cell after the
# lesson's own.

# %% 1: 1 / (1 + eᶻ) = 1 − σ(z), what a minimal GRU keeps (lesson 17)
z = np.linspace(-3, 3)
gate = 1 - tr.sigmoid(z)
assert np.allclose(np.exp(-np.logaddexp(0, z)), gate)

# %% 2: exp(−Δ)ⁿ = ½, so n = log 2 ÷ Δ, with Δ = softplus(b_Δ)
cell, _ = nets["selective"]
blanks = np.log(2) / np.logaddexp(0, cell.b_delta.data)
delta = tr.softplus(cell.b_delta).data
assert np.allclose(np.exp(-delta * blanks), 0.5)
print(blanks.round())
