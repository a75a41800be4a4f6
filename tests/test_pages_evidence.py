"""The page Evidence and the buttons that pin: what was seen comes back with its figures, becomes the selection, and links show the same."""

from __future__ import annotations

import pytest

from influence.actions import perform, preview
from influence.actions._pinned import KINDS
from influence.store.pins import Pin
from influence.types import Selection
from influence.ui import choosing, collected, words
from tests import investigation
from tests.investigation import asked, by_key, done, opened, ran, said

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker


@pytest.fixture(autouse=True)
def nothing_pinned(made):
    """Every test begins and ends without pins and without a selection."""
    yield
    made[0].pins.remove([pin.id for pin in made[0].pins.listed()])
    made[0].choose(Selection(()))


def pins(at) -> list:
    return [b for b in at.button if (b.key or "").startswith("pin.") and b.label.startswith("Pin ")]


def pin(at, label: str = "Pin "):
    ran(next(b for b in pins(at) if b.label.startswith(label)).click().run())
    return at


def test_an_empty_page_says_how_to_pin(made):
    at = opened("evidence", run=made[1]["loans"])
    assert collected.EMPTY in said(at)
    assert not pins(at)
    assert by_key(at.button, "evidence.undo").disabled in (True, False)


def test_a_gap_is_pinned_on_audit_and_comes_back_with_its_figures(made):
    project, runs = made
    at = pin(opened("audit", run=runs["loans"]))
    assert not pins(at), "the button gives way to the link"
    kept = project.pins.listed()[0]
    assert (kept.kind, kept.page, kept.address["run"]) == ("gap", "audit", runs["loans"])
    table = project.table(project.run(runs["loans"]).body["audit"]["group"])
    gap = table[(table["metric"] == "equal_opportunity_gap") & (table["group"] == "")].iloc[0]
    text = said(opened("evidence", run=runs["loans"]))
    assert f"| {words.number(gap['value'])} | {words.interval(gap['low'], gap['high'])} | {int(gap['n']):,} |" in text
    assert f"a gap of {100 * gap['value']:.1f} points" in text
    assert "**" not in kept.said
    assert "\\" not in kept.said


def test_why_it_is_pinned_is_asked_where_it_is_pinned_and_it_can_be_taken_back(made):
    project, runs = made
    at = pin(opened("audit", run=runs["loans"]), "Pin this gap")
    field = next(t for t in at.text_input if t.label == "Note: why is this here?")
    ran(field.set_value("The board asked").run())
    assert [one.note for one in project.pins.listed()] == ["The board asked"]
    assert not [t for t in at.text_input if t.label == "Note: why is this here?"], "it is on Evidence now"
    project.pins.remove([one.id for one in project.pins.listed()])
    at = pin(opened("audit", run=runs["loans"]), "Pin this gap")
    ran(next(b for b in at.button if b.label == "Unpin").click().run())
    assert project.pins.count() == 0
    assert pins(at)[0].label == "Pin this gap"


@pytest.mark.parametrize(("which", "group", "named"), [("numeric", "side", "right*2*"), ("classes", "age", "up to")])
def test_gaps_of_numbers_and_of_many_classes_with_awkward_groups_are_pinned(made, which, group, named):
    _, runs = made
    pin(opened("audit", run=runs[which], group=group))
    found = said(opened("evidence", run=runs[which]))
    assert f", {named}" in found
    assert "It cannot be shown" not in found


def test_scores_patterns_previews_and_comparisons_are_pinned_where_they_stand(made):
    project, runs = made
    at, _ = asked(project, runs["loans"])
    pin(at)
    perform("suspects", project, {"run": runs["loans"], "query": "equal_opportunity_gap", "query_set": {"group": "group"}, "limit": 20})
    pin(opened("suspects", run=runs["loans"], query="equal_opportunity_gap"))
    pin(opened("plan", run=runs["loans"]))
    pin(opened("compare", run=runs["unlearned"]))
    kinds = [one.kind for one in project.pins.listed()]
    assert kinds == ["scores", "pattern", "preview", "comparison"]
    text = said(opened("evidence", run=runs["unlearned"]))
    assert "It cannot be shown" not in text
    pattern = project.pins.listed()[1]
    row = project.table(pattern.made["table"]).set_index("conditions").loc[pattern.made["conditions"]]
    change = f"| {words.signed(-row['effect'])} | {words.interval(-row['high'], -row['low'])} | {int(row['n']):,} |"
    assert change in text, "the gap falls by what the search calls an improvement"
    note = preview.kept(project, runs["loans"], "group")
    assert f"on {note['n_evaluation']:,} evaluation rows" in text
    html = (project.path / perform("report", project, {"run": runs["unlearned"], "group": "group"})["html"]).read_text()
    assert all(one.title.replace("≤", "≤") in html for one in project.pins.listed() if "“" not in one.title and "&" not in one.title)
    assert all(f"{KINDS[kind]} · model" in html for kind in kinds)


def test_the_same_rows_can_be_pinned_in_two_places_of_a_page(made):
    project, runs = made
    at = opened("plan", run=runs["loans"])
    ran(by_key(at.button, "plan.select").click().run())
    assert [b.label for b in pins(at)] == ["Pin this prediction", "Pin these rows", "Pin this prediction"], (
        "the slider's, the selection, and its own"
    )
    pin(at)
    assert [b.label for b in pins(at)] == ["Pin these rows"], "one pin for both previews"
    assert [one.kind for one in project.pins.listed()] == ["preview"]


def test_a_traced_prediction_is_pinned_with_its_rails(made):
    project, runs = made
    at = opened("trace", run=runs["loans"])
    if any(b.key == "trace.trace" for b in at.button):
        ran(by_key(at.button, "trace.trace").click().run())
        done(project)
        ran(at.run())
    pin(at)
    kept = project.pins.listed()[0]
    assert kept.kind == "prediction"
    at = opened("evidence", run=runs["loans"])
    assert "proponents" not in kept.title
    assert kept.said[:60] in said(at)
    assert "It cannot be shown" not in said(at)


def test_notes_order_and_removal_are_undone_on_the_page(made):
    project, runs = made
    run = project.run(runs["loans"])
    for k in range(3):
        perform("pin", project, {"run": run.id, "ids": project.dataset(run.dataset).train.ids[k : k + 2].tolist()})
    ids = [one.id for one in project.pins.listed()]
    at = opened("evidence", run=run.id)
    hostile = "<img src=x onerror=alert(1)> [a](javascript:alert(1)) $x$ **b**"
    ran(next(t for t in at.text_area if t.key.startswith(f"evidence.note.{ids[1]}")).set_value(hostile).run())
    assert [one.note for one in project.pins.listed()] == ["", hostile, ""]
    ran(by_key(at.button, f"evidence.arrow_upward.{ids[1]}").click().run())
    assert [one.id for one in project.pins.listed()] == [ids[1], ids[0], ids[2]]
    assert by_key(at.button, f"evidence.arrow_upward.{ids[1]}").disabled
    assert by_key(at.button, f"evidence.arrow_downward.{ids[2]}").disabled
    ran(by_key(at.button, f"evidence.delete.{ids[0]}").click().run())
    assert [one.id for one in project.pins.listed()] == [ids[1], ids[2]]
    for _ in range(3):
        ran(by_key(at.button, "evidence.undo").click().run())
    assert [(one.id, one.note) for one in project.pins.listed()] == [(id, "") for id in ids]
    ran(by_key(at.button, "evidence.redo").click().run())
    assert project.pins.listed()[1].note == hostile
    assert next(t for t in at.text_area if t.key.startswith(f"evidence.note.{ids[1]}")).value == hostile


def test_what_another_tab_removed_is_said_in_a_sentence(made):
    project, runs = made
    first = perform("pin", project, {"run": runs["loans"], "pattern": '[{"column": "group", "is_": "equal to", "value": "A"}]'})["id"]
    perform("pin", project, {"run": runs["loans"], "pattern": '[{"column": "group", "is_": "equal to", "value": "B"}]'})
    at = opened("evidence", run=runs["loans"])
    project.pins.remove([first])
    ran(next(t for t in at.text_area if t.key.startswith(f"evidence.note.{first}")).set_value("too late").run())
    assert [e.value.replace("\\", "") for e in at.error] == ["This pin is gone: it was removed or undone elsewhere. Undo brings it back."]


def test_ticked_rows_and_patterns_become_the_selection_and_plan_says_where_each_is_from(made):
    project, runs = made
    run = project.run(runs["loans"])
    train = project.dataset(run.dataset).train
    rows = train.ids[:7].tolist()
    first = perform("pin", project, {"run": run.id, "ids": rows})["id"]
    second = perform("pin", project, {"run": run.id, "pattern": '[{"column": "group", "is_": "equal to", "value": "B"}]'})["id"]
    at = opened("evidence", run=run.id)
    assert by_key(at.button, "evidence.choose").disabled
    for id in (first, second):
        ran(at.checkbox(key=f"evidence.tick.{id}").check().run())
    ran(by_key(at.button, "evidence.choose").click().run())
    chosen = project.current()
    wanted = set(rows) | set(train.ids[(train.columns["group"] == "B").to_numpy()].tolist())
    assert set(chosen.ids) == wanted
    assert len(chosen) == len(wanted)
    assert [(part["pin"], part["n"]) for part in chosen.reason["of"]] == [(first, 7), (second, int((train.columns["group"] == "B").sum()))]
    plan = opened("plan", run=run.id)
    assert "and also rows where group = B, pinned" in said(plan)
    parts = next(e.value for e in plan.dataframe if list(e.value.columns) == ["joined", "rows", "n"])
    assert parts["n"].tolist() == [7, int((train.columns["group"] == "B").sum())]
    project.undo()
    assert project.current() is None or not len(project.current())


def test_pins_of_other_models_and_data_say_so_and_are_never_mixed(made):
    project, runs = made
    mine = perform("pin", project, {"run": runs["loans"], "pattern": '[{"column": "group", "is_": "equal to", "value": "B"}]'})["id"]
    other = perform("pin", project, {"run": runs["classes"], "pattern": '[{"column": "side", "is_": "missing"}]'})["id"]
    at = opened("evidence", run=runs["loans"])
    assert [c.key for c in at.checkbox] == [f"evidence.tick.{mine}"]
    assert "Of other models" in said(at)
    assert f"({runs['classes']}), other data" in said(at)
    at = opened("evidence", run=runs["classes"])
    assert [c.key for c in at.checkbox] == [f"evidence.tick.{other}"]
    html = (project.path / perform("report", project, {"run": runs["loans"], "group": "group"})["html"]).read_text()
    assert "group = B" in html
    assert "side is missing" not in html


def test_many_pins_come_in_pages(made):
    project, runs = made
    run = project.run(runs["loans"])
    for k in range(collected.PAGE + 3):
        project.pins.add(Pin("rows", run.id, run.dataset, f"pin {k}", {"rows": str(k), "selection": "0" * 64}))
    at = opened("evidence", run=run.id)
    assert len(at.text_area) == collected.PAGE
    assert "It cannot be shown any more." in said(at)
    assert len(opened("evidence", run=run.id, **{"evidence.page": "2"}).text_area) == 3
    assert "13 pins" in [link.proto.label for link in at.sidebar.get("page_link")]


def test_parts_of_a_selection_are_told_in_order():
    reason = {"rule": "but not", "of": [{"rule": "and also", "of": [{"words": "a", "n": 1}, {"words": "b"}]}, {"rule": "c"}]}
    told = choosing.origins(reason)
    assert [(part["joined"], part["rows"], part["n"]) for part in told] == [("", "a", 1), ("and also", "b", None), ("but not", "c", None)]


# ---- the report


def page_of(project, run: str, **more) -> str:
    return (project.path / perform("report", project, {"run": run, **more})["html"]).read_text(encoding="utf-8")


def test_the_report_lists_every_question_also_of_the_model_it_was_unlearned_from(made):
    project, runs = made
    asked(project, runs["loans"])
    row = project.dataset(project.run(runs["loans"]).dataset).evaluation.ids[3]
    perform("trace", project, {"run": runs["loans"], "id": str(row), "method": "tracin"})
    perform("sources", project, {"run": runs["loans"], "column": "branch", "query": "loss", "method": "tracin"})
    for run in ("loans", "unlearned"):
        page = page_of(project, runs[run], group="group")
        assert "No question was asked" not in page
        listed = page[page.index("Questions that were asked") :]
        for way in ("rows scored by Random", "traced by TracIn", "blocks of branch weighed by TracIn", f"for row {row}<"):
            assert way in listed, (run, way)
    assert "No question was asked of this model." in page_of(project, runs["classes"], group="side")


def test_the_report_gives_accuracy_and_groups_on_both_kinds_of_rows_and_numbers_in_their_own_unit(made):
    project, runs = made
    page = page_of(project, runs["loans"], group="group")
    assert "Mean margin" not in page
    for body in (project.run(runs["loans"]).body[name] for name in ("evaluation_metrics", "metrics")):
        for figure in (body["intervals"]["accuracy"], body["gaps"]["group"]["equal_opportunity_gap"]):
            told = f'{words.number(figure["value"])}<br><span class="muted">{words.interval(figure["low"], figure["high"])}<br>'
            assert f"{told}n = {figure['n']:,}" in page
    perform("attribute", project, {"run": runs["numeric"], "query": "group_loss_gap", "query_set": {"group": "side"}, "method": "tracin"})
    page = page_of(project, runs["numeric"], group="side")
    gap = project.run(runs["numeric"]).body["evaluation_metrics"]["gaps"]["side"]["group_loss_gap"]
    lead = page[: page.index("<h2>")]
    assert f"Mean absolute error gap by side is {words.number(gap['value'])} (95" in lead
    assert words.interval(gap["low"], gap["high"]) in lead
    assert "RMSE" in page
    assert "Rmse" not in page


def test_the_report_tells_before_and_after_of_a_retraining_on_the_holdout_rows_as_the_pin_does(made):
    project, runs = made
    query = {"query": "equal_opportunity_gap", "query_set": {"group": "group"}, "run": runs["loans"]}
    found = perform("suspects", project, {**query, "limit": 20, "check": 1, "seeds": 2})["suspects"][0]
    pin(opened("suspects", run=runs["loans"], query="equal_opportunity_gap"))
    text, page = said(opened("evidence", run=runs["loans"])), page_of(project, runs["loans"], group="group")
    for role in ("evaluation", "holdout"):
        told = found["realised"]["same"][role]["measured"]
        levels = f"{words.number(told['before'])}\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}{words.number(told['before'] + told['change'])}"
        assert f"| Equal-opportunity gap by group, {role} rows, retrained without these rows | {levels} |" in text
        assert f"{levels} on the {role} rows" in page[: page.index("<h2>")]
    fresh = found["realised"]["fresh"]["holdout"]["measured"]
    assert f"| {words.signed(fresh['change'])} | {words.interval(fresh['low'], fresh['high'])} |" in text
    assert "Its smooth version, predicted change without these rows" in text


def test_single_rows_stand_in_the_report_only_if_somebody_ticks_it(made):
    project, runs = made
    at = opened("report", run=runs["loans"])
    assert not at.warning
    ran(at.checkbox(key="report.rows").check().run())
    assert "personal data" in at.warning[0].value
    ran(by_key(at.button, "report.write").click().run())
    done(project)
    assert project.records()[-1].body["settings"]["rows"] is True


# ---- links


def test_a_link_shows_the_same_question_method_and_patterns(made):
    _, runs = made
    link = {
        "query": "demographic_parity_gap", "influence.kind": "Other methods", "influence.method.Other methods": "TracIn",
        "suspects.conditions": "3", "suspects.remedy": "relabelled", "suspects.label": "true",
    }  # fmt: skip
    at = opened("suspects", run=runs["loans"], **link)
    assert at.selectbox(key="influence.query").value == "demographic_parity_gap"
    assert at.selectbox(key="influence.method.Other methods").value == "tracin"
    assert (at.segmented_control(key="suspects.conditions").value, at.segmented_control(key="suspects.remedy").value) == (3, "relabel")
    assert at.toggle(key="suspects.label").value is True
    assert not at.sidebar.warning


def test_settings_of_a_question_are_in_its_link(made):
    _, runs = made
    at = opened("influence", run=runs["loans"], query="prediction", **{"influence.query.prediction.group.id": "17"})
    assert next(t for t in at.text_input if t.key == "influence.query.prediction.group.id").value == "17"


def test_other_pages_are_shown_as_their_link_says(made):
    project, runs = made
    note = preview.kept(project, runs["loans"], "group")
    label = list(note["labels"])[1]
    at = opened("plan", run=runs["loans"], **{"plan.label": note["measured_labels"][label], f"plan.k.{runs['loans']}": "33"})
    assert (at.selectbox(key="plan.label").value, by_key(at.slider, f"plan.k.{runs['loans']}").value) == (label, 33)
    at = opened("compare", run=runs["unlearned"], **{"compare.metric": "Accuracy"})
    assert at.selectbox(key="compare.metric").value == "accuracy"
    at = opened("audit", run=runs["loans"], **{"audit.metric": "Selection rate", "audit.threshold": "0.3"})
    assert at.segmented_control(key="audit.metric").value == "selection_rate"
    assert by_key(at.slider, "audit.threshold").value == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("page", "given", "told"),
    [
        ("suspects", {"suspects.remedy": "explode"}, "asks for “explode” as Remedy"),
        ("suspects", {"suspects.conditions": "99"}, "asks for “99” as Conditions"),
        ("influence", {"influence.kind": "<b>none</b>"}, "asks for “<b>none</b>” as Kind"),
        ("audit", {"audit.threshold": "7"}, "asks for “7” as Threshold"),
        ("plan", {"plan.label": "nothing"}, "asks for “nothing” as Label"),
    ],
)
def test_a_value_that_is_none_is_said_in_a_sentence_and_the_default_is_shown(made, page, given, told):
    at = opened(page, run=made[1]["loans"], **given)
    assert [w.value.replace("\\", "") for w in at.sidebar.warning] == [f"The address {told}, which is not open here; the default is shown."]


def test_a_question_that_there_is_not_is_said(made):
    at = opened("influence", run=made[1]["loans"], query="no_such")
    assert "The address asks about “no_such”" in said(at)
    assert at.query_params["query"] == ["equal_opportunity_gap"] or at.query_params["query"] == "equal_opportunity_gap"


def test_defaults_in_an_address_are_no_mistake(made):
    at = opened("suspects", run=made[1]["loans"], **{"suspects.conditions": "2", "suspects.remedy": "removed", "suspects.label": "false"})
    assert not at.sidebar.warning
