"""Methods in which only some weights move: SalUn, the last layers, masked small gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from influence import training
from influence.errors import BadInput
from influence.loop import Bound, begun, tensors
from influence.models.graph import Graph
from influence.optim import optimizer
from influence.registry import unlearning
from influence.types import Event, Examples, Selection, Trained
from influence.unlearning import msg
from influence.unlearning._descent import Request, shortened
from influence.unlearning._guard import sample
from influence.unlearning._masked import Shared, slope
from influence.unlearning.last_layers import last
from influence.unlearning.salun import relabelled
from tests.tiny import Built, Normalised, bind, examples, recipe

RULES = [
    {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1, "nesterov": True, "max_norm": 0.5},
    {"optimizer": "adam", "weight_decay": 0.1, "lr": 0.01},
    {"optimizer": "adamw", "weight_decay": 0.1, "lr": 0.01},
]
FREE = {"lr": 0.02, "epochs": 3, "tolerance": 1.0}
"""Settings with which no guard and no search for a step size has a part."""


def case(kind: str = "conv1d", **given: object) -> tuple[Trained, Examples, Selection]:
    train = examples(60, (2, 6) if kind == "conv1d" else (4,))
    model = Built(kind, train.shape) if kind != "mlp" else bind("mlp", train, hidden=(6, 5))
    trained = training.train(model, train, recipe(**{"batch_size": 10, "lr": 0.02, **given}))
    return trained, train, Selection(tuple(train.ids[:12].tolist()))


def request(trained: Trained, train: Examples, gone: Selection, epochs: int = 2) -> Request:
    forget = train.take(train.mask(gone.ids))
    return Request(trained, train, train.without(gone), forget, shortened(trained, train, epochs, 0, 0))


def moved(trained: Trained, made: Trained) -> torch.Tensor:
    """Which weights are no longer the same to the bit, (P,)."""
    before, after = (training.load(one).flat.numpy().view(np.int64) for one in (trained, made))
    return torch.from_numpy(before != after)


def by_hand(bound: Bound, loss: torch.Tensor) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, bound.params)])


# What is held


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "-".join(map(str, rule.values())))
def test_salun_holds_every_weight_outside_the_mask(rule):
    trained, train, gone = case(**rule)
    bound, forget = training.load(trained), train.take(train.mask(gone.ids))
    x, y = tensors(forget, "float64")
    saliency = by_hand(bound, F.cross_entropy(bound.module(x), y)).abs()
    moving = saliency >= saliency.sort(descending=True).values[round(0.5 * len(saliency)) - 1]
    made = unlearning.make("salun", FREE)(trained, train, gone)
    changed = moved(trained, made)
    assert not changed[~moving].any(), "neither decay nor momentum may move them, nor those of batch normalisation"
    assert changed[moving].float().mean() > 0.9
    held = torch.cat([torch.full((p.numel(),), ".".join(n.split(".")[:-1]) == "1") for n, p in bound.module.named_parameters()])
    assert (held & ~moving).any(), "batch normalisation must be among what is held"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "-".join(map(str, rule.values())))
@pytest.mark.parametrize("begin", ["kept", "drawn anew"])
def test_layers_before_the_last_keep_their_weights_and_statistics(rule, begin):
    trained, train, gone = case(**rule)
    made = unlearning.make("last_layers", {**FREE, "begin": begin})(trained, train, gone)
    before, after = trained.final.load(), made.final.load()
    same = {name: before[name].numpy().tobytes() == after[name].numpy().tobytes() for name in before}
    assert [name for name, held in same.items() if not held] == ["4.weight", "4.bias"]
    assert "1.running_mean" in same


def test_statistics_of_a_trained_layer_move():
    trained, train, gone = case()
    made = unlearning.make("last_layers", {**FREE, "layers": 2})(trained, train, gone)
    before, after = trained.final.load(), made.final.load()
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["1.running_mean"], after["1.running_mean"])


def test_gradients_are_masked_before_they_are_clipped():
    rule = optimizer(recipe(optimizer="sgd", momentum=0.0, weight_decay=0.0, max_norm=1.0))
    theta, share = torch.zeros(3, dtype=torch.float64), torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64)
    held = Shared(rule, share)
    held.step(theta, {name: torch.zeros_like(theta) for name in rule.slots}, torch.tensor([100.0, 3.0, 4.0], dtype=torch.float64), 1.0, 0)
    torch.testing.assert_close(theta, torch.tensor([0.0, -0.6, -0.4], dtype=torch.float64), rtol=1e-5, atol=0.0)


def test_a_held_weight_keeps_even_the_sign_of_zero():
    trained, train, gone = case("mlp")
    bound = training.load(trained)
    bound.flat[0] = -0.0
    zero = replace(trained, checkpoints=(training.checkpoint(bound.state(), 1, 0.1),))
    made = unlearning.make("last_layers", FREE)(zero, train, gone)
    assert np.signbit(float(training.load(made).flat[0]))


# The end of the settings


@pytest.mark.parametrize(
    ("name", "given"), [("salun", {"share": 0.0}), ("last_layers", {"layers": 0}), ("msg", {"share": 0.0, "slow": 0.0})]
)
def test_where_nothing_moves_the_model_stays_as_it_is_and_that_is_said(name, given):
    trained, train, gone = case("mlp")
    seen: list[Event] = []
    made = unlearning.make(name, {**FREE, **given})(trained, train, gone, report=seen.append)
    assert not moved(trained, made).any()
    assert seen[-1].note.startswith("The model is as it was")


@pytest.mark.parametrize(("name", "given"), [("last_layers", {"layers": 99}), ("msg", {"share": 0.0, "slow": 1.0})])
@pytest.mark.parametrize("kind", ["mlp", "conv1d"])
def test_where_everything_moves_it_is_fine_tuning(name, given, kind):
    trained, train, gone = case(kind)
    made = unlearning.make(name, {**FREE, **given})(trained, train, gone)
    tuned = unlearning.make("finetune", {"lr": FREE["lr"], "epochs": FREE["epochs"]})(trained, train, gone)
    assert made.final.digest == tuned.final.digest


def test_salun_of_all_weights_is_training_on_other_labels(monkeypatch):
    trained, train, gone = case("mlp")
    monkeypatch.setattr("influence.unlearning.salun.like_unseen", lambda bound, asked: lambda: -1.0)
    made = unlearning.make("salun", {**FREE, "share": 1.0})(trained, train, gone)
    other = relabelled(request(trained, train, gone), train)
    assert other.ids.tolist() == train.ids.tolist()
    one = other.take(np.array([0]))  # fine-tuning needs a row to leave out: a copy of the first
    x, y, ids = (np.concatenate(pair) for pair in ((other.x, one.x), (other.y, one.y), (other.ids, [9])))
    rows = Examples(x, y, ids, other.columns.reindex(range(len(ids))), other.classes)
    tuned = unlearning.make("finetune", {"lr": FREE["lr"], "epochs": FREE["epochs"]})(trained, rows, Selection((9,)))
    assert made.final.digest == tuned.final.digest


def test_salun_pauses_where_rows_are_as_surprising_as_rows_never_seen(monkeypatch):
    trained, train, gone = case("mlp")
    asked = request(trained, train, gone)
    for above, paused in ((-0.1, False), (0.1, True)):
        monkeypatch.setattr("influence.unlearning.salun.like_unseen", lambda bound, asked, above=above: lambda: above)
        loop, look = unlearning.make("salun").laid_out(asked)
        look(False)
        part = train.mask(gone.ids)[loop.batches.places[0].numpy()]
        each = loop.losses(0).detach().numpy()
        assert part.any()
        assert (each[~part] > 0).all()
        assert (each[part] == 0).all() == paused


# Objectives


def test_salun_descends_on_other_labels():
    trained, train, gone = case("mlp")
    asked = request(trained, train, gone)
    loop, _ = unlearning.make("salun").laid_out(asked)
    x, _ = tensors(train, "float64")
    y = torch.from_numpy(relabelled(asked, train).y)
    at = loop.batches.places[2]
    expected = by_hand(loop.bound, F.cross_entropy(loop.bound.module(x[at]), y[at]))
    torch.testing.assert_close(loop.gradient(2), expected, rtol=1e-10, atol=1e-12)


def test_salun_normalises_by_the_whole_batch():
    """By its one retained row alone the others would be hundreds of deviations away."""
    train = examples(70)
    trained = training.train(Normalised(), train, recipe(batch_size=32, epochs=5))
    asked = request(trained, train, Selection(tuple(train.ids[:60].tolist())), epochs=20)
    loop, _ = unlearning.make("salun").laid_out(asked)
    t = next(t for t, part in enumerate(loop.batches.places) if int((~loop.gone[part]).sum()) == 1)
    plain, at = training.load(trained), loop.batches.places[t]
    for bound in (plain, loop.bound):
        bound.module.train()
    (x, _), y = tensors(train, "float64"), torch.from_numpy(relabelled(asked, train).y)
    expected = by_hand(plain, F.cross_entropy(plain.module(x[at]), y[at]))
    torch.testing.assert_close(loop.gradient(t), expected, rtol=1e-8, atol=1e-10)


def test_other_labels_are_other_and_belong_to_ids():
    trained, train, gone = case("mlp")
    found = relabelled(request(trained, train, gone), train)
    wrong = train.mask(gone.ids)
    assert (found.y[wrong] != train.y[wrong]).all()
    assert (found.y[~wrong] == train.y[~wrong]).all()
    assert set(found.y[wrong]) == {0, 1, 2}
    fewer = Selection(gone.ids[3:7])
    again = relabelled(request(trained, train, fewer), train)
    assert (again.y[train.mask(fewer.ids)] == found.y[train.mask(fewer.ids)]).all()


def test_no_class_is_taught_of_which_no_row_stays():
    train = examples(300, classes=5)
    trained = training.train(bind("mlp", train, hidden=(6,)), train, recipe(epochs=1))
    earlier, now = (train.y == 1), (train.y == 4) | (np.arange(300) < 40)
    before = replace(trained, removed=tuple(train.ids[earlier].tolist()))
    forget, retained = train.take(now & ~earlier), train.take(~now & ~earlier)
    found = relabelled(Request(before, train, retained, forget, shortened(before, train, 1, 0, 0)), train)
    new = found.y[train.mask(forget.ids)]
    assert (new != forget.y).all()
    for kind, others in ((0, {2, 3}), (2, {0, 3}), (3, {0, 2}), (4, {0, 2, 3})):
        assert set(new[forget.y == kind]) == others


def test_other_numbers_are_those_of_retained_rows():
    train = examples(60, classes=0)
    trained = training.train(bind("mlp", train, hidden=(6,)), train, recipe(loss="squared", lr=0.01))
    gone = Selection(tuple(train.ids[:12].tolist()))
    found = relabelled(request(trained, train, gone), train)
    wrong = train.mask(gone.ids)
    assert set(found.y[wrong]) <= set(train.y[~wrong])
    assert (found.y[~wrong] == train.y[~wrong]).all()


def test_slope_is_the_gradient_of_the_mean_loss():
    trained, train, _ = case()
    bound = training.load(trained)
    x, y = tensors(train, "float64")
    expected = by_hand(bound, F.cross_entropy(bound.module(x), y))
    torch.testing.assert_close(slope(bound, trained.recipe, train), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["last_layers", "msg"])
def test_the_rest_descends_on_the_loss_of_the_retained_rows(name):
    trained, train, gone = case("mlp")
    asked = request(trained, train, gone)
    loop, _ = unlearning.make(name).laid_out(asked)
    x, y = tensors(asked.retained, "float64")
    at = loop.batches.places[3]
    expected = by_hand(loop.bound, F.cross_entropy(loop.bound.module(x[at]), y[at]))
    torch.testing.assert_close(loop.gradient(3), expected, rtol=1e-10, atol=1e-12)


# Which weights


def test_last_layers_go_by_the_order_of_parameters():
    trained, *_ = case("mlp")
    bound = training.load(trained)
    sizes = [p.numel() for p in bound.params]
    for layers, owned in ((0, 0), (1, 2), (2, 4), (3, 6), (4, 6), (9, 6)):
        assert int(last(bound, layers).sum()) == sum(sizes[len(sizes) - owned :])
        assert last(bound, layers).tolist() == sorted(last(bound, layers).tolist())


def test_drawn_anew_begins_where_a_training_begins():
    trained, train, gone = case("mlp")
    asked = request(trained, train, gone)
    loop, _ = unlearning.make("last_layers", {"begin": "drawn anew"}).laid_out(asked)
    before, drawn = loop.bound.flat.clone(), begun(trained.model, asked.recipe).flat
    assert torch.equal(before, training.load(trained).flat), "what is seen before the first step is the model"
    loop.gradient(0)
    tail = last(loop.bound, 1)
    assert torch.equal(loop.bound.flat[tail], drawn[tail])
    assert torch.equal(loop.bound.flat[~tail], before[~tail])


def test_msg_draws_the_smallest_anew_and_slows_the_others():
    trained, train, gone = case()
    asked = request(trained, train, gone)
    loop, _ = unlearning.make("msg", {"share": 0.3}).laid_out(asked)
    before = loop.bound.flat.clone()
    loop.gradient(0)
    drawn = loop.bound.flat != before
    weights = torch.cat([torch.full((p.numel(),), n in ("0.weight", "4.weight")) for n, p in loop.bound.module.named_parameters()])
    assert not drawn[~weights].any()
    assert int(drawn.sum()) == round(0.3 * int(weights.sum()))
    bound = training.load(trained)
    slopes = []
    for rows in (sample(asked.retained, len(gone), 0, "beside"), asked.forget):
        x, y = tensors(rows, "float64")
        slopes.append(by_hand(bound, F.cross_entropy(bound.module(x), y)))
    differ = (slopes[0] - slopes[1]).abs()
    assert differ[drawn].max() < differ[weights & ~drawn].min()
    assert loop.rule.share[drawn].unique().tolist() == [1.0]
    assert loop.rule.share[~drawn].unique().tolist() == [0.1]
    g = torch.arange(len(before), dtype=torch.float64).flip(0) - 5.0
    found = msg.smallest(loop.bound, g, 0.5)
    assert g[found].abs().max() <= g[weights & ~found].abs().min()


# Refusals


@dataclass(frozen=True)
class Bare:
    """A model of nothing but one parameter."""

    inputs: tuple[int, ...] = (4,)
    outputs: int = 3

    def __call__(self) -> nn.Module:
        class Module(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.w = nn.Parameter(torch.randn(4, 3))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x @ self.w

        return Module()


def test_msg_says_which_models_it_cannot_serve():
    train = examples(60)
    gone = Selection(tuple(train.ids[:12].tolist()))
    trained = training.train(Bare(), train, recipe())
    with pytest.raises(BadInput, match="has none"):
        unlearning.make("msg", FREE)(trained, train, gone)
    graph = replace(trained, model=Graph())
    assert "not known which layers are linear" in unlearning.make("msg").unavailable(graph)
    assert unlearning.make("last_layers").unavailable(graph) == ""
