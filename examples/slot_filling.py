"""Slot filling: the same word, another slot, decided by an earlier word.

    arrive taipei on november 2nd       taipei is the destination
    leave  taipei on november 2nd       taipei is the place of departure

A net that sees one word at a time cannot tell the two apart. A recurrent net carries what it has
read from word to word. This program trains one on sentences whose words carry slot labels, scores
the slots it finds in sentences it has not seen, tags the two sentences above, and draws the net
unrolled over each: the loss is that of "taipei" alone, and the gradient shows which words its slot
was told by.

    python examples/slot_filling.py
    python examples/slot_filling.py --cell elman --sentence "leave taipei on friday"
    python examples/slot_filling.py --bidirectional --layers 2 --crf
    python examples/slot_filling.py --data TRAIN.iob --test TEST.iob --picture net.png
"""

from __future__ import annotations

import os

# One thread is much faster than several for products of this size. It has to be said before NumPy
# loads; set the variable yourself to have it otherwise.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn, train
from tinygrad_rnn.train import UNKNOWN, Sentence
from viz.render import check

DATA = Path(__file__).parent / "data"
SHOWN = ("arrive taipei on november 2nd", "leave taipei on november 2nd")
OUTSIDE = "<outside>"  # stands before and behind a sentence in a window of words
CELLS = {
    "elman": nn.ElmanCell,
    "gru": nn.GRUCell,
    "jordan": nn.JordanCell,
    "lstm": nn.LSTMCell,
    "peephole": nn.PeepholeLSTMCell,
}


class Tagger(nn.Module):
    """Words in, scores of labels out: an embedding, recurrent cells, a linear readout."""

    def __init__(self, sentences: Sequence[Sentence], options: argparse.Namespace) -> None:
        rng = np.random.default_rng(options.seed)
        words = (s.words for s in sentences)
        self.vocabulary = train.numbering(words, first=[UNKNOWN, OUTSIDE])
        self.labels = list(train.numbering(s.labels for s in sentences))
        self.window = options.window
        self.embedding = nn.Embedding(len(self.vocabulary), options.embedding, rng=rng)

        # A Jordan cell's output is a distribution over the labels, and that is what it remembers.
        jordan = options.cell == "jordan"
        width = len(self.labels) if jordan else options.hidden
        size = options.window * options.embedding
        layers = []
        for _ in range(options.layers):
            sizes = (size, options.hidden, width) if jordan else (size, options.hidden)
            cells = [CELLS[options.cell](*sizes, rng=rng) for _ in range(1 + options.bidirectional)]
            cells = [tr.derive(cell) for cell in cells] if options.derived else cells
            layers.append(nn.Bidirectional(*cells) if options.bidirectional else cells[0])
            size = width * len(cells)
        self.net = nn.Stacked(*layers)
        alone = jordan and not options.bidirectional
        self.readout = None if alone else nn.Linear(size, len(self.labels), rng=rng)
        self.crf = nn.CRF(len(self.labels), rng=rng) if options.crf else None

    def numbers(self, words: Sequence[str]) -> list[int]:
        return [self.vocabulary.get(word, self.vocabulary[UNKNOWN]) for word in words]

    def windows(self, words: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Each word with its neighbours: (T, B) becomes (T, B, window)."""
        outside, reach = self.vocabulary[OUTSIDE], self.window // 2
        inside = np.where(np.arange(len(words))[:, None] < lengths, words, outside)
        padded = np.pad(inside, ((reach, reach), (0, 0)), constant_values=outside)
        return np.stack([padded[k : k + len(words)] for k in range(self.window)], axis=-1)

    def __call__(self, words: np.ndarray, lengths: np.ndarray) -> tr.Tensor:
        """Scores (T, B, labels) of word numbers (T, B)."""
        x = self.embedding(self.windows(words, lengths)).reshape(*words.shape, -1)
        outputs, _ = self.net(x, lengths=lengths)
        y = tr.stack(outputs)
        return tr.log(y + 1e-12) if self.readout is None else self.readout(y)

    def loss(self, words: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> tr.Tensor:
        """``-log p(labels)``, summed over the steps of all sentences, not past their ends."""
        scores = self(words, lengths)
        if self.crf is not None:
            return self.crf.loss(scores, labels, lengths)
        return nn.cross_entropy(scores, labels, np.arange(len(words))[:, None] < lengths)

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """The best label of every word."""
        found: dict[int, list[str]] = {}
        with tr.no_grad():
            for batch in train.batches([len(s) for s in sentences], 64):
                words, lengths = train.pad([self.numbers(sentences[i]) for i in batch])
                scores = self(words, lengths)
                best = (
                    scores.data.argmax(-1) if self.crf is None else self.crf.decode(scores, lengths)
                )
                for b, i in enumerate(batch):
                    found[i] = [self.labels[k] for k in best[: lengths[b], b]]
        return [found[i] for i in range(len(sentences))]


def fit(
    tagger: Tagger,
    sentences: list[Sentence],
    test: list[Sentence],
    optimiser: train.Optimiser,
    rng: np.random.Generator,
    options: argparse.Namespace,
) -> float:
    """Train, and return the span F1 on the test sentences."""
    counts = Counter(word for s in sentences for word in s.words)
    words = [np.array(tagger.numbers(s.words)) for s in sentences]
    labels = [[tagger.labels.index(label) for label in s.labels] for s in sentences]
    rare = [np.array([counts[word] == 1 for word in s.words]) for s in sentences]
    lengths = [len(s.words) for s in sentences]

    score = 0.0
    batches_in_all = options.epochs * -(-len(sentences) // options.batch)
    with tqdm(total=batches_in_all, unit="batch", desc=f"training {options.cell}") as bar:
        for _ in range(options.epochs):
            total = 0.0
            for batch in train.batches(lengths, options.batch, rng):
                # Words that come once stand in for the unknown ones half of the time, so that
                # the net learns what to do when it meets a word it does not know.
                dropped = [words[i] * ~(rare[i] & (rng.random(lengths[i]) < 0.5)) for i in batch]
                x, size = train.pad(dropped)
                y, _ = train.pad([labels[i] for i in batch])
                loss = tagger.loss(x, y, size) / len(batch)
                optimiser.zero_grad()
                loss.backward()
                train.clip_grad_norm(optimiser.parameters, options.clip)
                optimiser.step()
                total += loss.item() * len(batch)
                bar.update()
            given = tagger.tag([s.words for s in test])
            score = train.span_f1([s.labels for s in test], given)
            bar.set_postfix_str(f"loss {total / len(sentences):.3f}, span F1 {score:.1f}")
    return score


def slot_loss(
    tagger: Tagger, words: Sequence[str], labels: Sequence[str], place: int
) -> tuple[tr.Tensor, np.ndarray]:
    """``-log p`` of the label of one word, and each word's distribution over the labels.

    A CRF scores whole sequences of labels: its loss is that of all words.
    """
    x, size = train.pad([tagger.numbers(words)])
    y, _ = train.pad([[tagger.labels.index(label) for label in labels]])
    scores = tagger(x, size)
    p = tr.softmax(scores.detach())[:, 0].data
    if tagger.crf is not None:
        return tagger.crf.loss(scores, y, size), p
    return nn.cross_entropy(scores[place], y[place]), p


def draw(
    tagger: Tagger,
    tagged: Sequence[tuple[Sequence[str], Sequence[str]]],
    options: argparse.Namespace,
) -> viz.Picture:
    """The net unrolled over each sentence, below each other on one scale.

    The loss takes the labels that the tagger gives itself: what would have to change to make it
    surer of the slot it found?
    """
    losses, words_of, said = {}, {}, {}
    for words, labels in tagged:
        # The first word that fills a slot; in the two sentences its slot depends on the one before.
        place = next((i for i, label in enumerate(labels) if label != "O"), len(words) - 1)
        name = " ".join(words)
        losses[name], p = slot_loss(tagger, words, labels, place)
        words_of[name] = words
        best = [tagger.labels.index(label) for label in labels]
        surely = ["" if tagger.crf else f" {p[i, k]:.3f}" for i, k in enumerate(best)]
        said[name] = [label + sure for label, sure in zip(labels, surely, strict=True)]
        of = "all words" if tagger.crf else f"“{words[place]}”"
    picture = viz.draw(
        losses if len(losses) > 1 else losses[name],
        labels=words_of if len(losses) > 1 else words,
        names=tagger, level=options.level, theme=options.theme,
        title=f"Which words told the {options.cell} tagger the slot of {of}?",
    )  # fmt: skip
    picture.texts[-1].text += (
        f" The loss is −log p of the slot that the tagger itself gives {of}; at the foot of each "
        f"step stand the slot it gives that word{'' if tagger.crf else ', and its probability'}."
    )
    for name, slots in said.items():
        boxes = [box for box in picture.boxes if box.id.startswith("step_")]
        boxes = [box for box in boxes if len(said) == 1 or box.tooltip.startswith(name)]
        rows = [box.id.split("_")[1] for box in boxes]  # there are several in deeper nets
        for box, row, slot in zip(boxes, rows, slots, strict=False):
            if row == rows[0]:
                x = (box.x0 + box.x1) / 2
                picture.texts.append(viz.model.Text(slot, x, box.y1 - 9, 10, "text"))
    return picture


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train a recurrent slot tagger and draw it, unrolled, with its gradients."
    )
    parser.add_argument("--cell", choices=CELLS, default="lstm")
    parser.add_argument("--data", type=Path, default=DATA / "train.iob", help="word<TAB>label")
    parser.add_argument("--test", type=Path, default=DATA / "test.iob")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--embedding", type=int, default=32, help="size of a word's vector")
    parser.add_argument("--hidden", type=int, default=32, help="size of the hidden state")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--bidirectional", action="store_true", help="read from both ends")
    parser.add_argument("--derived", action="store_true", help="run programs made of the cells")
    parser.add_argument("--window", type=int, default=1, help="words seen at once; an odd number")
    parser.add_argument("--crf", action="store_true", help="score whole label sequences")
    parser.add_argument("--batch", type=int, default=16, help="sentences a step of training")
    parser.add_argument("--lr", type=float, default=0.01, help="learning rate of Adam")
    parser.add_argument("--clip", type=float, default=5.0, help="largest norm of the gradient")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sentence", help="what to tag and draw in place of the two above")
    parser.add_argument(
        "--picture", type=Path, default=Path("slot_filling.svg"), help=".svg, .png, .pdf or .dot"
    )
    parser.add_argument("--no-picture", action="store_true", help="train, score and tag alone")
    parser.add_argument(
        "--level", choices=("auto", "op", "scope", "cell"), default="auto", help="of the picture"
    )
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("--save", type=Path, help="write a checkpoint when training has ended")
    parser.add_argument("--load", type=Path, help="go on from a checkpoint of the same options")
    options = parser.parse_args(arguments)
    if options.window % 2 == 0:
        parser.error(f"--window is {options.window}; expected an odd number")
    for name in ("epochs", "embedding", "hidden", "batch", "layers", "window"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; expected 1 or more")
    for name in ("lr", "clip"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name} is {getattr(options, name)}; expected a number above 0")
    if options.seed < 0:
        parser.error(f"--seed is {options.seed}; expected 0 or more")
    return options


def refuse(error: Exception) -> int:
    print(f"slot_filling: {error}", file=sys.stderr)
    return 2


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        if not options.no_picture:
            check(options.picture)
        sentences, test = train.read_iob(options.data), train.read_iob(options.test)
        shown = [sentence.split() for sentence in SHOWN]
        if options.sentence is not None:
            shown = [options.sentence.split()]
        elif options.data != DATA / "train.iob":
            shown = [test[0].words]  # of a corpus of the user's own
        if not shown[0]:
            raise ValueError("--sentence holds no word; give some, such as 'leave taipei'")
        tagger = Tagger(sentences, options)
        optimiser = train.Adam(tagger.parameters(), lr=options.lr)
        rng = np.random.default_rng([options.seed, 1])
        if options.load:
            train.load(options.load, tagger, optimiser, rng)
        if options.save:  # now rather than after the training
            train.save(options.save, tagger, optimiser, rng)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        return refuse(error)

    print(tagger)
    score = fit(tagger, sentences, test, optimiser, rng, options)
    print(f"span F1 on {len(test)} test sentences: {score:.2f}")

    tagged = list(zip(shown, tagger.tag(shown), strict=True))
    for words, labels in tagged:
        print("  ".join(f"{word}/{label}" for word, label in zip(words, labels, strict=True)))

    try:
        if options.save:
            train.save(options.save, tagger, optimiser, rng)
        if not options.no_picture:
            draw(tagger, tagged, options).save(options.picture)
            print(f"the net with its gradients: {options.picture}")
    except (OSError, ValueError, RuntimeError) as error:
        return refuse(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
