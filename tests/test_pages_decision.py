"""The pages Plan, Compare and Report on a real small project: their figures are those of the tables."""

from __future__ import annotations

import re

import numpy as np
import pytest
from streamlit.proto.Metric_pb2 import Metric as MetricProto

import influence.actions
from influence.actions import _anew, _comparison, _effects, perform, preview, report
from influence.actions._comparison import as_read
from influence.actions._measured import changes
from influence.actions._measures import tables as measures
from influence.actions._opened import opened as opened_run
from influence.readable import readable
from influence.registry import finders
from influence.types import Selection
from influence.ui import choosing, compared_predicted, foretelling, standing, words
from tests import investigation
from tests.investigation import by_key, done, opened, ran, said, shown

GREY, RED = MetricProto.GRAY, MetricProto.RED

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker


# ---- Plan


def test_plan_shows_the_predictions_for_the_sliders_value(made):
    project, runs = made
    run = runs["loans"]
    note = preview.kept(project, run, "group")
    at = opened("plan", run=run)
    label = by_key(at.selectbox, "plan.label").value
    assert "gap" in label
    slider = by_key(at.slider, f"plan.k.{run}")
    ran(slider.set_value(33).run())
    scores = project.scores(note["scores"])
    values = scores.column(label)
    order = np.argsort(-values if note["better"][label] == "higher" else values, kind="stable")
    truth = {kind: preview.curves(note, scores, order, [33], kind).set_index("label") for kind in ("value", "measured")}
    table = shown(at, "metric", "predicted").set_index("metric")
    for name in note["labels"]:
        row, before = truth["measured"].loc[name], note["before"][name]["measured"]
        mine = table.loc[[note["measured_labels"][name]]]
        assert words.number(before) in mine["now"].tolist()
        for column, of in (("predicted", "change"), ("95 % low", "low"), ("95 % high", "high")):
            assert words.number(before + row[of]) in mine[column].tolist()
    curve = shown(at, "rows removed").set_index("rows removed")
    row = preview.curves(note, scores, order, [10], "value").set_index("label").loc[label]
    assert curve.loc[10, "Its smooth version: predicted"] == words.number(note["before"][label]["value"] + row["change"])
    assert len(at.get("vega_lite_chart")) == 2
    ran(by_key(at.button, "plan.select").click().run())
    assert list(project.current().ids) == scores.ids[order[:33]].tolist()
    exact = preview.predicted(note, scores, project.current().ids)
    told = shown(at, "metric", "predicted")
    assert told["predicted"].tolist() == [words.number(e["measured_before"] + e["measured_change"]) for e in exact.values()]


def test_plan_opens_on_the_selection_and_says_what_would_be_replaced(made):
    """Whoever arrives with rows sees what is predicted for these, and no button takes them away unsaid."""
    project, runs = made
    run = project.run(runs["loans"])
    note = preview.kept(project, run.id, "group")
    ids = project.dataset(run.dataset).train.ids[40:90]
    project.choose(Selection(tuple(ids.tolist()), reason={"rule": "rows", "dataset": run.dataset}))
    at = opened("plan", run=run.id)
    assert [s.value for s in at.subheader][:2] == ["Current selection", "Other rows"]
    label = by_key(at.selectbox, "plan.label").value
    entry = preview.predicted(note, project.scores(note["scores"]), ids)[label]
    before, after = entry["measured_before"], entry["measured_before"] + entry["measured_change"]
    sentences = [line for line in said(at).splitlines() if line.startswith("Predicted without these")]
    assert sentences[0].startswith("Predicted without these 50 rows, on evaluation rows: ")
    assert f"**{words.number(before)} → {words.number(after)}**" in sentences[0]
    evaluation = project.dataset(run.dataset).evaluation
    positives = int((evaluation.y == evaluation.classes.index(evaluation.favourable)).sum())
    assert f"; n = {positives:,}); Accuracy" in sentences[0], "a gap rests on the rows of its kind alone"
    assert f"; n = {len(evaluation):,})." in sentences[0]
    assert f"Evaluation rows, n = {positives:,}." in said(at)
    assert f"n = {len(evaluation):,}." not in said(at)
    button = by_key(at.button, "plan.select")
    assert re.fullmatch(r"Select these \d+ rows instead of the 50 selected now", button.label)
    ran(button.click().run())
    assert len(project.current()) != 50
    ran(by_key(opened("plan", run=run.id).button, "choosing.undo").click().run())
    assert set(project.current().ids) == set(ids.tolist())


def test_how_rows_were_chosen_is_said_of_every_rule(made):
    assert set(finders.classes) <= set(foretelling.CHOSEN)
    joined = Selection((1,), reason={"rule": "and also", "of": [{"rule": "rows"}, {"rule": "where"}]})
    for rows, how in ((Selection((1,), reason={"rule": "top_k"}), "Chosen by rank"), (joined, "Chosen in several steps")):
        assert foretelling.provenance(rows).startswith(how)


def test_plan_says_where_there_are_no_bands(made):
    project, runs = made
    run = project.run(runs["loans"])
    note = preview.kept(project, run.id, "group")
    ids = project.dataset(run.dataset).train.ids[: note["most"] + 1]
    project.choose(Selection(tuple(ids.tolist()), reason={"rule": "rows", "dataset": run.dataset}))
    at = opened("plan", run=run.id)
    assert f"No 95 % bands beyond {note['most']:,} rows" in said(at)
    sentence = next(line for line in said(at).splitlines() if line.startswith("Predicted without these"))
    assert "95 %" not in sentence
    table = shown(at, "metric", "95 % low")
    assert set(table["95 % low"]) == set(table["95 % high"]) == {""}
    assert "" not in set(table["predicted"])


def test_plan_offers_to_prepare_anew_what_an_older_version_prepared(made):
    project, runs = made
    run, name = runs["loans"], preview.key(runs["loans"], "group")
    note = project.noted(name)
    with project.transaction():
        project.note(name, {key: value for key, value in note.items() if key not in ("most", "retrainings")})
    try:
        at = opened("plan", run=run)
    finally:
        with project.transaction():
            project.note(name, note)
    assert preview.OLDER in [box.value for box in at.info]
    assert "Prepare the preview" in [button.label for button in at.button]
    assert set(shown(at, "metric", "95 % low")["95 % low"]) == {""}


def test_plan_tells_who_else_changes_and_then_has_one_prediction_alone(made):
    project, runs = made
    run = project.run(runs["loans"])
    ids = project.dataset(run.dataset).train.ids[60:80].tolist()
    project.choose(Selection(tuple(ids), reason={"rule": "rows", "dataset": run.dataset}))
    at = opened("plan", run=run.id)
    assert "Chosen by hand · data " + run.dataset[:8] in said(at)
    asked = shown(at, "metric", "n", "predicted").set_index("metric")
    evaluation = project.dataset(run.dataset).evaluation
    assert asked.loc["Accuracy", "n"] == len(evaluation)
    positives = int((evaluation.y == evaluation.classes.index(evaluation.favourable)).sum())
    assert asked.loc["Equal-opportunity gap by group", "n"] == positives < len(evaluation)
    ran(by_key(at.button, "plan.who").click().run())
    note = done(project)
    at = opened("plan", run=run.id)
    table, real = shown(at, "metric", "group", "90 % low"), project.table(note["metrics"])
    real = real.sort_values("group", key=lambda group: group != "", kind="stable")
    assert table["now"].tolist() == [words.number(x) for x in real["now"]]
    assert table["90 % high"].tolist() == [words.number(x) for x in real["high"]]
    wide = real["high"] - real["low"] > 0.5 * np.maximum(real["now"].abs(), real["value"].abs())
    assert (table["change"] == "too uncertain to say").tolist() == wide.tolist()
    sentences = [line for line in said(at).splitlines() if line.startswith("Predicted ")]
    assert sentences[0].startswith("Predicted for a model trained anew without these 20 rows: ")
    assert not [line for line in sentences if line.startswith("Predicted without these 20 rows")]
    seeds = [measures(z, project.dataset(run.dataset), "evaluation", "group")[1]["group"] for z in _anew.outputs(project, run.id, "seeds")]
    values = [t[(t["metric"] == "equal_opportunity_gap") & (t["group"] == "")]["value"].iloc[0] for t in seeds]
    half = (
        1.7531 * np.std(values, ddof=1) * (17 / 16) ** 0.5
    )  # of one more model: Student's t with 15 degrees of freedom, 5 % on either side
    low, high = (words.number(np.mean(values) + sign * half) for sign in (-1, 1))
    beside = next(line for line in said(at).splitlines() if line.startswith("With all rows, 16 models from new seeds"))
    assert f"nine in ten between {low} and {high}: the predicted " in beside
    level = float(re.search("the predicted (\\S+) ", beside)[1])
    assert ("lies outside" in beside) == (abs(level - np.mean(values)) > half)
    moved = shown(at, "says now", "predicted", "its probability")
    assert moved["id"].tolist() == project.table(note["moved"])["id"].tolist()[: len(moved)]
    assert "plan.who" not in [b.key for b in at.button]


def test_what_was_retrained_on_suspects_stands_beside_the_prediction(made):
    project, runs = made
    run = project.run(runs["loans"])
    rule = '[{"column": "branch", "is_": "equal to", "value": "North"}]'
    found = perform("confirm_suspects", project, {"query": "equal_opportunity_gap", "patterns": [rule], "run": run.id})["confirmed"][0]
    choosing.find(run, "pattern", {"conditions": rule}, None, "Replace the selection")
    told = found["same"]["holdout"]["measured"]
    at = opened("plan", run=run.id)
    went = f"went from **{words.number(told['before'])}** to **{words.number(told['before'] + told['change'])}** on the"
    assert f"**Retrained without these {found['n']:,} rows**" in said(at)
    assert went in said(at)


def test_real_retrainings_stand_in_the_picture_and_in_the_table(made):
    project, runs = made
    run, note = runs["loans"], preview.kept(made[0], made[1]["loans"], "group")
    label = by_key(opened("plan", run=run).selectbox, "plan.label").value
    ks = [20, 40]
    got = perform("confirm", project, {"run": run, "group": "group", "label": label, "ks": ks, "seeds": 2, "better": note["better"][label]})
    points = project.table(got["points"]).query("role == 'evaluation' and label == @label and truth == 'same'").set_index("k")
    at = opened("plan", run=run)
    assert "Orange dots" in said(at)
    curve = shown(at, "rows removed").set_index("rows removed")
    for k in (k for k in ks if k in curve.index):
        level = note["before"][label]["value"] + points.loc[k, "value_change"]
        assert curve.loc[k, "Its smooth version: retrained, same seed"] == words.number(level)
    assert set(ks) & set(curve.index)


def test_an_unprepared_run_offers_to_prepare_and_then_plans(made):
    project, runs = made
    at = opened("plan", run=runs["numeric"], group="side")
    assert "Prepare the preview" in [b.label for b in at.button]
    perform("prepare", project, {"run": runs["numeric"], "group": "side"})
    at = opened("plan", run=runs["numeric"], group="side")
    assert "R²" in said(at) + " ".join(shown(at, "metric")["metric"])
    assert "Prepare the preview" in [b.label for b in opened("plan", run=runs["numeric"], group="age").button]


def test_the_mean_margin_is_spoken_of_only_where_there_is_an_accuracy(made):
    project, runs = made
    told = {name: _effects.smooth_said(project.dataset(project.run(runs[name]).dataset)) for name in ("numeric", "classes")}
    assert told["classes"] == f"{told['numeric']} {_effects.MARGIN}"
    assert "margin" not in told["numeric"].lower()
    perform("prepare", project, {"run": runs["numeric"], "group": "side"})
    report = perform("report", project, {"run": runs["numeric"], "group": "side"})
    assert "mean margin" not in (project.path / report["html"]).read_text(encoding="utf-8").lower()


def test_a_numeric_target_is_planned_in_its_own_unit(made):
    project, runs = made
    run = project.run(runs["numeric"])
    if preview.kept(project, run.id, "side") is None:
        perform("prepare", project, {"run": run.id, "group": "side"})
    raw, unit = preview.kept(project, run.id, "side"), project.dataset(run.dataset).encoding["target"]["sd"]
    note, scores = preview.in_units(raw, project.dataset(run.dataset)), project.scores(raw["scores"])
    ids = scores.ids[:30]
    was, now = preview.predicted(raw, scores, ids), preview.predicted(note, scores, ids)
    for label, entry in now.items():
        square = 1.0 if label == "R²" else unit**2
        size = 1.0 if label == "R²" else unit
        for name in ("before", "change", "low", "high"):
            assert entry[name] == pytest.approx(was[label][name] * square, rel=1e-5)
            assert entry[f"measured_{name}"] == pytest.approx(was[label][f"measured_{name}"] * size, rel=1e-5)
    mae = run.body["evaluation_metrics"]["intervals"]["mae"]["value"]
    assert note["before"]["Mean squared error"]["measured"] == pytest.approx(mae, rel=1e-5)
    table = shown(opened("plan", run=run.id, group="side"), "metric", "now").set_index("metric")
    assert table.loc["Mean absolute error", "now"] == words.number(mae)
    text = perform("preview", project, {"run": run.id, "group": "side", "ids": ids.tolist()})
    assert "Errors are in the unit of goal" in readable("preview", project, text)


def test_predictions_are_made_on_the_original(made):
    assert "Predictions follow a training by its recipe" in said(opened("plan", run=made[1]["unlearned"]))


def test_without_no_row_nothing_is_foretold_or_pinned(made):
    _, runs = made
    at = opened("plan", run=runs["loans"])
    slider = by_key(at.slider, f"plan.k.{runs['loans']}")
    assert "Predicted without these" in said(ran(slider.set_value(5).run()))
    assert any(str(b.key).startswith("pin.") for b in at.button)
    assert "Predicted without these" not in said(ran(slider.set_value(0).run()))
    assert not any(str(b.key).startswith("pin.") for b in at.button)


def test_a_copied_link_shows_its_metric_above_at_once(made):
    project, runs = made
    run = project.run(runs["loans"])
    note = preview.kept(project, run.id, "group")
    project.choose(Selection(tuple(project.dataset(run.dataset).train.ids[:12].tolist()), reason={"rule": "rows", "dataset": run.dataset}))
    label = note["labels"][-1]
    at = opened("plan", run=run.id, **{"plan.label": note["measured_labels"][label]})
    assert by_key(at.selectbox, "plan.label").value == label
    first = next(str(m.value) for m in at.markdown if "Predicted without these 12" in str(m.value))
    assert note["measured_labels"][label] in first.replace("\\", "")


def test_switching_the_run_forgets_the_other_ones_metric(made):
    project, runs = made
    perform("prepare", project, {"run": runs["classes"], "group": "side"})
    at = opened("plan", run=runs["loans"])
    box = by_key(at.selectbox, "plan.label")
    ran(box.set_value(box.options[-1]).run())
    ran(by_key(at.selectbox, "choice.run").set_value(runs["classes"]).run())
    assert by_key(at.selectbox, "plan.label").value in preview.kept(project, runs["classes"], "side")["labels"]


# ---- Compare and Report


def part(name: str) -> dict[str, str]:
    """The address of a part of Compare."""
    return {"compare.part": name}


def test_compare_shows_every_model_and_what_came_true(made):
    project, runs = made
    found = project.noted(f"compare/{runs['unlearned']}/group")
    at = opened("compare", run=runs["unlearned"])
    metrics = project.table(found["tables"]["metrics"])
    wide = shown(at, "name", "original", "unlearned", "retrained").set_index("name")
    for row in metrics[(metrics["metric"] == "accuracy") & (metrics["group"] == "")].itertuples():
        assert wide.loc["Accuracy", row.role] == f"{words.number(row.value)} ({words.interval(row.low, row.high)})"
        assert wide.loc["Accuracy", "n"] == row.n
    at = opened("compare", run=runs["unlearned"], **part("Predicted"))
    for rows in ("evaluation", "holdout"):
        change = project.table(found["tables"]["change"]).query("rows == @rows and role == 'unlearned'")
        realised = shown(at, "metric", "95 % low", f"unlearned, {rows} rows").set_index("metric")[f"unlearned, {rows} rows"]
        assert len(realised) == len(change)
        for row in change.to_dict("records"):
            if isinstance(row["pair"], str):
                ends = f" ({words.signed(row['paired_low'])} to {words.signed(row['paired_high'])})"
                assert realised[f"{row['measured_label']} ({row['pair']})"] == words.signed(row["paired"]) + ends
            else:
                size = ", largest" if row["measured_label"].startswith("Equalized-odds gap") else ""
                assert realised[row["measured_label"] + size] == words.signed(row["measured"])


def test_a_gap_is_foretold_with_its_sign_between_named_groups_and_said_to_be_borne_out(made):
    """What stands on Compare is the two models' own rates of the two groups; the band is the preview's."""
    project, runs = made
    note = preview.kept(project, runs["loans"], "group")
    found = project.noted(f"compare/{runs['unlearned']}/group")
    table = project.table(found["tables"]["change"])
    own = table[table["measured_label"] == "Equal-opportunity gap by group"]
    pair = own["pair"].iloc[0].split(" \N{MINUS SIGN} ")
    rates = {}
    for role, run in found["runs"].items():
        it = opened_run(project, run)
        for rows in ("evaluation", "holdout"):
            examples = it.dataset.split(rows)
            real, said_so = examples.y == examples.classes.index(examples.favourable), it.answers(examples).numpy().argmax(1) == 1
            rates[role, rows] = [said_so[real & (examples.columns["group"] == name).to_numpy()].mean() for name in pair]
    for row in own.to_dict("records"):
        gaps = [first - second for first, second in (rates[of, row["rows"]] for of in ("original", row["role"]))]
        assert row["paired"] == pytest.approx(gaps[1] - gaps[0])
        assert row["paired_low"] < row["paired"] < row["paired_high"]
        assert row["predicted_paired_before"] == pytest.approx(np.subtract(*rates["original", "evaluation"]))
    label = own["label"].iloc[0]
    told = preview.predicted(note, project.scores(note["scores"]), opened_run(project, runs["unlearned"]).trained.removed)[label]["pair"]
    assert {f"predicted_paired_{k}": v for k, v in told.items()}.items() <= own.iloc[0].to_dict().items()
    line = shown(opened("compare", run=runs["unlearned"], **part("Predicted")), "metric", "95 % low").set_index("metric")
    line = line.loc[f"Equal-opportunity gap by group ({own['pair'].iloc[0]})"]
    real = own.query("role == 'retrained' and rows == 'evaluation'")["paired"].iloc[0]
    assert line["retrained within"] == ("yes" if told["low"] <= real <= told["high"] else "no")
    assert (line["predicted"], line["95 % low"]) == (words.signed(told["change"]), words.signed(told["low"]))


def test_the_report_tells_the_changes_of_the_page(made):
    project, runs = made
    found, note = project.noted(f"compare/{runs['unlearned']}/group"), preview.kept(project, runs["loans"], "group")
    told = {change.label: change for change in changes(project, note, found)}
    page = shown(opened("compare", run=runs["unlearned"], **part("Predicted")), "metric", "95 % low").set_index("metric")
    assert list(told) == list(page.index)
    for label, change in told.items():
        assert page.loc[label, "predicted"] == words.signed(change.predicted)
        for where, came in (("evaluation", change.realised), ("holdout", change.holdout)):
            assert page.loc[label, f"unlearned, {where} rows"].split(" (")[0] == words.signed(came["unlearned"])


def test_changes_stand_on_the_page_with_their_own_intervals_and_the_pair_of_a_gap(made):
    project, runs = made
    table = project.table(project.noted(f"compare/{runs['unlearned']}/group")["tables"]["metrics"])
    at = opened("compare", run=runs["unlearned"], **{"compare.metric": words.title("equal_opportunity_gap")})
    told = shown(at, "model", "change", "95 % low").set_index("model")
    for row in table[(table["metric"] == "equal_opportunity_gap") & (table["role"] != "original")].itertuples():
        line = told.loc[row.role.capitalize()]
        assert (line["change"], line["95 % low"]) == (words.signed(row.change), words.signed(row.change_low))
        assert line.iloc[0] == row.pair
        assert line["n"] == row.change_n


@pytest.fixture(params=[(-1.7, "reversed", GREY), (-2.8, "worse", RED)], ids=["by less", "by more"])
def turned_gap(made, request):
    """The comparison of a model after which the other group is clearly ahead, by less or by more than before."""
    by, says, colour = request.param
    project, runs = made
    key = f"compare/{runs['unlearned']}/group"
    kept = project.noted(key)
    table = project.table(kept["tables"]["metrics"])
    own = (table["metric"] == "equal_opportunity_gap") & (table["column"] == "group")
    was = float(table.loc[own & (table["role"] == "original"), "value"].iloc[0])
    turned = own & (table["role"] != "original")
    ends = (by - 0.4) * was, (by + 0.4) * was
    table.loc[turned, ["value", "change", "change_low", "change_high"]] = abs(1 + by) * was, by * was, *ends
    found = {**kept, "tables": {**kept["tables"], "metrics": project.put_table(table)}}
    project.note(key, found)
    yield found, (1 + by) * was, says, colour
    project.note(key, kept)


def test_a_gap_that_was_turned_around_has_its_sign_and_no_colour_of_success(made, turned_gap):
    found, now, says, colour = turned_gap
    at = opened("compare", run=made[1]["unlearned"])
    tile = next(m for m in at.metric if m.label == "Equal-opportunity gap")
    assert (tile.value, tile.proto.color) == (words.number(now), colour)
    assert f": {says if colour == GREY else f':red[{says}]'}." in next(c.value for c in at.caption if "Was" in c.value)
    lines = [
        " ".join(line.split()) for line in readable("compare", made[0], found).splitlines() if "equal_opportunity_gap by group (" in line
    ]
    assert [f"{words.number(now)} in size {words.number(-now)}: " in line for line in lines] == [True, True]


def test_run_tells_the_gap_that_changed_its_sign(made, monkeypatch):
    monkeypatch.setattr(standing, "turned", lambda before, made, group: f"Its sign changed by {group}.")
    assert "after. Its sign changed by group." in said(opened("run", run=made[1]["unlearned"]))


@pytest.mark.parametrize("which", ["Decisions", "Representations", "Forgotten rows", "Predicted"])
@pytest.mark.parametrize("kind", ["numeric", "classes"])
def test_every_part_of_compare_holds_for_numbers_and_for_many_classes(made, which, kind):
    project, runs = made
    ids = project.dataset(project.run(runs[kind]).dataset).train.ids[:14].tolist()
    new = perform("unlearn", project, {"run": runs[kind], "ids": ids, "method": "finetune", "set": {"epochs": 1}})["run"]
    if project.noted(f"compare/{new}/side") is None:
        perform("compare", project, {"run": new, "group": "side"})
    at = opened("compare", run=new, group="side", **part(which))
    assert at.get("plotly_chart") or which == "Predicted"
    assert "14 training rows" in said(at)


def test_each_group_column_keeps_its_own_comparison(made):
    project, runs = made
    ids = project.dataset(project.run(runs["numeric"]).dataset).train.ids[:12].tolist()
    new = perform("unlearn", project, {"run": runs["numeric"], "ids": ids, "method": "retrain"})["run"]
    for group in ("side", "age"):
        done(project, "compare", {"run": new, "group": group})
    for group in ("side", "age"):
        at = opened("compare", run=new, group=group)
        assert "Compare" not in [b.label for b in at.button]

        names = shown(at, "name", "original")["name"].tolist()
        assert any(name.startswith("MAE, ") for name in names)
        assert any(("up to" in name) is (group == "age") for name in names if name.startswith("MAE, "))


def test_a_preview_made_after_the_comparison_can_be_put_beside_it(made):
    project, runs = made
    ids = project.dataset(project.run(runs["classes"]).dataset).train.ids[:12].tolist()
    new = perform("unlearn", project, {"run": runs["classes"], "ids": ids, "method": "finetune", "set": {"epochs": 1}})["run"]
    perform("compare", project, {"run": new, "group": "age"})
    assert "Nothing was predicted" in said(opened("compare", run=new, group="age", **part("Predicted")))
    perform("prepare", project, {"run": runs["classes"], "group": "age"})
    at = opened("compare", run=new, group="age", **part("Predicted"))
    assert "Compare again" in [b.label for b in at.button]
    done(project, "compare", {"run": new, "group": "age"})
    assert "Compare again" not in [b.label for b in opened("compare", run=new, group="age", **part("Predicted")).button]


def test_what_an_older_version_compared_is_compared_again(made):
    project, runs = made
    found = _comparison.kept(project, runs["unlearned"], "group")
    done(project, "compare", {"run": runs["unlearned"], "group": "group"})
    project.note(_comparison.key(runs["unlearned"], "group"), {**found, "version": _comparison.VERSION - 1})
    at = opened("compare", run=runs["unlearned"])
    assert "compared by an older version" in said(at)
    ran(by_key(at.button, "compare.run").click().run())
    done(project)
    assert "compared by an older version" not in said(ran(at.run()))


def test_why_nothing_was_predicted_is_said_where_nothing_can_be(made):
    project, runs = made
    train = project.dataset(project.run(runs["loans"]).dataset).train
    asked = {"ids": train.ids[train.y == 1][:5].tolist(), "method": "influence_step"}
    relabelled = perform("unlearn", project, {**asked, "run": runs["loans"], "labels": [train.classes[0]]})["run"]
    second = perform("unlearn", project, {**asked, "run": runs["retrained"], "method": "finetune", "set": {"epochs": 1}})["run"]
    told = {relabelled: "Predictions are of removals; these rows were relabelled.", second: "only for a model trained by its recipe"}
    for run, sentence in told.items():
        perform("compare", project, {"run": run, "group": "group"})
        at = opened("compare", run=run, **part("Predicted"))
        assert sentence in said(at)
        assert "Compare again" not in [b.label for b in at.button]


def test_report_offers_the_page_and_shows_the_chain(made):
    project, runs = made
    result = done(project, "report", {"run": runs["unlearned"], "group": "group", "rows": False})
    at = opened("report", run=runs["unlearned"])
    assert result["page"][:16] in said(at)
    assert "written just now" in said(at)
    records = project.records()
    assert f"The chain of {len(records)} records holds" in said(at)
    assert shown(at, "hash")["hash"].tolist() == [r.hash[:16] for r in reversed(records)]


def test_each_report_is_a_file_of_its_own_and_one_with_single_rows_is_offered_only_with_the_box(made):
    project, runs = made
    told = done(project, "report", {"run": runs["unlearned"], "group": "group", "rows": True})
    at = opened("report", run=runs["unlearned"])
    assert told["page"][:16] not in said(at), "the box is off"
    ran(at.checkbox(key="report.rows").check().run())
    assert told["page"][:16] in said(at)
    names = {report.file_name(runs["unlearned"], group, rows) for group in ("", "group") for rows in (False, True)}
    assert len(names) == 4
    assert told["html"].removeprefix("reports/") in names
    assert re.fullmatch(r"r-by-sex-race-[0-9a-f]{6}-with-single-rows\.html", report.file_name("r", "../sex & race", rows=True))
    alike = ("a b", "a-b", "a" * 40 + "1", "a" * 40 + "2", "+", "-")
    assert len({report.file_name("r", group, rows=False) for group in alike}) == len(alike)


def test_a_report_says_what_is_newer_and_when_its_file_is_another(made):
    project, runs = made
    result = done(project, "report", {"run": runs["unlearned"], "group": "group", "rows": False})
    at = opened("report", run=runs["unlearned"])
    assert "Newer than this report" not in said(at)
    assert by_key(at.button, "report.write").proto.type == "secondary"
    perform("export_model", project, {"run": runs["unlearned"]})
    assert "Newer than this report" not in said(ran(at.run())), "what is written to take along is nothing that a report tells"
    perform("compare", project, {"run": runs["unlearned"], "group": "group"})
    perform("pin", project, {"run": runs["loans"], "ids": [0]})
    assert "Newer than this report: comparing models, 1 pin." in said(ran(at.run()))
    assert by_key(at.button, "report.write").proto.type == "primary"
    perform("report", project, {"run": runs["unlearned"], "group": "group"})  # by a command
    assert "was written anew since" in said(ran(at.run()))
    (project.path / result["html"]).unlink()
    assert "its file is gone" in said(ran(at.run()))


def test_compare_refuses_what_cannot_be_compared(made):
    project, runs = made
    with pytest.raises(influence.errors.BadInput, match="was not made by unlearning"):
        perform("compare", project, {"run": runs["loans"]})
    with pytest.raises(influence.errors.BadInput, match="no column 'colour'"):
        perform("compare", project, {"run": runs["unlearned"], "group": "colour"})


def test_preview_refuses_questions_and_sizes_that_do_not_exist(made):
    project, runs = made
    given = {"run": runs["loans"], "group": "group", "scores": preview.kept(project, runs["loans"], "group")["scores"]}
    for more, told in (({"label": "no", "top": 3}, "no question"), ({"top": 10**6}, "Take fewer"), ({"top": 0}, "at least 1")):
        with pytest.raises(influence.errors.BadInput, match=told):
            perform("preview", project, {**given, **more})
    note = preview.kept(project, runs["loans"], "group")
    scores = project.scores(note["scores"])
    for ks in ([-1], [len(scores.ids) + 1]):
        with pytest.raises(influence.errors.BadInput, match="Sizes must lie"):
            preview.curves(note, scores, np.arange(len(scores.ids)), ks)


def test_columns_named_like_a_gap_are_no_gaps():
    assert preview.is_gap("Equal-opportunity gap by group (A - B)")
    assert preview.is_gap("Group loss gap by gap_year")
    assert not any(map(preview.is_gap, ("Worst group loss by gap_year", "True positive rate of gap by (gap by)", "Mean loss", "R²")))


def test_compare_speaks_of_relabelled_rows_where_rows_got_other_labels(made):
    project, runs = made
    train = project.dataset(project.run(runs["loans"]).dataset).train
    ids = train.ids[train.y == 0][:12].tolist()
    new = perform("unlearn", project, {"run": runs["loans"], "ids": ids, "labels": [train.classes[1]], "method": "influence_step"})["run"]
    perform("compare", project, {"run": new, "group": "group"})
    at = opened("compare", run=new, **part("Relabelled rows"))
    assert at.segmented_control(key="compare.part").options[3] == "Relabelled rows"
    assert "relabelled rows have the losses that they have under the retrained model" in said(at)
    at = opened("compare", run=new, **part("Representations"))
    assert shown(at, "moved", "n")["moved"].iloc[0] == "relabelled"
    at = opened("compare", run=new, **part("Decisions"))
    assert at.segmented_control(key="compare.rows").options == ["Holdout", "Relabelled", "Retained"]
    assert opened("compare", run=runs["unlearned"]).segmented_control(key="compare.part").options[3] == "Forgotten rows"


def test_compare_says_over_what_its_intervals_are_and_on_which_rows_layers_are_compared(made):
    project, runs = made
    assert "Intervals are over rows" in said(opened("compare", run=runs["unlearned"]))
    layers = project.table(project.noted(f"compare/{runs['unlearned']}/group")["tables"]["layers"])
    n, every = int(layers["n"].max()), len(project.dataset(project.run(runs["loans"]).dataset).holdout)
    which = f"all {every:,} holdout rows" if n == every else f"{n:,} of the {every:,} holdout rows"
    assert which in said(opened("compare", run=runs["unlearned"], **part("Representations")))


def test_changes_that_an_older_version_kept_are_gaps_by_their_size(made):
    project, runs = made
    table = project.table(project.noted(f"compare/{runs['unlearned']}/group")["tables"]["change"])
    old = table[[name for name in table if "pair" not in name]]
    assert set(table) != set(old)
    read = as_read(old)
    assert (read["value"] == old["measured"]).all()
    assert (read["label"] == "Equal-opportunity gap by group, largest").any()
    assert compared_predicted.beside(read)["metric"].tolist() == read["label"].unique().tolist()
