"""Requests to delete rows, one after another, on the pages Plan and Run: what earlier ones removed stays out, and is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from influence.actions import perform
from influence.store import Project
from influence.types import Selection
from tests import drawing
from tests.drawing import SMALL, address, links, press, text

no_worker, shown = drawing.no_worker, drawing.shown


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SimpleNamespace:
    """A model, one without its first 50 rows, and of that one without 5 more, fitted anew; tests change nothing but the selection."""
    project = Project(tmp_path_factory.mktemp("requests") / "p")
    first = perform("train", project, SMALL)["run"]
    train = project.dataset(project.run(first).dataset).train
    ids = train.ids.tolist()
    second = perform("unlearn", project, {"run": first, "ids": ids[:50], "method": "retrain"})["run"]
    given = {"run": second, "ids": ids[50:55], "method": "retrain", "set": {"preprocessing": "refitted"}}
    third = perform("unlearn", project, given)["run"]
    return SimpleNamespace(project=project, first=first, second=second, third=third, ids=ids)


def choose(made: SimpleNamespace, ids: list, **more) -> None:
    data = made.project.run(made.first).dataset
    made.project.choose(Selection(tuple(ids), reason={"words": "rows of a request", "dataset": data}, **more))


def test_a_further_request_begins_at_the_model_that_the_last_one_made(made, shown):
    choose(made, made.ids[50:90])
    at = shown(made.project, "plan", run=made.second)
    said = text(at)
    assert "A further request begins here" in said
    assert "Predictions follow a training by its recipe" in said
    assert links(at)["See predictions on the original"] == "plan"
    assert links(at)["Unlearn these rows"] == "run"
    assert "40 training rows" in said
    assert "would be back" not in said
    assert "Prepare the preview" not in [b.label for b in at.main.button]


@pytest.mark.parametrize("page", ["plan", "run"])
def test_rows_that_would_be_back_are_told_with_the_way_to_keep_them_out(made, shown, page):
    choose(made, made.ids[40:90])
    at = shown(made.project, page, run=made.first)
    assert "40 rows that were removed in " in text(at)
    press(at, "Run it on that model")
    assert address(at, "run") == made.third
    assert at.title[0].value == "Run"
    assert "would be back" not in text(at)
    assert "rows of a request" in text(at), "they are rows of that model's data, too"


def test_nothing_comes_back_of_rows_that_are_asked_for_again(made, shown):
    choose(made, made.ids[:60])
    assert "would be back" not in text(shown(made.project, "run", run=made.first))
    choose(made, made.ids[:60], action="relabel", labels=("approved",) * 60)
    assert "55 rows that were removed in " in text(shown(made.project, "run", run=made.first))


def test_rows_that_are_gone_already_are_not_offered_for_removal(made, shown):
    choose(made, made.ids[:50])
    for page in ("plan", "run"):
        at = shown(made.project, page, run=made.second)
        assert "All 50 selected rows were already removed from this model." in text(at)
        assert {"Compare it with the other models", "Run on the original"} <= set(links(at))
        assert "Unlearn these rows" not in links(at)
        assert not [b for b in at.main.button if b.label == "Start unlearning"]


def test_only_rows_that_are_still_there_are_counted(made, shown):
    choose(made, made.ids[40:90])
    at = shown(made.project, "run", run=made.second)
    total = len(made.ids) - 50
    assert f"**40 rows** of {total:,} training rows" in text(at)
    assert "10 of the 50 selected were already removed." in text(at)
    assert [b for b in at.main.button if b.label == "Start unlearning"]
