"""Training is a pure function: bits, laws of removal, and step-by-step equality with torch.optim."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from influence.baseline import torch_optimizer
from influence.errors import BadInput, Cancelled
from influence.grads import outputs
from influence.loop import Bound, batches, device, tensors
from influence.losses import per_example
from influence.optim import step_sizes
from influence.registry import build
from influence.training import bound_at, load, train, train_many
from influence.types import Event, Examples, Recipe, Trained
from tests.tiny import bind, examples, recipe

SHAPES = {"logistic": (4,), "mlp": (4,), "cnn": (1, 8, 8)}
RULES = {
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01},
    "plain sgd": {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0},
    "adamw": {"optimizer": "adamw", "lr": 0.02, "weight_decay": 0.1},
    "adamw, matrices": {"optimizer": "adamw", "lr": 0.02, "weight_decay": 0.5, "decayed": "matrices"},
    "nesterov": {"optimizer": "sgd", "momentum": 0.8, "nesterov": True, "weight_decay": 0.05},
    "adam": {"optimizer": "adam", "lr": 0.02, "weight_decay": 0.1},
    "clipped": {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.05, "max_norm": 0.4},
    "adamw, own memory": {"optimizer": "adamw", "lr": 0.02, "beta1": 0.6, "beta2": 0.95, "eps": 1e-3},
}


def digests(trained: Trained) -> list[str]:
    return [checkpoint.digest for checkpoint in trained.checkpoints]


def weights_of(trained: Trained) -> np.ndarray:
    return load(trained).flat.numpy()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", SHAPES)
def test_a_second_run_is_bit_equal(kind, rule):
    rows = examples(23, SHAPES[kind])
    how = recipe(dtype="float32", **RULES[rule])
    first, second = (train(bind(kind, rows), rows, how) for _ in range(2))
    assert digests(first) == digests(second)
    assert first.digest == second.digest


def test_recording_watching_and_the_callers_generator_change_no_bit():
    rows, how = examples(23), recipe(dtype="float32")
    model = bind("mlp", rows)
    plain = digests(train(model, rows, how))
    torch.manual_seed(7)
    before = torch.get_rng_state()
    watched = train(model, rows, how, record=16, monitor=lambda bound: {"loss": float(outputs(bound, rows).mean())})
    assert torch.equal(torch.get_rng_state(), before)
    assert digests(watched) == plain
    assert torch.get_num_threads() == 1


def test_threads_are_those_of_the_recipe_and_put_back():
    rows, seen = examples(12), []
    train(bind("mlp", rows), rows, recipe(threads=2), report=lambda event: seen.append(torch.get_num_threads()))
    assert set(seen) == {2}
    assert torch.get_num_threads() == 1
    with pytest.raises(BadInput):
        train(bind("mlp", rows), rows.take(np.zeros(12, dtype=bool)), recipe(threads=2))
    assert torch.get_num_threads() == 1


def test_different_seeds_differ_in_weights_and_order():
    rows = examples(23)
    model = bind("mlp", rows)
    assert digests(train(model, rows, recipe(seed=0))) != digests(train(model, rows, recipe(seed=1)))
    orders = [torch.cat(batches(recipe(seed=seed), rows).places).tolist() for seed in (0, 1)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(list(range(23)) * 3)
    assert not torch.equal(Bound(model, 0).flat, Bound(model, 1).flat)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("how", [{}, {"schedule": "cosine", "warmup": 0.4}, {"schedule": "constant"}], ids=str)
def test_each_step_is_that_of_torch_optim(rule, how):
    rows = examples(23)
    asked = recipe(**(RULES[rule] | how))
    model = bind("mlp", rows)
    trained = train(model, rows, asked, record=16)
    assert trained.trajectory is not None
    recorded = trained.trajectory.load()["theta"]
    bound, (x, y) = Bound(model, asked.seed, asked.dtype), tensors(rows, asked.dtype)
    net = bound.module
    rule_ = torch_optimizer(net, asked)
    plan = batches(asked, rows)
    assert len(recorded) == len(plan) == 15
    for t, places in enumerate(plan.places):
        np.testing.assert_allclose(bound.flat.numpy(), recorded[t], rtol=1e-11, atol=1e-14)
        for group in rule_.param_groups:
            group["lr"] = step_sizes(asked, len(plan))[t]
        rule_.zero_grad()
        per_example(asked.loss, net(x[places]), y[places]).mean().backward()
        if asked.max_norm:
            torch.nn.utils.clip_grad_norm_(net.parameters(), asked.max_norm)
        rule_.step()
    np.testing.assert_allclose(bound.flat.numpy(), weights_of(trained), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", SHAPES)
def test_removed_by_weight_equals_removed_in_fact_to_the_bit(kind, rule):
    rows, how = examples(23, SHAPES[kind]), recipe(dtype="float32", **RULES[rule])
    model = bind(kind, rows)
    out = np.isin(np.arange(23), [0, 3, 4, 17, 22])
    by_weight = train(model, rows, how, weights=1.0 - out)
    in_fact = train(model, rows.take(~out), how, removed=tuple(rows.ids[out]))
    assert digests(by_weight) == digests(in_fact)
    assert digests(in_fact) != digests(train(model, rows, how))
    assert in_fact.removed == tuple(rows.ids[out])


def test_a_whole_batch_may_be_removed():
    rows, how = examples(10), recipe(batch_size=1, weight_decay=0.0, momentum=0.0)
    model = bind("logistic", rows)
    left = np.arange(10) == 4
    in_fact = train(model, rows.take(left), how, removed=tuple(rows.ids[~left]))
    assert digests(in_fact) == digests(train(model, rows, how, weights=left.astype(float)))


def test_removing_in_two_goes_is_removing_at_once():
    rows, how = examples(23), recipe()
    model = bind("mlp", rows)
    rest = rows.take(np.arange(23) > 4)
    assert digests(train(model, rest, how, removed=tuple(rows.ids[:5]))) == digests(train(model, rest, how, removed=tuple(rows.ids[4::-1])))


@pytest.mark.parametrize("ids", [None, [f"row {i}" for i in range(9, 32)]], ids=["numbers", "text"])
def test_order_of_the_rows_in_the_file_is_irrelevant(ids):
    rows = examples(23, ids=ids)
    turned = rows.take(np.random.default_rng(0).permutation(23))
    model, gone = bind("mlp", rows), tuple(rows.ids[:3])
    assert digests(train(model, rows, recipe())) == digests(train(model, turned, recipe()))
    first, second = (train(model, r.take(~r.mask(gone)), recipe(), removed=gone) for r in (rows, turned))
    assert digests(first) == digests(second)


def test_longer_text_ids_may_be_removed():
    rows = examples(12, ids=[f"{i}" for i in range(9)] + ["10", "11", "1000"])
    rest = Examples(rows.x[:9], rows.y[:9], np.array(rows.ids[:9].tolist()), rows.columns[:9], rows.classes)
    model, out = bind("logistic", rows), np.arange(12) >= 9
    assert digests(train(model, rest, recipe(), removed=("10", "11", "1000"))) == digests(train(model, rows, recipe(), weights=1.0 - out))


def test_a_weight_of_two_is_the_row_twice_in_its_batch():
    rows = examples(4)
    how = recipe(batch_size=4, epochs=1, momentum=0.0, weight_decay=0.0, schedule="constant", lr=0.3)
    model = bind("logistic", rows)
    start = Bound(model, how.seed, how.dtype).flat.numpy()
    moved = [weights_of(train(model, rows, how, weights=w)) - start for w in (np.eye(4)[1], 2 * np.eye(4)[1], np.zeros(4))]
    np.testing.assert_allclose(moved[1], 2 * moved[0], rtol=1e-10)
    assert np.abs(moved[2]).max() == 0


def test_read_only_arrays_and_integer_weights_are_taken():
    rows = examples(12)
    for array in (rows.x, rows.y, rows.ids):
        array.setflags(write=False)
    weights = np.ones(12, dtype=int)
    weights.setflags(write=False)
    assert digests(train(bind("mlp", rows), rows, recipe(), weights=weights)) == digests(train(bind("mlp", rows), rows, recipe()))


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("rule", RULES)
def test_train_many_equals_train(kind, rule):
    rows, how = examples(13, SHAPES[kind]), recipe(epochs=2, **RULES[rule])
    model = bind(kind, rows)
    weights = np.random.default_rng(0).uniform(0, 2, (3, 13))
    together = train_many(model, rows, how, weights).numpy()
    alone = np.stack([weights_of(train(model, rows, how, weights=w)) for w in weights])
    np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-12)


def test_train_many_with_fresh_seeds_and_removed_rows():
    rows = examples(13)
    gone, rest = tuple(rows.ids[:3]), rows.take(np.arange(13) >= 3)
    model, how = bind("mlp", rows), recipe()
    weights = np.random.default_rng(0).integers(0, 2, (3, 10)).astype(float)
    together = train_many(model, rest, how, weights, seeds=[5, 0, 9], removed=gone).numpy()
    alone = [weights_of(train(model, rest, replace(how, seed=s), weights=w, removed=gone)) for s, w in zip([5, 0, 9], weights, strict=True)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-9, atol=1e-12)
    same = train_many(model, rest, how, weights, removed=gone).numpy()
    np.testing.assert_allclose(same[1], together[1], rtol=1e-9, atol=1e-12)


def test_a_recipe_from_before_there_were_new_settings_trains_to_the_same_bits():
    since = {"nesterov", "max_norm", "gamma", "step_size", "power", "pct_start"}
    rows, model = examples(23), bind("mlp", examples(23))
    for how in (recipe(dtype="float32"), recipe(dtype="float32", optimizer="adamw")):
        kept = {name: value for name, value in how.given.items() if name not in since}
        assert len(kept) == len(how.given) - len(since)
        assert build(Recipe, kept) == how
        assert digests(train(model, rows, build(Recipe, kept))) == digests(train(model, rows, how))


def test_models_live_where_the_environment_says(monkeypatch):
    assert device() == torch.device("cpu")
    monkeypatch.setenv("INFLUENCE_DEVICE", "meta")
    assert device() == torch.device("meta")
    model = bind("mlp", examples(5))
    assert Bound(model, on=torch.device("cpu")).flat.device.type == "cpu"


def test_bound_at_holds_the_parameters():
    rows = examples(13)
    model, how = bind("mlp", rows), recipe()
    theta = train_many(model, rows, how, np.ones((1, 13)))[0]
    bound = bound_at(model, how, theta)
    assert torch.equal(bound.flat, theta)
    assert not bound.module.training
    torch.testing.assert_close(outputs(bound, rows), outputs(load(train(model, rows, how)), rows), rtol=1e-9, atol=1e-12)


def test_checkpoints_stand_evenly_with_the_mean_step_size_before_them():
    rows, how = examples(23), recipe(checkpoints=4, epochs=4)  # 20 steps
    trained = train(bind("mlp", rows), rows, how, record=16)
    assert [c.step for c in trained.checkpoints] == [5, 10, 15, 20]
    sizes = step_sizes(how, 20)
    assert [c.lr for c in trained.checkpoints] == pytest.approx([np.mean(sizes[i : i + 5]) for i in range(0, 20, 5)])
    assert trained.trajectory is not None
    states = trained.trajectory.load()["theta"]
    for kept in trained.checkpoints[:-1]:
        assert np.array_equal(load(trained, kept).flat.numpy(), states[kept.step])
    assert trained.final is trained.checkpoints[-1]


def test_more_checkpoints_than_steps_are_one_per_step():
    rows = examples(5)
    trained = train(bind("mlp", rows), rows, recipe(checkpoints=100, epochs=3))
    assert [c.step for c in trained.checkpoints] == [1, 2, 3]


def test_a_trajectory_is_kept_only_where_it_fits():
    rows = examples(23)
    model = bind("mlp", rows, hidden="5")
    size = 15 * len(Bound(model).flat) * 8 / 2**20
    assert train(model, rows, recipe(), record=size * 0.99).trajectory is None
    kept = train(model, rows, recipe(), record=size * 1.01).trajectory
    assert kept is not None
    assert set(kept.load()) == {"theta"}
    adam = recipe(optimizer="adamw")
    assert train(model, rows, adam, record=size * 2.9).trajectory is None
    kept = train(model, rows, adam, record=size * 3.1).trajectory
    assert kept is not None
    assert set(kept.load()) == {"theta", "mean", "square"}


def test_metrics_are_measured_about_twenty_times_from_first_to_last():
    rows, events = examples(23), []
    seen: list[np.ndarray] = []

    def monitor(bound: Bound) -> dict[str, float]:
        seen.append(bound.flat.numpy().copy())
        return {"norm": float(bound.flat.norm())}

    model, how = bind("mlp", rows), recipe(epochs=20)  # 100 steps
    trained = train(model, rows, how, monitor=monitor, report=events.append)
    measured = [event for event in events if event.metrics]
    assert 20 <= len(measured) <= 25
    assert (measured[0].done, measured[-1].done, measured[-1].total) == (0, 100, 100)
    assert np.array_equal(seen[0], Bound(model, how.seed, how.dtype).flat.numpy())
    assert np.array_equal(seen[-1], weights_of(trained))
    assert [event.done for event in events] == sorted(event.done for event in events)


def test_a_monitor_that_evaluates_does_not_stop_training_mode():
    modes = []

    def monitor(bound: Bound) -> dict[str, float]:
        modes.append(bound.module.training)
        bound.module.eval()
        return {}

    rows = examples(23)
    train(bind("mlp", rows), rows, recipe(), monitor=monitor)
    assert len(modes) > 2
    assert all(modes)


def test_cancelling_stops_at_once():
    rows, events = examples(23), []

    def stop(event: Event) -> None:
        events.append(event)
        if len(events) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        train(bind("mlp", rows), rows, recipe(epochs=50), report=stop)
    assert len(events) == 3
    events.clear()
    with pytest.raises(Cancelled):
        train_many(bind("mlp", rows), rows, recipe(epochs=50), np.ones((2, 23)), report=stop)
    assert len(events) == 3


def test_divergence_is_told_with_what_to_do():
    rows = examples(23, classes=0)
    how = recipe(loss="squared", lr=10.0, epochs=60)
    with pytest.raises(BadInput, match=r"diverged.*Lower lr"):
        train(bind("mlp", rows), rows, how)
    with pytest.raises(BadInput, match=r"diverged.*Lower lr"):
        train_many(bind("mlp", rows), rows, how, np.ones((2, 23)))


def test_training_without_rows_is_refused():
    rows = examples(5)
    with pytest.raises(BadInput, match="no training rows left"):
        train(bind("mlp", rows), rows.take(np.zeros(5, dtype=bool)), recipe(), removed=tuple(rows.ids))


def test_weights_of_another_model_are_refused():
    rows = examples(12)
    small, large = (train(bind("mlp", rows, hidden=h), rows, recipe()) for h in ("3", "4"))
    with pytest.raises(BadInput, match="do not fit the model"):
        load(replace(small, checkpoints=large.checkpoints))


def test_loading_leaves_the_kept_state_alone():
    rows = examples(12)
    trained = train(bind("mlp", rows), rows, recipe())
    before = weights_of(trained).copy()
    load(trained).flat.zero_()
    assert np.array_equal(weights_of(trained), before)
    assert not load(trained).module.training
