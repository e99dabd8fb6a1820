# %% [markdown]
# Answers to the exercises of [lesson 13](../13_gradients_of_gradients.py); run each cell
# after the lesson's own.

# %% 1: the even derivatives of an odd function are odd, and so they vanish at 0
at_zero = [0, 1, 0, -2, 0]
x = tr.Tensor(0.0, requires_grad=True)
derivatives = [tr.tanh(x)]
for _ in range(4):
    derivatives += tr.grad(derivatives[-1], x, create_graph=True)
assert np.allclose([derivative.item() for derivative in derivatives], at_zero)

# %% 2: the eigenvector with the largest eigenvalue, which eigh puts last
H = tr.hessian(loss, [4.7, B])
direction = np.linalg.eigh(H)[1][:, -1]
angles = np.linspace(0, np.pi, 1000)
around = np.stack([np.cos(angles), np.sin(angles)])
assert np.isclose(np.linalg.norm(direction), 1)
assert direction @ H @ direction >= np.einsum("ik,ij,jk->k", around, H, around).max()
