# %% [markdown]
# Answers to the exercises of [lesson 4](../04_bidirectional.py); run each cell after the lesson's
# own.

# %% 1: when it labels a word it has seen that word and all later ones
cell, readout = nn.ElmanCell(8, 8, rng=0), nn.Linear(8, 3, rng=0)
ys = [readout(h) for h in nn.unroll(cell, xs, reverse=True)[0]]
predicted = np.triu(np.ones((5, 5), bool))
assert np.array_equal(tr.influence([y[0, 1] for y in ys], xs) > 0, predicted)

# %% 2: at the last word it has seen the whole sentence
slots = np.zeros_like(words)
slots[-1] = [verbs[sentence[-1]] for sentence in sentences]
assert (slots[0] == 0).all()
assert fit(both_sides=False)[1] == 1
