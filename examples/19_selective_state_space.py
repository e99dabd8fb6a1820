# %% [markdown]
# # 19. The selective state space
#
# **Claim: the input opens and closes the store, as the gates of the LSTM did. A recurrence that is
# the same at every step cannot copy what it was told to pick out.**
#
# The recurrences of lesson 18 treat all inputs alike. S6, the core of Mamba (Gu and Dao 2023,
# equations 2 and 4, algorithm 2), stays linear in h, but each input sets the length of its step:
#
# Δ = softplus(x W_Δ + b_Δ)
#
# h' = exp(Δ A) ⊙ h + Δ x B
#
# y = h C
#
# Each of the D features has a store of N numbers, with rates A < 0. A long step forgets and takes
# in; with Δ = 0 time stands still, and nothing is forgotten or added. B says where to write, C what
# to read; both are computed from x, too. (Mamba also adds a multiple of x to y, left out here.)

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn, train

pictures = Path("19_selective_state_space")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)


class S6Cell(nn.Module):
    def __init__(self, features, states, selective=True):
        rng = np.random.default_rng(1)
        start = {
            "A_log": np.log(np.arange(1.0, states + 1) + np.zeros((features, 1))),
            "W_delta": rng.normal(size=(features, features)) / np.sqrt(features),
            "b_delta": np.full(features, np.log(np.expm1(0.1))),  # so that Δ starts near 0.1
            "W_B": rng.normal(size=(features, states)) / np.sqrt(features),
            "W_C": rng.normal(size=(features, states)) / np.sqrt(features),
            "b_B": rng.normal(size=states),
            "b_C": rng.normal(size=states),
        }
        for name, value in start.items():
            setattr(self, name, tr.Tensor(value, requires_grad=True))
        self.selective = selective

    def initial_state(self, batch):
        return tr.Tensor(np.zeros((batch, *self.A_log.shape)))

    def keep_add_read(self, x):
        """h' = a ⊙ h + b and y = C h; x is the input of one step, or of all."""
        seen = x if self.selective else 0.0 * x  # or else Δ, B and C are always the same
        with tr.scope("step size"):
            delta = tr.softplus(seen @ self.W_delta + self.b_delta)
        with tr.scope("keep"):
            a = tr.exp(-tr.exp(self.A_log) * delta[..., None])  # A = −exp(A_log)
        with tr.scope("write"):
            b = (delta * x)[..., None] * (seen @ self.W_B + self.b_B)[..., None, :]
        with tr.scope("where to read"):
            C = (seen @ self.W_C + self.b_C)[..., None, :]
        return a, b, C

    def __call__(self, x, h):
        a, b, C = self.keep_add_read(x)
        h = a * h + b
        return (h * C).sum(axis=-1), h

    def scan(self, xs, h0):
        a, b, C = self.keep_add_read(xs)
        return (nn.scan(a, b, h0) * C).sum(axis=-1)


rng = np.random.default_rng(0)
cell, xs, h0 = S6Cell(5, 3), rng.normal(size=(100, 2, 5)), rng.normal(size=(2, 5, 3))
scanned, unrolled = cell.scan(tr.Tensor(xs), h0), tr.stack(nn.unroll(cell, xs, h0)[0])
print(f"one scan and 100 steps differ by {abs(scanned.data - unrolled.data).max():.0e}")
viz.draw((tr.stack(nn.unroll(cell, xs[:3], h0)[0]) ** 2).sum(), pictures / "s6.svg")

# %% [markdown]
# ## Copy what matters
#
# Selective copying (Gu and Dao 2023, section 4.1.1) in the small: three of twelve inputs are
# tokens, in random places, the others are blank. Then the net is asked for the first token, the
# second and the third.

# %%
TOKENS, KINDS, STEPS = 3, 4, 12


def sequences(count, rng):
    """Inputs (T, B, D), with a feature for each kind and each question, and the answers."""
    xs = np.zeros((STEPS + TOKENS, count, KINDS + TOKENS))
    answers = rng.integers(KINDS, size=(TOKENS, count))
    when = np.sort(rng.permuted(np.tile(np.arange(STEPS), (count, 1)), axis=1)[:, :TOKENS]).T
    for k in range(TOKENS):
        xs[when[k], np.arange(count), answers[k]] = 1
        xs[STEPS + k, :, KINDS + k] = 1
    return xs, answers


def trained(selective):
    cell, readout = S6Cell(KINDS + TOKENS, 4, selective), nn.Linear(KINDS + TOKENS, KINDS, rng=0)
    optimiser = train.Adam([*cell.parameters(), *readout.parameters()], lr=0.02)
    rng = np.random.default_rng(1)
    for _ in range(900):
        xs, answers = sequences(32, rng)
        scores = readout(cell.scan(tr.Tensor(xs), 0.0)[STEPS:])
        optimiser.zero_grad()
        nn.cross_entropy(scores, answers, reduction="mean").backward()
        optimiser.step()
    return cell, readout


test_xs, test_answers = sequences(1000, np.random.default_rng(2))
nets, right = {}, {}
for name in ("selective", "fixed"):
    nets[name] = cell, readout = trained(name == "selective")
    scores = readout(cell.scan(tr.Tensor(test_xs), 0.0)[STEPS:]).data
    right[name] = (scores.argmax(axis=-1) == test_answers).all(axis=0).mean()
    print(f"{name:9}: all three tokens right in {right[name]:.1%} of 1,000 new sequences")

# %% [markdown]
# Chance is (1/4)³, 1.6 %. (In the paper's larger task: 97.0 % and 18.3 %, table 1.) The fixed
# recurrence cannot know how many blanks came between the tokens. What did the selective one learn?
# Its steps are long at a token and short at a blank: its clock runs from token to token, and the
# blanks have gone. Nobody told it to.


# %%
def step_sizes(cell, xs):
    seen = xs if cell.selective else 0 * xs
    return np.logaddexp(0, seen @ cell.W_delta.data + cell.b_delta.data)[..., :KINDS].mean(axis=-1)


figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
for name, (cell, _) in nets.items():
    axes.plot(step_sizes(cell, test_xs)[:, 0], "o-", label=name)
for t in np.flatnonzero(test_xs[:STEPS, 0].any(axis=-1)):
    axes.axvspan(t - 0.3, t + 0.3, alpha=0.2)
axes.set(xlabel="step; shaded: a token", ylabel="Δ, mean over kinds")
axes.legend()
figure.savefig(pictures / "step_size.svg")

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. With N = 1 and A = −1 the store keeps exp(−softplus(z)) of what it held. Which gate is that
#    (Gu and Dao 2023, theorem 1)? Hint: softplus(z) = log(1 + eᶻ).
# 2. After how many blanks has a store of the trained net with A = −1 lost half? Hint: what is Δ of
#    a blank, which is all zeros?

# %%
# z = np.linspace(-3, 3)
# gate = ...
# assert np.allclose(np.exp(-np.logaddexp(0, z)), gate)

# %%
# cell, _ = nets["selective"]
# blanks = ...  # for each of the features
# delta = tr.softplus(cell.b_delta).data
# assert np.allclose(np.exp(-delta * blanks), 0.5)
# print(blanks.round())
