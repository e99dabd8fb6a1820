# %% [markdown]
# Answers to the exercises of [lesson 7](../07_slot_filling.py); run each cell after the lesson's
# own.

# %% 1: the loss of one word, whatever the length
expected = [np.log(9)] * 3
tagger = Tagger()
for weight in tagger.readout.parameters():
    weight.data = np.zeros(weight.shape)
for s, loss in zip(sentences, expected, strict=False):
    words, right, lengths = numbers([s])
    assert np.isclose(nn.cross_entropy(tagger(words), right, reduction="mean").item(), loss)


# %% 2: now the vector of unknown words is trained, in every kind of place
class Hiding(Tagger):
    rng = np.random.default_rng(0)

    def loss(self, some):
        hidden = [s._replace(words=[self.heard(word) for word in s.words]) for s in some]
        return super().loss(hidden)

    def heard(self, word):
        return UNKNOWN if self.rng.random() < 0.1 else word


assert score(fit(Hiding(), False)) > 90
