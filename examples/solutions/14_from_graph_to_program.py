# %% [markdown]
# Answers to the exercises of [lesson 14](../14_from_graph_to_program.py); run each cell
# after the lesson's own.

# %% 1: one, of h; that of x does not wait for h and is done for all steps before the loop
products = 1
loop = tr.derive(nn.LSTMCell(3, 5)).source.partition("for ")[2].partition("\n\n")[0]
assert sum(loop.count(product) for product in ("@", "dot", "matmul")) == products


# %% 2: nothing has to be added to the cell
class MinimalGatedCell(nn.Module):
    def __init__(self, input_size, hidden_size):
        rng = np.random.default_rng(0)
        for name, rows in [("W_f", input_size), ("U_f", hidden_size),
                           ("W_n", input_size), ("U_n", hidden_size)]:  # fmt: skip
            start = rng.normal(size=(rows, hidden_size)) / 2
            setattr(self, name, tr.Tensor(start, requires_grad=True))

    def initial_state(self, batch):
        return tr.Tensor(np.zeros((batch, self.U_f.shape[0])))

    def __call__(self, x, h):
        f = tr.sigmoid(x @ self.W_f + h @ self.U_f)
        n = tr.tanh(x @ self.W_n + (f * h) @ self.U_n)
        h = (1.0 - f) * h + f * n
        return h, h


cell = MinimalGatedCell(3, 5)
recorded = gradients(lambda xs: nn.unroll(cell, xs))
derived = gradients(tr.derive(cell))
assert max(np.abs(recorded[name] - derived[name]).max() for name in recorded) < 1e-12
