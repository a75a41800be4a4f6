"""Labels corrected instead of rows removed: against training on the corrected labels, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits

from influence import grads, training
from influence.actions._monitor import margins_of
from influence.errors import BadInput
from influence.registry import models, unlearning
from influence.types import Examples, Recipe, Selection, Trained

OPEN = ("influence_step", "retrain")


@cache
def wrong() -> tuple[Examples, Selection, Trained]:
    """Digits of which 60 training rows have a wrong label, their correction, and the model that learnt the wrong ones."""
    torch.set_num_threads(1)
    bunch, ids = load_digits(), np.arange(1797)
    x, y = (bunch.images[:, None] / 16).astype(np.float32), bunch.target.astype(np.int64)
    here = ids % 3 > 0
    flipped = np.random.default_rng(0).choice(ids[here], 60, replace=False)
    noisy = y.copy()
    noisy[flipped] = (y[flipped] + 3) % 10
    train = Examples(x, noisy, ids, pd.DataFrame({"row": ids}), tuple("0123456789")).take(here)
    selection = Selection(tuple(flipped.tolist()), "relabel", {"rule": "rows"}, tuple(str(k) for k in y[flipped]))
    model = replace(models.make("mlp"), inputs=train.shape, outputs=10)
    return train, selection, training.train(model, train, Recipe(batch_size=64, epochs=25))


def corrected(train: Examples, selection: Selection) -> Examples:
    y = train.y.copy()
    y[[np.flatnonzero(train.ids == i)[0] for i in selection.ids]] = [int(label) for label in selection.labels]
    return replace(train, y=y)


def margins(trained: Trained, rows: Examples) -> np.ndarray:
    return margins_of(grads.outputs(training.load(trained), rows).numpy(), rows)


def test_retraining_is_training_on_the_corrected_labels():
    train, selection, before = wrong()
    made = unlearning.make("retrain")(before, train, selection)
    assert made.final.digest == training.train(before.model, corrected(train, selection), before.recipe).final.digest
    assert (made.claim, made.removed) == ("L2", ())
    assert (train.y != corrected(train, selection).y).sum() == 60  # the rows given are as they were


def test_the_step_comes_nearer_to_retraining_on_corrected_labels_than_removing_the_rows_does():
    train, selection, before = wrong()
    truth = unlearning.make("retrain")(before, train, selection)
    rows = corrected(train, selection).take(train.mask(selection.ids))
    made = unlearning.make("influence_step")(before, train, selection)
    removed = unlearning.make("influence_step")(before, train, replace(selection, action="remove", labels=()))
    still, step, without = (np.abs(margins(found, rows) - margins(truth, rows)).mean() for found in (before, made, removed))
    assert step < 0.5 * still
    assert step < without
    assert (made.claim, made.removed) == ("L1", ())


def linear(optimizer: str = "sgd", **recipe: object) -> tuple[Examples, Selection, Trained]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 4))
    y = x @ [1.0, -1.0, 0.5, 0.0] + 0.1 * rng.normal(size=200)
    old = y.copy()
    old[:10] += 3
    train = Examples(x, old, np.arange(200), pd.DataFrame(index=range(200)))
    model = replace(models.make("logistic"), inputs=(4,), outputs=1)
    how = Recipe(loss="squared", optimizer=optimizer, lr=0.1, epochs=300, batch_size=200, dtype="float64", **recipe)
    return train, Selection(tuple(range(10)), "relabel", {}, tuple(y[:10].tolist())), training.train(model, train, how)


def test_linear_regression_has_the_closed_form():
    train, selection, before = linear()
    made = unlearning.make("influence_step", {"products": 20})(before, train, selection)
    y = train.y.copy()
    y[:10] = selection.labels
    ones = np.c_[train.x, np.ones(200)]
    goal, start = (ones @ np.linalg.lstsq(ones, target, rcond=None)[0] for target in (y, train.y))
    found, old = (grads.outputs(training.load(it), train).numpy()[:, 0] for it in (made, before))
    assert np.abs(old - start).max() < 0.02 * np.abs(goal - start).max()  # training ended near the optimum
    assert np.abs(found - goal).max() < 0.05 * np.abs(old - goal).max()
    again = unlearning.make("retrain")(before, train, selection)
    assert np.abs(grads.outputs(training.load(again), train).numpy()[:, 0] - goal).max() < 0.02 * np.abs(goal - start).max()


@pytest.mark.parametrize("name", sorted(unlearning.classes))
def test_other_methods_say_that_they_only_remove(name):
    train, selection, before = wrong()
    assert getattr(unlearning.classes[name], "relabels", False) == (name in OPEN)
    if name not in OPEN and not unlearning.make(name).unavailable(before):
        with pytest.raises(BadInput, match=r"only removes rows; the selection is to relabel them\. Choose retrain or influence_step"):
            unlearning.make(name)(before, train, selection)


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize(
    ("ids", "labels", "says"),
    [
        ((), (), "The selection is empty"),
        ((1, 2), ("3",), "2 rows are to be relabelled and 1 labels are given"),
        ((1, 2), ("3", "ten"), "'ten' is none of the classes: 0, 1"),
        ((1, 10**9), ("3", "4"), "1 of 2 ids"),
    ],
)
def test_refuses(name, ids, labels, says):
    train, _, before = wrong()
    with pytest.raises(BadInput, match=says):
        unlearning.make(name)(before, train, Selection(ids, "relabel", {}, labels))


@pytest.mark.parametrize("name", OPEN)
def test_refuses_a_label_that_the_row_has_and_a_class_alone(name):
    train, selection, before = wrong()
    has = tuple(train.classes[k] for k in train.y[:2])
    with pytest.raises(BadInput, match=f"1 of 2 rows have that label already, for example row {train.ids[0]} the label '{has[0]}'"):
        unlearning.make(name)(before, train, Selection(tuple(train.ids[:2].tolist()), "relabel", {}, (has[0], str((int(has[1]) + 1) % 10))))
    others = train.ids[train.y != 3]
    with pytest.raises(BadInput, match="Only rows of class '3' would remain"):
        unlearning.make(name)(before, train, Selection(tuple(others.tolist()), "relabel", {}, ("3",) * len(others)))
    gone = replace(before, removed=selection.ids)
    with pytest.raises(BadInput, match="All 60 selected rows were removed from this model"):
        unlearning.make(name)(gone, train, selection)


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("label", ["much", None, float("inf")])
def test_refuses_what_is_no_number(name, label):
    train, _, before = linear()
    with pytest.raises(BadInput, match=r"The target is a number, and the new label .* is none"):
        unlearning.make(name)(before, train, Selection((1,), "relabel", {}, (label,)))


@pytest.mark.parametrize("name", OPEN)
def test_relabel_then_remove_then_relabel(name):
    train, selection, before = wrong()
    first, second = (replace(selection, ids=selection.ids[a:b], labels=selection.labels[a:b]) for a, b in ((0, 20), (20, 40)))
    last, rows, method = Selection(selection.ids[40:]), train, unlearning.make(name)
    made = method(before, rows, first)
    rows = corrected(rows, first)
    made = method(made, rows, last)
    made = method(made, rows, second)
    assert made.removed == last.ids
    rows = corrected(rows, second)
    truth = training.train(before.model, rows, before.recipe, removed=last.ids)
    if name == "retrain":
        assert made.final.digest == truth.final.digest
        return
    asked = rows.take(rows.mask(selection.ids))
    still, step = (np.abs(margins(found, asked) - margins(truth, asked)).mean() for found in (before, made))
    assert step < 0.5 * still


def test_the_identity_of_a_selection_holds_its_labels():
    one = Selection((1, 2), "relabel", {}, ("a", "b"))
    assert one.digest == Selection((2, 1), "relabel", {"rule": "other"}, ("b", "a")).digest
    assert len({one.digest, Selection((1, 2), "relabel", {}, ("b", "a")).digest, Selection((1, 2)).digest}) == 3
