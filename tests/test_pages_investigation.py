"""The pages Audit and Influence on a real small project: their figures are those of the tables, and no run breaks any page."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from influence import jobs
from influence.actions import _measures, fidelity, perform
from influence.actions.attribute import kept as kept_scores
from influence.registry import attribution, described, mislabelled, queries
from influence.types import Selection
from influence.ui import asking, costs, units, words
from tests import investigation
from tests.investigation import PAGES, ROOT, asked, by_key, choose, done, opened, ran, said, shown

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker


# ---- Any run on every page


@pytest.mark.parametrize("page", PAGES)
def test_a_project_without_runs_says_so(page, tmp_path, monkeypatch):
    monkeypatch.setenv("INFLUENCE_PROJECT", str(tmp_path / "empty"))
    assert "There is no trained model in this project yet" in said(opened(page))


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("which", ["loans", "unlearned", "retrained", "groupless", "numeric", "classes"])
def test_every_page_draws_every_run(made, which, page):
    _, runs = made
    at = opened(page, run=runs[which])
    assert not at.error
    assert at.title[0].value.lower() == page


@pytest.mark.parametrize("page", PAGES)
def test_an_unknown_run_falls_back_to_the_newest_that_was_trained(page, made):
    newest = words.run_name(made[0].run())
    assert f"which is not in this project; {newest} is shown" in said(opened(page, run="train-nothing"))


# ---- Audit


def test_runs_of_one_name_stay_the_ones_that_were_chosen(made, monkeypatch):
    """A list finds a choice again by its text: of two runs made in one second it would take the first."""
    _, runs = made
    monkeypatch.setattr(words, "run_name", lambda run: "one name")
    for which in ("numeric", "classes"):
        at = opened("audit", run=runs[which])
        shown = ran(at.run()).query_params["run"]
        assert shown in (runs[which], [runs[which]])
    other = by_key(at.selectbox, "choice.run").set_value(runs["numeric"])
    assert ran(other.run()).query_params["run"] in (runs["numeric"], [runs["numeric"]])


def test_audit_says_the_gap_of_the_runs_table(made):
    project, runs = made
    found = project.table(project.run(runs["loans"]).body["audit"]["group"])
    gap = found[(found["metric"] == "equal_opportunity_gap") & (found["group"] == "")].iloc[0]
    table = found[found["metric"] == "true_positive_rate"].set_index("group").sort_values("value")
    rates, n = table["value"], table["n"].astype(int)
    text = said(opened("audit", run=runs["loans"]))
    truly = "of the rows whose decision truly is “granted”"
    assert f"finds {words.percent(rates.iloc[-1])} {truly} in group **{rates.index[-1]}**" in text
    assert f"only {words.percent(rates.iloc[0])} in group **{rates.index[0]}**" in text
    assert f"a gap of **{100 * gap['value']:.1f} points** (95 % interval {100 * gap['low']:.1f} points to" in text
    assert f"; n = {n.iloc[-1]:,} and {n.iloc[0]:,})" in text
    assert rates.iloc[-1] - rates.iloc[0] == pytest.approx(gap["value"])


def test_the_threshold_moves_the_rates_as_counted(made):
    project, runs = made
    run = project.run(runs["loans"])
    at = opened("audit", run=run.id)
    predicted = project.table(run.body["predictions"]).query("split == 'evaluation'")
    for cut in (0.5, 0.25, 0.9):
        slider = by_key(at.slider, "audit.threshold")
        ran(slider.set_value(cut).run())
        rates = shown(at, "Selection rate", "True positive rate").set_index("group")
        for group, rows in predicted.groupby("group"):
            chosen, real = rows["p_granted"] >= cut, rows["target"] == "granted"
            assert rates.loc[group, "Selection rate"].startswith(f"{words.percent(chosen.mean())} (")
            assert rates.loc[group, "Selection rate"].endswith(f"n = {len(rows)}")
            assert rates.loc[group, "True positive rate"].startswith(f"{words.percent(chosen[real].mean())} (")
            assert rates.loc[group, "False positive rate"].startswith(f"{words.percent(chosen[~real].mean())} (")
        parts = [rows["p_granted"].ge(cut).mean() for _, rows in predicted.groupby("group")]
        assert rates.loc["largest gap", "Selection rate"].startswith(words.percent(max(parts) - min(parts)))
    audited = project.table(run.body["audit"]["group"])
    ran(by_key(at.slider, "audit.threshold").set_value(0.5).run())
    here = shown(at, "Selection rate", "True positive rate").set_index("group")
    for row in audited[(audited["metric"] == "selection_rate")].itertuples():
        assert f"({words.percent(row.low)} to {words.percent(row.high)})" in here.loc[row.group, "Selection rate"]


def test_groups_with_few_rows_missing_values_and_cut_numbers_are_told(made):
    project, runs = made
    dataset = project.dataset(project.run(runs["numeric"]).dataset)
    at = opened("audit", run=runs["numeric"], group="side")
    sizes = shown(at, "side is").set_index("side is")
    for role in ("train", "evaluation", "holdout"):
        assert sizes[role].to_dict() == {
            name: (dataset.split(role).columns["side"].fillna("missing") == name).sum() for name in sizes.index
        }
    assert "missing" in sizes.index
    assert re.search(r"has a mean absolute error of [\d.,]+ in group \*\*.+\*\* and of [\d.,]+ in group", said(at))
    at = opened("audit", run=runs["numeric"], group="age")
    ages = shown(at, "age is")
    assert len(ages) == 4
    assert ages["train"].sum() == len(dataset.train)


def test_why_leads_to_the_question_even_if_another_was_asked_before(made):
    _, runs = made
    at = opened("influence", run=runs["loans"])
    assert by_key(at.selectbox, "influence.query").value == "equal_opportunity_gap"
    ran(by_key(at.selectbox, "influence.query").set_value("loss").run())
    assert at.query_params["query"] in ("loss", ["loss"])
    at.switch_page(str(ROOT / "pages" / "audit.py"))
    ran(at.run())
    ran(next(b for b in at.button if b.label.startswith("Why?")).click().run())
    assert by_key(at.selectbox, "influence.query").value == "equal_opportunity_gap"


def test_a_question_stays_when_one_comes_back(made):
    _, runs = made
    at = opened("influence", run=runs["loans"])
    ran(by_key(at.selectbox, "influence.query").set_value("loss").run())
    for page in ("audit", "influence"):
        at.switch_page(str(ROOT / "pages" / f"{page}.py"))
        ran(at.run())
    assert by_key(at.selectbox, "influence.query").value == "loss"


def test_errors_of_a_number_say_their_units_and_removed_rows_are_told(made):
    project, runs = made
    mae = project.run(runs["numeric"]).body["evaluation_metrics"]["intervals"]["mae"]
    at, _ = asked(project, runs["numeric"], "loss")
    assert f"is {words.figure(mae, of='evaluation')}." in said(at), "as Audit tells it, in the target's own unit"
    assert "standard deviations" not in said(at)
    assert "goal squared" in said(at), "the unit of what scores predict"
    assert "without 20 rows of the training rows" in said(opened("audit", run=runs["unlearned"]))


def test_scores_of_a_number_are_shown_in_the_unit_of_what_they_predict(made):
    project, runs = made
    run = project.run(runs["numeric"])
    target = project.dataset(run.dataset).encoding["target"]
    done(project, "attribute", {"run": run.id, "query": "loss", "query_set": {}, "method": "metagradient", "set": {}})
    at = opened("influence", run=run.id, query="loss")
    found = kept_scores(project, run.id, described(queries.make("loss", {})), described(attribution.make("metagradient", {})))
    best = np.sort(project.scores(found["scores"]).column())[:50] * target["sd"] ** 2
    np.testing.assert_allclose(shown(at, "id", "score")["score"], best, rtol=1e-6)
    smooth, real = units.value(run, found)["value"], predicted(project, run)
    assert smooth == pytest.approx(((real["prediction"] - real["target"]) ** 2).mean(), rel=1e-3)
    one = {"query": {"name": "prediction"}, "value": {"value": 0.5, "measured": 0.5}}
    assert units.value(run, one)["measured"] == pytest.approx(target["mean"] + target["sd"] / 2)


def predicted(project, run):
    table = project.table(run.body["predictions"])
    return table[table["split"] == "evaluation"].astype({"target": float})


# ---- Influence


def test_scores_that_are_kept_stand_on_the_page_at_once(made):
    project, runs = made
    _, digest = asked(project, runs["loans"])
    records = len(project.records())
    at = choose(opened("influence", run=runs["loans"], query="equal_opportunity_gap"), "random")
    assert "influence.score" not in [b.key for b in at.button]
    assert "computed just now and kept" in said(at)
    assert shown(at, "id", "score")["score"].min() == project.scores(digest).column().min()
    assert list(shown(at, "id", "score").columns[:4]) == ["id", "score", "decision", "group"], "what one looks for stands first"
    assert len(project.records()) == records
    ran(by_key(at.button, "influence.again").click().run())
    job = jobs.listed(project, 1)[0]
    jobs.cancel(project, job.id)
    assert job.args["again"] is True


def test_what_is_asked_is_told_with_its_interval_and_the_rows_that_count(made):
    project, runs = made
    run = project.run(runs["loans"])
    asked(project, run.id)
    figure = run.body["evaluation_metrics"]["gaps"]["group"]["equal_opportunity_gap"]
    assert figure["n"] < run.body["n"]["evaluation"], "of the truly positive rows alone"
    text = said(choose(opened("influence", run=run.id, query="equal_opportunity_gap"), "random"))
    assert f"Equal-opportunity gap by group is {words.figure(figure)} evaluation rows" in text


def test_a_tables_interval_is_told_only_of_what_the_table_measured(made):
    project, runs = made
    run = project.run(runs["loans"])
    data, gaps = project.dataset(run.dataset), run.body["evaluation_metrics"]["gaps"]["group"]
    gap = {"group": "group", "bins": 4, "positive": data.evaluation.classes[-1]}
    found = _measures.evaluated(run, data, {"name": "demographic_parity_gap", "given": gap}, gaps["demographic_parity_gap"]["value"])
    assert found == gaps["demographic_parity_gap"]
    for other in ({"positive": data.evaluation.classes[0]}, {"bins": 7}, {"group": "income"}):
        assert _measures.evaluated(run, data, {"name": "demographic_parity_gap", "given": gap | other}, 0.1) is None
    assert _measures.evaluated(run, data, {"name": "prediction", "given": {"id": "3"}}, 0.1) is None
    rate = _measures.evaluated(run, data, {"name": "group_rate", "given": {**gap, "which": "A", "of": "negatives"}}, 0.3)
    table = project.table(run.body["audit"]["group"])
    assert rate["n"] == run.body["evaluation_metrics"]["groups"]["group"]["A"]["false_positive_rate"]["n"]
    assert len(table)


def test_the_interval_of_a_number_is_in_the_unit_of_what_is_predicted(made):
    project, runs = made
    run = project.run(runs["numeric"])
    entry, sd = run.body["evaluation_metrics"]["intervals"]["mae"], project.dataset(run.dataset).encoding["target"]["sd"]
    found = _measures.evaluated(run, project.dataset(run.dataset), {"name": "loss", "given": {}}, entry["value"] / sd)
    assert found["low"] == pytest.approx(entry["low"] / sd)
    assert found["high"] == pytest.approx(entry["high"] / sd)


def test_classes_and_groups_are_chosen_not_typed(made):
    _, runs = made
    at = opened("influence", run=runs["loans"], query="equal_opportunity_gap")
    box = next(b for b in at.selectbox if b.key.endswith("positive"))
    assert box.options == ["Default: granted", "declined", "granted"]
    ran(box.select("declined").run())
    assert next(b for b in at.button if b.key == "influence.score")
    box = next(b for b in opened("influence", run=runs["loans"], query="group_rate").selectbox if b.key.endswith("which"))
    assert box.options == ["Default", "A", "B"]


def test_a_price_is_told_in_trainings_and_seconds(made):
    project, runs = made
    run, took = project.run(runs["loans"]), project.run(runs["loans"]).body["seconds"]
    assert costs.told(run, attribution, "metagradient", {"seeds": 3}) == f"The time of at most 12 trainings: {words.about(12 * took)}"
    assert costs.told(run, mislabelled, "out_of_sample", {"folds": 4, "repeats": 2}).startswith("At most 12 real trainings: ")
    assert costs.told(run, attribution, "tracin", {}).startswith("About one training epoch per checkpoint; training this model took ")


def test_one_method_is_recommended_and_every_other_is_listed_with_its_reason(made, monkeypatch):
    _, runs = made
    at = opened("influence", run=runs["loans"])
    assert at.segmented_control(key="influence.kind").value == asking.RECOMMENDED
    assert "**Metagradient**" in said(at)
    assert not [b for b in at.selectbox if b.key.startswith("influence.method")]
    listed = set()
    for kind in at.segmented_control(key="influence.kind").options:
        ran(at.segmented_control(key="influence.kind").set_value(kind).run())
        offered = next((b for b in at.selectbox if b.key == f"influence.method.{kind}"), None)
        listed |= set(offered.options) if offered else {"Metagradient"}
    assert listed == {words.title(name) for name in attribution.classes}
    at = opened("influence", run=runs["unlearned"])
    assert "**Metagradient**" not in said(at)
    ran(at.segmented_control(key="influence.kind").set_value(asking.OTHERS).run())
    text = said(at)
    assert "these weights were made by an approximate unlearning method" in text
    assert "**Metagradient**" in text


@pytest.mark.parametrize(
    ("closed", "best"),
    [((), "metagradient"), (("metagradient",), "influence_function"), (("metagradient", "influence_function"), "tracin")],
)
def test_what_is_recommended_is_the_best_that_is_open(closed, best):
    known = {"metagradient", "influence_function", "tracin", "retraining", "random", "captum_tracin"}
    kinds = asking.kinds_of({name: "closed" if name in closed else "" for name in known} | {"captum_naive": "closed"})
    assert kinds[asking.RECOMMENDED] == [best]
    assert kinds["Captum"] == ["captum_naive", "captum_tracin"]
    assert kinds[asking.OTHERS][-2:] == ["retraining", "random"]
    assert sorted(name for names in kinds.values() for name in names) == sorted(known | {"captum_naive"})


# ---- Trust


GAP = {"query": "equal_opportunity_gap", "query_set": {"group": "group"}}


def test_trust_is_measured_from_the_page_and_seen_on_every_page(made):
    project, runs = made
    asked(project, runs["loans"])
    at = choose(opened("influence", run=runs["loans"], query="equal_opportunity_gap"), "random")
    assert "was not measured yet" in said(at)
    assert costs.retrainings(project.run(runs["loans"]), 32) in said(at)
    assert "as earlier ones of this model took" in said(at), "the preview's retrainings were timed"
    ran(by_key(at.button, "scored.trust.measure").click().run())
    result = done(project)
    ran(at.run())
    assert result["bank"]["trained"] == 32
    between = words.interval(result["lds_low"], result["lds_high"])
    assert f"LDS {words.number(result['lds'])} ({between}) at 1\N{NO-BREAK SPACE}%, same seed, 32 retrainings" in said(at)
    assert "These scores rank only" in said(at)
    figures = shown(at, "figure").set_index("figure")
    assert figures.loc["size (95 %)"].item() == "rank only"
    assert figures.loc["retrainings (n)"].item() == "32"
    assert "No training needed: the retrained models are kept" in said(at)
    at = opened("plan", run=runs["loans"])
    assert "not yet compared with others" in said(at), "another method's truth is another"
    assert "No training needed" in said(at), "but the same models serve it"
    ran(by_key(at.button, "plan.trust.measure").click().run())
    result = done(project)
    assert result["bank"]["trained"] == 0
    for page, run in (("plan", "loans"), ("compare", "unlearned"), ("influence", "loans")):
        at = opened(page, run=runs[run], query="equal_opportunity_gap", **{"compare.part": "Predicted"})
        assert f"LDS {words.number(result['lds'])} (" in said(at), page
        assert f"LDS {words.number(result['lds_measured'])} (" in said(at), page
    html = (project.path / perform("report", project, {"run": runs["unlearned"], "group": "group"})["html"]).read_text(encoding="utf-8")
    assert f"LDS {words.number(result['lds'])} (" in html
    assert f"of Equal-opportunity gap by group: LDS {words.number(result['lds_measured'])} (" in html


def test_what_cannot_be_trained_again_says_why_it_is_not_measured(made):
    project, runs = made
    at, _ = asked(project, runs["unlearned"])
    assert "It cannot be measured here." in said(at)
    assert "scored.trust.measure" not in [b.key for b in at.button]


def test_smoothness_is_told_only_where_it_was_measured(made):
    project, runs = made
    perform("attribute", project, {"run": runs["loans"], "query": "loss", "method": "metagradient"})
    at = opened("influence", run=runs["loans"], query="loss")
    assert "Smoothness 0" not in said(at)
    took = project.run(runs["loans"]).body["seconds"]
    assert f"11 trainings, {words.about(11 * took)}: can the metagradient be trusted here?" in said(at)
    ran(by_key(at.button, "scored.trust.smooth").click().run())
    result = done(project)
    ran(at.run())
    between = words.interval(result["low"], result["high"])
    told = f"Smoothness {words.number(result['value'])} ({between}) at 1\N{NO-BREAK SPACE}%, 5 sets of rows"
    assert told in said(at)
    assert result["verdict"] in said(at)
    assert "scored.trust.smooth" not in [b.key for b in at.button]
    assert told in said(opened("plan", run=runs["loans"])), "the preview follows the same training"
    asked(project, runs["loans"], "loss")
    assert "Smoothness" not in said(choose(opened("influence", run=runs["loans"], query="loss"), "random")), "random walks nowhere"
    assert "Smoothness" not in said(opened("influence", run=runs["unlearned"], query="loss"))


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.96, 0.99, "Predicts the metric well"), (0.5, 0.7, "roughly"), (0.1, 0.3, "poorly"), (-0.2, 0.9, "Too few retrainings to say")],
)
def test_a_badge_says_in_a_word_what_the_lower_bound_allows(made, monkeypatch, low, high, word):
    project, runs = made
    asked(project, runs["loans"], "loss")
    result = {
        "truth": "same", "fraction": 0.1, "removed": 9, "n": 32, "seeds": 1, "calibrated": False, "noise_ceiling": None, "note": "",
        "lds": (low + high) / 2, "lds_low": low, "lds_high": high,
        "lds_measured": (low + high) / 2, "lds_measured_low": low, "lds_measured_high": high,
    }  # fmt: skip
    monkeypatch.setattr(fidelity, "kept", lambda *args: [result])
    at = choose(opened("influence", run=runs["loans"], query="loss"), "random")
    assert word in said(at)
    assert said(at).count(f"({words.interval(low, high)}) at 10") == 1, "where both forms are one, it is said once"


def test_methods_that_were_asked_the_same_are_compared(made):
    project, runs = made
    for method, given in (("tracin", {}), ("random", {}), ("random", {"seed": 5})):
        perform("attribute", project, {**GAP, "run": runs["loans"], "method": method, "set": given})
    at, _ = asked(project, runs["loans"])
    found = perform("agreement", project, {**GAP, "run": runs["loans"]})
    text = said(at)
    assert "Agreement is not truth" in text
    table = shown(at, "methods", "n")
    assert len(table) == len(found["names"]) * (len(found["names"]) - 1) // 2
    assert set(table["n"]) == {found["n"]}
    a, b = found["names"].index("tracin"), found["names"].index("random (seed 5)")
    row = table[table["methods"].isin(("TracIn and Random (seed 5)", "Random (seed 5) and TracIn"))].iloc[0]
    assert row["rank correlation (95 %)"].startswith(words.number(found["correlation"][a][b], 2))
    only = opened("influence", run=runs["classes"], query="loss")
    perform("attribute", project, {"query": "loss", "run": runs["classes"], "method": "random"})
    assert "with a second method" in said(choose(only, "random"))


def test_influence_shows_the_scores_and_what_is_chosen_is_seen_on_plan(made):
    project, runs = made
    at, digest = asked(project, runs["loans"])
    scores = project.scores(digest)
    lowest = shown(at, "id", "score")
    truth = np.argsort(scores.column(), kind="stable")[: len(lowest)]
    assert lowest["id"].tolist() == scores.ids[truth].tolist()
    assert lowest["score"].tolist() == scores.column()[truth].tolist()
    assert {"income", "group"} <= set(lowest.columns)
    assert "Rank only" in said(at)
    ran(by_key(at.number_input, "scored.finder.top_k.k").set_value(17).run())
    ran(by_key(at.button, "scored.choose").click().run())
    chosen = project.current()
    assert list(chosen.ids) == scores.ids[np.argsort(scores.column(), kind="stable")[:17]].tolist()
    assert chosen.reason["scores"] == digest
    at = opened("plan", run=runs["loans"])
    assert "**17 training rows** of" in said(at)
    kinds = shown(at, "selected share")
    train = project.dataset(project.run(runs["loans"]).dataset).train
    mine = train.columns[train.mask(chosen.ids)]["group"].value_counts()
    assert kinds[kinds["column"] == "group"].set_index("value")["selected"].to_dict() == {g: mine.get(g, 0) for g in ("A", "B")}
    ran(by_key(at.button, "choosing.undo").click().run())
    assert not project.current()
    assert "No rows are selected yet" in said(at)


def test_what_cannot_be_chosen_is_said_and_changes_nothing(made):
    project, runs = made
    at, _ = asked(project, runs["loans"])
    ran(by_key(at.number_input, "scored.finder.top_k.k").set_value(10_000).run())
    ran(by_key(at.button, "scored.choose").click().run())
    assert "cannot be chosen" in said(at)
    assert not project.current()


def test_a_combination_that_leaves_nothing_keeps_the_selection(made):
    project, runs = made
    train = project.dataset(project.run(runs["loans"]).dataset).train
    project.choose(Selection((int(train.ids[0]),), reason={"rule": "rows", "words": "one row"}))
    at, _ = asked(project, runs["loans"])
    ran(at.segmented_control(key="scored.finder").set_value("rows").run())
    ran(by_key(at.text_input, "scored.finder.rows.ids").set_value(str(train.ids[1])).run())
    ran(by_key(at.selectbox, "scored.how").set_value("Keep only those in both").run())
    ran(by_key(at.button, "scored.choose").click().run())
    assert "No rows are left that way" in said(at)
    assert project.current().ids == (int(train.ids[0]),)


def test_start_tells_the_way_of_an_unlearned_run_and_what_each_figure_is_of(made):
    _, runs = made
    at = opened("start", run=runs["unlearned"])
    assert "No question asked yet" not in said(at)
    assert "This model was made without 20 training rows." in said(at)
    assert "Finetune without 20 rows: Equal-opportunity gap" in said(at)
    assert "Figures in this list are of the holdout rows" in said(at)
    data = shown(at, "Name", "Data").set_index("Name")["Data"]
    assert data["Finetune without 20 rows"] == "loans"
    assert data["table of 4"] == "table of 4"


@pytest.mark.parametrize("page", ["influence", "plan", "report"])
def test_a_selection_of_other_data_is_not_taken_for_this_ones(made, page):
    project, runs = made
    project.choose(Selection(("row 3, old", "row 5, old"), reason={"rule": "rows", "words": "two rows"}))
    at = opened(page, run=runs["loans"])
    assert "choosing.clear" not in [b.key for b in at.button]
    if page != "report":
        assert "belongs to other data" in said(at)
    assert perform("report", project, {"run": runs["loans"]})["html"]


def test_rows_selected_of_one_data_set_are_there_again_after_others_were_selected_of_another(made):
    project, runs = made
    for name, n in (("loans", 7), ("classes", 5)):
        run = project.run(runs[name])
        ids = tuple(project.dataset(run.dataset).train.ids[:n].tolist())
        project.choose(Selection(ids, reason={"rule": "rows", "dataset": run.dataset}))
    assert "**7 training rows** of" in said(opened("plan", run=runs["loans"]))
    assert perform("preview", project, {"run": runs["loans"], "group": "group"})["n"] == 7
    page = (project.path / perform("report", project, {"run": runs["loans"]})["html"]).read_text(encoding="utf-8")
    assert "7 training rows" in page
    at = opened("plan", run=runs["classes"])
    assert "**5 training rows** of" in said(at)
    ran(by_key(at.button, "choosing.clear").click().run())
    assert "No rows are selected yet" in said(at)
    at = opened("plan", run=runs["loans"])
    ran(by_key(at.button, "choosing.undo").click().run())
    assert "No rows are selected yet" in said(at)
    at = opened("plan", run=runs["classes"])
    ran(by_key(at.button, "choosing.undo.empty").click().run())
    assert "**5 training rows** of" in said(at)


def test_rows_with_text_ids_that_hold_blanks_and_commas_can_be_asked_and_chosen(made):
    project, runs = made
    at, digest = asked(project, runs["numeric"], "group_loss_gap")
    rows = shown(at, "id", "score", "score (data)")
    scores = project.scores(digest)
    assert rows["id"].tolist() == scores.ids[np.argsort(scores.column(), kind="stable")[: len(rows)]].tolist()
    ran(at.segmented_control(key="scored.finder").set_value("where").run())
    ran(by_key(at.selectbox, "scored.finder.where.column").set_value("side").run())
    ran(by_key(at.selectbox, "scored.finder.where.is_").set_value("missing").run())
    ran(by_key(at.button, "scored.choose").click().run())
    train = project.dataset(project.run(runs["numeric"]).dataset).train
    assert set(project.current().ids) == set(train.ids[train.columns["side"].isna()])
    assert "rows where side is missing" in said(at)


# ---- Tables


@pytest.mark.parametrize("page", ["audit", "compare", "verify"])
def test_counts_in_tables_have_their_thousands_apart(made, page):
    project, runs = made
    for job in {"compare": ("compare",), "verify": ("verify",)}.get(page, ()):
        done(project, job, {"run": runs["unlearned"], **({"oracles": 24} if job == "verify" else {})})
    frames = opened(page, run=runs["unlearned"]).dataframe
    shapes = [json.loads(f.proto.columns or "{}").get("n", {}) for f in frames if "n" in f.value.select_dtypes("integer")]
    assert {shape.get("type_config", {}).get("format") for shape in shapes} == {"localized"}
