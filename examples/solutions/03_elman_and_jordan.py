# %% [markdown]
# Answers to the exercises of [lesson 3](../03_elman_and_jordan.py); run each cell after the
# lesson's own.

# %% 1: A in the first sequence and B in the second, at every step
repeated = np.array([[A, B]] * STEPS)
net = Jordan(4, 8, 3)
descend(net.parameters(), lambda k: nn.cross_entropy(tr.stack(net(shown)), repeated), 300)
assert nn.cross_entropy(net(shown)[-1], said[-1], reduction="mean").item() < 0.1

# %% 2: after the first step its state says "nothing" for both letters, so it is still at chance
two_inputs, two_targets, expected = shown[[0, -1]], said[[0, -1]], np.log(2)
net = Jordan(4, 8, 3)
descend(net.parameters(), lambda k: nn.cross_entropy(tr.stack(net(two_inputs)), two_targets), 300)
found = nn.cross_entropy(net(two_inputs)[-1], two_targets[-1], reduction="mean").item()
assert len(two_inputs) == 2
assert abs(found - expected) < 0.05
