"""Walks through what people train with: dropout, batch statistics, attention, recurrence; second versions; stopping and going on; seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from influence.attribution.metagradient import Metagradient
from influence.errors import BadInput, Cancelled
from influence.grads import outputs
from influence.loop import Bound, Loop, batches, own_draws, step_seeds, tensors
from influence.losses import per_example
from influence.optim import step_sizes
from influence.replay import walk
from influence.replay.layers import GroupNorm
from influence.replay.twice import Products
from influence.training import bound_at, load, train, train_many
from influence.types import Event, Examples, Question, Recipe
from influence.workspace import Workspace
from tests.test_optim import functional
from tests.test_replay import close, differences
from tests.tiny import Mean, bind, examples, question, recipe

N = 10


class Attention(nn.Module):
    """Tokens of width 4 that look at each other."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.mix, self.out = nn.MultiheadAttention(4, 2, dropout=dropout, batch_first=True), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.mix(x, x, x, need_weights=False)[0].flatten(1))


class Recurrent(nn.Module):
    """Two LSTM layers with dropout between them."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(4, 3, num_layers=2, dropout=0.4, batch_first=True), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(x)[0][:, -1])


def stack(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), *layers, nn.Linear(5, 3))


NETS: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "dropout": ((4,), lambda: stack(nn.Dropout(0.4), nn.GELU())),
    "alpha dropout": ((4,), lambda: stack(nn.AlphaDropout(0.3), nn.GELU())),
    "channel dropout": (
        (1, 4, 4),
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout2d(0.4), nn.GELU(), nn.Flatten(), nn.Linear(16, 3)),
    ),
    "attention": ((3, 4), lambda: Attention(0.0)),
    "attention, dropout": ((3, 4), lambda: Attention(0.3)),
    "encoder layer": (
        (3, 4),
        lambda: nn.Sequential(nn.TransformerEncoderLayer(4, 2, 6, 0.2, "gelu", batch_first=True), nn.Flatten(), nn.Linear(12, 3)),
    ),
    "lstm": ((3, 4), Recurrent),
    "batch norm": ((4,), lambda: stack(nn.BatchNorm1d(5), nn.GELU())),
    "batch norm, images": (
        (1, 4, 4),
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.GELU(), nn.Flatten(), nn.Linear(12, 3)),
    ),
    "batch norm, cumulative": ((4,), lambda: stack(nn.BatchNorm1d(5, momentum=None), nn.GELU())),
    "batch norm, not affine": ((4,), lambda: stack(nn.BatchNorm1d(5, affine=False), nn.GELU())),
    "batch norm, no memory": ((4,), lambda: stack(nn.BatchNorm1d(5, track_running_stats=False), nn.GELU())),
    "batch norm, dropout": ((4,), lambda: stack(nn.BatchNorm1d(5), nn.Dropout(0.3), nn.GELU(), nn.BatchNorm1d(5, momentum=0.3))),
    "group norm": ((4,), lambda: stack(nn.GroupNorm(1, 5), nn.GELU())),
    "group norm, images": (
        (1, 4, 4),
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.GELU(), nn.Flatten(), nn.Linear(16, 3)),
    ),
}


@dataclass(frozen=True)
class Net:
    """An architecture from the list."""

    what: str
    inputs: tuple[int, ...] = ()
    outputs: int = 3

    def __call__(self) -> nn.Module:
        return NETS[self.what][1]()


def problem(what: str, **given) -> tuple[Net, Examples, Recipe, Question]:
    shape = NETS[what][0]
    how = recipe(**{"epochs": 2, "momentum": 0.8, "weight_decay": 0.05} | given)
    return Net(what, shape), examples(N, shape), how, question(examples(9, shape, seed=1))


@pytest.mark.parametrize("what", NETS)
@pytest.mark.parametrize("rule", [{}, {"optimizer": "adam", "eps_root": 1e-6, "lr": 0.02, "max_norm": 0.5}], ids=["sgd", "adam"])
def test_walk_equals_finite_differences(what, rule):
    model, rows, how, asked = problem(what, **rule)
    close(walk(train(model, rows, how, record=16), rows, asked).slope, differences(model, rows, how, asked), 1e-4)


@pytest.mark.parametrize("what", ["dropout", "attention, dropout", "batch norm", "batch norm, dropout", "lstm"])
def test_replayed_walk_is_the_recorded_one(what):
    model, rows, how, asked = problem(what, epochs=6)  # 12 steps
    trained = train(model, rows, how, record=16)
    recorded = walk(trained, rows, asked).slope
    row = len(Bound(model).flat) * 8 / 2**20
    for memory in (2048, 11 * row, 9 * row):
        np.testing.assert_array_equal(walk(trained, rows, asked, memory, recompute=True).slope, recorded)


@pytest.mark.parametrize("what", ["dropout", "batch norm", "batch norm, dropout", "batch norm, images"])
def test_walk_of_a_training_without_some_rows(what):
    model, rows, how, asked = problem(what, epochs=3)
    gone = tuple(rows.ids[[1, 2, 8]])
    rest = rows.take(~rows.mask(gone))
    slope = walk(train(model, rest, how, removed=gone, record=16), rest, asked).slope
    close(slope, differences(model, rest, how, asked, removed=gone), 1e-4)


def test_walk_is_autograd_through_the_whole_training():
    """One graph from the weights of the rows to the question: Adam, clipping, one cycle, dropout."""
    model, rows, how, asked = problem("dropout", optimizer="adam", eps_root=1e-6, max_norm=0.4, schedule="one_cycle", lr=0.1)
    plan, bound, (x, y) = batches(how, rows), Bound(model, how.seed, how.dtype), tensors(rows, how.dtype)
    bound.module.train()
    w = torch.ones(N, dtype=torch.float64, requires_grad=True)
    state = {"theta": bound.flat.clone().requires_grad_(), "mean": torch.zeros_like(bound.flat), "square": torch.zeros_like(bound.flat)}

    def forward(theta: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        return functional_call(bound.module, dict(zip(bound.names, bound.views(theta), strict=True)), (given,))

    with own_draws(bound.device) as drawing:
        for t, places in enumerate(plan.places):
            drawing.manual_seed(step_seeds(how.seed, len(plan))[t])
            losses = per_example(how.loss, forward(state["theta"], x[places]), y[places])
            g = torch.autograd.grad((losses * w[places]).mean(), state["theta"], create_graph=True)[0]
            state = functional(how, state, g, plan.lr[t], t)
    bound.module.eval()
    values = asked.value(forward(state["theta"], tensors(asked.examples, how.dtype)[0]))
    truth = torch.stack([torch.autograd.grad(value, w, retain_graph=True)[0] for value in values], dim=1)
    trained = train(model, rows, how, record=16)
    torch.testing.assert_close(load(trained).flat, state["theta"].detach(), rtol=1e-11, atol=1e-13)
    close(walk(trained, rows, asked).slope, truth.numpy(), 1e-9)


def test_part_of_the_slope_goes_through_the_statistics():
    """Without the adjoints of running statistics, and with statistics that count all rows alike, slopes would be others."""
    model, rows, how, asked = problem("batch norm")
    trained = train(model, rows, how, record=16)
    slope = walk(trained, rows, asked).slope
    with pytest.MonkeyPatch.context() as patch:
        plain = Loop.outputs
        patch.setattr(Loop, "outputs", lambda loop, t, x, weights=None, places=None: plain(loop, t, x, weights.detach(), places))
        assert np.abs(walk(trained, rows, asked).slope - slope).max() > 0.01 * np.abs(slope).max()


def test_layers_that_keep_other_statistics_are_refused():
    NETS["instance norm"] = (
        (2, 6),
        lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.InstanceNorm1d(4, track_running_stats=True), nn.Flatten(), nn.Linear(16, 3)),
    )
    model, rows, how, asked = problem("instance norm")
    del NETS["instance norm"], asked
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            NETS,
            "instance norm",
            ((2, 6), lambda: nn.Sequential(nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten(), nn.Linear(12, 3))),
        )
        with pytest.raises(BadInput, match=r"changes 0\.running_mean while it trains"):
            walk(train(model, rows, how, record=16), rows, question(examples(9, (2, 6), seed=1)))


@pytest.mark.parametrize("what", [what for what in NETS if "channel" not in what])
def test_questions_together_equal_one_by_one(what):
    model, rows, how, asked = problem(what)
    trained = train(model, rows, how, record=16)
    alone = np.concatenate([walk(trained, rows, Question((query,), asked.examples)).slope for query in asked.queries], axis=1)
    np.testing.assert_allclose(walk(trained, rows, asked).slope, alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("what", ["dropout", "attention", "lstm", "batch norm", "group norm"])
def test_questions_share_a_double_backward_except_through_convolutions(what):
    asked: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        plain = Products._alone
        patch.setattr(Products, "_alone", lambda *given: (asked.append(True), plain(*given))[1])
        model, rows, how, question_ = problem(what)
        walk(train(model, rows, how, record=16), rows, question_)
    assert not asked


def test_products_that_are_batched_wrongly_are_taken_one_by_one():
    class Wrong(Products):
        def _together(self, outputs_, wanted, vectors):
            return [2 * product for product in super()._together(outputs_, wanted, vectors)]

    module, x = nn.Linear(3, 2), torch.randn(4, 3)
    outs = [module(x).square()]
    vectors = [torch.randn(3, 4, 2)]
    wanted = list(module.parameters())
    wrong = Wrong(module)
    truth = torch.autograd.grad(outs, wanted, [vectors[0][1]], retain_graph=True)
    found = wrong(outs, wanted, vectors)
    assert not wrong.batched
    torch.testing.assert_close(found[0][1], truth[0])


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(3, 6), (3, 6, 4), (3, 6, 4, 2)])
def test_group_norm_in_elementary_operations(shape, affine):
    layer, x = nn.GroupNorm(3, 6, affine=affine).double(), torch.randn(shape, dtype=torch.float64)
    if affine:
        nn.init.normal_(layer.weight)
    expected = layer(x)
    layer.__class__ = GroupNorm
    torch.testing.assert_close(layer(x), expected)


# second versions --------------------------------------------------------------------------------------------------------------------------


def edited(rows: Examples, relabelled: bool) -> Examples:
    """The same ids with another label each, or with other cells."""
    if relabelled:
        return replace(rows, y=(rows.y + 1) % 3)
    return replace(rows, x=rows.x + np.random.default_rng(3).normal(size=rows.x.shape))


def mixtures(model: Net, rows: Examples, second: Examples, how: Recipe, asked: Question, h: float = 1e-4) -> np.ndarray:
    """Slope when a row's weight moves to its second version, by really training on both with weights 1 - h and h, (N, Q)."""

    def value(i: int, h: float) -> np.ndarray:
        loop, other = Loop.of(model, rows, how, None, ()), Loop.of(model, second, how, None, ())
        w = torch.ones(N, dtype=torch.float64)
        w[i] -= h
        loop.weights = w

        def gradient(t: int) -> torch.Tensor:
            at = loop.batches.places[t]
            if loop.norms:
                both = torch.cat([w[at], 1 - w[at]])
                pair = torch.cat([loop.x, other.x])
                out, beside = loop.outputs(t, pair, both, torch.cat([at, at + N])).chunk(2)
            else:
                out, beside = loop.outputs(t, loop.x), loop.outputs(t, other.x)
            total = per_example(how.loss, out, loop.y[at]) * w[at] + per_example(how.loss, beside, other.y[at]) * (1 - w[at])
            return torch.cat([g.flatten() for g in torch.autograd.grad(total.sum() / len(at), loop.bound.params)])

        loop.gradient = gradient  # type: ignore[method-assign]
        loop.bound.module.train()
        loop.run(0, len(loop.batches))
        return asked.value(outputs(loop.bound, asked.examples)).detach().numpy()

    return np.stack([(value(i, h) - value(i, -h)) / (2 * h) for i in range(N)])


@pytest.mark.parametrize("relabelled", [True, False], ids=["labels", "cells"])
@pytest.mark.parametrize("what", ["dropout", "batch norm", "group norm", "attention, dropout"])
def test_second_versions_in_the_same_walk(what, relabelled):
    model, rows, how, asked = problem(what)
    trained, second = train(model, rows, how, record=16), edited(rows, relabelled)
    found = walk(trained, rows, asked, second=second)
    np.testing.assert_allclose(found.slope, walk(trained, rows, asked).slope, rtol=1e-9, atol=1e-12)
    assert found.replaced is not None
    close(found.replaced, mixtures(model, rows, second, how, asked), 1e-4)


def test_predicted_change_of_relabelling_is_what_retraining_does():
    rows = examples(80)
    model, how, asked = bind("logistic", rows), recipe(epochs=6, momentum=0.0, batch_size=20), question(examples(40, seed=1))
    trained, second = train(model, rows, how, record=16), replace(rows, y=(rows.y + 1) % 3)
    predicted = walk(trained, rows, asked, second=second).replaced
    assert predicted is not None
    before = asked.value(outputs(load(trained), asked.examples)).numpy()
    real = []
    for i in range(0, 80, 2):
        y = rows.y.copy()
        y[i] = second.y[i]
        real.append(asked.value(outputs(load(train(model, replace(rows, y=y), how)), asked.examples)).numpy() - before)
    for q in range(3):
        assert np.polyfit(predicted[::2, q], np.stack(real)[:, q], 1)[0] == pytest.approx(1, abs=0.1)
        assert np.corrcoef(predicted[::2, q], np.stack(real)[:, q])[0, 1] > 0.99


def test_second_versions_that_cannot_be_walked_are_refused():
    model, rows, how, asked = problem("batch norm, dropout")
    trained = train(model, rows, how, record=16)
    with pytest.raises(BadInput, match="BatchNorm and dropout"):
        walk(trained, rows, asked, second=edited(rows, relabelled=False))
    assert walk(trained, rows, asked, second=edited(rows, relabelled=True)).replaced is not None
    with pytest.raises(BadInput, match="same ids"):
        walk(trained, rows, asked, second=rows.take(np.arange(N)[::-1]))


# stopping and going on --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["dropout", "batch norm"])
@pytest.mark.parametrize("record", [16, 0], ids=["recorded", "replayed"])
def test_a_walk_that_was_stopped_goes_on_to_the_same_bits(what, record, tmp_path):
    model, rows, how, asked = problem(what, epochs=20, optimizer="adamw", lr=0.02)  # 40 steps
    trained, second = train(model, rows, how, record=record), edited(rows, relabelled=True)
    whole = walk(trained, rows, asked, second=second)
    seen: list[int] = []

    def stop(event: Event) -> None:
        if event.stage == "walk":
            seen.append(event.done)
            if event.done == 25:
                raise Cancelled

    workspace = Workspace(tmp_path)
    with pytest.raises(Cancelled):
        walk(trained, rows, asked, second=second, workspace=workspace, report=stop)
    events: list[Event] = []
    again = walk(trained, rows, asked, second=second, workspace=workspace, report=events.append)
    walked = [event.done for event in events if event.stage == "walk"]
    assert 15 < walked[0] <= 25, "it does not begin from the end of training"
    assert again.replayed == (record == 0)
    assert max((event.done for event in events if event.stage == "replay"), default=0) <= 20, "no step is replayed beyond where it stopped"
    for found in (again, walk(trained, rows, asked, second=second, workspace=workspace, report=stop)):
        np.testing.assert_array_equal(found.slope, whole.slope)
        np.testing.assert_array_equal(found.replaced, whole.replaced)
    assert len([*tmp_path.rglob("found.npz")]) == 1
    assert not [*tmp_path.rglob("at.*")]


def test_another_question_has_another_walk(tmp_path):
    model, rows, how, asked = problem("dropout")
    trained, workspace = train(model, rows, how, record=16), Workspace(tmp_path)
    first = walk(trained, rows, asked, workspace=workspace).slope
    other = walk(trained, rows, question(examples(9, seed=2)), workspace=workspace).slope
    assert np.abs(first - other).max() > 0


# seeds and statistics ---------------------------------------------------------------------------------------------------------------------


def test_several_seeds_are_the_mean_over_models():
    model, rows, how, asked = problem("dropout")
    trained, events = train(model, rows, how), []
    scores = Metagradient(seeds=3)(trained, rows, asked, report=events.append)
    slopes = np.stack([walk(train(model, rows, replace(how, seed=how.seed + k)), rows, asked).slope for k in range(3)])
    np.testing.assert_allclose(scores.values, -slopes.mean(0), rtol=1e-12)
    error = np.sqrt((slopes.var(0, ddof=1) / 3).mean(0))
    assert events[-1].metrics == pytest.approx({f"standard error: {name}": e for name, e in zip(asked.labels, error, strict=True)})
    assert (events[-1].done, events[-1].total) == (3, 3)


def test_mean_over_seeds_predicts_the_mean_of_fresh_retrainings_better_than_one_walk():
    rows = examples(40, classes=2, seed=4)
    asked = question(examples(60, classes=2, seed=5), Mean())
    model, how = bind("mlp", rows, hidden="8"), recipe(epochs=4, batch_size=20, lr=0.5, momentum=0.0)
    trained = train(model, rows, how, record=16)
    many, one = (Metagradient(seeds=n)(trained, rows, asked).values[:, 0] for n in (8, 1))
    truth = np.mean([walk(train(model, rows, replace(how, seed=s), record=16), rows, asked).slope[:, 0] for s in range(100, 130)], axis=0)
    assert np.corrcoef(many, -truth)[0, 1] > np.corrcoef(one, -truth)[0, 1]


def test_train_many_gives_the_running_statistics_too():
    model, rows, how, asked = problem("batch norm")
    theta = train_many(model, rows, how, np.ones((2, N)))[1]
    bound = bound_at(model, how, theta)
    trained = load(train(model, rows, how))
    torch.testing.assert_close(outputs(bound, asked.examples), outputs(trained, asked.examples), rtol=1e-9, atol=1e-12)
    assert step_sizes(how, 4)[0] == how.lr
