# %% [markdown]
# # 18. Linear recurrences
#
# **Claim: without a nonlinearity the eigenvalues say everything: how long the net remembers, how
# far the gradient reaches, and how finely the eigenvalues themselves have to be set.**
#
# Take the tanh out of an Elman cell: h' = x W_xh + h W_hh. Write W_hh as P Λ P⁻¹, with its
# eigenvalues λ on the diagonal of Λ. In the coordinates h P each number minds its own business: it
# is multiplied by its λ, and something is added. A complex λ = r (cos θ + i sin θ) is a wheel: it
# turns by θ and shrinks by r at every step. Seen from the turning wheel only the shrinking is left,
# and that is a scan (lesson 17).

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

pictures = Path("18_linear_recurrences")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)


def turned(h, angle):
    """Complex numbers turned; their real and imaginary parts are the two entries of axis -2."""
    re, im = tr.split(h, 2, axis=-2)
    return tr.cos(angle) * h + tr.sin(angle) * tr.concatenate([-im, re], axis=-2)


def wheels(r, theta, b):
    """h' = λ h + b over all steps, seen from wheels that turn with λ."""
    angle = np.arange(len(b))[:, None, None, None] * theta
    return turned(nn.scan(r, turned(b, -angle), 0.0), angle)


xs = np.random.default_rng(0).normal(size=(400, 2, 3))
elman = nn.ElmanCell(3, 8, nonlinearity=lambda a: a, bias=False, rng=0)
hs = tr.stack(nn.unroll(elman, xs)[0])

eigenvalues, P = np.linalg.eig(elman.W_hh.data)
b, h = (np.stack([c.real, c.imag], axis=-2) for c in (xs @ elman.W_xh.data @ P, hs.data @ P))
same = abs(wheels(abs(eigenvalues), np.angle(eigenvalues), b) - h).max()
print("|λ| of the matrix:", np.sort(abs(eigenvalues)).round(2))
print(f"step by step with the matrix, and scans with its eigenvalues: the same to {same:.0e}")

# %% [markdown]
# ## The LRU
#
# So why not learn the eigenvalues, instead of a matrix? That is the linear recurrent unit of
# Orvieto et al. (2023): h' = λ ⊙ h + γ ⊙ (x B), with λ = exp(−exp(ν) + iθ) (section 3.3). Whatever
# ν is, |λ| is below 1. λ starts uniformly on a ring in the complex plane (lemma 3.2), and γ at
# √(1 − |λ|²), so that h is as large as the input, however long it is remembered (section 3.4). A
# linear layer reads both parts of h, and the nonlinearities stand between such layers.


# %%
class LRUCell(nn.Module):
    def __init__(self, input_size, hidden_size, r_min=0.0, r_max=1.0):
        rng = np.random.default_rng(0)
        square = rng.uniform(r_min**2, r_max**2, hidden_size)
        start = {
            "nu": np.log(-0.5 * np.log(square)),
            "theta": rng.uniform(0, 2 * np.pi, hidden_size),
            "gamma": np.sqrt(1 - square),
            "B": rng.normal(size=(input_size, 2 * hidden_size)) / np.sqrt(2 * input_size),
        }
        for name, value in start.items():
            setattr(self, name, tr.Tensor(value, requires_grad=True))

    def initial_state(self, batch):
        return tr.Tensor(np.zeros((batch, 2, len(self.nu))))

    def __call__(self, x, h):
        with tr.scope("radius"):
            r = tr.exp(-tr.exp(self.nu))
        with tr.scope("turn"):
            h = turned(h, self.theta)
        with tr.scope("input"):
            b = self.gamma * (x @ self.B).reshape(h.shape)
        h = r * h + b
        return h, h


flows, shares = {}, {}
for size in (0.9, 0.99, 0.999):
    cell = LRUCell(3, 8, size, size)
    outputs, _ = nn.unroll(cell, xs)
    flows[f"|λ| = {size}"] = (outputs[-1] ** 2).sum(), outputs
    trace = tr.backprop((outputs[-1] ** 2).sum())
    shares[size] = trace.norm(outputs[0]) / trace.norm(outputs[-1])
    print(f"|λ| = {size}: {shares[size]:.2g} of the gradient at step 399 reaches step 0")
viz.gradient_flow(flows, pictures / "gradient_flow.svg")

# %%
outputs, _ = nn.unroll(LRUCell(3, 8, 0.5), xs[:4])
viz.draw((outputs[-1] ** 2).sum(), pictures / "lru.svg")

# %% [markdown]
# ## A long memory is hard to tune
#
# The lines are straight: no gate, no saturation, |λ| to the power of the distance. To remember for
# a thousand steps, set |λ| to 0.999. But what does a small change of λ do to h then? For white
# noise as the input, E h² = 1 ÷ (1 − λ²), and with ∂h_T/∂λ = Σ k λᵏ⁻¹ x_T₋ₖ
#
# E(∂h/∂λ)² = Σ k² λ²ᵏ⁻² = (1 + λ²) ÷ (1 − λ²)³.
#
# It explodes for λ → 1, although no gradient explodes over time (Zucchet and Orvieto 2024 call it
# the curse of memory). Measured over 400 sequences:

# %%
DRAWS = 400


def variance(lam):
    return (1 + lam**2) / (1 - lam**2) ** 3


measured = {}
for lam in (0.9, 0.99, 0.999):
    noise = np.random.default_rng(1).normal(size=(round(6 / (1 - lam)), DRAWS))
    each = tr.Tensor(np.full(DRAWS, lam), requires_grad=True)  # a λ for each sequence
    slopes = tr.grad(nn.scan(each, noise, 0.0)[-1].sum(), each)[0].data
    error = np.std(slopes**2) / np.sqrt(DRAWS)
    measured[lam] = np.mean(slopes**2), error, slopes
    share, spread = np.mean(slopes**2) / variance(lam), error / variance(lam)
    print(f"λ = {lam:<5}: in theory {variance(lam):.2g}; measured {share:.2f} ± {spread:.2f} of it")

# %%
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
away = np.geomspace(1e-4, 0.3)
axes.loglog(away, variance(1 - away), label="E(∂h/∂λ)²")
means, errors, _ = zip(*measured.values(), strict=True)
axes.errorbar(1 - np.array(list(measured)), means, 3 * np.array(errors), fmt="o", label="measured")
axes.loglog(away, 1 / (1 - (1 - away) ** 2), label="E h²")
axes.set(xlabel="1 − λ", ylabel="mean square")
axes.legend()
figure.savefig(pictures / "sensitivity.svg")

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. For which λ has the gradient halved after 100 steps? Hint: solve λ¹⁰⁰ = ½.
# 2. The LRU learns ν, with λ = exp(−exp(ν)), and multiplies h by γ = √(1 − λ²). What is left of the
#    explosion: to what does E(∂h/∂ν)² γ² tend for λ → 1? Hint: write dλ/dν in terms of λ; log λ is
#    nearly −(1 − λ).

# %%
# keep = ...
# before = tr.Tensor(1.0, requires_grad=True)
# h = nn.scan(keep, np.zeros(100), before)
# assert np.isclose(tr.grad(h[-1], before)[0].item(), 0.5)

# %%
# limit = ...
# nu = tr.Tensor(-12.0, requires_grad=True)
# lam = tr.exp(-tr.exp(nu))
# slope = tr.grad(lam, nu)[0].item()
# assert np.isclose(variance(lam.item()) * slope**2 * (1 - lam.item() ** 2), limit, rtol=1e-4)
