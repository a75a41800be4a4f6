"""The page Suspects on a real small project: search, read, retrain, choose."""

from __future__ import annotations

import numpy as np
import pytest

from influence.actions import confirm_suspects
from influence.conditions import met, read
from influence.types import Selection
from influence.ui import choosing, words
from tests import investigation
from tests.investigation import by_key, done, opened, ran, said

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker


def searched(made, **address: str):
    """The page with what a search found, for the loss of the small loans."""
    project, runs = made
    at = opened("suspects", run=runs["loans"], query="loss", **address)
    button = [b for b in at.button if b.key == "suspects.search"]
    if button:
        ran(button[0].click().run())
        done(project)
        ran(at.run())
    return at


def test_patterns_are_searched_for_and_told(made):
    project, _ = made
    at = searched(made)
    note = next(n for n in project.notes("suspects/").values() if n["query"]["name"] == "loss")
    table = project.table(note["table"])
    first = table.iloc[0]
    text = said(at)
    assert f"Of {note['looked_at']:,} patterns looked at, the first suspect is **{first['rule']}**" in text
    assert f"lower it by **{words.number(first['effect'])}** ({words.interval(first['low'], first['high'])})" in text
    shown = next(e.value for e in at.dataframe if "rule" in e.value)
    assert shown["rule"].tolist() == table["rule"].tolist()
    assert shown["realised"].isna().all()
    np.testing.assert_allclose(shown["share"], table["n"] / note["n"])


def test_what_retraining_says_stands_beside(made):
    project, runs = made
    at = searched(made)
    button = next(b for b in at.button if str(b.key).startswith("suspects.check."))
    assert button.label.startswith("Retrain without the ")
    ran(button.click().run())
    told = done(project)
    ran(at.run())
    shown = next(e.value for e in at.dataframe if "rule" in e.value)
    assert len(told["confirmed"]) == min(3, len(shown))
    for place, entry in enumerate(told["confirmed"]):
        assert shown["realised"][place] == pytest.approx(-entry["same"]["evaluation"]["value"]["change"])
        assert shown["holdout"][place] == pytest.approx(-entry["same"]["holdout"]["value"]["change"])
        before, change = (entry["same"]["holdout"]["measured"][name] for name in ("before", "change"))
        assert shown["became"][place] == f"{words.number(before)} → {words.number(before + change)}"
    note = next(n for n in project.notes("suspects/").values() if n["query"]["name"] == "loss")
    pattern = project.table(note["table"])["conditions"][0]
    assert confirm_suspects.kept(project, runs["loans"], note["query"], pattern) == told["confirmed"][0]


def test_rows_of_a_pattern_become_the_selection(made):
    project, runs = made
    at = searched(made)
    ran(by_key(at.button, "suspects.choose").click().run())
    note = next(n for n in project.notes("suspects/").values() if n["query"]["name"] == "loss")
    first = project.table(note["table"]).iloc[0]
    chosen = project.current()
    train = project.dataset(project.run(runs["loans"]).dataset).train
    assert chosen.reason["rule"] == "pattern"
    assert chosen.ids == tuple(train.ids[met(read(first["conditions"]), train.columns)].tolist())
    assert f"rows where {first['rule']}" in said(at)


def test_another_search_is_another_button(made):
    at = searched(made)
    ran(by_key(at.toggle, "suspects.label").set_value(True).run())
    assert any(b.key == "suspects.search" for b in at.button)
    assert not any("Patterns behind" in s.value for s in at.subheader)


def test_a_numeric_target_is_not_relabelled(made):
    _, runs = made
    at = opened("suspects", run=runs["numeric"])
    assert not [c for c in at.segmented_control if c.key == "suspects.remedy"]


def test_several_patterns_are_one_step_of_the_selection(made):
    """Only the rows of both patterns that were selected before stay, whatever the order of the patterns."""
    project, runs = made
    searched(made)
    note = next(n for n in project.notes("suspects/").values() if n["query"]["name"] == "loss")
    run = project.run(runs["loans"])
    train, rules = (
        project.dataset(run.dataset).train,
        ['[{"column": "group", "is_": "equal to", "value": "A"}]', '[{"column": "branch", "is_": "equal to", "value": "North"}]'],
    )
    before = train.ids[:200]
    project.choose(Selection(tuple(before.tolist()), reason={"rule": "rows", "dataset": run.dataset}))
    choosing.find_any(run, "pattern", [{"conditions": r} for r in rules], None, "Keep only those in both")
    either = np.logical_or.reduce([met(read(r), train.columns) for r in rules])
    assert set(project.current().ids) == set(train.ids[either]) & set(before)
    assert note


def test_equal_ends_of_the_share_are_told(made):
    at = searched(made)
    slider = by_key(at.select_slider, "suspects.share")
    ran(slider.set_value((0.7, 0.7)).run())
    assert "patterns of so many rows or more" in said(at)
    button = by_key(at.button, "suspects.search")
    ran(button.click().run())
    done(made[0])
