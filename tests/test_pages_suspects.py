"""The page Suspects on a real small project: search, read, retrain, choose."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from influence.actions import confirm_suspects, outliers, perform, sources
from influence.actions.attribute import kept as kept_scores
from influence.conditions import met, read
from influence.groups import groups_of
from influence.types import Selection
from influence.ui import choosing, sourcing, suspecting, unhelpful, words
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
    assert f"lower it by **{words.number(first['effect'])}** (95 % {words.interval(first['low'], first['high'])})" in text
    shown = next(e.value for e in at.dataframe if "rule" in e.value)
    assert shown["rule"].tolist() == table["rule"].tolist()
    assert not {"holdout", "evaluation"} & set(shown)
    assert "etrained" not in "\n".join(m.value for m in at.markdown) + "\n".join(c.value for c in at.caption)
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
        for role in ("holdout", "evaluation"):
            before, change = (entry["same"][role]["measured"][name] for name in ("before", "change"))
            assert shown[role][place] == f"{words.number(before)} → {words.number(before + change)}"
            assert f"from **{words.number(before)}** to **{words.number(before + change)}** on the" in said(at)
        assert f"it changed by {words.signed(entry['same']['evaluation']['value']['change'])}." in said(at)
    assert (shown["holdout"][len(told["confirmed"]) :] == "not retrained").all()
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


def opened_kind(made, kind: str, run: str = "loans", query: str = "loss"):
    _project, runs = made
    at = opened("suspects", run=runs[run], query=query)
    return ran(at.segmented_control(key="suspects.kind").set_value(kind).run())


def pressed(made, at, key: str):
    """Press a button that asks for work, unless what it finds is kept, and draw the page again."""
    button = [b for b in at.button if b.key == key]
    if button:
        ran(button[0].click().run())
        done(made[0])
        ran(at.run())
    return at


def test_whole_sources_are_weighed_chosen_and_withdrawn(made, monkeypatch):
    project, runs = made
    at = opened_kind(made, "Whole sources")
    ran(by_key(at.selectbox, "sources.column").set_value("year").run())
    pressed(made, at, "sources.search")
    note = next(n for n in project.notes("sources/").values() if n["settings"]["column"] == "year" and n["run"] == runs["loans"])
    table = project.table(note["table"])
    shown = next(e.value for e in at.dataframe if "block" in e.value)
    assert shown["block"].tolist() == table["block"].tolist() == sorted(table["block"])
    first = table.iloc[int((-table["change"]).argmax())]
    assert f"**year: {first['block']}**" in said(at)
    assert f"{words.signed(first['change'])} (95 % {words.interval(first['low'], first['high'])})" in said(at)
    assert shown["size"].tolist() == [sourcing.against(block) for _, block in table.iterrows()]
    sure = first["low"] > 0 or first["high"] < 0
    assert ("The interval contains 0" if not sure else sourcing.against(first)) in said(at)
    assert "More than a tenth of the rows" in said(at)
    assert not [b for b in at.get("markdown") if "Retrained without" in b.value]
    assert not [b for b in at.button if str(b.key).startswith("suspects.check.") or b.key == "suspects.choose"], "nothing is ticked"
    tick(monkeypatch, int((-table["change"]).argmax()))
    ran(at.run())
    button = next(b for b in at.button if str(b.key).startswith("suspects.check."))
    ran(button.click().run())
    told = done(project)["confirmed"][0]["same"]["holdout"]["measured"]
    ran(at.run())
    assert f"from **{words.number(told['before'])}** to **{words.number(told['before'] + told['change'])}** on the" in said(at)
    ran(by_key(at.button, "suspects.choose").click().run())
    train = project.dataset(project.run(runs["loans"]).dataset).train
    assert project.current().ids == tuple(train.ids[met(read(first["conditions"]), train.columns)].tolist())
    assert project.current().reason["words"] == f"rows where year = {first['block']}"


def tick(monkeypatch, *places: int) -> None:
    """Tick blocks in the table, as somebody does in a browser: the page is drawn, and these are the ticked ones."""
    usual = sourcing._table
    monkeypatch.setattr(sourcing, "_table", lambda *args: [usual(*args), list(places)][1])


def test_what_a_block_is_told_to_do_follows_its_intervals():
    block = pd.Series({"change": 2.0, "low": 1.0, "high": 3.0, "random_low": -1.0, "random_high": 1.5})
    assert sourcing.against(block) == "more than its size"
    assert sourcing.against(block.where(block.index != "random_high", 2.5)) == "no more than its size"
    assert sourcing.against(block.where(block.index != "low", -1.0)) == "interval contains 0"
    down = pd.Series({"change": -0.17, "low": -0.25, "high": -0.1, "random_low": -1.1, "random_high": -0.9})
    assert sourcing.against(down) == "less than its size", "random blocks do far more"
    assert (
        sourcing.against(-block.rename({"low": "high", "high": "low", "random_low": "random_high", "random_high": "random_low"}))
        == sourcing.MORE
    )


@pytest.mark.parametrize("run", ["numeric", "groupless", "unlearned"])
def test_every_kind_of_suspect_opens_for_every_kind_of_model(made, run):
    for kind in ("Whole sources", "Copies", "Outliers", "Helps nobody"):
        at = opened_kind(made, kind, run)
        assert [b.key for b in at.button if str(b.key).endswith((".search", ".look"))] or "Bring a" in said(at)


def test_copies_and_outliers_become_the_selection(made):
    project, _runs = made
    at = pressed(made, opened_kind(made, "Outliers", "classes"), "outliers.look")
    ran(by_key(at.number_input, "outliers.k").set_value(3).run())
    ran(by_key(at.button, "outliers.choose").click().run())
    assert len(project.current()) == 3
    assert project.current().reason["rule"] == "outliers"
    at = pressed(made, opened_kind(made, "Copies", "classes"), "copies.look")
    assert "no copies" in said(at)
    ran(by_key(at.select_slider, "copies.distance").set_value(0.3).run())
    pressed(made, at, "copies.look")
    assert "clusters" in said(at)
    ran(by_key(at.button, "copies.choose").click().run())
    assert project.current().reason["rule"] == "duplicates"
    assert project.current().reason["distance"] == 0.3


def test_rows_that_help_nobody_are_told_and_chosen(made):
    project, _runs = made
    at = pressed(made, opened_kind(made, "Helps nobody"), "nobody.look")
    assert "the holdout rows have the last word" in said(at)
    assert "**Retrained** without them" not in said(at)
    pressed(made, at, "nobody.check")
    assert "**Retrained** without them" in said(at)
    ran(by_key(at.button, "nobody.choose").click().run())
    assert project.current().reason["rule"] == "helps_nobody"
    assert project.current().reason["scores"]


def test_a_model_that_cannot_be_trained_again_says_so_instead_of_a_button(made):
    """Made by an approximate method: retraining by its recipe would not give its weights."""
    at = opened_kind(made, "Whole sources", "unlearned")
    ran(by_key(at.selectbox, "sources.column").set_value("year").run())
    pressed(made, at, "sources.search")
    assert "Retraining follows the recipe" in said(at)
    assert not [b for b in at.button if str(b.key).startswith("suspects.check")]
    pressed(made, at := opened_kind(made, "Helps nobody", "unlearned"), "nobody.look")
    assert "Retraining follows the recipe" in said(at)
    assert not [b for b in at.button if b.key == "nobody.check"]


def test_blocks_of_an_unlearned_model_are_chosen_without_the_rows_that_it_lacks(made):
    project, runs = made
    run = project.run(runs["unlearned"])
    train, gone = project.dataset(run.dataset).train, set(run.body["removed"])
    year = str(train.columns["year"][train.mask(tuple(gone))].mode()[0])
    rule = f'[{{"column": "year", "is_": "equal to", "value": "{year}"}}]'
    choosing.find(run, "pattern", {"conditions": rule}, None, "Replace the selection")
    held = set(train.ids[met(read(rule), train.columns)].tolist())
    assert held & gone
    assert set(project.current().ids) == held - gone
    assert "made without 20 rows of the training rows looked at here" in said(
        pressed(made, opened_kind(made, "Copies", "unlearned"), "copies.look")
    )


def test_outliers_that_a_model_was_made_without_are_neither_listed_nor_chosen(made, monkeypatch):
    project, runs = made
    run = project.run(runs["unlearned"])
    found = perform("outliers", project, {"run": run.id})
    scores = project.scores(found["scores"])
    top = scores.ids[np.argsort(-scores.column(), kind="stable")].tolist()
    monkeypatch.setitem(run.body, "removed", top[:3])
    kept = outliers.remaining(run, scores)
    choosing.find(run, "outliers", {"k": 5}, kept, "Replace the selection")
    assert project.current().ids == tuple(top[3:8])
    assert project.current().reason["k"] == 5
    left = [id for id in top if id not in set(project.run(run.id).body["removed"])]
    assert [row["id"] for row in found["first"]] == left[: len(found["first"])]
    at = pressed(made, opened_kind(made, "Outliers", "unlearned"), "outliers.look")
    listed = next(e.value for e in at.dataframe if "factor" in e.value)
    assert listed["id"].tolist() == left[: len(listed)]
    assert "made without 20 rows of them, which are not listed" in said(at)
    assert by_key(at.number_input, "outliers.k").max == len(left)


def test_new_seeds_of_blocks_are_shown_and_blocks_together_have_an_interval(made, monkeypatch):
    project, runs = made
    at = opened_kind(made, "Whole sources")
    ran(by_key(at.selectbox, "sources.column").set_value("branch").run())
    pressed(made, at, "sources.search")
    note = next(n for n in project.notes("sources/").values() if n["settings"]["column"] == "branch" and n["run"] == runs["loans"])
    table = project.table(note["table"])
    tick(monkeypatch, 0)
    ran(at.run())
    ran(by_key(at.toggle, "suspects.fresh").set_value(True).run())
    ran(next(b for b in at.button if str(b.key).startswith("suspects.check.")).click().run())
    told = done(project)["confirmed"][0]["fresh"]["holdout"]["measured"]
    ran(at.run())
    assert f"With 3 new seeds: {words.signed(told['change'])} on the" in said(at)
    assert f"(95 % {words.interval(told['low'], told['high'])})." in said(at)
    total, low, high = sources.together(table.iloc[:2], note["n"])
    monkey = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sourcing.st, "markdown", monkey.append)
        patch.setattr(sourcing.state, "project", lambda: project)
        sourcing._together(project.run(runs["loans"]), note, table.iloc[:2], ["no such pattern"])
    assert f"predicted to change by {words.signed(total)} (95 % {words.interval(low, high)})." in monkey[0]


def test_a_figure_of_now_has_its_interval_and_n(made):
    project, runs = made
    run = project.run(runs["loans"])
    loss = run.body["evaluation_metrics"]["intervals"]["loss"]
    whole = f"Mean loss is {words.figure(loss)} evaluation rows"
    assert whole in said(searched(made))
    at = opened_kind(made, "Whole sources")
    pressed(made, at, "sources.search")
    assert whole in said(at)


def test_names_with_marks_stand_in_headings_letter_by_letter(made):
    _, runs = made
    at = opened("suspects", run=runs["classes"], query="group_rate", group="side", **{"influence.query.group_rate.side.which": "right*2*"})
    button = [b for b in at.button if b.key == "suspects.search"]
    if button:
        ran(button[0].click().run())
        done(made[0])
        ran(at.run())
    assert any("right\\*2\\*" in one.value for one in at.subheader)


def test_of_many_groups_it_is_said_how_many_were_asked(made):
    """Three rows are of a tiny group, too few to ask."""
    project, runs = made
    run = project.run(runs["classes"])
    every = len(groups_of(project.dataset(run.dataset).evaluation, "side").names)
    labels = [f"Loss of {k} (side)" for k in range(every)]
    assert unhelpful._asked(run, {"labels": labels, "group": "side"}) == "of every group by side"
    assert unhelpful._asked(run, {"labels": labels[1:], "group": "side"}) == f"of each of the {every - 1} largest of {every} groups by side"


def test_what_two_tabs_add_at_once_is_all_selected(made, monkeypatch):
    """Whoever adds reads the selection and writes another: nobody may write in between."""
    project, runs = made
    run = project.run(runs["loans"])
    ids, start = project.dataset(run.dataset).train.ids[:40].tolist(), threading.Barrier(2, timeout=20)
    usual = choosing.own
    monkeypatch.setattr(choosing, "own", lambda run: (usual(run), time.sleep(0.05))[0])
    monkeypatch.setattr(choosing.state, "selection", project.current)

    def add(some: list) -> None:
        start.wait()
        for id in some:
            choosing.find(run, "rows", {"ids": str(id)}, None, "Add to the selection")

    both = [threading.Thread(target=add, args=(ids[k::2][:4],)) for k in (0, 1)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert set(project.current().ids) == set(ids[:8])


def test_a_question_that_cannot_be_answered_is_told_before_any_work(made):
    """Of ten classes each group has too few rows of one: another question stands there at first, and the button says why it is shut."""
    project, runs = made
    run = project.run(runs["groupless"])
    group = next(iter(run.body["groups"]))
    at = opened("suspects", run=run.id, group=group)
    asked = by_key(at.selectbox, "influence.query").value
    assert not by_key(at.button, "suspects.search").disabled
    assert asked != "equal_opportunity_gap"
    at = opened("suspects", run=run.id, group=group, query="equal_opportunity_gap")
    assert by_key(at.button, "suspects.search").disabled
    assert "two of them need at least 10 rows of the kind compared" in said(at)
    assert "ask about another question" in said(at)


def test_the_selection_is_told_by_protected_columns_together(made, monkeypatch):
    project, runs = made
    run = project.run(runs["loans"])
    data = project.dataset(run.dataset)
    both = replace(data, protected=("group", "branch"))
    monkeypatch.setattr(choosing.state, "dataset", lambda run: both)
    monkeypatch.setattr(choosing.state, "project", lambda: project)
    assert choosing._together(run) == "group & branch"
    groups, mask = groups_of(data.train, "group & branch"), np.arange(len(data.train)) < 40
    told = choosing.composition(groups, mask, "group & branch")
    assert len(told) <= choosing.VALUES
    assert told["selected"].sum() == 40
    assert told["all"].sum() == len(data.train)
    assert told["value"].iloc[-1].endswith("others") == (len(groups.names) > choosing.VALUES)


def test_a_numeric_target_is_suspected_and_retrained_in_its_own_unit(made):
    project, runs = made
    run = project.run(runs["numeric"])
    unit, mae = project.dataset(run.dataset).encoding["target"]["sd"], run.body["evaluation_metrics"]["intervals"]["mae"]["value"]
    rule = '[{"column": "side", "is_": "equal to", "value": "left_1"}]'
    entry = perform("confirm_suspects", project, {"query": "loss", "patterns": [rule], "run": run.id})["confirmed"][0]["same"]["evaluation"]
    assert entry["measured"]["before"] == pytest.approx(mae, rel=1e-5)
    blocks = perform("sources", project, {"query": "loss", "column": "side", "run": run.id})
    assert blocks["value"]["measured"] == pytest.approx(mae, rel=1e-5)
    scores = kept_scores(project, run.id, blocks["query"], blocks["method"])
    values, train = project.scores(scores["scores"]).column(), project.dataset(run.dataset).train
    of = next(b for b in blocks["blocks"] if b["block"] == "left_1")
    assert of["change"] == pytest.approx(values[met(read(rule), train.columns)].sum() * unit**2, rel=1e-4)
    assert blocks["value"]["value"] == pytest.approx(scores["value"]["value"] * unit**2, rel=1e-6)
    found = perform("suspects", project, {"query": "loss", "max_conditions": 1, "run": run.id})
    for result, part in ((blocks, sourcing), (found, suspecting)):
        kept = next(n for n in project.notes(f"{'sources' if part is sourcing else 'suspects'}/").values() if n["table"] == result["table"])
        assert f" is {words.number(mae)}" in part.sentence(run, kept, project.table(kept["table"])), "the number that Audit tells"


def test_losses_of_groups_of_a_numeric_target_are_told_in_the_square_of_its_unit(made):
    project, runs = made
    run = project.run(runs["numeric"])
    told = perform("helps_nobody", project, {"run": run.id, "group": "side", "share": 0.05})
    table = project.table(run.body["predictions"])
    own = table[(table["split"] == "evaluation") & (table["side"] == "left_1")]
    entry = next(g for g in told["groups"] if "left_1" in g["label"])
    assert len(own) == entry["n"] > 0
    assert entry["before"] == pytest.approx(((own["prediction"] - own["target"]) ** 2).mean(), rel=1e-3)


def test_a_gap_between_many_groups_says_that_its_pair_can_change(made):
    from influence.ui import effects

    project, runs = made
    asked = lambda name, run, **given: effects.of_which_pair(project.run(runs[run]), {"name": name, "given": given})  # noqa: E731
    assert "can be others on holdout" in asked("equal_opportunity_gap", "classes", group="side")
    assert "can be others on holdout" in asked("equal_opportunity_gap", "loans", group="group & branch")
    assert asked("equal_opportunity_gap", "loans", group="group") == "", "two groups are one pair"
    assert asked("loss", "classes") == ""
