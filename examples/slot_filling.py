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
    python examples/slot_filling.py --data TRAIN.iob --valid VALID.iob --test TEST.iob --save a.st
    python examples/slot_filling.py --load a.st --predict SENTENCES.txt --out TAGGED.iob
"""

from __future__ import annotations

import os

# One thread is much faster than several for products of this size. It has to be said before NumPy
# loads; set the variable yourself to have it otherwise.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import copy
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
import viz
from crf import CRF
from sentences import UNKNOWN, Sentence, Vocabulary, numbering, read_iob, span_f1, span_scores
from tinygrad_rnn import nn, train
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


# What a checkpoint was trained with and cannot be changed beside --load, and what can.
FIXED = (
    "cell embedding hidden layers bidirectional derived window crf dtype forget_bias seed".split()
)
FREE = "batch lr clip dropout".split()


class Tagger(nn.Module):
    """Words in, scores of labels out: an embedding, recurrent cells, a linear readout."""

    def __init__(
        self, words: Iterable[str], labels: Iterable[str], options: argparse.Namespace
    ) -> None:
        rng = np.random.default_rng(options.seed)
        kind = {"rng": rng, "dtype": options.dtype}
        self.rng = np.random.default_rng([options.seed, 1])  # for all that is random in training
        self.dropout = options.dropout
        self.vocabulary = Vocabulary(words)
        self.labels = list(labels)
        self.window = options.window
        # Most words are rare: what their vectors start from, they keep. So let it be small.
        size = options.embedding
        self.embedding = nn.Embedding(len(self.vocabulary.words), size, scale=0.1, **kind)

        # A Jordan cell's output is a distribution over the labels, and that is what it remembers.
        jordan = options.cell == "jordan"
        width = len(self.labels) if jordan else options.hidden
        bias = {"forget_bias": options.forget_bias} if options.forget_bias else {}
        size = options.window * options.embedding
        layers = []
        for _ in range(options.layers):
            sizes = (size, options.hidden, width) if jordan else (size, options.hidden)
            make = CELLS[options.cell]
            cells = [make(*sizes, **bias, **kind) for _ in range(1 + options.bidirectional)]
            if options.derived:
                cells = [tr.derive(cell, target=options.derived) for cell in cells]
            layers.append(nn.Bidirectional(*cells) if options.bidirectional else cells[0])
            size = width * len(cells)
        self.net = nn.Stacked(*layers, dropout=options.dropout, rng=self.rng)
        alone = jordan and not options.bidirectional
        self.readout = None if alone else nn.Linear(size, len(self.labels), **kind)
        self.crf = CRF(len(self.labels), **kind) if options.crf else None

    def windows(self, words: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Each word with its neighbours: (T, B) becomes (T, B, window)."""
        (outside,), reach = self.vocabulary([OUTSIDE]), self.window // 2
        inside = np.where(np.arange(len(words))[:, None] < lengths, words, outside)
        padded = np.pad(inside, ((reach, reach), (0, 0)), constant_values=outside)
        return np.stack([padded[k : k + len(words)] for k in range(self.window)], axis=-1)

    def dropped(self, x: tr.Tensor) -> tr.Tensor:
        """While training, some numbers are 0 and the others larger (Srivastava et al. 2014)."""
        if not (self.training and self.dropout):
            return x
        kept = self.rng.random(x.shape) >= self.dropout
        y: tr.Tensor = x * (kept / (1 - self.dropout)).astype(x.dtype)
        return y

    def __call__(self, words: np.ndarray, lengths: np.ndarray) -> tr.Tensor:
        """Scores (T, B, labels) of word numbers (T, B)."""
        x = self.embedding(self.windows(words, lengths)).reshape(*words.shape, -1)
        outputs, _ = self.net(self.dropped(x), lengths=lengths)
        y = self.dropped(tr.stack(outputs))
        return tr.log(y + 1e-12) if self.readout is None else self.readout(y)

    def loss(self, words: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> tr.Tensor:
        """``-log p(labels)``, summed over the steps of all sentences, not past their ends."""
        scores = self(words, lengths)
        if self.crf is not None:
            return self.crf.loss(scores, labels, lengths)
        return nn.cross_entropy(scores, labels, np.arange(len(words))[:, None] < lengths)

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """The best label of every word."""
        self.eval()
        found: dict[int, list[str]] = {}
        with tr.no_grad():
            for batch in train.batches([len(s) for s in sentences], 64):
                words, lengths = train.pad([self.vocabulary(sentences[i]) for i in batch])
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
    held: list[Sentence],
    optimiser: train.Optimiser,
    options: argparse.Namespace,
) -> None:
    """Train, and show after each epoch how well the held-out sentences are tagged.

    With ``--valid`` the epoch that tags them best is kept; training ends when ``--patience``
    epochs have not been better.
    """
    rng = tagger.rng
    counts = Counter(word for s in sentences for word in s.words)
    words = [np.array(tagger.vocabulary(s.words)) for s in sentences]
    labels = [[tagger.labels.index(label) for label in s.labels] for s in sentences]
    rare = [np.array([counts[word] == 1 for word in s.words]) for s in sentences]
    lengths = [len(s.words) for s in sentences]

    best, best_epoch, kept = -1.0, 0, (tagger.state_dict(), optimiser.state)
    batches_in_all = options.epochs * -(-len(sentences) // options.batch)
    # The bar shows itself on terminals only; elsewhere each epoch is a line.
    bar = tqdm(total=batches_in_all, unit="batch", desc=f"training {options.cell}", disable=None)
    with bar:
        for epoch in range(1, options.epochs + 1):
            tagger.train()
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
            news = f"loss {total / len(sentences):.3f}"
            if held:
                given = tagger.tag([s.words for s in held])
                score = span_f1([s.labels for s in held], given)
                news += f", span F1 {score:.1f}"
            bar.set_postfix_str(news)
            if bar.disable:
                print(f"epoch {epoch} of {options.epochs}: {news}", file=sys.stderr)
            if options.valid is not None:
                if score > best:
                    best, best_epoch = score, epoch
                    kept = tagger.state_dict(), copy.deepcopy(optimiser.state)
                elif epoch - best_epoch == options.patience:
                    break
    if options.valid is not None:
        tagger.load_state_dict(kept[0])
        optimiser.state = kept[1]
        print(f"epoch {best_epoch} is kept: span F1 {best:.2f} on the validation sentences")


def report_words(tagger: Tagger, sentences: Iterable[Sequence[str]], where: str) -> None:
    """Say what the tagger does not know, if there is such."""
    words = [word for sentence in sentences for word in sentence]
    (unknown,) = tagger.vocabulary([UNKNOWN])
    strange = [w for w, n in zip(words, tagger.vocabulary(words), strict=True) if n == unknown]
    capitals = sum(word != word.lower() for word in words)
    if strange:
        some = ", ".join(dict.fromkeys(strange[:5])) + (", …" if len(strange) > 5 else "")
        print(f"{len(strange)} of {len(words)} words {where} are unknown to the tagger: {some}")
    if capitals and tagger.vocabulary.lower:
        print(f"{capitals} words {where} are read in lower case, as all words in training were")


def report_scores(tagger: Tagger, test: list[Sentence]) -> None:
    """Span F1 on sentences that training has not seen, over all slots and for each."""
    right, given = [s.labels for s in test], tagger.tag([s.words for s in test])
    scores = span_scores(right, given)
    width = max(map(len, scores), default=0)
    print(f"{'slot':{width}}  precision  recall     F1  spans")
    for name, s in scores.items():
        print(f"{name:{width}} {s.precision:10.1f} {s.recall:7.1f} {s.f1:6.1f} {s.right:6}")
    print(f"span F1 on {len(test)} test sentences: {span_f1(right, given):.2f}")


def read_sentences(path: Path) -> list[list[str]]:
    """The words of plain text with a sentence on each line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text: {error.reason}") from None
    if any("\t" in line for line in lines):
        raise ValueError(f"{path}: expected plain sentences, one a line, but there are tabs in it")
    if not any(line.split() for line in lines):
        raise ValueError(f"{path}: the file holds no sentence")
    return [line.split() for line in lines if line.split()]


def slot_loss(
    tagger: Tagger, words: Sequence[str], labels: Sequence[str], place: int
) -> tuple[tr.Tensor, np.ndarray]:
    """``-log p`` of the label of one word, and each word's distribution over the labels.

    A CRF scores whole sequences of labels: its loss is that of all words.
    """
    x, size = train.pad([tagger.vocabulary(words)])
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
        name = f"{words[0]} …"
        losses[name], p = slot_loss(tagger, words, labels, place)
        words_of[name] = words
        best = [tagger.labels.index(label) for label in labels]
        surely = ["" if tagger.crf else f"p = {p[i, k]:.3f}" for i, k in enumerate(best)]
        said[name] = list(zip(labels, surely, strict=True))
        of = "all words" if tagger.crf else f"“{words[place]}”"
    picture = viz.draw(
        losses if len(losses) > 1 else losses[name],
        labels=words_of if len(losses) > 1 else words,
        names=tagger, theme=options.theme,
        level=options.level or ("auto" if options.derived else "cell"),  # a program has no states
        title=f"Which words told the {options.cell} tagger the slot of {of}?",
    )  # fmt: skip
    picture.texts[-1].text += (
        f" The loss: −log p of the slot that the tagger itself gives {of}."
        f" In each step: its slot{'' if tagger.crf else ' and p'}."
    )
    for name, slots in said.items():
        boxes = [box for box in picture.boxes if box.id.startswith("step_")]
        boxes = [box for box in boxes if len(said) == 1 or box.tooltip.startswith(name)]
        for box, (slot, sure) in zip(boxes, slots, strict=False):  # deeper nets have several rows
            picture.texts.append(viz.model.Text(sure, box.x1 - 6, box.y1 - 9, 9, align="right"))
            for text in picture.texts:
                inside = box.x0 < text.x < box.x1 and box.y0 < text.y < box.y1
                if inside and text.text.startswith("t = "):
                    text.text, text.size = slot, 9
    return picture


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train a recurrent slot tagger and draw it, unrolled, with its gradients."
    )
    add = parser.add_argument
    add("--cell", choices=CELLS, default="lstm")
    add("--data", type=Path, help="to train on: word<TAB>label; by default a travel agency's")
    add("--valid", type=Path, help="keep the epoch that tags these sentences best")
    add("--patience", type=int, default=5, help="epochs without a better one; with --valid")
    add("--test", type=Path, help="to be scored at last; by default the travel agency's")
    add("--epochs", type=int, default=20, help="20 by default, and 0 with --load")
    add("--embedding", type=int, default=32, help="size of a word's vector")
    add("--hidden", type=int, default=32, help="size of the hidden state")
    add("--layers", type=int, default=1)
    add("--bidirectional", action="store_true", help="read from both ends")
    add(
        "--derived", nargs="?", const="numpy", choices=("numpy", "c"),
        help="run programs made of the cells, in NumPy or, several times as fast, in C",
    )  # fmt: skip
    add("--window", type=int, default=1, help="words seen at once; an odd number")
    add("--crf", action="store_true", help="score whole label sequences")
    add("--dropout", type=float, default=0.0, help="share of numbers dropped in training")
    add("--forget-bias", type=float, default=0.0, help="lets an LSTM remember more at first")
    add("--dtype", choices=("float64", "float32"), default="float64")
    add("--batch", type=int, default=16, help="sentences a step of training")
    add("--lr", type=float, default=0.01, help="learning rate of Adam")
    add("--clip", type=float, default=5.0, help="largest norm of the gradient")
    add("--seed", type=int, default=0)
    add("--sentence", help="what to tag and draw in place of the two above")
    add("--predict", type=Path, help="tag the sentences of this file, one a line, into --out")
    add("--out", type=Path, help="word<TAB>label, as --data")
    add("--picture", type=Path, default=Path("slot_filling.svg"), help=".svg, .png, .pdf or .dot")
    add("--no-picture", action="store_true", help="train, score and tag alone")
    add("--level", choices=("auto", "op", "scope", "cell"), help="of the picture; cell by default")
    add("--theme", choices=("light", "dark"), default="light")
    add("--save", type=Path, help="write a checkpoint when training has ended")
    add("--load", type=Path, help="start from a checkpoint; trains on if --epochs is given")
    options = parser.parse_args(arguments)
    options.about = None
    if options.load is not None:
        about = train.read_about(options.load)
        if not (isinstance(about, dict) and {"options", "words", "labels"} <= about.keys()):
            raise ValueError(f"{options.load}: is not a checkpoint of this program")
        # What is said here goes before the checkpoint's options, and those before the defaults.
        saved = argparse.Namespace(**about["options"], about=about, epochs=0)
        options = parser.parse_args(arguments, saved)
        for name in FIXED:
            if getattr(options, name) != (was := about["options"][name]):
                parser.error(
                    f"--{name.replace('_', '-')} is {getattr(options, name)}, which contradicts "
                    f"{options.load}: it holds a net of {was}; leave the option out"
                )
    if options.window % 2 == 0:
        parser.error(f"--window is {options.window}; expected an odd number")
    for name in ("embedding", "hidden", "batch", "layers", "window", "patience"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; expected 1 or more")
    if options.epochs < (options.load is None):
        parser.error(f"--epochs is {options.epochs}; expected 1 or more, or 0 with --load")
    for name in ("lr", "clip"):
        if not 0 < getattr(options, name) < float("inf"):
            parser.error(f"--{name} is {getattr(options, name)}; expected a number above 0")
    if not 0 <= options.dropout < 1:
        parser.error(f"--dropout is {options.dropout}; expected 0 up to, not including, 1")
    if not abs(options.forget_bias) < float("inf"):
        parser.error(f"--forget-bias is {options.forget_bias}; expected a number")
    if options.forget_bias and options.cell not in ("lstm", "peephole"):
        parser.error(f"--forget-bias needs a forget gate; --cell {options.cell} has none")
    if options.seed < 0:
        parser.error(f"--seed is {options.seed}; expected 0 or more")
    if (options.predict is None) != (options.out is None):
        parser.error("--predict FILE and --out FILE belong together; give both")
    asked = (options.sentence, options.predict, options.test, options.epochs or None)
    if all(part is None for part in asked):
        parser.error("--load alone leaves nothing to do; add --sentence, --predict or --epochs")
    return options


def refuse(error: Exception) -> int:
    print(f"slot_filling: {error}", file=sys.stderr)
    return 2


def build(
    sentences: Sequence[Sentence], options: argparse.Namespace
) -> tuple[Tagger, train.Optimiser, dict[str, Any]]:
    """The tagger, its optimiser, and what their checkpoint says about them.

    Words and labels are those of the checkpoint if there is one, of the sentences otherwise.
    """
    about = options.about
    if about is None:
        words = numbering((s.words for s in sentences), first=[UNKNOWN, OUTSIDE])
        labels = numbering(s.labels for s in sentences)
        about = {"words": list(words), "labels": list(labels)}
    about["options"] = {name: getattr(options, name) for name in FIXED + FREE}
    tagger = Tagger(about["words"], about["labels"], options)
    optimiser = train.Adam(tagger.parameters(), lr=options.lr)
    if options.load:
        train.load(options.load, tagger, optimiser, tagger.rng)
        optimiser.lr = options.lr
    new = {label for s in sentences for label in s.labels} - set(tagger.labels)
    if new:
        raise ValueError(
            f"{options.data or DATA / 'train.iob'}: the label {min(new)} is none of those in "
            f"{options.load}"
        )
    if options.save:  # now rather than after the training
        train.check_replaceable(options.save)
        with tempfile.TemporaryDirectory() as folder:
            train.save(Path(folder) / "trial", tagger, optimiser, tagger.rng, about)
    return tagger, optimiser, about


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        options = parse(arguments)
        travel = options.data is None and options.epochs > 0
        test_file = options.test or (DATA / "test.iob" if travel else None)
        sentences = read_iob(options.data or DATA / "train.iob") if options.epochs else []
        valid = read_iob(options.valid) if options.valid else []
        test = read_iob(test_file) if test_file else []
        unlabelled = read_sentences(options.predict) if options.predict else []
        if options.sentence is not None:
            shown = [options.sentence.split()]
        else:  # of a corpus of the user's own, the first sentence
            shown = [s.split() for s in SHOWN] if travel else [s.words for s in test[:1]]
        if [] in shown:
            raise ValueError("--sentence holds no word; give some, such as 'leave taipei'")
        if shown and not options.no_picture:
            check(options.picture)
        if options.out:
            train.check_replaceable(options.out)
        tagger, optimiser, about = build(sentences, options)
    except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
        return refuse(error)

    print(tagger)
    try:
        if options.epochs:
            fit(tagger, sentences, valid or test, optimiser, options)
        if options.save:
            train.save(options.save, tagger, optimiser, tagger.rng, about)
        if test:
            report_words(tagger, (s.words for s in test), "of the test")
            report_scores(tagger, test)
        if unlabelled:
            report_words(tagger, unlabelled, f"in {options.predict}")
            pairs = zip(unlabelled, tagger.tag(unlabelled), strict=True)
            lines = ["".join(f"{w}\t{k}\n" for w, k in zip(*pair, strict=True)) for pair in pairs]
            train.replace_file(options.out, "\n".join(lines).encode())
            print(f"{len(unlabelled)} sentences are tagged: {options.out}")
        if options.sentence is not None:
            report_words(tagger, shown, "in --sentence")
        tagged = list(zip(shown, tagger.tag(shown), strict=True))
        for words, labels in tagged:
            print("  ".join(f"{word}/{label}" for word, label in zip(words, labels, strict=True)))
        if shown and not options.no_picture:
            draw(tagger, tagged, options).save(options.picture)
            print(f"the net with its gradients: {options.picture}")
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        return refuse(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
