"""The favourable class: said once with the data, it is the default of every rate and gap, and two of them never share what is kept."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

import influence
from influence.actions import perform
from influence.actions._ordered import in_order, numbered
from influence.actions.preview import kept, key
from influence.actions.report import data_of
from influence.data.target import foreseen
from influence.errors import BadInput
from influence.groups import named, other_than, place_of
from influence.queries.demographic_parity_gap import DemographicParityGap
from influence.readable import readable
from influence.store import Project
from influence.ui import thresholds
from tests import drawing
from tests.drawing import address, drawn, jobs, press, text, to, work
from tests.test_cli import answer, call
from tests.test_pages_load import fill, uploaded

no_worker, empty, shown = drawing.no_worker, drawing.empty, drawing.shown
QUICK = {"model": "logistic", "set": {"epochs": 3, "batch_size": 32}, "protected": ["sex"]}


def people(n: int = 1200) -> pd.DataFrame:
    """Three classes, of which the first by name is the good one, and groups that get it at different rates."""
    rng = np.random.default_rng(4)
    sex, age = rng.choice(["f", "m"], n), rng.normal(size=n)
    score = age + 0.8 * (sex == "m") + 0.5 * rng.normal(size=n)
    return pd.DataFrame({"age": age, "sex": sex, "risk": np.select([score > 0.6, score > -0.4], ["good", "low"], "worse")})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project, and its runs on the same rows: of which nobody said anything, and of which "good" was said to be good."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("favourable")
    people().to_csv(folder / "people.csv", index=False)
    project = Project(folder / "p")
    given = {"data": str(folder / "people.csv"), "target": "risk", **QUICK}
    return project, {
        positive: perform("train", project, given | ({"positive": positive} if positive else {}))["run"] for positive in ("", "good")
    }


def test_data_say_which_class_is_favourable_and_keep_it(made):
    project, runs = made
    usual, said = (project.dataset(project.run(runs[name]).dataset) for name in ("", "good"))
    assert (usual.train.favourable, said.train.favourable) == ("worse", "good")
    assert {part.favourable for part in (said.evaluation, said.holdout, said.train.take(np.arange(5)))} == {"good"}
    assert usual.digest != said.digest
    assert said.favouring("worse").digest == usual.digest == usual.favouring("worse").digest, "said or not, the last is the last"
    assert "positive" not in project.json(project.run(runs[""]).dataset), "what older projects keep is read and written as it was"
    assert place_of("", said.train) == 0
    assert (other_than(said.train, "good"), other_than(said.train, "worse"), other_than(usual.train, "worse")) == ("", "worse", "")


def test_tables_and_questions_are_of_that_class(made):
    project, runs = made
    for name, favourable in (("", "worse"), ("good", "good")):
        run = project.run(runs[name])
        dataset = project.dataset(run.dataset)
        table = project.table(run.body["predictions"])
        here = table[table["split"] == "evaluation"]
        said = here[[f"p_{c}" for c in dataset.train.classes]].idxmax(axis=1) == f"p_{favourable}"
        rates = said.groupby(here["sex"]).mean()
        gaps = run.body["evaluation_metrics"]["gaps"]["sex"]
        assert gaps["demographic_parity_gap"]["value"] == pytest.approx(rates.max() - rates.min())
        logits = torch.from_numpy(np.log(here[[f"p_{c}" for c in dataset.train.classes]].to_numpy()))
        asked = DemographicParityGap(group="sex")
        assert float(asked.measured(logits, dataset.evaluation)) == pytest.approx(rates.max() - rates.min())
        assert asked.oriented(logits, dataset.evaluation).positive == favourable
        other = DemographicParityGap(group="sex", positive="low")
        assert other.oriented(logits, dataset.evaluation).positive == "low", "a question may name another"
        result = perform(
            "attribute", project, {"run": run.id, "query": "demographic_parity_gap", "query_set": {"group": "sex"}, "method": "tracin"}
        )
        assert result["query"]["given"]["positive"] == favourable
        assert data_of_run(project, run.id).favourable == favourable


def data_of_run(project: Project, run: str):
    from influence.actions._opened import opened

    return data_of(opened(project, run))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"target": "risk", "positive": "great"}, r"'great' is none of the classes of 'risk': good, low, worse\. Choose one of them"),
        ({"target": "age", "positive": "good"}, r"'good' is to be the favourable class, and the target 'age' is a number\. Leave it out"),
    ],
)
@pytest.mark.parametrize("action", ["train", "check"])
def test_a_class_that_is_none_is_one_sentence(made, tmp_path, given, said, action):
    data, project = str(made[0].path.parent / "people.csv"), Project(tmp_path / "p")
    with pytest.raises(BadInput, match=said):
        perform(action, project, {"data": data, **QUICK, **given})
    assert not project.runs()


def test_two_favourable_classes_never_share_a_preview(made):
    """Nor what confirms it: the same run and group, asked about two classes."""
    project, runs = made
    run = runs["good"]
    usual = perform("prepare", project, {"run": run, "group": "sex", "positive": "good"})
    with pytest.raises(BadInput, match="no preview of this run, group and favourable class"):
        perform("confirm", project, {"run": run, "group": "sex", "positive": "worse", "label": usual["labels"][0], "ks": [3], "seeds": 0})
    other = perform("prepare", project, {"run": run, "group": "sex", "positive": "worse"})
    assert kept(project, run, "sex") == usual
    assert kept(project, run, "sex", "worse") == other
    for note, positive in ((usual, "good"), (other, "worse")):
        assert {q["given"]["positive"] for q in note["queries"].values() if "positive" in q["given"]} == {positive}
    rate = next(label for label in usual["labels"] if label.startswith("True positive rate of f"))
    assert usual["before"][rate] != other["before"][rate]
    ids = project.dataset(project.run(run).dataset).train.ids[:4].tolist()
    asked = {"run": run, "group": "sex", "ids": ids}
    told = [perform("preview", project, asked | {"positive": positive})["predicted"][rate] for positive in ("", "good", "worse")]
    assert told[0] == told[1] != told[2]
    assert told[2]["before"] == other["before"][rate]["value"]
    evaluation = project.dataset(project.run(run).dataset).evaluation
    for positive in ("good", "worse"):
        said = readable("preview", project, perform("preview", project, asked | {"positive": positive}))
        own = (evaluation.y == evaluation.classes.index(positive)) & (evaluation.columns["sex"] == "f").to_numpy()
        assert re.search(rf"^  True positive rate of f \(sex\) +{own.sum()} ", said, re.M), "rows of the class that was asked about"
    for positive in ("", "worse"):
        perform("confirm", project, {"run": run, "group": "sex", "positive": positive, "label": rate, "ks": [3], "seeds": 0})
    points = [project.noted(key(run, "sex", positive, rate))["points"] for positive in ("", "worse")]
    assert points[0] != points[1]
    with pytest.raises(BadInput, match="There is no class 'great'; there are: good, low, worse"):
        perform("prepare", project, {"run": run, "group": "sex", "positive": "great"})


def test_what_older_projects_keep_is_found():
    """Their notes are named by run and group alone, and are of the class that is favourable where nobody said anything."""
    assert key("r1", "sex") == "preview/r1/sex"
    assert key("r1", "sex", label="Mean loss") == "confirm/r1/sex/Mean loss"
    names = {key("r1", *rest) for rest in (("a",), ("a/b",), ("a", "b"), ("b", "a"), ("", "ab"), ("a", "b", "c"), ("a", "", "c"))}
    assert len(names) == 7


def test_commands_take_it_and_an_exported_model_brings_it_along(made, tmp_path):
    data, home = str(made[0].path.parent / "people.csv"), ["--project", str(tmp_path / "p")]
    run = answer("train", data, "--target", "risk", "--protected", "sex", "--positive", "good", "--set", "epochs=2", *home)["run"]
    project = Project(tmp_path / "p")
    assert project.dataset(project.run(run).dataset).train.favourable == "good"
    assert next(r for r in project.records() if r.kind == "train").body["settings"]["positive"] == "good"
    answer("export-model", str(tmp_path / "out"), *home)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| class of rates and gaps | good |" in card
    for more, favourable in (([], "good"), (["--positive", "low"], "low")):
        brought = answer("import-model", str(tmp_path / "out"), data, *more, *home)["run"]
        assert project.dataset(project.run(brought).dataset).train.favourable == favourable
    for command in (
        ["train", data, "--target", "risk"],
        ["import-model", str(tmp_path / "out"), data],
        ["check", data, "--target", "risk"],
    ):
        done = call(*command, "--positive", "great", *home)
        assert done.exit_code == 2
        assert "none of the classes of 'risk': good, low, worse" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_model_with_its_classes_in_another_order_leaves_it_alone(made, tmp_path):
    """What was the last by name stays favourable, not what the model happens to have last."""
    project, runs = made
    rows = project.dataset(project.run(runs[""]).dataset).train
    model = torch.nn.Linear(rows.shape[0], 3)
    rule = torch.optim.SGD(model.parameters(), 0.1)
    recorder = influence.Recorder(model, rule, rows.ids)
    for places in torch.arange(len(rows)).split(200):
        with recorder.step(places):
            rule.zero_grad()
            torch.nn.functional.cross_entropy(model(torch.from_numpy(rows.x[places])), 2 - torch.from_numpy(rows.y[places])).backward()
            rule.step()
    recorder.save(tmp_path / "model", classes=("worse", "low", "good"))
    given = {"path": str(tmp_path / "model"), "data": str(project.path.parent / "people.csv"), "target": "risk", "protected": ["sex"]}
    brought = Project(tmp_path / "p")
    for more, favourable in (({}, "worse"), ({"positive": "good"}, "good")):
        found = brought.dataset(brought.run(perform("import_model", brought, given | more)["run"]).dataset).evaluation
        assert (found.classes, found.favourable) == (("worse", "low", "good"), favourable)


def test_classes_are_put_into_an_order_that_is_no_mirror(made):
    """Of three classes moved round, of which going back is another way than going on."""
    project, runs = made
    data = project.dataset(project.run(runs[""]).dataset)
    moved = in_order(data, ("low", "worse", "good"))
    for role in ("train", "evaluation", "holdout"):
        before, after = data.split(role), moved.split(role)
        assert [after.classes[y] for y in after.y] == [before.classes[y] for y in before.y]
    assert moved.train.classes == ("low", "worse", "good") == tuple(moved.encoding["target"]["classes"])


@pytest.mark.parametrize("positive", ["good", "worse"])
def test_an_exported_model_says_its_class_even_if_that_is_the_last(made, tmp_path, positive):
    """The last class need not be said of the run's own data; of others, which say another, it must."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)).astype(np.float32), np.arange(60) % 3
    influence.save_data(tmp_path / "d", x, y, np.arange(60) % 4 == 0, classes=("good", "low", "worse"), positive="low")
    project = Project(tmp_path / "p")
    perform("train", project, {"data": str(tmp_path / "d"), "model": "logistic", "set": {"epochs": 1}, "positive": positive})
    perform("export_model", project, {"out": str(tmp_path / "out")})
    run = perform("import_model", project, {"path": str(tmp_path / "out"), "data": str(tmp_path / "d")})["run"]
    assert project.dataset(project.run(run).dataset).train.favourable == positive


def test_numbers_beside_images_name_no_classes(tmp_path):
    """Such an archive's labels stay as they are, so a model's outputs do too."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    pictures = (rng.random((90, 8, 8)) * 20 + labels[:, None, None] * 90).astype(np.uint8)
    np.savez(tmp_path / "set.npz", x=pictures, y=labels, classes=np.array([2, 0, 1]))
    project = Project(tmp_path / "p")
    perform("train", project, {"data": str(tmp_path / "set.npz"), "model": "logistic", "set": {"epochs": 1}})
    assert numbered(str(tmp_path / "set.npz"), project.dataset(project.run().dataset)) == ()


def test_an_older_preview_of_another_class_is_not_taken_for_this_ones(made):
    project, runs = made
    run = runs["good"]
    note = perform("prepare", project, {"run": run, "group": "sex"})
    old = {name: value for name, value in note.items() if name != "positive"}
    other = json.loads(json.dumps(old).replace('"positive": "good"', '"positive": "low"'))
    assert other != old
    with project.transaction():
        project.note(key(run, "sex"), other)
    assert kept(project, run, "sex") is None
    with project.transaction():
        project.note(key(run, "sex"), old)
    assert kept(project, run, "sex") == old


def test_a_report_says_of_which_class_a_question_was(made, tmp_path):
    project, runs = made
    run = runs["good"]
    for positive, said in (("low", "of the class “low”"), ("good", "")):
        asked = {"run": run, "query": "demographic_parity_gap", "query_set": {"group": "sex", "positive": positive}, "method": "tracin"}
        perform("attribute", project, {**asked, "again": True})
        page = (project.path / perform("report", project, {"run": run})["html"]).read_text(encoding="utf-8")
        lead, asked_before = page.split("Questions that were asked")
        assert ("of the class" in lead) == bool(said)
        assert said in lead
        assert "of the class “low”" in asked_before, "every question stands there"


def test_arrays_say_it(tmp_path):
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(40, 3)).astype(np.float32), np.arange(40) % 2, np.arange(40) % 4 == 0
    influence.save_data(tmp_path / "d", *arrays, classes=("granted", "denied"), positive="granted")
    assert json.loads((tmp_path / "d" / "data.json").read_text())["positive"] == "granted"
    project = Project(tmp_path / "p")
    for more, favourable in (({}, "granted"), ({"positive": "denied"}, "denied")):
        run = perform("train", project, {"data": str(tmp_path / "d"), "model": "logistic", "set": {"epochs": 1}, **more})["run"]
        assert project.dataset(project.run(run).dataset).holdout.favourable == favourable
    with pytest.raises(BadInput, match="'refused' is none of the classes of 'target': granted, denied"):
        influence.save_data(tmp_path / "e", *arrays, classes=("granted", "denied"), positive="refused")
    assert not (tmp_path / "e").exists()


def test_many_classes_are_cut_and_said_to_be():
    assert named(["a", "b"]) == "a, b"
    assert named([f"c{k}" for k in range(23)]).endswith("c18, c19, … (23 in all)")


def test_a_target_is_foreseen_as_it_will_be():
    from influence.data.schema import infer

    table = people().assign(whole=np.arange(1200) % 11, real=np.linspace(0, 1, 1200), day="2020-01-01")
    columns = {column.name: column for column in infer(table)}
    seen = {name: foreseen(table[name], column, "auto") for name, column in columns.items()}
    assert seen["risk"] == ("good", "low", "worse")
    assert seen["whole"] == tuple(map(str, range(11))), "as numbers are counted, not as text is sorted"
    assert seen["real"] == seen["day"] == ()
    assert foreseen(table["whole"], columns["whole"], "number") == ()


def test_load_asks_for_it_and_audit_speaks_of_it(empty, shown):
    table = people().assign(risk=lambda t: np.where(t["risk"] == "good", "approve", "deny"))
    at = uploaded(shown, empty, "credit.csv", table.to_csv(index=False).encode())
    fill(fill(at, "Target", "age"), "Protected columns", ["sex"])
    assert "Favourable class" not in [box.label for box in at.selectbox], "a number has none"
    fill(at, "Target", "risk")
    box = next(box for box in at.selectbox if box.label == "Favourable class")
    assert (box.options, box.value) == (["approve", "deny"], "deny")
    press(at, "Check")
    assert "positive" not in work(empty).args, "what nobody changed is not stated"
    fill(drawn(at), "Favourable class", "approve")
    fill(at, "Epochs", 2)
    press(at, "Train")
    job = work(empty)
    assert job.args["positive"] == "approve"
    drawn(at)
    to(at, "audit")
    run = empty.run(address(at, "run"))
    assert "Rates and gaps speak of the class “approve”" in text(at)
    assert "of the rows whose risk truly is “approve”" in text(at)
    predictions = empty.table(run.body["predictions"])
    here = predictions[predictions["split"] == "evaluation"]
    dataset = empty.dataset(run.dataset)
    rates = thresholds.rates_at(here["p_approve"].to_numpy(), dataset.evaluation, "sex", 0.3).set_index("sex")
    for group, rows in here.groupby("sex"):
        said = f"{100 * (rows['p_approve'] >= 0.3).mean():.1f}"
        assert rates.loc[group, "Selection rate"].startswith(said)
    to(at, "influence")
    assert next(box for box in at.selectbox if box.label == "Positive").options[0] == "Default: approve"


def test_load_asks_for_it_of_bundled_sets(empty, shown):
    at = shown(empty, "load")
    box = next(box for box in at.selectbox if box.label == "Favourable class")
    fill(at, "Favourable class", box.options[0])
    press(at, "Check")
    [job] = jobs.listed(empty)
    assert job.args["positive"] == box.options[0]
