# %% [markdown]
# Answers to the exercises of [lesson 18](../18_linear_recurrences.py); run each cell after the
# lesson's own.

# %% 1: the 100th root of a half
keep = 0.5 ** (1 / 100)
before = tr.Tensor(1.0, requires_grad=True)
h = nn.scan(keep, np.zeros(100), before)
assert np.isclose(tr.grad(h[-1], before)[0].item(), 0.5)

# %% 2: dλ/dν = λ log λ ≈ −(1 − λ), and 2 (1 − λ)² ÷ (1 − λ²)² = 2 ÷ (1 + λ)², which tends to a half
limit = 1 / 2
nu = tr.Tensor(-12.0, requires_grad=True)
lam = tr.exp(-tr.exp(nu))
slope = tr.grad(lam, nu)[0].item()
assert np.isclose(variance(lam.item()) * slope**2 * (1 - lam.item() ** 2), limit, rtol=1e-4)
