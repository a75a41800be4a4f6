"""The walk against central finite differences of real trainings, in float64; recorded, replayed and segmented walks against each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from influence.errors import BadInput, Cancelled
from influence.grads import outputs
from influence.loop import Loop
from influence.replay import walk
from influence.replay.states import plan
from influence.training import bound_at, checkpoint, load, train, train_many
from influence.types import Event, Examples, Question, Recipe, Trajectory
from tests.tiny import Mean, Tangle, bind, examples, question, recipe

N = 12
ASKED = question(examples(9, seed=1))
CASES: dict[str, dict] = {
    "sgd, plain": {"momentum": 0.0, "weight_decay": 0.0},
    "sgd, momentum": {"momentum": 0.9},
    "sgd, decay": {"momentum": 0.9, "weight_decay": 0.3},
    "sgd, constant": {"schedule": "constant", "weight_decay": 0.1},
    "sgd, cosine, warm-up": {"schedule": "cosine", "warmup": 0.4},
    "sgd, linear, warm-up": {"schedule": "linear", "warmup": 0.4, "momentum": 0.0},
    "sgd, one batch": {"batch_size": N},
    "adamw, smooth": {"optimizer": "adamw", "eps_root": 1e-8, "lr": 0.02},
    "adamw, decay": {"optimizer": "adamw", "eps_root": 1e-8, "lr": 0.02, "weight_decay": 0.3},
    "adamw, sharp root": {"optimizer": "adamw", "eps_root": 0.0, "lr": 0.02},
    "adamw, no eps": {"optimizer": "adamw", "eps": 0.0, "eps_root": 1e-8, "lr": 0.02, "schedule": "cosine"},
    "sgd, nesterov": {"nesterov": True, "weight_decay": 0.1},
    "sgd, clipped": {"max_norm": 0.3, "weight_decay": 0.1},
    "sgd, nesterov, sometimes clipped": {"max_norm": 0.6, "nesterov": True},
    "sgd, one cycle": {"schedule": "one_cycle", "lr": 0.5},
    "sgd, steps": {"schedule": "step", "gamma": 0.5, "step_size": 1},
    "adam": {"optimizer": "adam", "eps_root": 1e-8, "lr": 0.02},
    "adam, decay, clipped": {"optimizer": "adam", "eps_root": 1e-8, "lr": 0.02, "weight_decay": 0.3, "max_norm": 0.3},
    "adamw, other memory": {"optimizer": "adamw", "beta1": 0.5, "beta2": 0.9, "lr": 0.02, "schedule": "constant", "warmup": 0.4},
}
STEEP = {"adam, decay, clipped": 1e-6}
"""Cases so curved that differences over a step of 1e-4 are not yet derivatives: there they differ by 1e-3, and a hundredth for a tenth."""
NUMERIC: dict[str, dict] = {
    "squared, sgd": {"loss": "squared", "lr": 0.03},
    "huber, sgd": {"loss": "huber", "lr": 0.1},
    "squared, adamw": {"loss": "squared", "optimizer": "adamw", "eps_root": 1e-8, "lr": 0.02},
    "huber, adamw": {"loss": "huber", "optimizer": "adamw", "eps_root": 1e-8, "lr": 0.02},
}


SEGMENTED = {rule: [43 * 8 * held / 2**20 for held in states] for rule, states in {"sgd": (14, 12), "adamw": (28, 24)}.items()}
"""MiB in which 24 steps of a model of 43 parameters fit with one level of snapshots, and with two."""


def differences(model, rows: Examples, how: Recipe, asked: Question, h: float = 1e-4, removed=()) -> np.ndarray:
    """dF/dw by central differences: 2 N trainings with one weight changed by h, (N, Q)."""
    n = len(rows)
    weights = np.ones((2 * n, n))
    weights[np.arange(n), np.arange(n)] += h
    weights[n + np.arange(n), np.arange(n)] -= h
    thetas = train_many(model, rows, how, weights, removed=removed)
    values = torch.stack([asked.value(outputs(bound_at(model, how, theta), asked.examples)) for theta in thetas]).numpy()
    return (values[:n] - values[n:]) / (2 * h)


def close(found: np.ndarray, truth: np.ndarray, tolerance: float = 1e-5) -> None:
    assert found.shape == truth.shape
    assert np.abs(truth).max() > 1e-4, "the training must do something"
    np.testing.assert_allclose(found, truth, rtol=tolerance, atol=tolerance * np.abs(truth).max())


@pytest.mark.parametrize("case", CASES)
def test_walk_equals_finite_differences(case):
    rows, how = examples(N), recipe(**CASES[case])
    model = bind("mlp", rows, hidden="5")
    slope, replayed, _ = walk(train(model, rows, how, record=16), rows, ASKED)
    assert not replayed
    close(slope, differences(model, rows, how, ASKED, STEEP.get(case, 1e-4)))


@pytest.mark.parametrize("case", NUMERIC)
def test_walk_with_a_numeric_target(case):
    rows, asked = examples(N, classes=0), question(examples(9, classes=0, seed=1), Mean())
    how = recipe(**NUMERIC[case])
    model = bind("mlp", rows, hidden="5")
    close(walk(train(model, rows, how, record=16), rows, asked)[0], differences(model, rows, how, asked))


@pytest.mark.parametrize("kind", ["logistic", "cnn"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_walk_through_other_models(kind, optimizer):
    shape = (1, 4, 4) if kind == "cnn" else (4,)
    rows, asked = examples(8, shape), question(examples(9, shape, seed=1))
    how = recipe(optimizer=optimizer, eps_root=1e-8, lr=0.02, epochs=2)
    model = bind(kind, rows, **({"channels": "4,4"} if kind == "cnn" else {}))
    close(walk(train(model, rows, how, record=16), rows, asked)[0], differences(model, rows, how, asked))


def test_walk_of_a_training_without_some_rows():
    rows = examples(N)
    gone = (rows.ids[2], rows.ids[7])
    rest, how = rows.take(~rows.mask(gone)), recipe()
    model = bind("mlp", rows, hidden="5")
    slope, *_ = walk(train(model, rest, how, removed=gone, record=16), rest, ASKED)
    close(slope, differences(model, rest, how, ASKED, removed=gone))
    whole, *_ = walk(train(model, rest, how, record=16), rest, ASKED)
    assert np.abs(whole - slope).max() > 1e-3 * np.abs(slope).max(), "the empty places matter"


def test_predicted_change_of_removal_is_minus_the_slope():
    rows, how = examples(60), recipe(epochs=6, momentum=0.0)
    model = bind("logistic", rows)
    trained = train(model, rows, how, record=16)
    slope, *_ = walk(trained, rows, ASKED)
    without = train_many(model, rows, how, 1 - np.eye(60))
    before = ASKED.value(outputs(load(trained), ASKED.examples))
    real = torch.stack([ASKED.value(outputs(bound_at(model, how, theta), ASKED.examples)) - before for theta in without]).numpy()
    for q in range(3):
        assert np.polyfit(-slope[:, q], real[:, q], 1)[0] == pytest.approx(1, abs=0.1)
        assert np.corrcoef(-slope[:, q], real[:, q])[0, 1] > 0.99


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_recorded_replayed_and_segmented_walks_agree(optimizer):
    rows = examples(N)
    how = recipe(optimizer=optimizer, lr=0.05, epochs=8, batch_size=4)  # 24 steps
    model = bind("mlp", rows, hidden="5")
    trained = train(model, rows, how, record=16)
    recorded, replayed, _ = walk(trained, rows, ASKED)
    assert not replayed
    for given in ({}, {"memory": SEGMENTED[optimizer][0]}, {"memory": SEGMENTED[optimizer][1]}):
        again, replayed, _ = walk(trained, rows, ASKED, recompute=True, **given)
        assert replayed
        np.testing.assert_allclose(again, recorded, rtol=1e-12, atol=1e-15)
    unrecorded, replayed, _ = walk(train(model, rows, how), rows, ASKED)
    assert replayed
    np.testing.assert_allclose(unrecorded, recorded, rtol=1e-12, atol=1e-15)


def test_a_small_memory_walks_in_segments(monkeypatch):
    rows, how = examples(N), recipe(epochs=8, batch_size=4)
    trained = train(bind("mlp", rows, hidden="5"), rows, how)
    ran: list[tuple[int, int]] = []
    plain = Loop.run
    monkeypatch.setattr(Loop, "run", lambda loop, start, stop, before=None: (ran.append((start, stop)), plain(loop, start, stop, before)))
    walk(trained, rows, ASKED)
    assert ran == [(0, 24)], "all states fit: the training runs once"
    ran.clear()
    walk(trained, rows, ASKED, memory=SEGMENTED["sgd"][0])
    pieces = [(start, start + 5) for start in range(0, 20, 5)]
    assert ran == [*pieces, (20, 24), *pieces[::-1]], "never more than about sqrt(24) states at once; two runs"
    ran.clear()
    walk(trained, rows, ASKED, memory=SEGMENTED["sgd"][1])
    assert 48 < sum(stop - start for start, stop in ran) <= 72, "cube root: less memory, three runs"


@pytest.mark.parametrize("rule", ["sgd", "adamw"])
@pytest.mark.parametrize("steps", [1, 2, 7, 24, 1000])
def test_a_plan_keeps_to_its_budget(rule, steps):
    rows = examples(2)
    loop = Loop.of(bind("mlp", rows, hidden="5"), rows, recipe(optimizer=rule), None, ())
    row = len(loop.bound.flat) * 8 / 2**20
    held = {"sgd": (1, 2), "adamw": (3, 3)}[rule]
    plans = set()
    for rows_that_fit in (40, 60, 100, 400, 4000):
        pieces, levels = plan(loop, steps, rows_that_fit * row)
        leaf = -(-steps // pieces**levels)
        assert leaf * held[0] + levels * (pieces - 1) * held[1] <= rows_that_fit
        plans.add(levels)
    assert steps < 1000 or plans >= {0, 1, 2, 3}
    with pytest.raises(BadInput, match="needs at least 1 MiB"):
        plan(loop, steps, 0.5 * row)


def test_progress_reaches_its_end():
    rows = examples(N)
    events: list[Event] = []
    walk(train(bind("mlp", rows, hidden="5"), rows, recipe()), rows, ASKED, report=events.append)
    assert {event.stage for event in events} == {"replay", "walk"}
    assert (events[-1].stage, events[-1].done, events[-1].total) == ("walk", 9, 9)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_several_questions_at_once_equal_one_by_one(kind):
    shape = (1, 8, 8) if kind == "cnn" else (4,)
    rows, ask = examples(N, shape), examples(9, shape, seed=1)
    trained = train(bind(kind, rows), rows, recipe(epochs=2), record=64)
    together, *_ = walk(trained, rows, question(ask, Mean(), Tangle()))
    alone = np.concatenate([walk(trained, rows, question(ask, query))[0] for query in (Mean(), Tangle())], axis=1)
    np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-12)


def test_order_of_the_rows_is_no_part_of_it():
    rows = examples(N)
    trained = train(bind("mlp", rows, hidden="5"), rows, recipe(), record=16)
    turn = np.random.default_rng(0).permutation(N)
    np.testing.assert_array_equal(walk(trained, rows.take(turn), ASKED)[0], walk(trained, rows, ASKED)[0][turn])


def test_a_model_without_recipe_is_refused():
    rows = examples(N)
    trained = train(bind("mlp", rows, hidden="5"), rows, recipe())
    with pytest.raises(BadInput, match="has none"):
        walk(replace(trained, recipe=None), rows, ASKED)


def test_weights_that_the_recipe_does_not_give_are_refused():
    rows, how = examples(N), recipe()
    model = bind("mlp", rows, hidden="5")
    trained, other = train(model, rows, how), train(model, rows, replace(how, seed=1))
    with pytest.raises(BadInput, match=r"ends .*% away"):
        walk(replace(trained, checkpoints=other.checkpoints), rows, ASKED)
    with pytest.raises(BadInput, match=r"ends .*% away"):
        walk(trained, examples(N, seed=5), ASKED)
    weighted = train(model, rows, how, weights=np.linspace(0, 2, N), record=16)
    with pytest.raises(BadInput, match=r"ends .*% away"):
        walk(weighted, rows, ASKED)


def test_a_trajectory_of_another_training_is_refused():
    rows, how = examples(N), recipe()
    model = bind("mlp", rows, hidden="5")
    longer = train(model, rows, replace(how, epochs=4), record=16)
    with pytest.raises(BadInput, match="trajectory has shape"):
        walk(replace(train(model, rows, how), trajectory=longer.trajectory), rows, ASKED)


def test_a_walk_can_be_stopped_while_it_replays_and_while_it_walks():
    rows = examples(N)
    trained = train(bind("mlp", rows, hidden="5"), rows, recipe())
    for stage in ("replay", "walk"):

        def stop(event: Event, stage: str = stage) -> None:
            if event.stage == stage:
                raise Cancelled

        with pytest.raises(Cancelled):
            walk(trained, rows, ASKED, report=stop)


def test_a_question_that_overflows_is_refused():
    rows, how = examples(N), recipe()
    trained = train(bind("mlp", rows, hidden="5"), rows, how, record=16)
    state = {name: torch.full_like(value, 1e200) for name, value in trained.final.load().items()}
    broken = replace(trained, checkpoints=(checkpoint(state, 9, 0.1),))
    with pytest.raises(BadInput, match="not finite"):
        walk(broken, rows, question(examples(9, seed=1), Mean()))


def test_a_trajectory_may_be_read_only():
    rows = examples(N)
    trained = train(bind("mlp", rows, hidden="5"), rows, recipe(), record=16)
    assert trained.trajectory is not None
    held = {name: np.array(states) for name, states in trained.trajectory.load().items()}
    for states in held.values():
        states.setflags(write=False)
    frozen = replace(trained, trajectory=Trajectory("x", lambda: held))
    np.testing.assert_array_equal(walk(frozen, rows, ASKED)[0], walk(trained, rows, ASKED)[0])
