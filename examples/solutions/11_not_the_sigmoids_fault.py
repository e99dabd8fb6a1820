# %% [markdown]
# Answers to the exercises of [lesson 11](../11_not_the_sigmoids_fault.py); run each cell
# after the lesson's own.

# %% 1: a gain of √2 makes up for the half that is lost
gain = np.sqrt(2)
loss, outputs = run(net("relu", gain))
trace = tr.backprop(loss)
assert 0.1 < trace.norm(outputs[0]) / trace.norm(outputs[-1]) < 10

# %% 2: each use of w has all the other factors as its derivative
one, total = 1.05 ** (STEPS - 1), STEPS * 1.05 ** (STEPS - 1)
w = tr.Tensor(1.05, requires_grad=True)
h = tr.Tensor(1.0)
for t in range(STEPS):
    with tr.step(t):
        h = w * h
contributions = tr.backprop(h, keep="arrays").by_step(w)
assert np.allclose(contributions, one)
assert np.isclose(contributions.sum(), total)
