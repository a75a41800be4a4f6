"""Selective synaptic dampening: importances, what becomes of weights, and where it ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from influence import training
from influence.errors import BadInput
from influence.loop import tensors
from influence.registry import unlearning
from influence.types import Event, Examples, Selection, Trained
from influence.unlearning import ssd
from influence.unlearning._guard import Guard, losses
from tests.tiny import Built, bind, examples, recipe


def case(classes: int = 3, kind: str = "mlp") -> tuple[Trained, Examples, Selection]:
    train = examples(60, (2, 6) if kind == "conv1d" else (4,), classes=classes)
    model = bind("mlp", train, hidden=(6, 5)) if kind == "mlp" else Built(kind, train.shape)
    trained = training.train(model, train, recipe(batch_size=10, lr=0.02, loss="cross_entropy" if classes else "squared"))
    return trained, train, Selection(tuple(train.ids[:12].tolist()))


def singly(trained: Trained, train: Examples, labels: bool) -> torch.Tensor:
    """Importances, one row after the other by plain autograd, (P,)."""
    bound = training.load(trained)
    x, y = tensors(train, "float64")
    found = []
    for i in range(len(train)):
        out = bound.module(x[i : i + 1])
        fit = F.cross_entropy(out, y[i : i + 1]) if train.classes else F.mse_loss(out[:, 0], y[i : i + 1])
        loss = fit if labels else out.square().sum()
        g = torch.cat([part.flatten() for part in torch.autograd.grad(loss, bound.params)])
        found.append(g.square() if labels else g.abs())
    return torch.stack(found).mean(0)


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize(("classes", "kind"), [(3, "mlp"), (0, "mlp"), (3, "conv1d")])
def test_importance_is_the_mean_over_gradients_of_single_rows(classes, kind, labels, monkeypatch):
    trained, train, _ = case(classes, kind)
    monkeypatch.setattr(ssd, "NUMBERS", 7 * len(training.load(trained).flat))
    loss = trained.recipe.loss if labels else ""
    found = ssd.importance(training.load(trained), train, loss)
    torch.testing.assert_close(found, singly(trained, train, labels), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("labels", ["used", "not needed"])
@pytest.mark.parametrize(("alpha", "keep"), [(1.3, 0.8), (1.05, 1.5)])
def test_weights_are_made_smaller_as_the_equations_say(labels, alpha, keep):
    trained, train, gone = case()
    forget = train.take(train.mask(gone.ids))
    every, own = (singly(trained, rows, labels == "used") for rows in (train, forget))
    made = unlearning.make("ssd", {"alpha": alpha, "keep": keep, "labels": labels, "tolerance": 1.0})
    before = training.load(trained).flat
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ssd, "losses", lambda bound, recipe, rows: torch.zeros(1))  # the removed rows may fare better here
        patched.setattr(Guard, "holds", lambda self, bound: True)
        after = training.load(made(trained, train, gone)).flat
    factor = torch.tensor([min(keep * float(d) / float(f), 1.0) if f > alpha * d else 1.0 for d, f in zip(every, own, strict=True)])
    assert 0 < int((factor < 1).sum()) < len(factor)
    torch.testing.assert_close(after, before * factor, rtol=1e-6, atol=1e-9)


def test_importances_do_not_depend_on_the_order_of_rows():
    trained, train, gone = case()
    turned = train.take(np.random.default_rng(0).permutation(len(train)))
    first, second = (unlearning.make("ssd")(trained, rows, gone) for rows in (train, turned))
    assert first.final.digest == second.final.digest


@pytest.mark.parametrize("classes", [3, 0])
def test_no_change_that_harms_is_made(classes):
    """Neither the retained rows may suffer nor the removed ones fare better."""
    trained, train, gone = case(classes)
    for given in ({}, {"labels": "used"}, {"alpha": 1.0, "keep": 0.0}):
        made = unlearning.make("ssd", given)(trained, train, gone)
        forget = train.take(train.mask(gone.ids))
        after, before = (float(losses(training.load(one), trained.recipe, forget).mean()) for one in (made, trained))
        assert after >= before
        guard = Guard(training.load(trained), replace(trained.recipe, seed=0), train.without(gone), 0.02)
        assert guard.holds(training.load(made))


def test_where_no_weight_stands_out_the_model_stays_as_it_is_and_that_is_said():
    trained, train, gone = case()
    seen: list[Event] = []
    made = unlearning.make("ssd", {"alpha": 1e6})(trained, train, gone, report=seen.append)
    assert torch.equal(training.load(made).flat, training.load(trained).flat)
    assert seen[-1].note.startswith("The model is as it was: the method found nothing to change.")
    assert set(made.removed) == set(gone.ids)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(0.5, 0.4, "would have made the removed rows better known"), (0.5, 0.9, "would have harmed the retained rows")],
)
def test_what_ended_the_way_is_said(before, after, said, monkeypatch):
    """Where the retained rows allow all and the removed ones are better known, no harm is spoken of; and the other way round."""
    trained, train, gone = case()
    forget, seen = train.take(train.mask(gone.ids)), []
    told = {True: before, False: after}  # of the removed rows, at the model's weights and at others

    def losses(bound, recipe, rows):
        at_start = bound.flat.equal(training.load(trained).flat)
        return torch.full((len(rows),), told[at_start] if rows.digest == forget.digest or after > before else before)

    monkeypatch.setattr("influence.unlearning.ssd.losses", losses)
    monkeypatch.setattr("influence.unlearning._guard.losses", losses)
    unlearning.make("ssd", {"alpha": 1.0, "keep": 0.0})(trained, train, gone, report=seen.append)
    assert said in seen[-1].note
    assert seen[-1].note.endswith("Choose finetune or neggrad_plus.")


def test_a_threshold_lets_its_share_of_the_weights_pass():
    every, gone = torch.ones(10_000, dtype=torch.float64), torch.rand(10_000, dtype=torch.float64) + 2
    for share, alpha in zip(ssd.SHARES, ssd.thresholds(every, gone), strict=True):
        assert int((gone > alpha).sum()) == pytest.approx(share * 10_000, abs=1)
    assert set(ssd.thresholds(every, gone / 10)) == {1.0}


def test_a_kind_of_its_own_is_forgotten():
    """Rows that use an input which no other row uses: what the weights of that input taught goes, and little else."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    x[:, 3] = 0.0
    y = (x[:, 0] > 0).astype(np.int64)
    x[:30, :3], x[:30, 3] = 0.0, 3.0
    y[:30] = 1
    train = replace(examples(200, classes=2), x=x, y=y)
    trained = training.train(bind("mlp", train, hidden=(8,)), train, recipe(batch_size=20, epochs=20, lr=0.05))
    gone = Selection(tuple(train.ids[:30].tolist()))
    made = unlearning.make("ssd", {"labels": "used"})(trained, train, gone)
    forget, rest = train.take(train.mask(gone.ids)), train.without(gone)
    before, after = ([float(losses(training.load(one), trained.recipe, rows).mean()) for rows in (forget, rest)] for one in (trained, made))
    assert after[0] > 3 * before[0]
    assert after[1] < before[1] + 0.03


def test_rows_without_gradients_of_their_own_are_refused():
    train = examples(60, (2, 6))

    class Shared(Built):
        def __call__(self) -> torch.nn.Module:
            module = super().__call__()
            module[1] = torch.nn.BatchNorm1d(4, track_running_stats=False)
            return module

    trained = training.train(Shared("conv1d", train.shape), train, recipe(batch_size=10, lr=0.02))
    with pytest.raises(BadInput, match="no row has a gradient of its own"):
        unlearning.make("ssd")(trained, train, Selection(tuple(train.ids[:12].tolist())))
