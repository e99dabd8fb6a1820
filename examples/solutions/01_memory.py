# %% [markdown]
# Answers to the exercises of [lesson 1](../01_memory.py); run each cell after the lesson's own.

# %% 1: hidden units of 4, 2 + 8 = 10 and 2 + 20 = 22, and each output is both units
mine = [[8, 8], [20, 20], [44, 44]]
assert numbers(read([(2, 2), (1, 1), (1, 1)])) == mine

# %% 2: each unit keeps one feature, adds it to what it has, and shows it
cell.W_xh.data, cell.W_hh.data, W_hy.data = np.eye(2), np.eye(2), np.eye(2)
assert numbers(read(lecture)) == [[1, 1], [2, 2], [4, 4]]
assert numbers(read(swapped))[-1] == [4, 4]
