"""Whole classes are forgotten, and models with frozen parameters are refused in a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from influence import grads, training
from influence.errors import BadInput
from influence.models.ensemble import Ensemble
from influence.registry import models, unlearning
from influence.types import Event, Examples, Recipe, Selection, Trained
from influence.unlearning import _neighbours, _response
from influence.unlearning._emptied import still_said

METHODS = sorted(unlearning.classes)
FORGET = ("neggrad_plus", "noisy_finetune", "retrain", "salun", "sisa", "ssd")
"""Methods that forget a whole class as they are set by default; of the others it is said that they do not."""


def digits() -> tuple[Examples, Examples]:
    bunch, ids = load_digits(), np.arange(1797)
    x, y = (bunch.images[:, None] / 16).astype(np.float32), bunch.target.astype(np.int64)
    every = Examples(x, y, ids, pd.DataFrame({"row": ids}), tuple("0123456789"))
    return every.take(ids % 3 > 0), every.take(ids % 3 == 0)


@cache
def trained(shards: int, dtype: str = "float32") -> Trained:
    torch.set_num_threads(1)
    train, _ = digits()
    one = replace(models.make("mlp"), inputs=train.shape, outputs=10)
    recipe = Recipe(batch_size=64, epochs=30, dtype=dtype)
    if shards:
        return training.train(Ensemble.of(one, shards), train, replace(recipe, shards=shards, slices=2))
    return training.train(one, train, recipe)


def said(made: Trained, rows: Examples) -> np.ndarray:
    return grads.outputs(training.load(made), rows).argmax(1).numpy()


@pytest.mark.parametrize("name", METHODS)
def test_a_whole_class_is_forgotten_or_the_method_says_that_it_is_not(name):
    train, test = digits()
    before, seen = trained(3 if name == "sisa" else 0), list[Event]()
    threes = Selection(tuple(train.ids[train.y == 3].tolist()))
    made = unlearning.make(name, {"seed": 1} if name == "noisy_finetune" else None)(before, train, threes, report=seen.append)
    again = unlearning.make("retrain")(before, train, threes)
    others, own = test.take(test.y != 3), train.take(train.y == 3)
    assert (said(again, own) == 3).mean() == 0
    assert (said(made, others) == others.y).mean() >= (said(again, others) == others.y).mean() - 0.02
    share = (said(made, own) == 3).mean()
    if name in FORGET:
        assert share < 0.05
    assert share < (said(before, own) == 3).mean()
    note = f"No training row of class '3' is left, and the model still says it of {share:.0%} of its removed rows"
    assert (note in seen[-1].note) == (share >= 0.05)
    assert set(made.removed) == set(threes.ids)


def test_nothing_is_said_of_a_class_of_which_a_row_stays():
    train, _ = digits()
    bound, threes = training.load(trained(0)), train.y == 3
    assert "class '3' is left" in still_said(bound, train.take(~threes), train.take(threes))
    stays = threes & (np.cumsum(threes) == 1)
    assert still_said(bound, train.take(~threes | stays), train.take(threes & ~stays)) == ""


def test_of_relabelled_rows_nothing_is_said_to_be_removed(monkeypatch):
    monkeypatch.setattr(_response.Settled, "step", lambda self, *given: torch.zeros_like(self.of.bound.flat))
    train, _ = digits()
    ids = tuple(train.ids[train.y == 3].tolist())
    notes = list[str]()
    step = unlearning.make("influence_step")
    step(trained(0), train, Selection(ids, "relabel", {}, ("5",) * len(ids)), report=lambda event: notes.append(event.note))
    assert re.search(r"No training row of class '3' is left, .* of \d+% of its relabelled rows\. Choose retrain\.$", notes[-1])


@pytest.mark.parametrize("name", METHODS)
def test_two_classes_must_remain(name):
    train, _ = digits()
    rest = Selection(tuple(train.ids[train.y != 3].tolist()))
    with pytest.raises(BadInput, match="Only rows of class '3' would remain, and a model needs two"):
        unlearning.make(name)(trained(3 if name == "sisa" else 0), train, rest)


def test_the_loss_to_expect_of_a_class_that_goes_whole_is_near_that_of_retraining(monkeypatch):
    monkeypatch.setattr(_neighbours, "ASKED", 4096)
    train, _ = digits()
    before, threes = trained(0), train.y == 3
    recipe = before.recipe
    found = _neighbours.expected_losses(training.load(before), recipe, train.take(~threes), train.take(threes))
    rest = train.take(~threes)
    own = -grads.outputs(training.load(before), rest).log_softmax(1)[:, 3].mean()
    assert float(found[3]) == pytest.approx(float(own), rel=1e-5)
    again = unlearning.make("retrain")(before, train, Selection(tuple(train.ids[threes].tolist())))
    real = float(-grads.outputs(training.load(again), train.take(threes)).log_softmax(1)[:, 3].mean())
    assert 0.5 * real < float(found[3]) < 2 * real
    assert (np.delete(found.numpy(), 3) == 0).all()


@dataclass(frozen=True)
class Frozen:
    """A network of which the first layer is frozen."""

    def __call__(self) -> nn.Module:
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
        net[1].requires_grad_(False)
        return net


@pytest.mark.parametrize("name", METHODS)
def test_frozen_parameters(name):
    train, _ = digits()
    torch.manual_seed(0)
    final = training.checkpoint({k: v.detach().clone() for k, v in Frozen()().state_dict().items()}, 1, 0.1)
    before = Trained(Frozen(), (final,), Recipe(batch_size=64, epochs=2), "trained", None, ())
    method, some = unlearning.make(name), Selection(tuple(train.ids[:20].tolist()))
    if method.unavailable(before):
        return
    if name in ("influence_step", "newton_head", "ssd"):
        made = method(before, train, some)
        assert torch.equal(made.final.load()["1.weight"], final.load()["1.weight"])
        return
    with pytest.raises(BadInput, match=r"2 of 4 parameters of this model are frozen \('1.weight'\)"):
        method(before, train, some)


def test_training_with_frozen_parameters_is_refused():
    train, _ = digits()
    with pytest.raises(BadInput, match="are frozen"):
        training.train(Frozen(), train, Recipe(epochs=1))
    with pytest.raises(BadInput, match="are frozen"):
        training.train_many(Frozen(), train, Recipe(epochs=1), np.ones((2, len(train))))
