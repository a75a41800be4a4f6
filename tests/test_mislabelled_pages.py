"""Labels that may be wrong, on the Influence page: asked for as a job, shown with the rows' columns, chosen with a reason."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import influence.actions
from influence import jobs
from influence.actions import mislabelled, perform
from influence.jobs import process, worker
from influence.store import Project
from influence.types import Selection

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a model of classes and one of a number."""
    folder = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    frame = pd.DataFrame({"a": x[:, 0], "score": x[:, 1], "label": np.where(x[:, 0] > 0, "yes", "no"), "amount": x.sum(1)})
    frame.to_csv(folder / "t.csv", index=False)
    project = Project(folder / "p")
    runs = {}
    for target, drop in (("label", "amount"), ("amount", "label")):
        given = {"data": str(folder / "t.csv"), "target": target, "drop": [drop], "set": {"epochs": 2}}
        runs[target] = perform("train", project, given)["run"]
    return project, runs


@pytest.fixture(autouse=True)
def here(made, monkeypatch):
    monkeypatch.setenv("INFLUENCE_PROJECT", str(made[0].path))
    monkeypatch.setattr(process, "start", lambda folder: None)
    made[0].choose(Selection(()))


def opened(run: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "influence" / "ui" / "main.py"), default_timeout=120)
    at.query_params["run"] = run
    at.switch_page(str(ROOT / "pages" / "influence.py"))
    return ran(at.run())


def ran(at: AppTest) -> AppTest:
    assert not at.exception, at.exception[0].value
    assert not at.error
    return at


def said(at: AppTest) -> str:
    return "\n".join(str(e.value) for kind in ("markdown", "caption") for e in at.get(kind)).replace("\\", "")


def test_a_number_for_a_target_is_answered_in_a_sentence(made):
    at = opened(made[1]["amount"])
    assert "Wrong labels are looked for among classes; this target has none." in said(at)
    assert not [b for b in at.button if b.key == "labels.look"]


def test_they_are_looked_for_shown_and_chosen(made):
    project, runs = made
    at = opened(runs["label"])
    ran(at.button(key="labels.look").click().run())
    job = jobs.listed(project, 1)[0]
    assert (job.action, job.args["run"], job.args["method"]) == ("mislabelled", runs["label"], mislabelled.DEFAULT)
    worker.Worker(project, influence.actions, None)._work(worker.claim(project))  # type: ignore[arg-type]
    found = jobs.get(project, job.id).result
    at = opened(runs["label"])
    shown = next(e.value for e in at.dataframe if {"id", "given", "suggested"} <= set(e.value.columns))
    kept = project.table(found["table"])
    assert shown["id"].tolist() == kept["id"].head(50).tolist()
    assert {"score", "score (data)", "a"} <= set(shown.columns)
    data = project.dataset(project.run(runs["label"]).dataset).train
    places = pd.Index(data.ids).get_indexer(shown["id"])
    np.testing.assert_array_equal(shown["a"], data.columns["a"].to_numpy()[places])
    number = next(n for n in at.number_input if n.key.startswith("labels.k"))
    ran(number.set_value(7).run())
    ran(at.button(key="labels.choose").click().run())
    chosen = project.current()
    assert list(chosen.ids) == kept["id"].head(7).tolist()
    assert chosen.reason["rule"] == "top_k"
    assert "likeliest wrong by" in said(at)


def test_wrong_labels_are_corrected_from_influence_to_run(made):
    project, runs = made
    perform("mislabelled", project, {"run": runs["label"], "method": "loss"})
    at = opened(runs["label"])
    ran(at.selectbox(key="labels.method").select("loss").run())
    button = at.button(key="labels.correct")
    table = project.table(perform("mislabelled", project, {"run": runs["label"], "method": "loss"})["table"]).head(50)
    table = table[table["given"] != table["suggested"]]
    assert button.label == f"Correct {len(table)} label{'s' if len(table) > 1 else ''}"
    ran(button.click().run())
    chosen = project.current()
    assert (chosen.action, list(chosen.ids), list(chosen.labels)) == ("relabel", table["id"].tolist(), table["suggested"].tolist())
    assert "They stay, with new labels." in said(at)
    ways = [link.proto.label for link in at.main.get("page_link")]
    assert "Plan the correction of these labels" in ways
    assert "Plan the removal of these rows" not in ways
    at.switch_page(str(ROOT / "pages" / "plan.py"))
    ran(at.run())
    at.switch_page(str(ROOT / "pages" / "run.py"))
    ran(at.run())
    assert "will be relabelled" in said(at)
    assert set(at.radio(key="run.method").options) == {"Retrain", "Influence step"}
    assert at.button(key="run.start").label == "Start correcting labels"
    ran(at.radio(key="run.method").set_value("influence_step").run())
    ran(at.button(key="run.start").click().run())
    worker.Worker(project, influence.actions, None)._work(worker.claim(project))  # type: ignore[arg-type]
    told = said(ran(at.run()))
    assert "Dashed: the model retrained with the new labels." in told
    assert f"the {len(table)} relabelled row" in told
    assert "Relabelled rows" in told
    assert not re.search("(?i)rows? to forget|forgotten row|without the rows", told.partition("Dotted")[2])
    result = jobs.listed(project, 1)[0].result
    assert (result["n_removed"], result["n_relabelled"]) == (0, len(table))
    new = project.dataset(project.run(result["run"]).dataset).train
    assert [new.classes[k] for k in new.y[new.mask(chosen.ids)]] == table.set_index("id")["suggested"].loc[
        new.ids[new.mask(chosen.ids)]
    ].tolist()
    at.query_params["run"] = result["run"]
    at.switch_page(str(ROOT / "pages" / "compare.py"))
    perform("compare", project, {"run": result["run"]})
    assert f"with {len(table)} training row" in said(ran(at.run()))


def test_a_score_that_is_not_open_to_a_model_says_why_and_another_is_offered(made):
    project, runs = made
    ids = project.dataset(project.run(runs["label"]).dataset).train.ids[:9].tolist()
    unlearned = perform("unlearn", project, {"run": runs["label"], "ids": ids, "method": "finetune", "set": {"epochs": 1}})["run"]
    at = opened(runs["label"])
    assert at.selectbox(key="labels.method").value == mislabelled.DEFAULT
    at.query_params["run"] = unlearned
    ran(at.run())
    assert at.selectbox(key="labels.method").value == "loss"
    assert "Out of sample is not open here." in said(at).replace("*", "")


def test_another_score_is_asked_by_its_name(made):
    project, runs = made
    at = opened(runs["label"])
    ran(at.selectbox(key="labels.method").select("loss").run())
    ran(next(b for b in at.button if b.key in ("labels.look", "labels.again")).click().run())
    assert jobs.listed(project, 1)[0].args["method"] == "loss"
