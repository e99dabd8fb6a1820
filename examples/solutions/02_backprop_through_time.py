# %% [markdown]
# Answers to the exercises of [lesson 2](../02_backprop_through_time.py); run each cell after the
# lesson's own.


# %% 1: only the last hidden state has a term of its own
def mine(p):
    hs, from_later = hidden_states(p), np.zeros((1, 2))
    terms = {name: np.zeros((3, *p[name].shape)) for name in ("W_xh", "W_hh", "b")}
    for t in (2, 1, 0):
        dh = (hs[3] if t == 2 else 0) + from_later
        dz = dh * (1 - hs[t + 1] ** 2)
        terms["W_xh"][t] = p["xs"][t].T @ dz
        terms["W_hh"][t] = hs[t].T @ dz
        terms["b"][t] = dz[0]
        from_later = dz @ p["W_hh"].T
    return terms


last = 0.5 * (outputs[-1] ** 2).sum()
for name in ("W_xh", "W_hh", "b"):
    engine = tr.backprop(last, keep="arrays").by_step(getattr(cell, name))
    assert np.allclose(mine(start)[name], engine)

# %% 2: all three weights; W_hh is multiplied by the initial hidden state, which is zero
slip = lambda p: {n: g if n == "xs" else g[0] for n, g in terms_by_hand(p).items()}
report = tr.check.check_gradients(loss_by_hand, slip, start, time=["xs"], raise_exception=False)
wrong_ones, the_zero = {"W_xh", "W_hh", "b"}, "W_hh"
assert {c.variable.name for c in report.comparisons if c.having("wrong")} == wrong_ones
assert not slip(start)[the_zero].any()
