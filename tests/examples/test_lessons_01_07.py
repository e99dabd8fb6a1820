"""Lessons 01 to 07: what they print against closed forms and published values, not themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn

EXAMPLES = Path(__file__).parents[2] / "examples"
NUMBERS = [f"{n:02}" for n in range(1, 8)]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_lesson_is_short_states_its_claim_and_ends_with_exercises(number: str) -> None:
    (file,) = EXAMPLES.glob(f"{number}_*.py")
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert text.startswith(f"# %% [markdown]\n# # {int(number)}. ")
    assert "**Claim: " in text.split("# %%")[1]
    exercises = text.partition("# ## Exercises\n")[2]
    assert "\n# 1. " in exercises
    assert "\n# 2. " in exercises
    assert "\n# assert " in exercises


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], Any]:
    """``changed(name, old, new)`` runs a lesson with a piece of its code replaced."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")

    def run(name: str, old: str, new: str) -> dict[str, Any]:
        file = EXAMPLES / f"{name}.py"
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1
        variables: dict[str, Any] = {"__file__": str(file)}
        exec(text.replace(old, new), variables)
        return variables

    return run


def test_01_the_lectures_numbers(lesson: Any, capsys: Any) -> None:
    """y_t = 4 x_t + 2 y_{t-1}: two inputs into each of two units, read off twice."""
    found = lesson("01_store")
    assert found["numbers"](found["outputs"]) == [[4, 4], [12, 12], [32, 32]]
    assert found["other"] == [[4, 4], [16, 16], [36, 36]]
    assert found["forgetful"] == ([[4, 4], [4, 4], [8, 8]], [[4, 4], [8, 8], [4, 4]])
    printed = capsys.readouterr().out
    for y in ("4.0, 4.0", "12.0, 12.0", "32.0, 32.0", "16.0, 16.0", "36.0, 36.0"):
        assert f"output [{y}]" in printed
    assert Path("01_store.svg").stat().st_size > 0


def test_01_the_exercises_have_answers(lesson: Any) -> None:
    found = lesson("01_store")
    read, numbers = found["read"], found["numbers"]
    assert numbers(read([(2, 2), (1, 1), (1, 1)])) == [[8, 8], [20, 20], [44, 44]]
    found["cell"].W_xh.data = found["cell"].W_hh.data = found["W_hy"].data = np.eye(2)
    assert numbers(read(found["lecture"])) == [[1, 1], [2, 2], [4, 4]]
    assert numbers(read(found["swapped"]))[-1] == [4, 4]


def untied(p: dict[str, Any], weights: dict[str, Any]) -> Any:
    """Lesson 02's loss with weights of its own for every step: (3, *shape) each."""
    h, total = np.zeros((1, 2)), 0.0
    for t in range(3):
        h = np.tanh(p["xs"][t] @ weights["W_xh"][t] + h @ weights["W_hh"][t] + weights["b"][t])
        total = total + 0.5 * np.sum(h**2)
    return total


def complex_step(f: Any, array: np.ndarray) -> np.ndarray:
    gradient = np.zeros(array.shape)
    for index in np.ndindex(array.shape):
        moved = array.astype(complex)
        moved[index] += 1e-30j
        gradient[index] = f(moved).imag / 1e-30
    return gradient


def test_02_every_term_is_the_derivative_by_that_steps_own_weight(lesson: Any, capsys: Any) -> None:
    """The term of step t is the derivative in a net whose steps share nothing."""
    found = lesson("02_backprop_through_time")
    p = found["start"]
    weights = {name: np.stack([p[name]] * 3) for name in ("W_xh", "W_hh", "b")}
    for name, copies in weights.items():
        expected = complex_step(lambda w, name=name: untied(p, weights | {name: w}), copies)
        np.testing.assert_allclose(found["terms"][name], expected, rtol=1e-12, atol=1e-15)
        engine = found["trace"].by_step(getattr(found["cell"], name))
        np.testing.assert_allclose(engine, expected, rtol=1e-12, atol=1e-15)
    assert max(found["differences"]) < 1e-14
    assert "largest difference" in capsys.readouterr().out
    assert Path("02_backprop.svg").exists()
    assert Path("02_walk.html").exists()


def test_02_the_published_mistake_is_right_at_the_last_step_only(lesson: Any) -> None:
    found = lesson("02_backprop_through_time")
    p = found["start"]
    copies = {name: [p[name]] * 3 for name in ("W_xh", "W_hh", "b")}
    expected = complex_step(lambda xs: untied({"xs": xs}, copies), p["xs"])
    right, wrong = found["right"](p)["xs"], found["wrong"](p)["xs"]
    np.testing.assert_allclose(right, expected, rtol=1e-12)
    np.testing.assert_allclose(wrong[2], expected[2], rtol=1e-12)
    assert np.abs(wrong - expected)[:2].max(axis=(1, 2)).min() > 1e-3
    assert found["passed"]
    assert not found["found"]
    assert found["found"].diagnosis[0].startswith("xs: right only at the last step")


def test_02_the_exercises_have_answers(lesson: Any, changed: Any) -> None:
    old = "dh = hs[t + 1] + from_later"
    found = changed("02_backprop_through_time", old, "dh = from_later + hs[3] * (t == 2)")
    last = 0.5 * (found["outputs"][-1] ** 2).sum()
    engine = tr.backprop(last, keep="arrays").by_step(found["cell"].W_hh)
    np.testing.assert_allclose(found["terms_by_hand"](found["start"])["W_hh"], engine, atol=1e-15)
    found = lesson("02_backprop_through_time")

    def slip(p: Any) -> Any:
        return {n: g if n == "xs" else g[0] for n, g in found["terms_by_hand"](p).items()}

    report = tr.check.check_gradients(
        found["loss_by_hand"], slip, found["start"], time=["xs"], raise_exception=False
    )
    wrong = {c.variable.name for c in report.comparisons if c.having("wrong")}
    assert wrong == {"W_xh", "W_hh", "b"}
    assert not slip(found["start"])["W_hh"].any()


def test_03_the_jordan_net_tosses_a_coin(lesson: Any, capsys: Any) -> None:
    """Two equally likely letters and a store that is the same for both: log 2 at best."""
    found = lesson("03_elman_and_jordan")
    assert found["when_asked"]["Jordan"] == pytest.approx(np.log(2), abs=5e-3)
    assert found["when_asked"]["Elman"] < 0.05
    printed = capsys.readouterr().out
    assert "50% right" in printed
    assert "100% right" in printed
    # Without memory a word always gets the same label; with the hidden state it need not.
    assert found["f1"]["NoMemory"] < found["f1"]["Jordan"] < found["f1"]["Elman"]
    assert found["f1"]["Elman"] > 85
    assert Path("03_elman_and_jordan.svg").exists()


def test_03_the_exercises_have_answers(lesson: Any) -> None:
    found = lesson("03_elman_and_jordan")
    Jordan, descend = found["Jordan"], found["descend"]
    repeated = np.array([[found["A"], found["B"]]] * found["STEPS"])
    for xs, said, expected in (
        (found["shown"], repeated, 0.0),
        (found["shown"][[0, -1]], found["said"][[0, -1]], np.log(2)),
    ):
        net = Jordan(4, 8, 3)

        def loss(k: int, net: Any = net, xs: Any = xs, said: Any = said) -> Any:
            return nn.cross_entropy(tr.stack(net(xs)), said)

        descend(net.parameters(), loss, 300)
        asked = nn.cross_entropy(net(xs)[-1], said[-1], reduction="mean").item()
        assert asked == pytest.approx(expected, abs=0.1)


def test_04_from_the_left_a_coin_from_both_sides_certain(lesson: Any, capsys: Any) -> None:
    """Sentences come in pairs that begin alike, so one of each pair is right, at log 2 or more."""
    found = lesson("04_bidirectional")
    _, left, left_loss = found["results"]["left to right"]
    _, both, both_loss = found["results"]["both sides"]
    assert (left, both) == (0.5, 1.0)
    assert np.log(2) <= left_loss < np.log(2) + 0.01
    assert both_loss < 0.01
    printed = capsys.readouterr().out
    assert "left to right: 50% of the cities right, cross entropy 0.69" in printed
    assert "both sides: 100% of the cities right" in printed
    triangle = np.tril(np.ones((5, 5), bool))
    assert np.array_equal(found["seen"]["left to right"] > 0, triangle)
    assert (found["seen"]["both sides"] > 0).all()
    assert Path("04_influence.svg").exists()
    assert Path("04_bidirectional.svg").exists()


def test_04_the_exercises_have_answers(changed: Any) -> None:
    net = "self.net(x)[0]"
    right = "nn.unroll(self.net.layers[0], x, reverse=True)[0]"
    either = f"({net} if isinstance(self.net, nn.Bidirectional) else {right})"
    found = changed("04_bidirectional", net, either)
    assert np.array_equal(found["seen"]["left to right"] > 0, np.triu(np.ones((5, 5), bool)))
    found = changed("04_bidirectional", "slots[0] = [v", "slots[-1] = [v")
    assert found["results"]["left to right"][1] == 1


def sigmoid(a: float) -> float:
    return 1 / (1 + np.exp(-a))


def test_05_the_lectures_outputs(lesson: Any, capsys: Any) -> None:
    """0, 0, 0, 7, 0, and before rounding what the equations give with plain numbers."""
    found = lesson("05_lstm_by_hand")
    outputs = [y.item() for y in found["outputs"]]
    assert [round(y) for y in outputs] == [0, 0, 0, 7, 0]
    c, expected = 0.0, []
    for x1, x2, x3 in [(3, 1, 0), (4, 1, 0), (2, 0, 0), (1, 0, 1), (3, -1, 0)]:
        c = sigmoid(100 * x2 + 10) * c + sigmoid(100 * x2 - 10) * x1
        expected.append(sigmoid(100 * x3 - 10) * c)
    np.testing.assert_allclose(outputs, expected, rtol=1e-12)
    printed = [line.split()[-1] for line in capsys.readouterr().out.splitlines() if "so" in line]
    assert printed == ["0", "0", "0", "7", "0"]
    kept, leak = sigmoid(10), sigmoid(-10)
    np.testing.assert_allclose(found["credit"], [kept**2, kept**2, leak * kept, leak], rtol=1e-12)
    assert Path("05_lstm_by_hand.svg").exists()


def test_05_the_exercises_have_answers(lesson: Any) -> None:
    found = lesson("05_lstm_by_hand")
    cell, inputs, run = found["cell"], found["inputs"], found["run"]
    squeezed = nn.LSTMCell(3, 1)
    squeezed.W_xh.data, squeezed.b.data = cell.W_x.data, cell.b.data
    squeezed.W_hh.data = np.zeros((1, 4))
    assert run(squeezed, inputs)[1][3].item() == pytest.approx(0.964, abs=1e-3)
    assert np.tanh(np.tanh(3) + np.tanh(4)) == pytest.approx(0.964, abs=1e-3)
    cell.b.data = [-10.0, -10.0, 0.0, -10.0]  # the forget gate rests closed
    assert np.allclose([y.item() for y in run(cell, inputs)[1]], 0, atol=1e-3)


def test_06_parameters_are_counted_by_formula(lesson: Any, capsys: Any) -> None:
    """H (I + H + 1) for a cell and for each gate, 3 H for peepholes; a grown LSTM is the LSTM."""
    found = lesson("06_lstm_in_full")
    elman = 5 * (7 + 5 + 1)
    expected = [elman, elman, 2 * elman, 3 * elman, 4 * elman, 4 * elman + 3 * 5]
    assert list(found["counts"].values()) == expected
    assert found["difference"] < 1e-15
    printed = capsys.readouterr().out
    assert "260 parameters, 4.00 times Elman's" in printed
    assert "leave/O" in printed
    assert "new/B-departure york/I-departure" in printed
    assert found["gates"].shape == (11, 3, 12)
    assert Path("06_lstm_in_full.svg").exists()
    assert Path("06_gates.svg").exists()
    # The gates that are shown are those of the equations.
    W_xh, W_hh, b = (found["cell"].W_xh.data, found["cell"].W_hh.data, found["cell"].b.data)
    h, c = np.zeros(12), np.zeros(12)
    for x, shown in zip(found["vectors"].data, found["gates"], strict=True):
        i, f, g, o = np.split(x[0] @ W_xh + h @ W_hh + b, 4)
        np.testing.assert_allclose(shown, [sigmoid(a) for a in (i, f, o)], rtol=1e-9)
        c = shown[1] * c + shown[0] * np.tanh(g)
        h = shown[2] * np.tanh(c)


def test_06_the_exercises_have_answers(changed: Any) -> None:
    old = "(i, f, o), g = self.gates(x, h)\n"
    couple = "        i = 1.0 - f if 'i' not in self.parts else i\n"
    found = changed("06_lstm_in_full", old, old + couple)
    assert found["count"](nn.PeepholeLSTMCell(1, 1)) + found["count"](nn.Linear(1, 1)) == 17
    coupled = found["Grown"](7, 5, "fgo")
    assert found["count"](coupled) == 3 * found["counts"]["Elman"]
    xs = 100 * np.ones((50, 1, 7))
    assert np.abs(nn.unroll(coupled, xs)[1][1].data).max() <= 1
    grown = found["Grown"](7, 5, "ifgo")
    assert np.abs(nn.unroll(grown, xs)[1][1].data).max() > 1  # the range is what the change brings


def test_07_errors_add_up_and_order_matters(lesson: Any, capsys: Any) -> None:
    """T words and C labels cost T log C at first; without memory the order cannot matter."""
    found = lesson("07_slot_filling")
    lengths = [len(s.words) for s in found["sentences"][:3]]
    assert len(found["labels"]) == 9
    np.testing.assert_allclose(found["untrained"], np.array(lengths) * np.log(9), rtol=1e-12)
    f1, change = found["f1"], found["change"]
    assert f1["in order"] > 80
    assert f1["in order"] > f1["words shuffled"] + 15
    assert abs(f1["words shuffled"] - f1["no memory"]) < 15
    assert abs(change["no memory"]) < 1e-8
    assert change["in order"] > 100
    assert "that is 2.197 each" in capsys.readouterr().out
    together = sum(e.item() for e in found["errors"])
    assert found["total"].item() == pytest.approx(together, rel=1e-12)
    assert Path("07_slot_filling.svg").exists()
    # Shuffling keeps each word with its label.
    sentence = found["sentences"][1]
    mixed = found["shuffled"](sentence, np.random.default_rng(0))
    assert mixed.words != sentence.words
    pairs = zip(sentence.words, sentence.labels, strict=True)
    assert sorted(zip(mixed.words, mixed.labels, strict=True)) == sorted(pairs)


def test_07_the_exercises_have_answers(changed: Any) -> None:
    found = changed("07_slot_filling", "right, real)", 'right, real, reduction="mean") * 16')
    np.testing.assert_allclose(np.array(found["untrained"]) / 16, np.log(9), rtol=1e-12)
    old = "            loss = tagger.loss(some) / len(some)\n"
    hide = (
        "            some = [s._replace(words=[train.UNKNOWN if rng.random() < 0.1 else w "
        "for w in s.words]) for s in some]\n"
    )
    found = changed("07_slot_filling", old, hide + old)
    assert found["f1"]["in order"] > 90
