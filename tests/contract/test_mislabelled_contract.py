"""What every registered score of labels must hold to; a new file in `influence/mislabelled/` is tested here without another line."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import is_dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from influence.digest import digest
from influence.errors import BadInput, Cancelled
from influence.finders.top_k import TopK
from influence.registry import described, mislabelled, settings
from influence.training import train
from influence.types import Event, Examples, Trained, leaves
from influence.workspace import Workspace
from tests.tiny import bind, recipe

NAMES = sorted(mislabelled.classes)
QUICK = {"out_of_sample": {"repeats": 2}}
N, WRONG = 120, 12


def made(name: str) -> Any:
    return mislabelled.make(name, QUICK.get(name))


@cache
def problem(kind: str = "mlp", classes: int = 3) -> tuple[Trained, Examples, np.ndarray]:
    """A trained model, its rows and which of their labels are wrong (those of three clear clouds, flipped)."""
    rng = np.random.default_rng(0)
    y = np.arange(N) % 3
    x = rng.normal(size=(N, 4)) + 3 * np.eye(4)[y]
    wrong = np.zeros(N, dtype=bool)
    wrong[rng.choice(N, WRONG, replace=False)] = True
    given = np.where(wrong, (y + 1 + rng.integers(0, 2, N)) % 3, y) if classes else x[:, 0]
    names = tuple(f"class {c}" for c in range(classes))
    rows = Examples(x, given, rng.permutation(np.arange(500, 500 + N)), pd.DataFrame({"group": y}), names)
    how = recipe(loss="cross_entropy" if classes else "squared", batch_size=20, epochs=8, lr=0.1 if classes else 0.01, checkpoints=4)
    return train(bind(kind, rows), rows, how), rows, wrong


@pytest.mark.parametrize("name", NAMES)
def test_scores_have_their_form_and_the_inputs_stay_as_they_were(name):
    trained, rows, _ = problem()
    for array in (*leaves(rows.x), rows.y, rows.ids):
        array.setflags(write=False)
    before = digest({"x": rows.x, "y": rows.y, "ids": rows.ids, "columns": rows.columns})
    scores = made(name)(trained, rows)
    assert scores.values.shape == (N, 1)
    assert scores.values.dtype == np.float64
    assert (scores.labels, scores.method, scores.calibrated) == (("label error",), name, False)
    np.testing.assert_array_equal(scores.ids, rows.ids)
    assert digest({"x": rows.x, "y": rows.y, "ids": rows.ids, "columns": rows.columns}) == before


@pytest.mark.parametrize("name", NAMES)
def test_the_same_twice_in_any_order_of_rows(name):
    trained, rows, _ = problem()
    found = made(name)(trained, rows).values
    np.testing.assert_array_equal(made(name)(trained, rows).values, found)
    order = np.random.default_rng(3).permutation(N)
    np.testing.assert_allclose(made(name)(trained, rows.take(order)).values, found[order], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["logistic", "mlp"])
def test_wrong_labels_come_first_and_top_k_takes_them(name, kind):
    trained, rows, wrong = problem(kind)
    scores = made(name)(trained, rows)
    assert roc_auc_score(wrong, scores.column()) > 0.95
    found = rows.mask(TopK(k=WRONG, label="label error", better="higher")(scores, rows).ids)
    assert wrong[found].mean() > 0.7


@pytest.mark.parametrize("name", NAMES)
def test_suggested_labels_are_places_in_the_classes_and_often_right(name):
    trained, rows, wrong = problem()
    suggested = made(name).labels(trained, rows)
    assert suggested.shape == (N,)
    assert set(suggested.tolist()) <= {0, 1, 2}
    assert (suggested == rows.columns["group"].to_numpy())[wrong].mean() > 0.7


@pytest.mark.parametrize("name", NAMES)
def test_a_number_for_a_target_is_refused_in_a_sentence(name):
    trained, rows, _ = problem(classes=0)
    with pytest.raises(BadInput, match=r"^Wrong labels are looked for among classes; this target is a number\. .*\.$"):
        made(name)(trained, rows)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_recipe_it_works_or_says_why_not(name):
    trained, rows, _ = problem()
    for bare in (replace(trained, recipe=None), replace(trained, claim="L1")):
        reason = made(name).unavailable(bare)
        if not reason:
            expected = made(name)(trained, rows).values
            exact = {"rtol": 1e-10} if bare.recipe else {"rtol": 2e-2, "atol": 1e-3}  # without a recipe in float32
            np.testing.assert_allclose(made(name)(bare, rows).values, expected, **exact)
            continue
        assert re.match(r"[A-Za-z].*\. .*\.$", reason)
        with pytest.raises(BadInput, match=re.escape(reason)):
            made(name)(bare, rows)


@pytest.mark.parametrize("name", NAMES)
def test_progress_goes_forwards_to_its_end_and_can_be_stopped(name, tmp_path):
    trained, rows, _ = problem()
    events: list[Event] = []
    made(name)(trained, rows, events.append)
    assert events
    assert all(0 <= event.done <= event.total for event in events)
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert events[-1].done == events[-1].total

    def stop(event: Event) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        made(name)(trained, rows, stop, Workspace(tmp_path))
    assert not list(tmp_path.rglob("manifest.json"))


@pytest.mark.parametrize("name", NAMES)
def test_is_settings_with_help_and_says_what_it_is(name):
    cls = mislabelled.classes[name]
    assert is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    assert mislabelled.make(**described(made(name))) == made(name)
    assert all(s.help for s in settings(cls))
    assert cls.needs
    assert cls.cost
    assert inspect.getdoc(sys.modules[cls.__module__])
    assert mislabelled.explain(name)
