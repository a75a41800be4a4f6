"""Defects that were found in public code of unlearning, one test each: ours must not have them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

import influence.verification
from influence import training
from influence.actions._monitor import figures
from influence.evaluation.forgetting import divergence
from influence.evidence import words
from influence.loop import Bound
from influence.registry import evaluation, models, unlearning, verification
from influence.types import Checkpoint, Examples, Recipe, Selection, Trained
from influence.verification._pool import PARTS, Pool
from influence.verification.of_methods.epsilon import LARGEST, of_row
from influence.verification.of_methods.klom import divergences
from influence.verification.of_methods.u_lira import ULira
from tests.tiny import bind, examples, recipe


def labelled(y: np.ndarray, classes: int) -> Examples:
    return Examples(
        np.zeros((len(y), 1), np.float32), y, np.arange(len(y)), pd.DataFrame(index=range(len(y))), tuple("abcdefghij"[:classes])
    )


def pool(outputs: np.ndarray, y: np.ndarray) -> Pool:
    rows = labelled(y, outputs.shape[2])
    return Pool(dict.fromkeys(PARTS, outputs), dict.fromkeys(PARTS, rows))


def test_divergence_is_that_of_jensen_and_shannon_not_a_part_of_it():
    """Elsewhere KL(m, p) alone, divided by rows times classes, or of a batch normalised as a whole."""
    rng = np.random.default_rng(0)
    outputs = 4 * rng.normal(size=(2, 200, 10))
    p, q = (softmax(out, 1) for out in outputs)
    true = np.mean([jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)])
    np.testing.assert_allclose(verification.make("jsd")(pool(outputs, rng.integers(0, 10, 200))), true, rtol=1e-9)
    assert divergence(*outputs).mean() == pytest.approx(true, rel=1e-9)
    assert true > 0.3, "nats per row: divided by ten classes it could not be"


def test_margin_takes_log_of_one_minus_p_and_each_row_its_own_class():
    """Elsewhere log p stands for log(1 - p), and one row's class overwrites a column of all rows."""
    p = np.array([[[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]])
    told = pool(np.log(p), np.array([0, 2])).margins("forget")
    np.testing.assert_allclose(told, [[np.log(0.7 / 0.3), np.log(0.1 / 0.9)]], rtol=1e-9)


def test_klom_counts_the_largest_margin():
    """Elsewhere it falls out of the last bin."""
    ours, oracles = np.array([[1.0]] * 4), np.array([[0.0]] * 3 + [[1.0]])
    assert divergences(ours, oracles, 2)[0] == pytest.approx(np.log(4.0))


def test_retraining_begins_anew_in_every_layer():
    """Elsewhere only the outermost layers are drawn anew."""
    train = examples(40)
    model = bind("mlp", train, hidden=(6, 5, 4))
    way = recipe(lr=1e-12, seed=3)
    trained = training.train(model, train, way)
    moved = training.checkpoint({name: value + 7.0 for name, value in trained.final.load().items()}, 1, 0.1)
    gone = Selection(tuple(train.ids[:5].tolist()))
    for given, seed in (({"truth": "same"}, 3), ({"truth": "fresh", "seed": 11}, 11)):
        made = unlearning.make("retrain", given)(replace(trained, checkpoints=(moved,)), train, gone).final.load()
        fresh = Bound(model, seed, "float64").state()
        assert len(fresh) == 8
        for name, value in fresh.items():
            torch.testing.assert_close(made[name], value, atol=1e-8, rtol=0, msg=name)


def held(checkpoint: Checkpoint) -> Mapping[str, torch.Tensor]:
    return {name: value.clone() for name, value in checkpoint.load().items()}


def test_in_scrub_the_student_moves_and_the_teacher_stays():
    """Elsewhere the optimiser was given the teacher's weights."""
    train = examples(60)
    trained = training.train(bind("mlp", train, hidden=(6, 5)), train, recipe(batch_size=10, lr=0.02))
    before = held(trained.final)
    gone = Selection(tuple(train.ids[:12].tolist()))
    student = unlearning.make("scrub", {"lr": 0.01, "epochs": 5, "tolerance": 1.0})(trained, train, gone).final.load()
    for name, value in before.items():
        assert torch.equal(trained.final.load()[name], value), name
        assert (student[name] - value).abs().max() > 1e-4, name


def test_epsilon_is_the_larger_of_both_bounds():
    """Elsewhere the smaller, which calls a model more private than was shown."""
    forgot, oracles = np.repeat([0.0, 1.0], [9, 1]), np.repeat([0.0, 1.0], [5, 5])
    assert of_row(forgot, oracles, 0.0) == pytest.approx(np.log(0.5 / 0.1)), "log((1 - f) / m); the other bound is log(0.9 / 0.5)"


def test_epsilon_looks_at_several_thresholds_at_once():
    """Elsewhere more than one threshold is refused; between two, these models are told apart without error."""
    assert of_row(np.array([0.0, 0.1]), np.array([-1.0, 1.0, 1.1]), 1e-5) == LARGEST


def test_no_measure_needs_a_device():
    """Elsewhere tensors are sent to a GPU that may not be there: ours are of arrays."""
    for path in Path(influence.verification.__file__).parent.rglob("*.py"):
        imported = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not any("torch" in ast.unparse(node) for node in imported), path.name


def test_u_lira_reads_margins_not_whether_the_answer_is_right():
    """Elsewhere 0/1 correctness under a normal density: no variance, no number."""
    rng = np.random.default_rng(0)
    surely_right = [rng.normal(mean, 1.0, size=(30, 50)) for mean in (20.0, 17.0)]
    assert ULira()(*surely_right) > 0.9, "all are right of all rows; margins differ"
    constant = np.ones((12, 5))
    assert ULira()(constant, constant) == 0.5


def test_accuracy_on_forgotten_rows_is_accuracy():
    """Elsewhere 1 - accuracy ("UA") was read as accuracy, which turns every ranking over."""
    y = np.arange(20) % 2
    right = np.eye(2)[y] * 4.0
    right[:2] = right[:2, ::-1]  # right of 18 of 20
    table = evaluation.make("forgetting")(right, labelled(y, 2)).set_index("metric")
    assert table.loc["accuracy", "value"] == pytest.approx(0.9)
    live = figures(dict.fromkeys(("forget", "retain", "test"), right), dict.fromkeys(("forget", "retain", "test"), labelled(y, 2)))
    assert [live[f"{part}_accuracy"] for part in ("forget", "retain", "test")] == pytest.approx([0.9] * 3)
    np.testing.assert_allclose(pool(right[None].repeat(3, 0), y).scores("forget"), 0.9)


def settled(train: Examples, removed: tuple[int, ...] = ()) -> Trained:
    """A logistic regression at its minimum."""
    built = replace(models.make("logistic"), inputs=train.shape, outputs=train.outputs)
    whole = {"batch_size": len(train) + len(removed), "epochs": 1500, "lr": 0.3, "schedule": "constant", "warmup": 0.0}
    return training.train(built, train, Recipe(**whole, weight_decay=0.01, dtype="float64"), removed=removed)


@pytest.mark.parametrize("method", ["influence_step", "newton_head"])
def test_a_newton_step_goes_towards_the_retrained_model(method):
    """Elsewhere it has the wrong sign, and the distance to retraining doubles."""
    train = examples(150, classes=2)
    trained, gone = settled(train), Selection(tuple(train.ids[train.y == 1][:20].tolist()))
    truth = training.load(settled(train.without(gone), gone.ids)).flat
    made = unlearning.make(method)(trained, train, gone)
    away, left = ((training.load(each).flat - truth).norm() for each in (trained, made))
    assert left < 0.3 * away


def test_certified_is_said_only_with_epsilon_delta_and_assumptions():
    """Elsewhere bounds of convex models certify any network, and a model that forgot nothing passes."""
    train = examples(60)
    trained = training.train(bind("mlp", train, hidden=(5,)), train, recipe(batch_size=10, lr=0.02))
    gone = Selection(tuple(train.ids[:6].tolist()))
    assert "certified" in words.claim("L3").name.lower()
    for name, kind in unlearning.classes.items():
        method = unlearning.make(name)
        if method.unavailable(trained):
            continue
        level = method(trained, train, gone).claim
        accounted = {"epsilon", "delta"} <= set(vars(method)) and hasattr(kind, "assumptions")
        assert (level == "L3") == accounted, name
        if not accounted:
            assert "certified" not in words.claim(level).name.lower(), name
        else:
            assert all(sign in method.assumptions() for sign in ("ε = ", "δ = ")), name
