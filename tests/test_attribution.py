"""Each attribution method's own laws: TracIn by hand and against Captum, the guards of the Captum adapter, the design of retraining."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from influence.attribution._captum import bias_as_weight, by_batch_is_right, output_layer
from influence.attribution.captum_tracin import CaptumTracIn
from influence.attribution.metagradient import Metagradient
from influence.attribution.random import Random
from influence.attribution.retraining import Retraining
from influence.attribution.tracin import TracIn
from influence.errors import BadInput
from influence.grads import query_gradient, sweep
from influence.loop import Bound, tensors
from influence.replay import walk
from influence.training import checkpoint, load, train, train_many
from influence.types import Event, Trained
from tests.tiny import MODULES, OTHERS, Built, Mean, bind, examples, question, recipe

SHAPES = {"logistic": (4,), "mlp": (4,), "cnn": (2, 8, 8)}


def trained_on(kind: str, dtype: str = "float64", classes: int = 3, n: int = 21):
    rows, ask = examples(n, SHAPES[kind], classes), examples(15, SHAPES[kind], classes, seed=1)
    how = recipe(dtype=dtype, loss="cross_entropy" if classes else "huber", checkpoints=3, lr=0.05)
    return train(bind(kind, rows), rows, how, record=64), rows, question(ask) if classes else question(ask, Mean())


def built(what: str | nn.Module, n: int = 9):
    """A model that is not trained here: no recipe, two checkpoints with step sizes of their own."""
    model = Built(what)
    shape = (4,) if what in OTHERS else MODULES[what][0]
    kept = tuple(checkpoint(Bound(model, seed).state(), seed, lr) for seed, lr in ((1, 0.5), (2, 0.25)))
    rows, ask = (replace(e, x=e.x.astype("f4")) for e in (examples(n, shape), examples(7, shape, seed=1)))
    return Trained(model, kept, None), rows, question(ask)


def relative(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(found - truth).max() / np.abs(truth).max())


def tracin_by_hand(trained: Trained, rows, asked) -> np.ndarray:
    """Sum over checkpoints of step size times the product of whole gradients, one row at a time."""
    total = np.zeros((len(rows), len(asked.labels)))
    for kept in trained.checkpoints:
        bound = load(trained, kept)
        x, y = tensors(rows, bound.dtype)
        _, v = query_gradient(bound, asked)
        for i in range(len(rows)):
            loss = nn.functional.cross_entropy(bound.module(x[i : i + 1]), y[i : i + 1])
            gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, bound.params)])
            total[i] += kept.lr * (v @ gradient).numpy()
    return total


# tracin -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sweep", ["auto", "ghost", "forward"])
@pytest.mark.parametrize("kind", SHAPES)
def test_tracin_is_its_formula(kind, sweep):
    trained, rows, asked = trained_on(kind)
    assert len({kept.lr for kept in trained.checkpoints}) == 3
    np.testing.assert_allclose(
        TracIn(sweep, batch=8)(trained, rows, asked).values, tracin_by_hand(trained, rows, asked), rtol=1e-9, atol=1e-12
    )


def test_tracin_scores_models_without_a_recipe():
    for what in [*OTHERS, *(set(MODULES) - {"embedding"})]:
        trained, rows, asked = built(what)
        assert TracIn().unavailable(trained) == ""
        assert relative(TracIn()(trained, rows, asked).values, tracin_by_hand(trained, rows, asked)) < 1e-5


def test_each_checkpoint_is_loaded_once():
    trained, rows, asked = trained_on("mlp")
    loads: list[int] = []

    def counted(kept):
        return replace(kept, load=lambda: loads.append(kept.step) or kept.load())

    counting = replace(trained, checkpoints=tuple(map(counted, trained.checkpoints)))
    for method in (TracIn(batch=2), CaptumTracIn(batch=2), CaptumTracIn("last", batch=2)):
        loads.clear()
        method(counting, rows, asked)
        assert loads == [kept.step for kept in trained.checkpoints]


# captum -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [4, 64])
@pytest.mark.parametrize("kind", SHAPES)
def test_tracin_equals_captum_in_single_precision(kind, batch):
    given = trained_on(kind, "float32")
    assert relative(TracIn()(*given).values, CaptumTracIn(batch=batch)(*given).values) < 1e-4


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_tracin_equals_captum_exactly_in_double_precision(kind):
    for classes in (3, 0):
        given = trained_on(kind, classes=classes)
        np.testing.assert_allclose(CaptumTracIn()(*given).values, TracIn()(*given).values, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("what", [*OTHERS, *sorted(set(MODULES) - {"embedding"})])
def test_captum_is_right_also_for_layers_that_it_would_leave_out(what):
    """Norms, own parameters, groups, padding by name, shared and rebuilt weights: Captum's faster way drops them or fails."""
    trained, rows, asked = built(what)
    assert relative(CaptumTracIn()(trained, rows, asked).values, tracin_by_hand(trained, rows, asked)) < 1e-4


def test_the_faster_way_is_taken_only_where_it_is_right():
    right = [nn.Linear(2, 2), nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2, bias=False))]
    assert all(by_batch_is_right(module) for module in right)

    class Own(nn.Linear):
        """A subclass."""

    wrong = [
        nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, 3, padding="same"),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
        nn.Conv1d(2, 2, 3),
        Own(2, 2),
        *(module() for module in OTHERS.values()),
    ]
    assert not any(by_batch_is_right(module) for module in wrong)


@pytest.mark.parametrize("kind", SHAPES)
def test_last_layer_is_the_whole_gradient_of_that_layer_with_its_bias(kind):
    trained, rows, asked = trained_on(kind)
    total = np.zeros((len(rows), 3))
    for kept in trained.checkpoints:
        bound = load(trained, kept)
        _, v = query_gradient(bound, asked)
        last = sum(p.numel() for p in bound.params[-2:])
        v[:, : v.shape[1] - last] = 0
        total += kept.lr * sweep(bound, *tensors(rows, "float64"), "cross_entropy", v)
    for batch in (5, 64):
        np.testing.assert_allclose(CaptumTracIn("last", batch)(trained, rows, asked).values, total, rtol=1e-8, atol=1e-12)
    if kind == "logistic":
        np.testing.assert_allclose(total, TracIn()(trained, rows, asked).values, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("what", ["no bias", "bare layer"])
def test_last_layer_without_bias_and_of_a_bare_layer(what):
    trained, rows, asked = built(what)
    found = CaptumTracIn("last")(trained, rows, asked).values
    if what == "bare layer":
        assert relative(found, tracin_by_hand(trained, rows, asked)) < 1e-5
    for kept in trained.checkpoints:
        bound = load(trained, kept)
        _, v = query_gradient(bound, asked)
        v[
            :, : v.shape[1] - sum(p.numel() for name, p in bound.module.named_parameters() if name.split(".")[0] in ("2", "weight", "bias"))
        ] = 0
        found = found - kept.lr * sweep(bound, *tensors(rows, "float32"), "cross_entropy", v)
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_a_bias_as_weight_is_the_same_function():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2))
    x = torch.randn(5, 4)
    before = net(x)
    changed, layer = bias_as_weight(net, output_layer(net, x))
    torch.testing.assert_close(changed(x), before)
    assert layer.bias is None
    assert layer.weight.shape == (2, 4)


class Inside(nn.Module):
    """The last Linear's output is used once more after it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.a, self.b = how, nn.Linear(4, 3), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "twice":
            return self.b(self.b(self.a(x)))
        z = self.b(self.a(x))
        return {"log-softmax": z.log_softmax(1), "residual": z + x[:, :3], "sequence": z[:, None, :]}[self.how]


@dataclass(frozen=True)
class Ends:
    how: str
    inputs: tuple[int, ...] = (4,)
    outputs: int = 3

    def __call__(self) -> nn.Module:
        return Inside(self.how)


@pytest.mark.parametrize("how", ["log-softmax", "residual", "sequence", "twice"])
def test_last_layer_is_refused_where_something_follows_it(how):
    model, told = Ends(how), r"something follows that layer.*Choose captum_tracin with layer=all, or tracin"
    with pytest.raises(BadInput, match=told):
        output_layer(model(), torch.randn(2, 4))
    if how != "sequence":
        trained = Trained(model, (checkpoint(Bound(model).state(), 1, 0.1),), None)
        rows = replace(examples(6), x=examples(6).x.astype("f4"))
        with pytest.raises(BadInput, match=told):
            CaptumTracIn("last")(trained, rows, question(rows, Mean()))


def test_last_layer_of_a_model_without_one_is_closed():
    @dataclass(frozen=True)
    class Convolution:
        inputs: tuple[int, ...] = (1, 4, 4)
        outputs: int = 3

        def __call__(self) -> nn.Module:
            return nn.Sequential(nn.Conv2d(1, 3, 4), nn.Flatten())

    trained = Trained(Convolution(), (), None)
    assert "this model has none" in CaptumTracIn("last").unavailable(trained)
    assert CaptumTracIn().unavailable(trained) == ""


def test_named_inputs_are_refused():
    trained, rows, asked = trained_on("mlp")
    with pytest.raises(BadInput, match="one array of inputs"):
        CaptumTracIn()(trained, replace(rows, x={"a": rows.x}), asked)


def test_a_question_of_no_row_scores_zero():
    @dataclass(frozen=True)
    class Constant(Mean):
        def value(self, logits, examples):
            return logits.sum()[None] * 0

        measured = value

    trained, rows, asked = trained_on("mlp")
    for layer in ("all", "last"):
        events: list[Event] = []
        nothing = CaptumTracIn(layer)(trained, rows, question(asked.examples, Constant()), events.append)
        assert not nothing.values.any()
        assert events[-1].done == events[-1].total


# metagradient and retraining --------------------------------------------------------------------------------------------------------------


def test_metagradient_is_minus_the_walk():
    trained, rows, asked = trained_on("mlp")
    slope = walk(trained, rows, asked).slope
    for method in (Metagradient(), Metagradient(recompute=True), Metagradient(memory=1, recompute=True)):
        np.testing.assert_allclose(method(trained, rows, asked).values, -slope, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("method", [Metagradient(), Retraining()])
def test_methods_that_follow_training_are_closed_without_it(method):
    trained, rows, asked = trained_on("mlp")
    assert "needs the recipe" in method.unavailable(replace(trained, recipe=None))
    assert "claim L1" in method.unavailable(replace(trained, claim="L1"))
    assert method.unavailable(replace(trained, claim="L2")) == ""
    with pytest.raises(BadInput, match="recipe"):
        method(replace(trained, recipe=None), rows, asked)


def test_every_row_is_left_out_equally_often_in_sets_of_its_own():
    ids = np.arange(400)
    out = Retraining(subsets=50, fraction=0.1)._left_out(ids)
    assert out.shape == (50, 400)
    assert (out.sum(0) == 5).all()
    assert 40 - 4 * 6 < out.sum(1).min() < out.sum(1).max() < 40 + 4 * 6, "binomial, sd 6"
    together = (out.T.astype(int) @ out)[~np.eye(400, dtype=bool)]
    assert together.mean() == pytest.approx(0.5, abs=0.01), "5 x 5 / 50, as of independent rows"
    np.testing.assert_array_equal(Retraining(subsets=50, fraction=0.1)._left_out(ids[::7]), out[:, ::7])
    assert (Retraining(subsets=50, fraction=0.1, seed=1)._left_out(ids) != out).any()


@pytest.mark.parametrize(("subsets", "fraction"), [(4, 0.1), (2, 0.9)])
def test_designs_that_leave_rows_out_never_or_always_are_refused(subsets, fraction):
    trained, rows, asked = trained_on("mlp")
    with pytest.raises(BadInput, match=r"at least once and not always\. Choose at least"):
        Retraining(subsets=subsets, fraction=fraction)(trained, rows, asked)


@pytest.mark.parametrize("truth", ["same", "fresh"])
def test_retraining_is_the_difference_of_means_of_real_trainings(truth):
    trained, rows, asked = trained_on("logistic")
    method = Retraining(subsets=10, fraction=0.2, truth=truth, seed=3)
    events: list[Event] = []
    scores = method(trained, rows, asked, events.append)
    out = method._left_out(rows.ids)
    seeds = [3 + 1_000_003 + r for r in range(10)]
    values = []
    for r, left in enumerate(out):
        how = replace(trained.recipe, seed=seeds[r]) if truth == "fresh" else trained.recipe
        bound = load(train(trained.model, rows, how, weights=1.0 - left))
        values.append(asked.value(bound.module(tensors(asked.examples, "float64")[0])).detach().numpy())
    values = np.stack(values)
    for i in range(len(rows)):
        expected = values[out[:, i]].mean(0) - values[~out[:, i]].mean(0)
        np.testing.assert_allclose(scores.values[i], expected, rtol=1e-7, atol=1e-10)
    told = events[-1].metrics["standard error: mean loss"]
    assert told == pytest.approx(values[:, 0].std(ddof=1) * np.sqrt(1 / 2 + 1 / 8))


def test_the_told_standard_error_is_that_of_repeated_designs():
    trained, rows, asked = trained_on("logistic", n=60)
    told, found = [], []
    for seed in range(8):
        events: list[Event] = []
        found.append(Retraining(subsets=40, fraction=0.2, seed=seed)(trained, rows, asked, events.append).values)
        told.append([events[-1].metrics[f"standard error: {label}"] for label in asked.labels])
    spread = np.sqrt(np.stack(found).var(0, ddof=1).mean(0))
    np.testing.assert_allclose(np.mean(told, 0), spread, rtol=0.15)


def test_retraining_of_many_models_goes_part_by_part(monkeypatch):
    trained, rows, asked = trained_on("logistic")
    whole = Retraining(subsets=10, fraction=0.2)(trained, rows, asked).values
    sizes: list[int] = []

    def counted(model, examples, how, weights, *rest):
        sizes.append(len(weights))
        return train_many(model, examples, how, weights, *rest)

    monkeypatch.setattr("influence.attribution.retraining.MOST", 4)
    monkeypatch.setattr("influence.attribution.retraining.train_many", counted)
    np.testing.assert_allclose(Retraining(subsets=10, fraction=0.2)(trained, rows, asked).values, whole, rtol=1e-8, atol=1e-11)
    assert sizes == [4, 4, 2]


# random -----------------------------------------------------------------------------------------------------------------------------------


def test_random_scores_are_keyed():
    trained, rows, asked = trained_on("mlp")
    scores = Random()(trained, rows, asked)
    half = Random()(trained, rows.take(np.arange(0, 21, 2)), asked)
    np.testing.assert_array_equal(half.values, scores.values[::2])
    assert np.abs(scores.values).max() <= 0.5
    assert len(np.unique(scores.values)) == scores.values.size
    assert (Random(seed=1)(trained, rows, asked).values != scores.values).all()
