# %% [markdown]
# Answers to the exercises of [lesson 16](../16_attention.py); run each cell after the lesson's own.

# %% 1: at the word that it has to say next; nobody told it to
table = np.array([weights(s, hs).data.mean(axis=1) for s in ss])
assert np.allclose(table.sum(axis=1), 1.0)
assert np.mean(np.diag(table)) > 0.5


# %% 2: the scores of the padding become −∞ before the softmax
def masked_weights(s, hs, lengths):
    fits = (tr.stack(list(hs)) * s).sum(axis=-1)
    return tr.softmax(tr.where(np.arange(len(hs))[:, None] < lengths, fits, -np.inf), axis=0)


lengths = np.array([12, 3])
masked = masked_weights(ss[0][:2], [h[:2] for h in hs], lengths)
assert np.allclose(masked.data.sum(axis=0), 1.0)
assert (masked.data[3:, 1] == 0).all()
assert np.allclose(masked.data[:, 0], weights(ss[0], hs).data[:, 0])
