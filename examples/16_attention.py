# %% [markdown]
# # 16. Sequence to sequence, and attention
#
# **Claim: without attention the gradient walks back through every step between a word of the output
# and a word of the input. With attention it takes one step, however long the sentence is.**
#
# To translate, a net reads a whole sentence before it says the first word. An *encoder* reads; its
# last state is the first of a *decoder*, which writes (Cho et al. 2014, Sutskever et al. 2014).
# Whatever the sentence said has to pass through that one state.
#
# The smallest task of this kind is to repeat what was read. The oldest word is wanted first, so
# every word has to be remembered for as many steps as the sentence has words.

# %%
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

pictures = Path("16_attention")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)
WORDS, H = 8, 32
START = WORDS  # what the decoder is given before its first word


class Translator(nn.Module):
    """Encoder and decoder; `attends` says whether the decoder looks back."""

    def __init__(self, attends, seed=0):
        rng = np.random.default_rng(seed)
        self.E = nn.Embedding(WORDS + 1, H, rng=rng)
        self.encoder = nn.GRUCell(H, H, rng=rng)
        self.decoder = nn.GRUCell(H, H, rng=rng)
        self.attends = attends
        self.readout = nn.Linear(2 * H if attends else H, WORDS, rng=rng)

    def __call__(self, given, said, encoder=None, decoder=None):
        """Scores of each next word, the states of the decoder, and those of the encoder.

        `given` and `said`, shape (T, B), are what is read and what has been said before each step.
        """
        with tr.scope("encoder"):
            hs, h = nn.unroll(encoder or self.encoder, self.E(given))
        with tr.scope("decoder"):
            ss, _ = nn.unroll(decoder or self.decoder, self.E(said), h, first_step=len(given))
        scores = []
        for t, s in enumerate(ss, len(given)):
            with tr.step(t):
                seen = tr.concatenate([s, look_back(s, hs)], axis=1) if self.attends else s
                scores.append(self.readout(seen))
        return scores, ss, hs


# %% [markdown]
# ## Attention
#
# At each of its steps the decoder's state s asks every state hⱼ of the encoder how well it fits, by
# an inner product. Softmax turns the answers into weights that add up to 1, and what comes back is
# the weighted mean of the states (Bahdanau et al. 2015; with an inner product, Luong et al. 2015):
#
# αⱼ = softmaxⱼ(s · hⱼ), context = Σⱼ αⱼ hⱼ


# %%
def weights(s, hs):
    """αⱼ: how much of each state of the encoder the decoder takes, shape (T, B)."""
    return tr.softmax((tr.stack(list(hs)) * s).sum(axis=-1), axis=0)


def look_back(s, hs):
    with tr.scope("attention"):
        return (tr.stack(list(hs)) * weights(s, hs)[:, :, None]).sum(axis=0)


# %% [markdown]
# ## How far the gradient travels
#
# Two nets that have learnt nothing read three words. The picture shows the loss of the last word.


# %%
def task(T, count, rng):
    """Sentences to read, shape (T, B), and what the decoder is given: the same, a step later."""
    given = rng.integers(WORDS, size=(T, count))
    return given, np.vstack([np.full((1, count), START), given[:-1]])


def last_loss(net, T, count=1):
    given, said = task(T, count, np.random.default_rng(1))
    scores, ss, hs = net(given, said)
    return nn.cross_entropy(scores[-1], given[-1]), [*hs, *ss]


nets = {"without attention": Translator(False), "with attention": Translator(True)}
title, loss = "Without attention", last_loss(nets["without attention"], 3)[0]
viz.draw(loss, pictures / "without.svg", level="cell", title=title, vmin=1e-3, vmax=1.0)

# %%
title, loss = "With attention", last_loss(nets["with attention"], 3)[0]
viz.draw(loss, pictures / "with.svg", level="cell", title=title, vmin=1e-3, vmax=1.0)

# %% [markdown]
# And thirty words. The encoder's states are steps 0 to 29, the decoder's 30 to 59.

# %%
flows = {name: last_loss(net, 30, count=16) for name, net in nets.items()}
share = {}
for name, (loss, states) in flows.items():
    trace = tr.backprop(loss)
    share[name] = trace.norm(states[0]) / trace.norm(states[-1])
    print(f"{name:17} {share[name]:.1e} of the gradient at step 59 reaches step 0")
viz.gradient_flow(flows, pictures / "gradient_flow.svg")

# %% [markdown]
# Without attention, each step back leaves about six tenths of the gradient. With attention the
# gradient takes that path too, and another one: from the last word straight to every state of the
# encoder, in a single step, times a weight of about 1/30.
#
# ## What they learn
#
# Both nets now learn to repeat twelve words, from the same sentences, for 200 updates. A guess is
# right one time in eight.

# %%
T = 12
repeated = {}
for name, net in nets.items():
    rng = np.random.default_rng(0)
    programs = tr.derive(net.encoder), tr.derive(net.decoder)  # lesson 14: in place of the cells
    optimiser = tr.train.Adam(net.parameters(), lr=0.01)
    for _ in range(200):
        given, said = task(T, 32, rng)
        scores, *_ = net(given, said, *programs)
        loss = nn.cross_entropy(tr.concatenate(scores), given.ravel(), reduction="mean")
        optimiser.zero_grad()
        loss.backward()
        tr.train.clip_grad_norm(net.parameters(), 1.0)
        optimiser.step()
    given, said = task(T, 500, np.random.default_rng(2))  # sentences that it has not seen
    scores, ss, hs = net(given, said, *programs)
    repeated[name] = np.mean(np.argmax([each.data for each in scores], axis=-1) == given)
    print(f"{name:17} {repeated[name]:.1%} of the words repeated")

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. Where does the decoder look? Make a table of the mean weights: a row for each of its steps, a
#    column for each word that was read. Hint: `ss` and `hs` are those of the net with
#    attention, and `weights` takes one step of the decoder.
# 2. In a batch, short sentences are padded, and nobody may look at the padding. Write `weights` for
#    sentences of `lengths` words. Hint: exp(−∞) is 0; `tr.where(condition, x, y)`.

# %%
# table = ...  # shape (T, T)
# assert np.allclose(table.sum(axis=1), 1.0)
# assert np.mean(np.diag(table)) > 0.5

# %%
# lengths = np.array([12, 3])
# masked = ...  # the weights of ss[0][:2] over the states h[:2] of hs
# assert np.allclose(masked.data.sum(axis=0), 1.0)
# assert (masked.data[3:, 1] == 0).all()
# assert np.allclose(masked.data[:, 0], weights(ss[0], hs).data[:, 0])
