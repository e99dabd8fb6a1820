# %% [markdown]
# Answers to the exercises of [lesson 23](../23_checkpoints.py); run each cell after the lesson's
# own.

# %% 1: the derivative −T / k² + c is zero
for c, k in [(c, np.sqrt(T / c)) for c in (1, 4, 10)]:
    sizes = {n: T / n + c * n for n in range(1, T)}
    assert abs(k - min(sizes, key=sizes.get)) < 1

# %% 2: C(10 + 3, 10); one step more, and it has to be run 4 times
longest = math.comb(13, 10)
assert least(longest, 10) - least(longest - 1, 10) == 3
assert least(longest + 1, 10) - least(longest, 10) == 4
