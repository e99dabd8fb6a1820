# %% [markdown]
# Answers to the exercises of [lesson 6](../06_lstm_in_full.py); run each cell after the lesson's
# own.

# %% 1: the cell has 4 (1 + 1 + 1) + 3 = 15; the output unit has a weight for h and a bias
weights_of_the_output_unit = count(nn.Linear(1, 1))
assert count(nn.PeepholeLSTMCell(1, 1)) + weights_of_the_output_unit == 17


# %% 2: a weighted mean of the old cell state and of tanh, which both lie between −1 and 1
class Coupled(Grown):
    def __call__(self, x, state):
        h, c = state
        (_, f, o), g = self.gates(x, h)
        c = f * c + (1.0 - f) * g
        h = o * tr.tanh(c)
        return h, (h, c)


coupled = Coupled(7, 5, "fgo")
assert count(coupled) == 3 * counts["Elman"]
assert np.abs(nn.unroll(coupled, 100 * np.ones((50, 1, 7)))[1][1].data).max() <= 1
