# %% [markdown]
# # 25. Inside PyTorch
#
# **Claim: an LSTM as PyTorch initialises it loses a third of the gradient at each step back, so
# what it read first teaches it nothing. One number mends that: the bias of the forget gate.**
#
# The task is delayed recall: the first of forty inputs is 1 or -1, the others are noise, and at the
# end the net has to say what came first. The model is PyTorch's. We do not change it, we look.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn.torch import mirror  # if PyTorch is missing, this line says what to install

pictures = Path("25_inside_pytorch")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)

# %%
import torch

torch.set_num_threads(1)
STEPS, HIDDEN = 40, 8


class Recall(torch.nn.Module):
    def __init__(self, forget_bias=None):
        super().__init__()
        self.lstm = torch.nn.LSTM(1, HIDDEN)
        self.out = torch.nn.Linear(HIDDEN, 1)
        if forget_bias is not None:  # PyTorch's order of the gates: i, f, g, o
            with torch.no_grad():
                self.lstm.bias_ih_l0[HIDDEN : 2 * HIDDEN] = forget_bias
                self.lstm.bias_hh_l0[HIDDEN : 2 * HIDDEN] = 0.0

    def forward(self, xs):
        outputs, _ = self.lstm(xs)
        return self.out(outputs[-1]).squeeze(-1)


def batch(size=16):
    xs = 0.3 * torch.randn(STEPS, size, 1)
    first = torch.randint(0, 2, (size,)).float()
    xs[0, :, 0] = 2 * first - 1
    return xs, first


criterion = torch.nn.BCEWithLogitsLoss()


def train(model, updates=150):
    """The loss at each update."""
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(updates):
        xs, first = batch()
        optimiser.zero_grad()
        loss = criterion(model(xs), first)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


# %% [markdown]
# ## It does not learn
#
# A loss of 0.69 is ln 2: the net guesses.

# %%
torch.manual_seed(1)
model = Recall()
start = {name: value.clone() for name, value in model.state_dict().items()}
losses = {"as it comes": train(model)}
print(f"loss after 150 updates: {np.mean(losses['as it comes'][-20:]):.2f}")

# %% [markdown]
# ## Look
#
# Everything that PyTorch computes inside of the block is recorded here too, and time is found: the
# n-th use of the recurrent weight is step n. So we can ask for what PyTorch does not tell: what
# each step contributes to the gradient of the input weight.


# %%
def contributions(model, xs, first):
    """The norm of each step's contribution, and the loss as our tensor."""
    with mirror(model) as m:
        loss = criterion(model(xs), first)
    output = m.loss(loss)
    m.check()  # every gradient is PyTorch's
    trace = tr.backprop(output, keep="arrays")
    by_step = trace.by_step(m.parameters["lstm.weight_ih_l0"])
    return np.linalg.norm(by_step, axis=(1, 2)), output


model.load_state_dict(start)
xs, first = batch()
before, output = contributions(model, xs, first)
sizes = {"as it comes": before}
print(f"the first input contributes {before[0] / before[-1]:.0e} of what the last one does")
print(f"a step further back, it is {(before[0] / before[-1]) ** (1 / (STEPS - 1)):.2f} times that")
viz.draw(output, pictures / "before.svg", title="The gradient does not reach the first input")

# %% [markdown]
# ## One number
#
# The memory cell keeps f times what it held, and f is the sigmoid of something near zero, so about
# one half; the recurrent weights bring a little back. With a bias of 4, f is 0.98, and 0.98 to the
# power of 39 is 0.5 (Jozefowicz, Zaremba and Sutskever 2015).

# %%
torch.manual_seed(1)
model = Recall(forget_bias=4.0)
sizes["forget bias 4"], output = contributions(model, xs, first)
viz.draw(output, pictures / "after.svg", title="Forget bias 4: it does")
losses["forget bias 4"] = train(model)
print(f"loss after 150 updates: {np.mean(losses['forget bias 4'][-20:]):.2f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for name in sizes:
    left.semilogy(sizes[name], label=name)
    right.plot(losses[name], label=name)
left.set(xlabel="time step", ylabel="contribution to ∂L/∂W_ih", title="Before training")
right.set(xlabel="update", ylabel="loss", title="Training", ylim=0)
left.legend()
figure.savefig(pictures / "recall.svg")
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. Which forget gate keeps half of the memory over 39 steps? Hint: f to the power of 39 is 0.5.
# 2. Chrono initialisation (Tallec and Ollivier 2018) spreads the forget biases from 0 to ln(T - 1).
#    Does the first input count? Hint: `torch.linspace`.

# %%
# f = ...
# assert np.isclose(f**39, 0.5)

# %%
# chrono = Recall(forget_bias=...)
# spread, _ = contributions(chrono, xs, first)
# assert spread[0] > 100 * before[0]
