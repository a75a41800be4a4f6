"""The page Trace on real small projects: tables, numbers, images and texts; from a prediction to training rows, and back."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

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
    for value, id, way in ((low, scores.ids[order[0]], "lower"), (high, scores.ids[order[-1]], "raise")):
        without = 1 / (1 + np.exp(-(z + value)))
        assert f"row **{id}** alone is predicted to {way} it most, to {words.number(without, 4)} ({words.signed(value)} in log-odds" in text
    assert "Change: of the log-odds, if this row alone is removed" in text
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
    assert f"**Prediction for row {table['id'][at_]}** is {words.number(table['prediction'][at_])}," in text
    assert first["without"] == pytest.approx(table["prediction"][at_] + unit["sd"] * scores.column().max(), rel=1e-4)


def test_images_stand_in_the_rails(made):
    project, runs = made
    at = traced(project, runs["groupless"])
    train = project.dataset(project.run(runs["groupless"]).dataset).train
    table = rail(at, "opponents")
    place = int(np.flatnonzero(train.ids == table["id"].iloc[1])[0])
    assert table["image"].iloc[1] == thumbnails.of_pixels(train.x[place])


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
