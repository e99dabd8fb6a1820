"""The slot-filling example, end to end: what it prints and draws, what it refuses, and how well."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_rnn as tr
import viz
from sentences import numbering, read_iob
from tests.cells import TARGETS
from tinygrad_rnn import train

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "slot_filling.py"
SNIPS = ROOT.parent / "shared" / "data" / "snips"
QUICK = ["--epochs", "1", "--embedding", "8", "--hidden", "8"]


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE), run_name="slot_filling")


def untrained(example: dict[str, Any], sentences: Any, options: list[str]) -> Any:
    words = numbering((s.words for s in sentences), first=["<unk>", "<outside>"])
    labels = numbering(s.labels for s in sentences)
    return example["Tagger"](words, labels, example["parse"](options))


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_it_trains_scores_tags_and_draws(tmp_path: Path) -> None:
    sentence = "arrive taipei on november 2nd"
    done = run("--epochs", "1", "--sentence", sentence, "--picture", "net.svg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"span F1 on \d+ test sentences: \d+\.\d\d", done.stdout)
    for word in sentence.split():
        assert re.search(rf"\b{word}/(O|[BI]-\w+)", done.stdout)
    assert "loss" in done.stderr  # the progress bar
    assert "span F1" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["net.svg"]
    texts = " ".join(ElementTree.parse(tmp_path / "net.svg").getroot().itertext())
    assert all(word in texts for word in sentence.split())


def test_by_default_the_two_sentences_are_told_apart_and_drawn_on_one_scale(
    example: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[viz.Picture] = []
    monkeypatch.setattr(viz.Picture, "save", lambda self, path: drawn.append(self))
    assert example["main"](["--level", "cell", "--theme", "dark"]) == 0
    printed = capsys.readouterr().out
    assert "arrive/O  taipei/B-destination  on/O" in printed
    assert "leave/O  taipei/B-departure  on/O" in printed
    (picture,) = drawn
    texts = [text.text for text in picture.texts]
    assert {"B-destination", "B-departure"} <= set(texts)
    chances = [float(text.split()[2]) for text in texts if text.startswith("p = ")]
    assert len(chances) == 10
    assert 0.9 < min(chances) <= max(chances) <= 1
    assert any("the slot that the tagger itself gives “taipei”" in text for text in texts)
    words = {n.label: n.value for n in picture.nodes if n.label in ("arrive", "leave", "2nd")}
    assert words["arrive"] > 0 < words["leave"]  # the loss reaches back to the telling word
    assert words["2nd"] == 0


def test_without_a_picture(example: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert example["main"]([*QUICK, "--no-picture"]) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "start"), [(".svg", b"<svg"), (".png", b"\x89PNG"), (".pdf", b"%PDF")]
)
def test_the_suffix_says_what_kind_of_picture(
    example: dict[str, Any], tmp_path: Path, suffix: str, start: bytes
) -> None:
    picture = tmp_path / f"net{suffix}"
    assert example["main"]([*QUICK, "--picture", str(picture)]) == 0
    assert picture.read_bytes().startswith(start)


@pytest.mark.parametrize("cell", ["elman", "jordan", "lstm", "gru", "peephole"])
def test_every_cell_learns_the_travel_slots(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path, cell: str
) -> None:
    arguments = [
        "--cell",
        cell,
        "--derived",
        "--epochs",
        "8",
        "--picture",
        str(tmp_path / "net.dot"),
    ]
    assert example["main"]([*arguments, "--sentence", "leave taipei on november 2nd"]) == 0
    printed = capsys.readouterr().out
    score = re.search(r"span F1 .*: ([\d.]+)", printed)
    assert score is not None
    # A Jordan cell hands on a distribution over nine labels: it forgets who arrived.
    assert float(score[1]) > (70 if cell == "jordan" else 85)
    assert cell == "jordan" or "taipei/B-departure" in printed


NETS = [
    ["--bidirectional"],
    ["--layers", "2"],
    ["--window", "3"],
    ["--crf"],
    ["--derived", "--bidirectional", "--layers", "2"],
    ["--cell", "jordan", "--bidirectional", "--layers", "2", "--window", "5", "--crf"],
]


@pytest.mark.parametrize("net", NETS, ids=" ".join)
def test_every_kind_of_net_trains_and_draws(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path, net: list[str]
) -> None:
    assert example["main"]([*QUICK, *net, "--picture", str(tmp_path / "net.dot")]) == 0
    assert "span F1" in capsys.readouterr().out


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_programs_train_to_the_same_weights(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path, cell: str
) -> None:
    common = [*QUICK, "--cell", cell, "--picture", str(tmp_path / "net.dot")]
    said = []
    for how in ([], *(["--derived", target] for target in TARGETS)):
        assert example["main"]([*common, *how]) == 0
        said.append(re.findall(r"span F1 .*|\S+/[OBI]\S*", capsys.readouterr().out))
    assert said[0] != []
    assert all(found == said[0] for found in said)


@pytest.mark.parametrize("net", NETS, ids=" ".join)
def test_padding_changes_nothing(example: dict[str, Any], net: list[str]) -> None:
    """A sentence is scored alike alone and beside a longer one."""
    read = read_iob(EXAMPLE.parent / "data" / "test.iob")
    tagger = untrained(example, read, [*QUICK, *net])
    short, long = sorted(read, key=lambda s: len(s.words))[:: len(read) - 1]
    numbers = [tagger.vocabulary(s.words) for s in (short, long)]
    together, lengths = train.pad(numbers)
    scores = tagger(together, lengths).data
    for b, alone in enumerate(numbers):
        expected = tagger(np.array(alone)[:, None], np.array([len(alone)])).data[:, 0]
        np.testing.assert_allclose(scores[: len(alone), b], expected, rtol=1e-12, atol=1e-14)


def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("safetensors")
    checkpoint, picture = str(tmp_path / "net.safetensors"), str(tmp_path / "net.dot")
    common = ["--embedding", "8", "--hidden", "8", "--picture", picture]
    assert example["main"]([*common, "--epochs", "2"]) == 0
    through = capsys.readouterr().out, Path(picture).read_bytes()
    assert example["main"]([*common, "--epochs", "1", "--save", checkpoint]) == 0
    capsys.readouterr()
    assert example["main"]([*common, "--epochs", "1", "--load", checkpoint]) == 0
    assert (capsys.readouterr().out, Path(picture).read_bytes()) == through


TRAVEL = EXAMPLE.parent / "data" / "train.iob"
SMALL = ["--embedding", "8", "--hidden", "8", "--no-picture"]


@pytest.fixture
def saved(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Path]:
    """Train with these options and return the checkpoint."""
    pytest.importorskip("safetensors")

    def saved(*options: str, name: str = "a.st") -> Path:
        assert example["main"]([*SMALL, "--save", str(tmp_path / name), *options]) == 0
        capsys.readouterr()
        return tmp_path / name

    return saved


def weights(checkpoint: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(checkpoint)


def equal(one: Path, other: Path) -> bool:
    pair = weights(one), weights(other)
    return all(np.array_equal(pair[0][name], pair[1][name]) for name in pair[0] | pair[1])


def test_training_with_dropout_goes_on_bit_for_bit(saved: Any) -> None:
    dropout = ["--dropout", "0.3", "--layers", "2"]
    through = saved("--epochs", "2", *dropout, name="through")
    half = saved("--epochs", "1", *dropout, name="half")
    assert equal(saved("--epochs", "1", "--load", str(half), name="resumed"), through)
    assert not equal(half, through)


def test_a_checkpoint_survives_a_training_that_is_stopped(
    example: dict[str, Any], saved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = saved("--epochs", "1")
    before = checkpoint.read_bytes()

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(example["main"].__globals__, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        example["main"]([*SMALL, "--save", str(checkpoint)])
    assert checkpoint.read_bytes() == before


def test_a_checkpoint_brings_its_words_and_labels(
    example: dict[str, Any], saved: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the data beside it: no word takes another's place."""
    checkpoint, other = saved("--epochs", "2"), tmp_path / "other.iob"
    common = ["--load", str(checkpoint), "--no-picture", "--sentence", "leave Taipei on gloomday"]
    assert example["main"](common) == 0
    alone = capsys.readouterr().out
    assert "1 of 4 words in --sentence are unknown to the tagger: gloomday" in alone
    assert "1 words in --sentence are read in lower case" in alone
    other.write_text("november\tO\nleave\tB-date\n", encoding="utf-8")
    assert example["main"]([*common, "--test", str(other)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == alone.splitlines()[-1]
    other.write_text("november\tO\nleave\tB-never\n", encoding="utf-8")
    assert example["main"]([*common, "--data", str(other), "--epochs", "1"]) == 2
    assert "other.iob: the label B-never is none of those in" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    ["--cell gru", "--embedding 9", "--hidden 9", "--layers 2", "--bidirectional", "--derived",
     "--window 3", "--crf", "--dtype float32", "--forget-bias 1", "--seed 7"],
)  # fmt: skip
def test_what_contradicts_a_checkpoint_is_refused_by_name(
    example: dict[str, Any], saved: Any, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    checkpoint = str(saved("--epochs", "1"))
    with pytest.raises(SystemExit) as stop:
        example["main"](["--load", checkpoint, "--sentence", "leave", *option.split()])
    assert stop.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"{option.split()[0]} is " in said
    assert f"contradicts {checkpoint}" in said


def test_a_learning_rate_given_with_a_checkpoint_counts(saved: Any) -> None:
    first = saved("--epochs", "1", "--lr", "0.02")
    on = saved("--load", str(first), "--epochs", "1", name="on")
    still = saved("--load", str(first), "--epochs", "1", "--lr", "1e-300", name="still")
    before = {k: v for k, v in weights(first).items() if k.startswith("module")}
    assert all(np.array_equal(weights(still)[name], array) for name, array in before.items())
    assert not all(np.array_equal(weights(on)[name], array) for name, array in before.items())
    assert train.read_about(on)["options"]["lr"] == 0.02


@pytest.mark.parametrize("content", [None, {"words": []}, [1, 2]])
def test_a_checkpoint_of_something_else_is_refused(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path, content: Any
) -> None:
    pytest.importorskip("safetensors")
    train.save(tmp_path / "a", tr.nn.ElmanCell(2, 3), about=content)
    assert example["main"](["--load", str(tmp_path / "a"), "--sentence", "leave"]) == 2
    assert "a: is not a checkpoint of this program" in capsys.readouterr().err


def test_the_best_epoch_is_kept_and_training_stops_early(
    example: dict[str, Any], saved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores as planned; the checkpoint is that of the epoch with the best."""
    two = saved("--data", str(TRAVEL), "--epochs", "2", name="two")
    planned = [10.0, 50.0, 40.0, 50.0, 60.0]
    globals_ = example["main"].__globals__
    monkeypatch.setitem(globals_, "span_f1", lambda *_: planned.pop(0))
    files = ["--data", str(TRAVEL), "--valid", str(TRAVEL)]
    kept = saved(*files, "--patience", "2", name="kept")
    assert planned == [60.0]
    assert equal(kept, two)


def test_sentences_are_tagged_into_a_file_without_training(
    example: dict[str, Any], saved: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, text, out = saved("--epochs", "2"), tmp_path / "a.txt", tmp_path / "out.iob"
    text.write_text("leave taipei on november 2nd\n\n  ARRIVE  rome \n", encoding="utf-8")
    files = ["--predict", str(text), "--out", str(out)]
    assert example["main"](["--load", str(checkpoint), *files]) == 0
    printed = capsys.readouterr()
    assert f"2 sentences are tagged: {out}" in printed.out
    assert "epoch" not in printed.err
    first, second = read_iob(out)
    assert (first.words[1], second.words) == ("taipei", ["ARRIVE", "rome"])
    sentence = ["--sentence", "leave taipei on november 2nd", "--no-picture"]
    assert example["main"](["--load", str(checkpoint), *sentence]) == 0
    shown = "  ".join(f"{w}/{label}" for w, label in zip(*first, strict=True))
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no sentence"),
        (b"fly\tO\n", "expected plain sentences"),
        (b"\xe9", "is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_tagged_is_refused_before_training(
    example: dict[str, Any], capsys: Any, tmp_path: Path, content: bytes, complaint: str
) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    files = ["--predict", str(tmp_path / "a.txt"), "--out", str(tmp_path / "b")]
    assert example["main"]([*SMALL, *files]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("option", ["--save", "--out"])
def test_what_cannot_be_written_is_refused_before_training(
    example: dict[str, Any], capsys: Any, tmp_path: Path, option: str
) -> None:
    pytest.importorskip("safetensors")
    (tmp_path / "a.txt").write_text("leave\n", encoding="utf-8")
    files = ["--predict", str(tmp_path / "a.txt"), "--out", str(tmp_path / "b")]
    assert example["main"]([*SMALL, *files, option, str(tmp_path)]) == 2
    assert "it is not a regular file" in capsys.readouterr().err


def test_every_slot_is_scored_and_every_epoch_is_a_line(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert example["main"]([*SMALL, "--epochs", "3", "--dtype", "float32"]) == 0
    printed = capsys.readouterr()
    assert re.findall(r"epoch (\d) of 3: loss \d", printed.err) == ["1", "2", "3"]
    assert "\r" not in printed.err
    assert "W_xh (8, 32) float32" in printed.out
    for slot in ("date", "departure", "destination", "time"):
        assert re.search(rf"^{slot} +[\d.]+ +[\d.]+ +[\d.]+ +\d+$", printed.out, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments",
    [["--dropout", "1"], ["--forget-bias", "nan"], ["--patience", "0"], ["--predict", "a"],
     ["--forget-bias", "1", "--cell", "gru"], ["--epochs", "-1"], ["--dtype", "int8"]],
    ids=" ".join,
)  # fmt: skip
def test_other_impossible_options_are_refused_by_name(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit):
        example["main"](arguments)
    assert arguments[0] in capsys.readouterr().err.splitlines()[-1]


def test_without_safetensors_it_says_so_before_training(
    example: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    paths = ["--save", str(tmp_path / "a"), "--picture", str(tmp_path / "net.dot")]
    assert example["main"]([*QUICK, *paths]) == 2
    assert "pip install safetensors" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_seed_gives_the_same_weights_and_picture_again_and_another_seed_others(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    printed, drawn = [], []
    for seed in ("3", "3", "4"):
        assert example["main"]([*QUICK, "--seed", seed, "--picture", str(tmp_path / "n.dot")]) == 0
        printed.append(capsys.readouterr().out)
        drawn.append((tmp_path / "n.dot").read_bytes())
    assert printed[0] == printed[1]
    assert drawn[0] == drawn[1] != drawn[2]


def test_unknown_words_are_tagged_and_unknown_labels_count_as_wrong(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    known, new = tmp_path / "train.iob", tmp_path / "test.iob"
    known.write_text("fly\tO\nrome\tB-to\n\nstay\tO\n", encoding="utf-8")
    new.write_text("zzz\tB-never\n\nqqq\tB-never\n", encoding="utf-8")
    arguments = [*QUICK, "--data", str(known), "--test", str(new)]
    picture = ["--picture", str(tmp_path / "net.dot")]
    assert example["main"]([*arguments, *picture, "--sentence", "xyzzy rome"]) == 0
    printed = capsys.readouterr().out
    assert "span F1 on 2 test sentences: 0.00" in printed
    assert "xyzzy/" in printed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--data", "nowhere.iob"], "nowhere.iob: there is no such file"),
        (["--test", "nowhere.iob"], "nowhere.iob: there is no such file"),
        (["--data", "empty.iob"], "empty.iob: the file holds no sentence"),
        (["--data", "bad.iob"], "bad.iob, line 2: expected word<TAB>label"),
        (["--data", "latin.iob"], "latin.iob, line 2: is not UTF-8 text"),
        (["--data", "."], "cannot be read"),
        (["--picture", "net.jpeg"], "net.jpeg"),
        (["--picture", "net"], "suffix"),
        (["--picture", "nowhere/net.svg"], "nowhere"),
        (["--sentence", ""], "--sentence holds no word"),
        (["--sentence", "  "], "--sentence holds no word"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2_before_any_training(
    example: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    contents = {
        "empty.iob": b"",
        "bad.iob": b"fly\tO\nrome B-to\n",
        "latin.iob": b"a\tO\n\xe9\tO\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert example["main"](arguments) == 2
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out
    assert {file.name for file in tmp_path.iterdir()} == set(contents)


@pytest.mark.parametrize(
    "arguments",
    [["--cell", "nosuch"], ["--epochs", "0"], ["--batch", "-1"], ["--lr", "0"], ["--lr", "nan"],
     ["--clip", "-1"], ["--seed", "-1"], ["--hidden", "many"]],
    ids=" ".join,
)  # fmt: skip
def test_an_impossible_option_is_refused_by_name(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        example["main"](arguments)
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err.splitlines()[-1]


def test_no_traceback_reaches_the_terminal(tmp_path: Path) -> None:
    done = run("--data", "nowhere.iob", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "slot_filling: nowhere.iob: there is no such file\n"


def test_without_graphviz_it_says_so_before_training(
    example: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert example["main"]([*QUICK, "--picture", str(tmp_path / "net.svg")]) == 2
    printed = capsys.readouterr()
    assert "Graphviz" in printed.err
    assert not printed.out
    assert not (tmp_path / "net.svg").exists()


def test_a_picture_that_cannot_be_written_at_last_is_one_sentence_too(
    example: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(example["viz"], "draw", full)
    assert example["main"]([*QUICK, "--picture", str(tmp_path / "net.svg")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("slot_filling: ")
    assert "No space left" in last


def test_nothing_is_learnt_past_the_end_of_a_sentence(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The loss of the first batch is the mean of what its sentences cost one by one."""
    file = tmp_path / "train.iob"
    long, short = "fly\tO\nfly\tO\nto\tO\nrome\tB-to\nrome\tI-to\n", "to\tO\n"
    file.write_text(f"{long}\n{short}", encoding="utf-8")
    paths = ["--data", str(file), "--test", str(file), "--picture", str(tmp_path / "net.dot")]
    assert example["main"]([*QUICK, *paths]) == 0
    shown = re.findall(r"loss (\d+\.\d+)", capsys.readouterr().err)
    sentences = read_iob(file)
    tagger = untrained(example, sentences, QUICK)
    alone = []
    for words, labels in sentences:
        x, size = train.pad([tagger.vocabulary(words)])
        y, _ = train.pad([[tagger.labels.index(label) for label in labels]])
        alone.append(tagger.loss(x, y, size).item())
    assert float(shown[-1]) == pytest.approx(sum(alone) / 2, abs=6e-4)


@pytest.mark.skipif(not SNIPS.is_dir(), reason="the SNIPS files are not there")
@pytest.mark.parametrize(("net", "expected"), [([], 75), (["--bidirectional"], 84)])
def test_restaurant_slots_are_found_as_well_as_with_the_same_recipe_elsewhere(
    example: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    net: list[str],
    expected: float,
) -> None:
    """PyTorch's ``nn.LSTM`` with these settings ends at 79 and 87 (mean of three seeds)."""
    data, valid = (str(SNIPS / f"BookRestaurant.{part}.iob") for part in ("train", "valid"))
    recipe = "--derived --embedding 64 --hidden 64 --epochs 8 --lr 0.008 --batch 32".split()
    files = ["--data", data, "--test", valid, "--picture", str(tmp_path / "net.dot")]
    assert example["main"]([*recipe, *files, *net]) == 0
    score = re.search(r"span F1 .*: ([\d.]+)", capsys.readouterr().out)
    assert score is not None
    assert float(score[1]) >= expected
