# %% [markdown]
# Answers to the exercises of [lesson 10](../10_clipping.py); run each cell
# after the lesson's own.

# %% 1: (1, 100) becomes (1, 1), which is 44 degrees away
g = np.array([1.0, 100.0])
p = tr.Tensor([0.0, 0.0], requires_grad=True)
(p * g).sum().backward()
train.clip_grad_value([p], 1.0)
assert p.grad @ g < np.cos(np.radians(40)) * np.linalg.norm(p.grad) * np.linalg.norm(g)

# %% 2: by threshold / norm
factor = 1 / 5
p = tr.Tensor([0.0, 0.0], requires_grad=True)
(p * np.array([3.0, 4.0])).sum().backward()
train.clip_grad_norm([p], 1.0)
assert np.allclose(p.grad, factor * np.array([3.0, 4.0]))
