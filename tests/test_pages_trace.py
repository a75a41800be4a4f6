"""The page Trace on real small projects: tables, numbers, images and texts; from a prediction to training rows, and back."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from influence import jobs
from influence.actions import perform, trace
from influence.data.images import thumbnails
from influence.store import Project
from influence.types import Selection
from influence.ui import predicted as rows
from influence.ui import rails, words
from tests import investigation
from tests.investigation import by_key, done, opened, ran, said

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker


def traced(project: Project, run: str, **address: str):
    """The page with a trace that was asked for on it, and what the project keeps of it."""
    at = opened("trace", run=run, **address)
    for key in ("trace.trace", "trace.sway"):
        if any(b.key == key for b in at.button):
            ran(by_key(at.button, key).click().run())
            done(project)
            ran(at.run())
    return at


def rail(at, side: str) -> pd.DataFrame:
    return next(e.value for e in at.dataframe if str(e.key).startswith(f"trace.{side}."))


def predicted(project: Project, run: str) -> pd.DataFrame:
    return project.table(project.run(run).body["predictions"]).query("split == 'evaluation'").reset_index(drop=True)


def wrongest(project: Project, run: str) -> tuple[pd.Series, str]:
    """The evaluation row to whose label the model gives the least, and the class that it says."""
    table = predicted(project, run)
    p = table[[c for c in table if c.startswith("p_")]]
    own = np.array([p[f"p_{t}"][i] for i, t in enumerate(table["target"])])
    at = int(own.argmin())
    return table.loc[at], str(p.loc[at].idxmax())[2:]


def test_the_most_wrong_prediction_is_traced(made):
    project, runs = made
    run = runs["loans"]
    row, says = wrongest(project, run)
    at = traced(project, run)
    note = next(n for n in project.notes(f"scores/{run}/").values() if n["query"]["given"].get("id") == str(row["id"]))
    scores = project.scores(note["scores"])
    p, order = row[f"p_{says}"], np.argsort(scores.column())
    text = said(at)
    head = f"Evaluation row **{row['id']}**: the model says **{says}** with probability **{words.number(p)}**"
    assert f"{head}; its label is **{row['target']}**" in text
    low, high = scores.column()[order[0]], scores.column()[order[-1]]
    z = np.log(p / (1 - p))
    changes = ((low, scores.ids[order[0]], "lower"), (high, scores.ids[order[-1]], "raise"))
    now, *new = words.numbers(p, *(1 / (1 + np.exp(-(z + value))) for value, _, _ in changes))
    assert f"is {now}, by" in text
    for (value, id, way), without in zip(changes, new, strict=True):
        assert f"row **{id}** alone is predicted to {way} it most, to {without} ({words.signed(value)} in log-odds" in text
    assert f"Change: of the log-odds of **{says}**, if this row alone is removed" in text
    assert rail(at, "proponents")["id"].tolist() == scores.ids[order[:20]].tolist()
    assert rail(at, "opponents")["id"].tolist() == scores.ids[order[::-1][:20]].tolist()
    np.testing.assert_allclose(rail(at, "proponents")["score"], scores.column()[order[:20]])
    np.testing.assert_allclose(rail(at, "opponents")["without"].iloc[0], 1 / (1 + np.exp(-(z + high))), rtol=1e-5)


def test_cells_that_differ_are_marked_and_counted(made):
    project, runs = made
    run = runs["loans"]
    row, _ = wrongest(project, run)
    dataset = project.dataset(project.run(run).dataset)
    one = dataset.evaluation.columns.iloc[int(np.flatnonzero(dataset.evaluation.ids == row["id"])[0])]
    at = traced(project, run)
    element = next(e for e in at.dataframe if str(e.key).startswith("trace.proponents."))
    expected = set()
    for place in range(len(element.value)):
        apart = []
        for name, column in dataset.train.columns.items():
            own, other = element.value[name].iloc[place], one[name]
            if abs(own - other) > 0.5 * column.std(ddof=0) if pd.api.types.is_numeric_dtype(column) else own != other:
                apart.append((place, list(element.value).index(name)))
        expected |= set(apart)
        assert element.value["differs"].iloc[place] == f"{len(apart)} of {len(dataset.train.columns.columns)}"
    coloured = [block for block in element.proto.arrow_data.styler.styles.split("}") if "background-color" in block]
    cells = {(int(i), int(k)) for block in coloured for i, k in re.findall(r"_row(\d+)_col(\d+)", block)}
    assert cells == expected
    assert cells


def test_the_course_is_tracins(made):
    project, runs = made
    run = runs["loans"]
    at = traced(project, run)
    found = next(iter(project.notes(f"trace/{run}/").values()))
    terms = project.scores(found["steps"])
    chart = json.loads(next(iter(at.get("plotly_chart"))).proto.spec)
    ids = [*rail(at, "proponents")["id"].head(3), *rail(at, "opponents")["id"].head(3)]
    assert [line["name"] for line in chart["data"]] == [f"row {id}" for id in ids]
    for line, id in zip(chart["data"], ids, strict=True):
        assert list(line["x"]) == found["steps_at"]
        np.testing.assert_allclose(line["y"], terms.values[terms.ids == id][0])


def test_similar_rows_stand_beside_and_what_they_share_is_counted(made):
    project, runs = made
    run = runs["loans"]
    at = traced(project, run)
    found = next(iter(project.notes(f"trace/{run}/").values()))
    near = rail(at, "nearest")
    assert near["alike"].is_monotonic_decreasing
    scores = project.scores(
        next(n for n in project.notes(f"scores/{run}/").values() if n["query"]["given"].get("id") == found["id"])["scores"]
    )
    strong = scores.ids[np.argsort(-np.abs(scores.column()), kind="stable")[:20]]
    assert found["shared"] == len(set(strong) & set(near["id"]))
    assert f"Of the 20 strongest, **{found['shared']}** are among the 20 most alike (by chance" in said(at)
    places = pd.Index(scores.ids).get_indexer(near["id"])
    np.testing.assert_allclose(near["score"], scores.column()[places])


def test_another_row_is_named_by_the_address_and_by_hand(made):
    project, runs = made
    ids = predicted(project, runs["loans"])["id"]
    at = opened("trace", run=runs["loans"], test=str(ids[3]))
    assert f"Evaluation row **{ids[3]}**" in said(at)
    ran(by_key(at.text_input, "trace.id").set_value(f" {ids[5]} ").run())
    assert f"Evaluation row **{ids[5]}**" in said(at)
    assert at.query_params["test"] in (str(ids[5]), [str(ids[5])])
    assert "There is no evaluation row \\<b\\>" in opened("trace", run=runs["loans"], test="<b>").warning[0].value


def test_ticked_rows_become_the_selection_and_lead_back(made):
    project, runs = made
    at = traced(project, runs["loans"])
    table = rail(at, "proponents")
    key = next(e.key for e in at.dataframe if str(e.key).startswith("trace.proponents."))
    at.session_state[key] = {"selection": {"rows": [2], "columns": [], "cells": []}}
    ran(at.run())
    id = int(table["id"].iloc[2])
    assert any(link.proto.label == f"What else does row {id} sway?" for link in at.get("page_link"))
    ran(by_key(at.button, f"{key}.add").click().run())
    assert project.current().ids == (id,)


def test_a_training_row_leads_to_the_predictions_that_it_sways(made):
    project, runs = made
    run = runs["loans"]
    dataset = project.dataset(project.run(run).dataset)
    id = dataset.train.ids[7]
    at = traced(project, run, row=str(id))
    found = next(n for n in project.notes(f"swayed/{run}/").values() if n["row"] == str(id))
    scores = project.scores(found["scores"])
    order = np.argsort(scores.column(), kind="stable")
    assert scores.ids.tolist() == dataset.evaluation.ids.tolist()
    assert rail(at, "proponents")["id"].tolist() == scores.ids[order[:20]].tolist()
    label = dataset.train.classes[dataset.train.y[7]]
    text = said(at)
    assert f"Training row **{id}**, labelled **{label}**" in text
    strong = np.argsort(-np.abs(scores.column()), kind="stable")[:20]
    assert f"**{int((dataset.evaluation.y[strong] == dataset.train.y[7]).sum())}** have its label" in text
    assert "ranks only" in text
    assert "There is no training row nothing" in opened("trace", run=run, row="nothing").warning[0].value


def test_a_row_that_was_removed_sways_nothing(made):
    project, runs = made
    run = runs["unlearned"]
    gone = project.run(run).body["removed"][0]
    at = traced(project, run, row=str(gone))
    assert "This model was made without it" in said(at)
    assert "sways no prediction" in at.info[0].value


def test_a_number_is_traced_in_its_own_unit(made):
    project, runs = made
    table = predicted(project, runs["numeric"])
    at_ = int((table["prediction"] - table["target"]).abs().argmax())
    at = traced(project, runs["numeric"])
    text = said(at)
    assert f"the model says goal = **{words.number(table['prediction'][at_])}**" in text
    note = next(n for n in project.notes(f"scores/{runs['numeric']}/").values() if n["query"]["name"] == "prediction")
    scores, unit = project.scores(note["scores"]), project.dataset(project.run(runs["numeric"]).dataset).encoding["target"]
    first = rail(at, "opponents").iloc[0]
    assert first["score"] == pytest.approx(unit["sd"] * scores.column().max())
    assert f"({words.signed(float(first['score']))} in goal)" in text
    assert "Change: of goal, if this row" in text
    assert f"**Prediction for row {table['id'][at_]}** is {words.number(table['prediction'][at_])}," in text
    assert first["without"] == pytest.approx(table["prediction"][at_] + unit["sd"] * scores.column().max(), rel=1e-4)


def test_images_stand_in_the_rails(made):
    project, runs = made
    at = traced(project, runs["groupless"])
    train = project.dataset(project.run(runs["groupless"]).dataset).train
    table = rail(at, "opponents")
    place = int(np.flatnonzero(train.ids == table["id"].iloc[1])[0])
    assert table["image"].iloc[1] == thumbnails.of_pixels(train.x[place])
    target = project.dataset(project.run(runs["groupless"]).dataset).target
    assert table.columns[:3].tolist() == ["image", "id", target]
    assert "differs" not in table


HOSTILE = "<b>bold</b> [link](http://x.y) :red[so] # $a$ film that sparkles"


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> tuple[Project, str]:
    """A small model of texts, one of them hostile."""
    folder, rng = tmp_path_factory.mktemp("read"), np.random.default_rng(0)
    label = rng.choice(["bad", "good"], 160)
    words_ = {"good": ["fine", "bright", "warm"], "bad": ["dull", "grey", "cold"]}
    text = [f"a {rng.choice(words_[name])} film that sparkles {'again ' * (k % 3)}number{k % 40}" for k, name in enumerate(label)]
    text[:80] = [f"{HOSTILE} {k % 7}" for k in range(80)]
    pd.DataFrame({"review": text, "label": label}).to_csv(folder / "t.csv", index=False)
    project = Project(folder / "p")
    given = {"data": str(folder / "t.csv"), "target": "label", "data_set": {"text": "review"}, "set": {"epochs": 3}}
    return project, perform("train", project, given)["run"]


def test_texts_are_shown_letter_by_letter_with_shared_words_marked(read, monkeypatch):
    project, run = read
    monkeypatch.setenv("INFLUENCE_PROJECT", str(project.path))
    at = traced(project, run)
    cards = [c for c in at.checkbox if str(c.key).startswith("trace.proponents.")]
    assert len(cards) == rails.CARDS
    note = next(n for n in project.notes(f"scores/{run}/").values() if n["query"]["name"] == "prediction")
    scores = project.scores(note["scores"])
    first = scores.ids[scores.column().argmin()]
    change = words.escaped(words.number(float(scores.column().min())))
    assert cards[0].label.startswith(f"**Row {first}** · label ")
    assert f" · change {change} · without " in cards[0].label
    ran(cards[0].check().run())
    ran(next(b for b in at.button if str(b.key).startswith("trace.proponents.") and str(b.key).endswith(".add")).click().run())
    assert project.current().ids == (int(first),)
    project.choose(Selection(()))
    hostile = [m.value for m in at.markdown if "bold" in m.value]
    assert hostile
    assert not any("<b>" in text or "](" in text for text in hostile)


def test_words_are_marked_and_everything_else_escaped():
    found = rails.marked(f"{HOSTILE}\n\n    code " + "x" * 500, rails.telling("a film SPARKLES; code", frozenset({"a", "film"})))
    assert ":orange-background[sparkles]" in found
    assert ":orange-background[code]" in found
    assert ":orange-background[film]" not in found
    assert r"\<b\>bold\</b\> \[link\]\(http\://x\.y\) \:red\[so\] \# \$a\$" in found
    assert found.endswith("x…")
    assert "\n" not in found


def test_cells_differ_where_they_do():
    rows = pd.DataFrame({"n": [1.0, 1.4, 2.0, np.nan], "c": ["a", "b", None, "a"], "k": [1, 2, 1, 1]})
    one = pd.Series({"n": 1.0, "c": "a", "k": 1}, dtype=object)
    found = rails.differing(rows, one, pd.Series({"n": 0.5}))
    assert found.tolist() == [[False, False, False], [False, True, True], [True, True, False], [True, False, False]]
    empty = pd.Series({"n": np.nan, "c": None, "k": 1}, dtype=object)
    assert rails.differing(rows, empty, pd.Series({"n": 0.5}))[:, :2].tolist() == [[True, True], [True, True], [True, False], [False, True]]


def test_rows_are_ranked_as_asked():
    table = pd.DataFrame({"id": [4, 5, 6], "wrong": [0.1, 0.9, 0.5], "unsure": [0.3, 0.1, 0.4]})
    assert rows.ranking(table, "wrong").tolist() == [1, 2, 0]
    assert rows.ranking(table, "unsure").tolist() == [2, 0, 1]
    assert len({tuple(rows.ranking(table, "random", seed)) for seed in range(20)}) > 1


def test_rails_hold_only_rows_of_their_side():
    values = np.array([0.5, -0.2, 0.0, -0.9, 0.1])
    assert trace.rail(values, "proponents").tolist() == [3, 1]
    assert trace.rail(values, "opponents").tolist() == [0, 4]
    assert trace.rail(values, "nearest", 3).tolist() == [0, 4, 2]


# ---- What if, what the answer rests on, and other methods


def form(at, name: str):
    """The widget of a column in the form that changes the row."""
    return next(e for kind in ("number_input", "selectbox", "text_area", "text_input") for e in at.get(kind)
                if str(e.key).startswith("trace.edit.") and str(e.key).endswith(f".{name}"))  # fmt: skip


def submit(at):
    return ran(next(b for b in at.button if str(b.key).startswith("trace.edit.") and str(b.key).endswith(".submit")).click().run())


def test_a_changed_row_moves_the_rails_and_goes_back(made):
    project, runs = made
    run = runs["loans"]
    at = traced(project, run)
    before = {side: rail(at, side)["id"].tolist() for side in ("proponents", "opponents")}
    income = form(at, "income")
    high = float(project.dataset(project.run(run).dataset).train.columns["income"].max())
    income.set_value(high)
    submit(at)
    assert at.query_params["edit"]
    done(project)
    ran(at.run())
    note = next(iter(project.notes(f"edited/{run}/").values()))
    scores = project.scores(note["scores"])
    order = np.argsort(scores.column(), kind="stable")
    now = {"proponents": scores.ids[order[:20]].tolist(), "opponents": scores.ids[order[::-1][:20]].tolist()}
    text = said(at)
    for side, ids in now.items():
        assert rail(at, side)["id"].tolist() == ids
        moves, gone = trace.moved(before[side], ids)
        assert rail(at, side)["moved"].tolist() == moves
        assert f"By the change {words.count(moves.count('new'), 'row')} of 20 came in; out went {gone[0]}" in text
    row, says = wrongest(project, run)
    was, p = words.numbers(row[f"p_{says}"], note["value"]["measured"])
    assert f"Changed, the model still says **{says}**: its probability rises from {was} to **{p}**" in text
    assert "measured for the row as it is, not for the changed one" in text
    assert f"income {row_of(project, run)['income']:g} → **{high:g}**" in text
    shared = opened(
        "trace", run=run, edit=at.query_params["edit"][0] if isinstance(at.query_params["edit"], list) else at.query_params["edit"]
    )
    assert rail(shared, "proponents")["id"].tolist() == now["proponents"]
    assert form(shared, "income").value == high
    ran(next(b for b in at.button if str(b.key).endswith(".reset")).click().run())
    assert "edit" not in at.query_params
    assert rail(at, "proponents")["id"].tolist() == before["proponents"]
    assert "moved" not in rail(at, "proponents")


def row_of(project: Project, run: str) -> pd.Series:
    dataset = project.dataset(project.run(run).dataset)
    return dataset.evaluation.columns.iloc[int(np.flatnonzero(dataset.evaluation.ids == wrongest(project, run)[0]["id"])[0])]


def test_what_cannot_stand_in_a_row_is_said_and_nothing_is_lost(made):
    project, runs = made
    at = traced(project, runs["loans"])
    jobs_before = len(jobs.listed(project, 200))
    form(at, "income").set_value(1e6)
    form(at, "late_payments").set_value(3)
    submit(at)
    assert "model knows no such rows. Give a number between" in at.error[0].value.replace("\\", "")
    assert form(at, "income").value == 1e6
    assert form(at, "late_payments").value == 3
    assert "edit" not in at.query_params
    assert len(jobs.listed(project, 200)) == jobs_before


@pytest.mark.parametrize("edit", ["nothing", "0" * 64, "<b>"])
def test_an_address_with_a_change_that_is_not_kept_is_said_to_be_one(made, edit):
    at = opened("trace", run=made[1]["loans"], edit=edit)
    assert "The change that the address names cannot be shown. It is not kept in this project" in at.warning[0].value.replace("\\", "")


def test_a_change_is_of_its_own_row_alone(made):
    project, runs = made
    run, ids = runs["loans"], predicted(project, runs["loans"])["id"]
    told = {"dataset": project.run(run).dataset, "row": str(ids[3]), "cells": {"branch": "Moon"}}
    wrong = opened("trace", run=run, test=str(ids[3]), edit=project.put_json(told))
    assert "no value of 'branch'" in wrong.warning[0].value.replace("\\", "")
    other = opened("trace", run=run, test=str(ids[4]), edit=project.put_json(told))
    assert "It is of another row" in other.warning[0].value
    ran(by_key(other.text_input, "trace.id").set_value(str(ids[5])).run())
    assert "edit" not in other.query_params


def test_what_the_answer_rests_on_stands_on_both_sides(made):
    project, runs = made
    run = runs["loans"]
    at = traced(project, run)
    ran(by_key(at.button, "trace.explain").click().run())
    done(project)
    ran(at.run())
    notes = project.notes(f"explained/{run}/").values()
    dataset = project.dataset(project.run(run).dataset)
    charts = [json.loads(c.proto.spec) for c in at.get("plotly_chart")]
    bars = [c for c in charts if c["data"][0].get("orientation") == "h"]
    assert len(bars) == 2
    for chart, role in zip(bars, ("evaluation", "train"), strict=True):
        note = next(n for n in notes if n["role"] == role)
        values = project.array(note["parts"])
        assert sorted(chart["data"][0]["x"]) == pytest.approx(sorted(values.tolist()))
        assert sum(chart["data"][0]["x"]) == pytest.approx(note["value"] - note["baseline"], abs=1e-3)
        rows = dataset.split(role)
        row = rows.columns.iloc[int(np.flatnonzero(rows.ids.astype(str) == note["id"])[0])]
        assert f"branch = {row['branch']}" in chart["layout"]["yaxis"]["ticktext"]
    assert next(n for n in notes if n["role"] == "train")["id"] == str(rail(at, "proponents")["id"].iloc[0])
    assert "completeness" in said(at)
    ran(by_key(at.selectbox, "trace.beside").set_value(str(rail(at, "opponents")["id"].iloc[0])).run())
    assert by_key(at.button, "trace.explain").label == "Explain both rows"


def test_another_method_is_chosen_and_the_address_says_it(made):
    project, runs = made
    at = traced(project, runs["loans"])
    choice = by_key(at.radio, "trace.method")
    assert choice.value == "metagradient"
    assert "retraining" in choice.options or "Retraining" in choice.options
    ran(choice.set_value("tracin").run())
    assert at.query_params["method"] in ("tracin", ["tracin"])
    assert by_key(at.button, "trace.trace").label == "Trace this prediction"
    ran(by_key(at.button, "trace.trace").click().run())
    done(project)
    ran(at.run())
    assert "by TracIn over" in said(at)
    closed = opened("trace", run=runs["unlearned"], method="metagradient")
    assert "Metagradient is not open here" in closed.warning[0].value
    assert "nobody" in opened("trace", run=runs["loans"], method="nobody").warning[0].value.lower()


def test_images_have_no_cells_and_pixels_that_count(made):
    project, runs = made
    at = traced(project, runs["groupless"])
    assert "An image has no cells" in said(at)
    ran(by_key(at.button, "trace.explain").click().run())
    done(project)
    ran(at.run())
    captions = [one.caption for element in at.get("image") for one in element.proto.imgs]
    assert sum("What pixels add; strongest" in caption for caption in captions) == 2
    assert captions.count("The image") == 2
    (legend,) = [h.proto.body for h in at.get("html") if "linear-gradient" in h.proto.body]
    assert re.search(r"against (.+): \N{MINUS SIGN}[\d.]+</span><span>0, in log-odds</span><span>for \1: \+[\d.]+<", legend)


def test_a_numeric_target_changes_in_its_own_unit(made):
    project, runs = made
    at = traced(project, runs["numeric"])
    name = "score"
    low = float(project.dataset(project.run(runs["numeric"]).dataset).train.columns[name].min())
    form(at, name).set_value(low)
    submit(at)
    done(project)
    ran(at.run())
    note, unit = next(iter(project.notes(f"edited/{runs['numeric']}/").values())), target_of(project, runs["numeric"])
    now = note["value"]["value"] * unit["sd"] + unit["mean"]
    assert f"Changed, the model says goal = **{words.number(now)}** instead of" in said(at)


def target_of(project: Project, run: str) -> dict:
    return project.dataset(project.run(run).dataset).encoding["target"]


def test_texts_are_rewritten_and_their_words_shaded(read, monkeypatch):
    project, run = read
    monkeypatch.setenv("INFLUENCE_PROJECT", str(project.path))
    at = traced(project, run)
    form(at, "review").set_value("  ")
    submit(at)
    assert "is empty, and there is nothing to trace" in at.error[0].value
    form(at, "review").set_value("a fine <b>warm</b> film")
    submit(at)
    done(project)
    ran(at.run())
    assert "Changed: review rewritten" in said(at)
    assert any(":orange-background[fine]" in m.value or ":orange-background[warm]" in m.value for m in at.markdown)
    ran(by_key(at.button, "trace.explain").click().run())
    done(project)
    ran(at.run())
    shaded = [h.body if hasattr(h, "body") else h.proto.body for h in at.get("html")]
    assert any(">warm</span>" in body and "<b>" not in body for body in shaded)
    ran(by_key(at.segmented_control, "rails.marking").set_value("Words that differ").run())
    assert "Marked: words that the text above does not have" in said(at)


# ---- What the address says, and what numbers and captions must not contradict


def test_the_address_says_which_row_is_shown_and_it_outlasts_going_away(made):
    project, runs = made
    run, ids = runs["loans"], predicted(project, runs["loans"])["id"]
    at = opened("trace", run=run)
    assert at.query_params["test"] in (shown := str(wrongest(project, run)[0]["id"]), [shown])
    ran(by_key(at.text_input, "trace.id").set_value(str(ids[5])).run())
    at.query_params.clear()  # as switching pages does
    at.query_params["run"] = run
    ran(at.run())
    assert f"Evaluation row **{ids[5]}**" in said(at)
    assert at.query_params["test"] in (str(ids[5]), [str(ids[5])])
    ran(by_key(at.segmented_control, "trace.way").set_value("row").run())
    first = project.dataset(project.run(run).dataset).train.ids[0]
    at.query_params.clear()
    at.query_params["run"] = run
    ran(at.run())
    assert f"Training row **{first}**" in said(at)
    ran(by_key(at.segmented_control, "trace.way").set_value("test").run())
    assert "Evaluation row" in said(at)
    at.query_params.clear()
    at.query_params["run"] = runs["numeric"]
    ran(at.run())
    most = predicted(project, runs["numeric"]).eval("abs(prediction - target)").idxmax()
    assert f"Evaluation row **{predicted(project, runs['numeric'])['id'][most]}**" in said(at)


@pytest.mark.parametrize(("now", "others", "expected"), [
    (0.99958, [0.99980, 0.99930], ["0.9996", "0.9998", "0.9993"]),
    (0.5, [0.4], ["0.500", "0.400"]),
    (0.5, [0.5], ["0.500", "0.500"]),
    (1.0, [1.0, float("nan")], ["1.000", "1.000", "not measured"]),
    (0.9999999, [0.99999995], ["0.99999990", "0.99999995"]),
])  # fmt: skip
def test_numbers_beside_each_other_agree_with_the_words(now, others, expected):
    assert words.numbers(now, *others) == expected


def test_the_rails_show_of_every_row_which_way_it_goes(made):
    project, runs = made
    at = traced(project, runs["loans"])
    for side in ("proponents", "opponents"):
        element = next(e for e in at.dataframe if str(e.key).startswith(f"trace.{side}."))
        shape = json.loads(element.proto.columns)["without"]
        digits = int(re.fullmatch(r"%\.(\d)f", shape["type_config"]["format"])[1])
        now = re.search(r"with it, it says ([\d.]+)\.$", shape["help"])[1]
        values = [f"{v:.{digits}f}" for v in element.value["without"]]
        assert all(v < now if side == "proponents" else v > now for v in values)


def test_nothing_is_said_to_be_marked_where_nothing_is(read, monkeypatch):
    project, run = read
    monkeypatch.setenv("INFLUENCE_PROJECT", str(project.path))
    at = traced(project, run)
    assert "Marked: words that the texts share" in said(at)
    form(at, "review").set_value("zzz qqq")
    submit(at)
    done(project)
    ran(at.run())
    assert "Changed: review rewritten" in said(at)
    assert not any(rails.GROUND in m.value for m in at.markdown if "zzz" not in m.value)
    assert "Marked:" not in said(at)


def test_a_changed_prediction_names_the_class_that_the_model_now_says(made):
    project, runs = made
    run, (row, says) = runs["loans"], wrongest(project, runs["loans"])
    at = traced(project, run)
    form(at, "income").set_value(float(project.dataset(project.run(run).dataset).train.columns["income"].min()))
    form(at, "late_payments").set_value(int(project.dataset(project.run(run).dataset).train.columns["late_payments"].max()))
    submit(at)
    done(project)
    ran(at.run())
    note = max(project.notes(f"edited/{run}/").values(), key=lambda n: n["computed"])
    assert note["says"] != says
    before, after = words.numbers(row[f"p_{says}"], note["value"]["measured"])
    assert f"Changed, the model says **{note['says']}** with probability **{words.number(note['p'])}** instead of **{says}**" in said(at)
    assert f"falls from {before} to **{after}**" in said(at)
