# %% [markdown]
# Answers to the exercises of [lesson 15](../15_a_real_corpus.py); run each cell
# after the lesson's own.

# %% 1: nothing, so every context only splits the counts
rng = np.random.default_rng(0)
learned, held_out = rng.permutation(learned), rng.permutation(held_out)
best_n = 1
assert min([1, 2, 3], key=ngram_bits) == best_n

# %% 2: V⁴ against about a hundred thousand
entries, weights = V**4, 32 * V + 4 * 128 * (32 + 128 + 1) + 128 * V + V
assert entries == np.prod([V] * 4)
assert weights == sum(p.size for p in model.parameters())
