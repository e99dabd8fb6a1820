# %% [markdown]
# Answers to the exercises of [lesson 9](../09_error_surface.py); run each cell after the
# lesson's own.

# %% 1: about a ten-thousandth; 1 / (factor over 50) gives the order of magnitude
w, ridge, factor, _ = rows[3]
top, bottom = loss(w, ridge - 0.1), loss(w, ridge + 0.1)


def where(share):
    """The b at which the loss has this share of its drop still ahead."""
    high, low = ridge - 0.1, ridge + 0.1
    for _ in range(60):
        middle = (high + low) / 2
        if loss(w, middle) > bottom + share * (top - bottom):
            high = middle
        else:
            low = middle
    return middle


b_90, b_10 = where(0.9), where(0.1)
assert np.isclose(loss(w, b_90), bottom + 0.9 * (top - bottom), rtol=1e-6)
assert np.isclose(loss(w, b_10), bottom + 0.1 * (top - bottom), rtol=1e-6)
print(f"{b_10 - b_90:.2g} wide; 1 / (factor over 50) is {factor**-STEPS:.2g}")

# %% 2: it takes longer and falls all the same, to the upper plain, where it stays
larger = True
slower, _ = descend(START, RATE / 10, 400)
assert bool(loss(*slower[-1]) > loss(*START)) is larger
