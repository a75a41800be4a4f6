"""The pages from Audit to Report on a real small project: their figures are those of the tables, and no run breaks them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import influence.actions
from influence import jobs
from influence.actions import fidelity, perform, preview
from influence.actions.attribute import kept as kept_scores
from influence.jobs import process, worker
from influence.registry import attribution, described, queries
from influence.store import Project
from influence.types import Selection
from influence.ui import asking, words

ROOT = Path(__file__).parents[1]
PAGES = ("audit", "influence", "plan", "compare", "report")


@pytest.fixture(scope="module", autouse=True)
def no_worker():
    """Nothing is started beside the tests; jobs are worked on here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "start", lambda folder: None)
        yield


def done(project: Project, action: str = "", args: dict | None = None) -> dict:
    """Ask for an action as a page does (or take the one that a page asked for), work on it as a worker does, and return the result."""
    id = jobs.submit(project, action, args or {}) if action else jobs.listed(project, 1)[0].id
    worker.Worker(project, influence.actions, None)._work(worker.claim(project))  # type: ignore[arg-type]
    job = jobs.get(project, id)
    assert job.state == "done", job.error
    return job.result


def table(classes: int, folder: Path) -> dict:
    """Arguments to train on a table with text ids, two group columns with missing values and a tiny group, and awkward names."""
    rng = np.random.default_rng(classes)
    n = 420
    x = rng.normal(size=(n, 3))
    side = rng.choice(np.array(["left_1", "right*2*", None], dtype=object), n, p=[0.5, 0.4, 0.1])
    side[:3] = "tiny"
    score = x @ [1.0, -2.0, 0.5] + np.where(side == "left_1", 1.0, 0.2) * rng.normal(size=n)
    goal = score * 1000 if classes == 0 else pd.qcut(score, classes, labels=[f"c{i}" for i in range(classes)]).astype(str)
    frame = pd.DataFrame(
        {
            "a": x[:, 0], "score": x[:, 1], "c": x[:, 2], "side": side, "age": rng.integers(18, 80, n), "goal": goal,
            "key": [f"row {i}, old" for i in range(n)],
        }
    )  # fmt: skip
    path = folder / f"table{classes}.csv"
    frame.to_csv(path, index=False)
    given = {"data": str(path), "target": "goal", "id": "key", "protected": ["side"], "audit": ["age"]}
    return {**given, "set": {"epochs": 4}, "name": f"table of {classes}"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project and its runs by what is special about them."""
    folder = tmp_path_factory.mktemp("investigation")
    project = Project(folder / "p")
    runs = {
        "numeric": perform("train", project, table(0, folder))["run"],
        "classes": perform("train", project, table(4, folder))["run"],
        "groupless": perform("train", project, {"data": "bundled:digits", "set": {"epochs": 1}})["run"],
    }
    loans = {"data": "bundled:loans", "data_set": {"n": 1500}, "set": {"epochs": 5, "batch_size": 64}}
    runs["loans"] = run = perform("train", project, loans)["run"]
    perform("prepare", project, {"run": run, "group": "group"})
    ids = list(project.dataset(project.run(run).dataset).planted)[:20]
    unlearned = perform("unlearn", project, {"run": run, "ids": ids, "method": "finetune", "set": {"epochs": 1}})
    runs |= {"unlearned": unlearned["run"], "retrained": unlearned["retrained"]}
    perform("compare", project, {"run": runs["unlearned"], "group": "group"})
    return project, runs


@pytest.fixture(autouse=True)
def here(made, monkeypatch):
    monkeypatch.setenv("INFLUENCE_PROJECT", str(made[0].path))
    made[0].choose(Selection(()))


def opened(page: str, **address: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "influence" / "ui" / "main.py"), default_timeout=120)
    for name, value in address.items():
        at.query_params[name] = value
    at.switch_page(str(ROOT / "pages" / f"{page}.py"))
    return ran(at.run())


def ran(at: AppTest) -> AppTest:
    assert not at.exception, at.exception[0].value
    return at


def said(at: AppTest) -> str:
    """All text of the page, as written."""
    kinds = ("markdown", "caption", "info", "warning", "error", "success", "subheader", "title")
    return "\n".join(str(e.value) for kind in kinds for e in at.get(kind)).replace("\\", "")


def by_key(elements, key: str):
    return next(e for e in elements if e.key == key)


def shown(at: AppTest, *columns: str) -> pd.DataFrame:
    """The first table on the page that has these columns."""
    return next(e.value for e in at.dataframe if set(columns) <= set(e.value.columns))


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
def test_an_unknown_run_falls_back_to_the_newest(page):
    assert "There is no run" in said(opened(page, run="train-nothing"))


# ---- Audit


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
    sd = project.dataset(project.run(runs["numeric"]).dataset).encoding["target"]["sd"]
    at, _ = asked(project, runs["numeric"], "loss")
    assert f"standard deviations of goal (1 = {words.number(sd)})" in said(at)
    assert "without 20 rows of the training rows" in said(opened("audit", run=runs["unlearned"]))


# ---- Influence


def choose(at: AppTest, method: str, kind: str = asking.OTHERS) -> AppTest:
    """Choose a method of a kind on the page."""
    ran(at.segmented_control(key="influence.kind").set_value(kind).run())
    return ran(by_key(at.radio, f"influence.method.{kind}").set_value(method).run())


def asked(project: Project, run: str, query: str = "equal_opportunity_gap") -> tuple[AppTest, str]:
    """The page with the scores of a question that was asked on it, and their digest."""
    at = choose(opened("influence", run=run, query=query), "random")
    if any(b.key == "influence.score" for b in at.button):  # else they were scored before, and are found again
        ran(by_key(at.button, "influence.score").click().run())
        done(project)
        ran(at.run())
    group = next(iter(project.run(run).body["groups"]), "")
    made = queries.make(query, {"group": group} if "gap" in query else {})
    return at, kept_scores(project, run, described(made), described(attribution.make("random")))["scores"]


def test_scores_that_are_kept_stand_on_the_page_at_once(made):
    project, runs = made
    _, digest = asked(project, runs["loans"])
    records = len(project.records())
    at = choose(opened("influence", run=runs["loans"], query="equal_opportunity_gap"), "random")
    assert "influence.score" not in [b.key for b in at.button]
    assert "computed just now and kept" in said(at)
    assert shown(at, "id", "score")["score"].min() == project.scores(digest).column().min()
    assert len(project.records()) == records


def test_one_method_is_recommended_and_every_other_is_listed_with_its_reason(made, monkeypatch):
    _, runs = made
    at = opened("influence", run=runs["loans"])
    assert at.segmented_control(key="influence.kind").value == asking.RECOMMENDED
    assert "**Metagradient**" in said(at)
    assert not at.radio
    listed = set()
    for kind in at.segmented_control(key="influence.kind").options:
        ran(at.segmented_control(key="influence.kind").set_value(kind).run())
        listed |= set(at.radio[0].options) if at.radio else {"Metagradient"}
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
    took = project.run(runs["loans"]).body["seconds"]
    assert f"32 real trainings, up to {words.duration(max(1.0, 32 * took))}" in said(at)
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
    assert "was not measured yet" in said(at), "another method's truth is another"
    assert "No training needed" in said(at), "but the same models serve it"
    ran(by_key(at.button, "plan.trust.measure").click().run())
    result = done(project)
    assert result["bank"]["trained"] == 0
    for page, run in (("plan", "loans"), ("compare", "unlearned"), ("influence", "loans")):
        at = opened(page, run=runs[run], query="equal_opportunity_gap")
        assert f"LDS {words.number(result['lds'])} (" in said(at), page
        assert f"LDS {words.number(result['lds_measured'])} (" in said(at), page
    perform("report", project, {"run": runs["unlearned"], "group": "group"})
    html = (project.path / "reports" / f"{runs['unlearned']}.html").read_text(encoding="utf-8")
    assert f"LDS {words.number(result['lds'])} (" in html
    assert f"as read: LDS {words.number(result['lds_measured'])} (" in html


def test_what_cannot_be_trained_again_says_why_it_is_not_measured(made):
    project, runs = made
    at, _ = asked(project, runs["unlearned"])
    assert "It cannot be measured here." in said(at)
    assert "scored.trust.measure" not in [b.key for b in at.button]


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


@pytest.mark.parametrize("page", ["influence", "plan", "report"])
def test_a_selection_of_other_data_is_not_taken_for_this_ones(made, page):
    project, runs = made
    project.choose(Selection(("row 3, old", "row 5, old"), reason={"rule": "rows", "words": "two rows"}))
    at = opened(page, run=runs["loans"])
    assert "choosing.clear" not in [b.key for b in at.button]
    if page != "report":
        assert "belongs to other data" in said(at)
    assert perform("report", project, {"run": runs["loans"]})["html"]


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
    table = shown(at, "metric", "predicted without 33 rows").set_index("metric")
    for name in note["labels"]:
        row, before = truth["measured"].loc[name], note["before"][name]["measured"]
        mine = table.loc[[note["measured_labels"][name]]]
        assert words.number(before) in mine["now"].tolist()
        assert words.number(before + row["change"]) in mine["predicted without 33 rows"].tolist()
        assert words.interval(before + row["low"], before + row["high"]) in mine["95 % band"].tolist()
    curve = shown(at, "rows removed").set_index("rows removed")
    row = preview.curves(note, scores, order, [10], "value").set_index("label").loc[label]
    assert curve.loc[10, f"{label}, smooth: predicted"] == words.number(note["before"][label]["value"] + row["change"])
    assert len(at.get("vega_lite_chart")) == 2
    ran(by_key(at.button, "plan.select").click().run())
    assert list(project.current().ids) == scores.ids[order[:33]].tolist()
    exact = preview.predicted(note, scores, project.current().ids)
    told = shown(at, "predicted change")
    assert told["predicted change"].tolist() == [words.signed(e["measured_change"]) for e in exact.values()]


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
        assert curve.loc[k, f"{label}, smooth: retrained, same start"] == words.number(level)
    assert set(ks) & set(curve.index)


def test_an_unprepared_run_offers_to_prepare_and_then_plans(made):
    project, runs = made
    at = opened("plan", run=runs["numeric"], group="side")
    assert "Prepare the preview" in [b.label for b in at.button]
    perform("prepare", project, {"run": runs["numeric"], "group": "side"})
    at = opened("plan", run=runs["numeric"], group="side")
    assert "R²" in said(at) + " ".join(shown(at, "metric")["metric"])
    assert "Prepare the preview" in [b.label for b in opened("plan", run=runs["numeric"], group="age").button]


def test_plans_are_made_on_the_original(made):
    assert "Plans are made on the model it came from" in said(opened("plan", run=made[1]["unlearned"]))


def test_switching_the_run_forgets_the_other_ones_metric(made):
    project, runs = made
    perform("prepare", project, {"run": runs["classes"], "group": "side"})
    at = opened("plan", run=runs["loans"])
    box = by_key(at.selectbox, "plan.label")
    ran(box.set_value(box.options[-1]).run())
    ran(by_key(at.selectbox, "choice.run").set_value(runs["classes"]).run())
    assert by_key(at.selectbox, "plan.label").value in preview.kept(project, runs["classes"], "side")["labels"]


# ---- Compare and Report


def test_compare_shows_every_model_and_what_came_true(made):
    project, runs = made
    found = project.noted(f"compare/{runs['unlearned']}/group")
    at = opened("compare", run=runs["unlearned"])
    metrics = project.table(found["tables"]["metrics"])
    wide = shown(at, "name", "original", "unlearned", "retrained").set_index("name")
    for row in metrics[(metrics["metric"] == "accuracy") & (metrics["group"] == "")].itertuples():
        assert wide.loc["Accuracy", row.role] == f"{words.number(row.value)} ({words.interval(row.low, row.high)})"
        assert wide.loc["Accuracy", "n"] == row.n
    change = project.table(found["tables"]["change"]).query("rows == 'evaluation' and role == 'unlearned'").set_index("label")
    realised = shown(at, "metric", "predicted (smooth form)", "unlearned").set_index("metric")["unlearned"]
    assert realised.to_dict() == {label: words.signed(v) for label, v in change["value"].items()}
    flips = project.table(found["tables"]["flips"]).query("role == 'unlearned'")
    assert f"**Unlearned**: {words.count(len(flips), 'prediction')} of" in said(at)


def test_each_group_column_keeps_its_own_comparison(made):
    project, runs = made
    ids = project.dataset(project.run(runs["numeric"]).dataset).train.ids[:12].tolist()
    new = perform("unlearn", project, {"run": runs["numeric"], "ids": ids, "method": "retrain"})["run"]
    for group in ("side", "age"):
        done(project, "compare", {"run": new, "group": group})
    for group in ("side", "age"):
        at = opened("compare", run=new, group=group)
        assert "A numeric target has no predictions that flip" in said(at)
        assert "Compare" not in [b.label for b in at.button]

        names = shown(at, "name", "original")["name"].tolist()
        assert any(name.startswith("MAE, ") for name in names)
        assert any(("up to" in name) is (group == "age") for name in names if name.startswith("MAE, "))


def test_a_preview_made_after_the_comparison_can_be_put_beside_it(made):
    project, runs = made
    ids = project.dataset(project.run(runs["classes"]).dataset).train.ids[:12].tolist()
    new = perform("unlearn", project, {"run": runs["classes"], "ids": ids, "method": "finetune", "set": {"epochs": 1}})["run"]
    perform("compare", project, {"run": new, "group": "age"})
    assert "Nothing was predicted" in said(opened("compare", run=new, group="age"))
    perform("prepare", project, {"run": runs["classes"], "group": "age"})
    at = opened("compare", run=new, group="age")
    assert "Compare again" in [b.label for b in at.button]
    done(project, "compare", {"run": new, "group": "age"})
    assert "Compare again" not in [b.label for b in opened("compare", run=new, group="age").button]


def test_report_offers_the_page_and_shows_the_chain(made):
    project, runs = made
    result = done(project, "report", {"run": runs["unlearned"], "group": "group"})
    at = opened("report", run=runs["unlearned"])
    assert result["page"][:16] in said(at)
    records = project.records()
    assert f"The chain of {len(records)} records holds" in said(at)
    assert shown(at, "hash")["hash"].tolist() == [r.hash[:16] for r in reversed(records)]


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
