"""What commands say to people: figures with interval and n, the first rows, and names; digests belong to --json."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from influence import registry
from influence.__main__ import app
from influence.actions import names
from influence.cli import SECTIONS
from influence.commands import known
from influence.evidence import words
from influence.methods import KINDS, allowed
from influence.readable import TOLD
from influence.readable._shared import score, table
from influence.registry import settings
from influence.store import Project

ROOT = Path(__file__).parents[1]
GAP = ["--query", "equal_opportunity_gap", "--query-set", "group=group"]
CHOSEN = {
    "models": ("train", registry.models), "queries": ("attribute", registry.queries), "attribution": ("fidelity", registry.attribution),
    "mislabelled": ("mislabelled", registry.mislabelled), "unlearning": ("unlearn", registry.unlearning),
    "data/bundled": ("demo", registry.datasets),
}  # fmt: skip


def call(*args: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(args))
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def said(text: str) -> str:
    return " ".join(text.split())


def count(project: Project, role: str = "train") -> int:
    return project.run().body["n"][role]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Project:
    """A small model of two groups, of which one is granted less."""
    folder, rng = tmp_path_factory.mktemp("readable"), np.random.default_rng(1)
    frame = pd.DataFrame({"income": rng.normal(size=1200), "group": rng.choice(["A", "B"], 1200)})
    chance = frame["income"] + rng.normal(size=1200) - 0.7 * (frame["group"] == "B")
    frame.assign(label=np.where(chance > 0, "yes", "no")).to_csv(folder / "t.csv", index=False)
    data = [str(folder / "t.csv"), "--target", "label", "--protected", "group", "--set", "epochs=12"]
    text = call("train", *data, "--project", str(folder / "p"))
    project = Project(folder / "p")
    run = project.run()
    assert f"Run {run.id}: mlp, trained on {count(project)} rows" in text
    for name, figure in (("accuracy", run.body["metrics"]["intervals"]), ("equal_opportunity_gap", run.body["metrics"]["gaps"]["group"])):
        shown = [words.number(figure[name]["value"]), words.interval(figure[name]["low"], figure[name]["high"]), str(figure[name]["n"])]
        assert re.search(rf"^  {name}( by group)? +{'  +'.join(map(re.escape, shown))}$", text, re.MULTILINE), text
    return project


def ask(home: Project, *args: str) -> str:
    """What a command says; no digest, no nested mapping."""
    text = call(*args, "--project", str(home.path))
    assert not re.search(r"[0-9a-f]{16}|[{}\[\]]|None|nan", text), text
    return text


def answer(home: Project, *args: str) -> dict:
    return json.loads(call(*args, "--project", str(home.path), "--json"))


def rows(text: str, head: str) -> list[list[str]]:
    """The lines of the table that begins so, cut into cells."""
    lines = text.splitlines()
    begin = next(i for i, line in enumerate(lines) if re.match(rf" +{head}", line))
    width = next((i for i, line in enumerate(lines[begin:]) if not line.startswith("  ")), len(lines))
    return [re.split(r"  +", line.strip()) for line in lines[begin + 1 : begin + width]]


@pytest.mark.parametrize(("query", "method"), [(GAP, "metagradient"), (["--query", "accuracy_margin"], "tracin")], ids=["gap", "margin"])
def test_attribute_says_the_first_rows_and_what_their_sign_means(home, query, method):
    text, result = (
        ask(home, "attribute", *query, "--method", method, "--kept"),
        answer(home, "attribute", *query, "--method", method, "--kept"),
    )
    scores = home.scores(result["scores"])
    values = scores.column()
    order = np.argsort(-values if result["better"] == "higher" else values, kind="stable")[:10]
    assert result["first"] == [{"id": i, "score": s} for i, s in zip(scores.ids[order].tolist(), values[order].tolist(), strict=True)]
    assert rows(text, "id") == [[str(row["id"]), score(row["score"])] for row in result["first"]]
    way = "raise" if result["better"] == "higher" else "lower"
    assert f"The first 10 of {count(home)} training rows, whose removal is predicted to {way} it most:" in text
    assert "Negative: removing the row is predicted to lower the metric; positive: to raise it." in text
    assert ("in the metric's own unit" in text, "it only ranks" in text) == (result["calibrated"], not result["calibrated"])
    name = "equal_opportunity_gap" if query is GAP else "accuracy"
    found = home.run().body["evaluation_metrics"]
    figure = (found["gaps"]["group"] if query is GAP else found["intervals"])[name]
    between = f"{words.number(figure['value'])} (95 % {words.interval(figure['low'], figure['high'])}) on {figure['n']} evaluation rows"
    assert f"{result['measured_label']} is {between}; {result['better']} is better." in text


def test_mislabelled_says_the_likeliest_wrong(home, tmp_path):
    text = ask(home, "mislabelled", "--method", "loss", "--csv", str(tmp_path / "w.csv"), "--top", "3")
    first = pd.read_csv(tmp_path / "w.csv")
    assert [row[:3] for row in rows(text, "id")[:3]] == first[["id", "given", "suggested"]].astype(str).to_numpy().tolist()
    assert [row[3] for row in rows(text, "id")[:3]] == [score(s) for s in first["score"]]
    assert len(rows(text, "id")) == 10
    assert "higher is likelier wrong" in text
    assert f"Written: {tmp_path / 'w.csv'}" in text
    differ = answer(home, "mislabelled", "--method", "loss")["differ"]
    assert f"suggested for {words.count(differ, 'row')} of {count(home)}" in text


def test_preview_says_each_metric_with_its_band(home, tmp_path):
    train = home.dataset(home.run().dataset).train
    pd.DataFrame({"id": train.ids[:5]}).to_csv(tmp_path / "ids.csv", index=False)
    text, result = ask(home, "preview", "--ids", str(tmp_path / "ids.csv")), answer(home, "preview", "--ids", str(tmp_path / "ids.csv"))
    assert text.startswith(f"Without these 5 rows, on {count(home, 'evaluation')} evaluation rows, predicted:")
    shown = {row[0]: row[2:4] for row in rows(text, "metric")}
    asked = home.dataset(home.run().dataset).evaluation
    n = {row[0]: row[1] for row in rows(text, "metric")}
    assert n["Accuracy"] == str(count(home, "evaluation"))
    assert n["Equal-opportunity gap by group"] == str((asked.y == asked.classes.index(asked.favourable)).sum())
    expected = {
        e["measured_label"]: [words.number(e["measured_before"]), words.signed(e["measured_change"])] for e in result["predicted"].values()
    }
    assert shown == expected
    assert "real retrainings" in text
    assert "Mean margin, which previews take for accuracy, is the mean log-odds of the right class: another metric" in text


def test_fidelity_smoothness_and_agreement_say_their_figures(home):
    asked = ["fidelity", *GAP, "--fractions", "0.05,0.2", "--subsets", "8"]
    text, result = ask(home, *asked), answer(home, *asked)
    table_ = {row[0]: row[1:] for row in rows(text, r" +5.%, same seed")}
    assert table_["retrainings (n)"] == ["8", "8"]
    lds = [f"{words.number(r['lds'])} ({words.interval(r['lds_low'], r['lds_high'])})" for r in result["by_fraction"]]
    assert table_["LDS of the smooth version (95 %)"] == lds
    assert "16 models of 16 trained just now" in text
    ask(home, "attribute", *GAP, "--method", "random", "--kept")
    text, result = ask(home, "agreement", *GAP), answer(home, "agreement", *GAP)
    assert result["sentence"] in text
    assert f"({words.interval(result['low'][1][0], result['high'][1][0], 2)})" in text
    assert f"n = {count(home)} training rows." in text
    text, result = ask(home, "smoothness", "--sets", "2"), answer(home, "smoothness", "--sets", "2")
    assert text.startswith(f"Smoothness (95 %): {words.number(result['value'])} ({words.interval(result['low'], result['high'])}) at 1")
    assert result["verdict"] in text
    assert "5 trainings" in text


def test_several_methods_race_and_a_step_of_one_is_taken_and_the_rest_deleted(home, tmp_path):
    pd.DataFrame({"id": home.dataset(home.run().dataset).train.ids[50:60]}).to_csv(tmp_path / "ids.csv", index=False)
    methods = ["scrub", "finetune", "influence_step"]
    race = ["unlearn", "--ids", str(tmp_path / "ids.csv"), *(word for name in methods for word in ("--method", name))]
    found = answer(home, *race)
    assert [lane["method"] for lane in found["lanes"]] == methods
    text = ask(home, *race)
    assert all(re.search(rf"^  {name} ", text, re.M) for name in ("do nothing", "retrain", *methods))
    assert re.search(r"^  influence_step .* \+ .* once ", text, re.M)
    assert "once: preparation of this model" in text
    assert "default settings" in call(*race, "--set", "epochs=1", "--project", str(home.path), code=2)
    run = found["lanes"][1]["run"]
    step = home.noted(f"steps/{run}")[0]["step"]
    assert f"Taken at step {step}" in ask(home, "roll-back", "--run", run, "--step", str(step))
    assert "kept states of run" in ask(home, "drop-steps", "--run", run)


@pytest.mark.parametrize("method", ["finetune", "retrain"])
def test_unlearn_says_before_and_after_and_its_claim(home, tmp_path, method):
    train, old = home.dataset(home.run().dataset).train, home.run()
    pd.DataFrame({"id": train.ids[:5]}).to_csv(tmp_path / "ids.csv", index=False)
    text = ask(home, "unlearn", "--ids", str(tmp_path / "ids.csv"), "--method", method)
    made = next(run for run in home.runs() if run.body.get("method", {}).get("name") == method)
    [loss] = [row for row in rows(text, "metric") if row[0] == "loss"]
    assert (loss[1], loss[-3]) == tuple(words.number(run.body["metrics"]["loss"]) for run in (old, made))
    assert ("retrained" in text.splitlines()[1]) == (method == "finetune"), "retraining is its own yardstick"
    assert f"Claim {made.body['claim']}, approximate" in text


@pytest.mark.parametrize(
    ("query", "given"),
    [
        (
            ["equal_opportunity_gap", "--query-set", "group="],
            "there are: income, group, label. Choose one of them. Give it as --query-set group=COLUMN.",
        ),
        (["prediction"], "Give it as --query-set id=ID."),
        (["group_rate", "--query-set", "group=group"], "the groups are: A, B. Give it as --query-set which=GROUP."),
    ],
)
def test_what_a_question_lacks_is_said_with_its_option(home, query, given):
    for command in ("attribute", "agreement") if query[0].endswith("gap") else ("attribute",):
        text = call(command, "--query", *query, "--project", str(home.path), code=2)
        assert len(text.splitlines()) == 1
        assert text.strip().endswith(given), text


def test_commands_tell_a_number_in_its_own_unit(tmp_path):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"a": rng.normal(size=300), "side": rng.choice(["l", "r"], 300)})
    frame.assign(rent=1000 + 200 * frame["a"] + 50 * rng.normal(size=300)).to_csv(tmp_path / "t.csv", index=False)
    call("train", str(tmp_path / "t.csv"), "--target", "rent", "--protected", "side", "--set", "epochs=3", "--project", str(tmp_path / "p"))
    made = Project(tmp_path / "p")
    errors, mae = "Errors are in the unit of rent", words.number(made.run().body["evaluation_metrics"]["mae"])
    first = made.table(made.run().body["predictions"]).query("split == 'evaluation'").iloc[0]
    text = ask(made, "trace", str(first["id"]), "--method", "tracin")
    assert f"Prediction for row {first['id']} is {words.number(first['prediction'])}." in text
    assert "Predictions are in the unit of rent." in text
    text = ask(made, "removal-curve", "--query", "loss", "--method", "tracin", "--shares", "0.05")
    assert f"{errors}." in text
    assert mae in text
    text = ask(made, "sources", "--query", "loss", "--method", "tracin", "side")
    assert f"Mean absolute error is {mae}." in text
    assert f"{errors}, smooth versions in its square." in text
    text = ask(made, "attribute", "--query", "prediction", "--query-set", f"id={first['id']}", "--method", "tracin", "--kept")
    assert "Predictions are in standard deviations of rent from its mean, " in text
    assert "Errors are" not in text


def test_pages_do_not_speak_of_options(home):
    from influence.actions import perform
    from influence.errors import BadInput

    with pytest.raises(BadInput) as refused:
        perform("attribute", home, {"query": "equal_opportunity_gap", "query_set": {"group": ""}})
    assert "--" not in str(refused.value)


@pytest.mark.parametrize("kind", CHOSEN)
def test_help_lists_what_is_registered(kind):
    command, registered = CHOSEN[kind]
    assert known(kind).split(", ") == list(registered.classes), "a file without an underscore is one that can be chosen"
    shown = said(call(command, "--help"))
    assert all(re.search(rf"\b{name}\b", shown) for name in registered.classes)


@pytest.mark.parametrize(
    "args",
    [
        ["attribute", "--query", "x"],
        ["attribute", "--query", "loss", "--method", "x"],
        ["mislabelled", "--method", "x"],
        ["unlearn", "--method", "x"],
    ],
    ids=" ".join,
)
def test_an_unknown_name_is_answered_with_the_known_ones(home, args, tmp_path):
    pd.DataFrame({"id": [int(home.dataset(home.run().dataset).train.ids[0])]}).to_csv(tmp_path / "ids.csv", index=False)
    ids = ["--ids", str(tmp_path / "ids.csv")] if args[0] == "unlearn" else []
    kind = (
        registry.queries
        if args[-2] == "--query"
        else CHOSEN[{"attribute": "attribution", "unlearn": "unlearning"}.get(args[0], args[0])][1]
    )
    text = call(*args, *ids, "--project", str(home.path), code=2)
    assert f"there are: {', '.join(kind.classes)}." in text


def test_help_imports_nothing_that_computes():
    code = "import sys; sys.argv = ['influence', 'attribute', '--help']\nimport runpy\n"
    code += "try: runpy.run_module('influence', run_name='__main__')\nexcept SystemExit: pass\n"
    code += "print([name for name in ('numpy', 'pandas', 'torch', 'sqlalchemy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_methods_lists_everything_that_commands_choose(tmp_path):
    text = call("methods", "--project", str(tmp_path / "p"))
    for _, use, kind in KINDS:
        listed = [re.search(rf"^  {name} ", text, re.MULTILINE) for name in kind.classes]
        assert all(listed) if use.startswith("`") else not any(listed), use
    assert not (tmp_path / "p").exists(), "no project is needed"


def test_methods_says_all_about_one_name():
    text = call("methods", "trak")
    assert "Attribution methods: attribute --method trak --set KEY=VALUE" in text
    cls = registry.attribution.classes["trak"]
    assert cls.needs in text
    assert cls.cost in text
    shown = {row[0]: row[1:] for row in rows(text, "setting")}
    assert shown == {s.name: [str(s.default), allowed(s), s.help] for s in settings(cls)}
    both = json.loads(call("methods", "loss", "--json"))
    assert {title: [each["name"] for each in every] for title, every in both.items()} == {"Queries": ["loss"], "Scores of labels": ["loss"]}
    assert "'nothing'" in call("methods", "nothing", code=2)


def test_methods_says_what_is_closed_to_a_run(home, tmp_path):
    pd.DataFrame({"id": home.dataset(home.run().dataset).train.ids[:5]}).to_csv(tmp_path / "ids.csv", index=False)
    made = answer(home, "unlearn", "--ids", str(tmp_path / "ids.csv"), "--method", "finetune")["run"]
    closed = {}
    for run in (home.run().id, made):
        found = answer(home, "methods", "--run", run)
        closed[run] = {each["name"]: each["closed"] for every in found.values() for each in every if each["closed"]}
    trained, method = home.trained(made), registry.attribution.make("metagradient")
    sisa = registry.unlearning.make("sisa").unavailable(home.trained(home.run().id))
    assert closed[home.run().id] == {"sisa": sisa}
    assert set(closed[made]) == {"metagradient", "retraining", "out_of_sample", "sisa"}
    assert closed[made]["metagradient"] == method.unavailable(trained)
    assert f"Not open to {made}: {method.unavailable(trained)}" in call("methods", "--run", made, "--project", str(home.path))


def test_methods_says_what_a_number_cannot_be_asked(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=300), "group": rng.choice(["A", "B"], 300)})
    frame.assign(price=3 * frame["a"] + rng.normal(size=300)).to_csv(tmp_path / "t.csv", index=False)
    home = ["--project", str(tmp_path / "p")]
    call("train", str(tmp_path / "t.csv"), "--target", "price", "--protected", "group", "--set", "epochs=2", *home)
    project = Project(tmp_path / "p")
    found = json.loads(call("methods", "--run", project.run().id, "--json", *home))
    closed = {each["name"]: each["closed"] for title in ("Queries", "Scores of labels") for each in found[title] if each["closed"]}
    assert {"equal_opportunity_gap", "demographic_parity_gap", "out_of_sample"} <= set(closed)
    assert not {"accuracy_margin", "prediction", "group_loss_gap", "worst_group_loss"} & set(closed)
    text = call("attribute", "--query", "group_loss_gap", "--query-set", "group=group", "--method", "tracin", *home)
    assert "Errors are in standard deviations of price (1 = " in text


def test_tables_are_aligned():
    assert table("<>", ("name", "n"), [("a", 5), ("long name", 12_345)]) == [
        "  name           n",
        "  a              5",
        "  long name  12345",
    ]


def test_scores_have_three_figures():
    assert [score(x) for x in (0.00123456, -0.14, 4.6, 123.0, 0.0)] == ["0.00123", f"{words.MINUS}0.140", "4.60", "123", "0.00"]


def test_every_command_is_an_action_and_is_said_in_the_file_of_its_section():
    commands = {command.callback.__name__: command.callback for command in app.registered_commands}
    assert set(TOLD) == set(commands) - {"methods"} | {"race"}
    assert set(TOLD) <= set(names())
    commands["race"] = commands["unlearn"]  # with several methods
    for name, told in TOLD.items():
        assert told.__module__.rpartition(".")[2] == commands[name].__module__.rpartition(".")[2], name


def test_sections_are_the_files_of_the_commands():
    files = {path.stem for path in (ROOT / "influence" / "cli").glob("[!_]*.py")}
    assert sorted(SECTIONS) == sorted(files), "a file that is no section holds commands that nobody sees"
