"""What stands behind the pages, without a page: words, uploads, live curves, where a project stands, and arguments of a training."""

from __future__ import annotations

import inspect
import time
from dataclasses import MISSING, dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from influence.actions import names
from influence.actions.check import check
from influence.actions.train import train
from influence.data.dataset import ROLES
from influence.data.sizes import sizes
from influence.data.tabular import prepare
from influence.errors import BadInput
from influence.registry import Registry, attribution, datasets, mislabelled, option, unlearning
from influence.store import Record, Run
from influence.types import Selection
from influence.ui import forms, live, loading, site, sources, standing, words
from influence.ui.sheets import Sheet

CSV = b"x,y\n" + b"".join(b"%d,%d\n" % (i, i % 2) for i in range(60))


# --- words


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("equal_opportunity_gap", "Equal-opportunity gap"),
        ("equalized_odds_gap", "Equalized-odds gap"),
        ("auc", "AUC"),
        ("r2", "R²"),
        ("lr", "Learning rate"),
        ("", ""),
    ],
)
def test_title(name, said):
    assert words.title(name) == said


@pytest.mark.parametrize(
    ("registry", "said", "shown"),
    [
        (unlearning, "Train it here, or choose finetune or neggrad_plus.", "Train it here, or choose Finetune or NegGrad plus."),
        (mislabelled, "out_of_sample needs the recipe.", "Out of sample needs the recipe."),
        (attribution, "Choose captum_arnoldi, or tracin.", "Choose Captum Arnoldi, or TracIn."),
        (attribution, "To choose random rows is no retraining.", "To choose random rows is no retraining."),
    ],
)
def test_why_one_is_not_open_names_others_by_their_titles(registry, said, shown):
    assert forms.plain(registry, said) == shown


def test_text_from_data_is_shown_letter_by_letter():
    hostile = "**a** $x$ [l](u) <b> :red[x] `c` #h ~s~ 5 % é"
    shown = words.escaped(hostile)
    assert shown.replace("\\", "") == hostile
    assert all(shown[place - 1] == "\\" for place, letter in enumerate(shown) if letter in "*$[]()<>:`#~")
    assert words.escaped("AT&amp;T") == "AT\\&amp;T", "no character is said by a name"
    assert words.escaped("A\n\n| 1 |\r\nB") == "A \\| 1 \\| B", "a cell of a table stays in its line"


def test_a_figure_has_its_interval_and_n():
    assert words.figure({"value": 0.8852, "low": 0.8631, "high": 0.9042, "n": 1924}) == "0.885 (0.863 to 0.904), n = 1,924"
    assert words.figure({"value": 0.5, "low": None, "high": None, "n": 4}) == "0.500 (too few to say), n = 4"
    assert words.figure({"value": None, "low": None, "high": None, "n": 0}) == "not measured"
    assert words.figure(None) == "not measured"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0.2, "about a second left"),
        (12.4, "about 12\xa0s left"),
        (4.0, "about 4\xa0s left"),
        (89, "about 89\xa0s left"),
        (200.0, "about 3\xa0min left"),
        (7300, "about 2\xa0h left"),
    ],
)
def test_time_left(seconds, said):
    assert words.lasting(seconds) == said


@pytest.mark.parametrize(("n", "said"), [(1, "1 byte"), (999, "999 bytes"), (92_400, "92.4 kB"), (1_500_000, "1.5 MB"), (2e9, "2.0 GB")])
def test_size(n, said):
    assert words.size(n) == said


@pytest.mark.parametrize(("back", "said"), [(5, "just now"), (61, "1 minute ago"), (7300, "2 hours ago"), (90_000, "1 day ago")])
def test_how_long_ago(back, said):
    assert words.ago(time.time() - back) == said


# --- the map of pages


def test_every_page_file_is_on_the_map_and_every_address_is_its_own():
    files = {path.stem for path in site.PAGES.glob("*.py")}
    assert files == {place.name for place in site.MAP} == set(site.places())
    assert len({place.title for place in site.MAP}) == len(site.MAP)
    assert all(place.path.is_absolute() for place in site.MAP)


def test_an_absent_page_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "audit.py").touch()
    monkeypatch.setattr(site, "PAGES", tmp_path)
    assert list(site.places()) == ["audit"]


# --- uploads


def test_an_upload_is_kept_once_by_its_content(tmp_path):
    folder = tmp_path / "uploads"
    first = sources.keep(folder, "a.csv", CSV)
    assert sources.keep(folder, "other name.csv", CSV) == first
    second = sources.keep(folder, "a.csv", CSV + b"60,0\n")
    assert (first.name, second.name) == ("a.csv", "a.csv")
    assert first.parent != second.parent
    assert first.read_bytes() == CSV
    assert sorted(p.name for p in folder.iterdir()) == sorted([first.parent.name, second.parent.name])


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\x00\x01\x02", b"PK\x03\x04zip"])
def test_a_refused_upload_leaves_nothing(tmp_path, content):
    folder = tmp_path / "uploads"
    with pytest.raises(BadInput):
        sources.keep(folder, "a.csv", content)
    assert not folder.exists()
    kept = sources.keep(folder, "a.csv", CSV)
    with pytest.raises(BadInput):
        sources.keep(folder, "b.csv", content)
    assert [p for p in folder.rglob("*") if p.is_file()] == [kept]


@pytest.mark.parametrize("name", ["../../etc/passwd.csv", "/etc/x.csv", "..", ".hidden.csv", "a/b.csv", "a\\b.csv", "x" * 300 + ".csv"])
def test_an_uploads_name_cannot_leave_its_folder(tmp_path, name):
    safe = sources.safe(name)
    assert (tmp_path / safe).resolve().parent == tmp_path.resolve()
    assert not safe.startswith(".")
    assert 0 < len(safe) <= 100


def test_listed_files_are_tables_in_open_folders(tmp_path):
    deep = tmp_path / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for path in (tmp_path / "t.csv", tmp_path / "image.png", tmp_path / "a/u.parquet", deep / "v.csv", tmp_path / ".git/w.csv"):
        path.touch()
    assert sources.listed((tmp_path,)) == ["t.csv", "a/u.parquet"]


# --- what a data set holds, and the arguments of a training


def test_sizes_are_those_of_the_rows():
    made = datasets.make("loans")()
    table = sizes(made)
    for column, value, *counts, share in table.itertuples(index=False):
        for role, count in zip(ROLES, counts, strict=True):
            assert (made.split(role).columns[column] == value).sum() == count
        if column == "group":
            inside = made.train.columns["group"] == value
            assert share == pytest.approx((made.train.columns["decision"][inside] == made.train.classes[-1]).mean())
    assert table.groupby("Column")["Train"].sum().unique().tolist() == [len(made.train)]


def test_sizes_of_a_numeric_target_with_a_numeric_group():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 90, 400), "x": rng.normal(size=400), "y": rng.normal(size=400)})
    made = prepare(frame, target="y", protected=("age",))
    table = sizes(made)
    assert set(table["Column"]) == {"age"}
    assert len(table) == 4
    assert table[["Train", "Evaluation", "Holdout"]].to_numpy().sum() == 400


def test_a_plan_gives_arguments_that_the_action_takes():
    source = sources.Source("/data/t.csv", "t")
    parts = loading.Parts("y", protected=("g",), split="s", test_share=0.3)
    args = loading.Plan(source, parts, "mlp", {"lr": 0.1, "seed": 7}).args()
    assert args == {
        "data": "/data/t.csv", "name": "t", "model": "mlp", "set": {"lr": 0.1}, "seed": 7,
        "target": "y", "protected": ("g",), "split": "s", "test_share": 0.3,
    }  # fmt: skip
    bundled = loading.Plan(sources.Source("bundled:digits", "digits", {"flip": 0.1}), loading.Parts(), "mlp").args()
    assert bundled == {"data": "bundled:digits", "name": "digits", "model": "mlp", "set": {}, "seed": 0, "data_set": {"flip": 0.1}}
    sheet = loading.Plan(Sheet("/data/t.xlsx", "t", {}, "People"), loading.Parts(), "mlp").args()
    assert sheet["sheet"] == "People"
    for action in (train, check):
        assert set(args) | set(bundled) | set(sheet) <= set(inspect.signature(action).parameters)


def test_what_can_be_trained_can_be_checked_by_the_same_arguments():
    asked, trained = (inspect.signature(action).parameters for action in (check, train))
    assert set(trained) - set(asked) == {"exclude"}
    assert [asked[name].default for name in asked] == [trained[name].default for name in asked]


def test_every_part_is_an_argument_of_the_action():
    assert set(loading.Parts.__dataclass_fields__) <= set(inspect.signature(train).parameters)
    usual = {name: p.default for name, p in inspect.signature(train).parameters.items()}
    for name, f in loading.Parts.__dataclass_fields__.items():  # a part left at its default is left out
        default = f.default_factory() if f.default is MISSING else f.default
        assert default == usual[name] or not (default or usual[name]), name


# --- live curves


def measured() -> pd.DataFrame:
    rows = [("original:accuracy", 1, 0.80), ("original:forget_loss", 1, 0.2), ("retrained:accuracy", 1, 0.90), ("retrained:gap", 1, 0.05)]
    for step, (forget, accuracy, gap) in enumerate([(0.2, 0.8, 0.2), (0.5, 0.85, 0.1), (0.7, 0.88, 0.07)]):
        rows += [("forget_loss", step * 10, forget), ("accuracy", step * 10, accuracy), ("gap", step * 10, gap), ("gap:A", step * 10, 0.5)]
    frame = pd.DataFrame(rows, columns=["name", "step", "value"])
    return frame.assign(stage="x", seconds=0.0)[["step", "stage", "name", "value", "seconds"]]


def test_curves_keep_references_apart():
    curves = live.read(measured())
    assert curves.references == {"original": {"accuracy": 0.8, "forget_loss": 0.2}, "retrained": {"accuracy": 0.9, "gap": 0.05}}
    assert curves.now("forget_loss") == 0.7
    assert curves.now("test_loss") is None
    assert set(curves.steps["name"]) == {"forget_loss", "accuracy", "gap", "gap:A"}


def test_panels_show_what_was_measured():
    found = live.panels(live.read(measured()), "equal_opportunity_gap", "sex")
    assert [(p.title, list(p.metrics)) for p in found] == [
        ("Loss", ["forget_loss"]), ("Accuracy", ["accuracy"]), ("Equal-opportunity gap", ["gap"]), ("True positive rate by sex", ["gap:A"]),
    ]  # fmt: skip
    assert not live.panels(live.read(measured().iloc[:0]), "", "")


def test_a_chart_holds_the_curve_and_both_references():
    curves = live.read(measured())
    panel = live.panels(curves, "equal_opportunity_gap", "")[1]
    spec = live.chart(curves, panel).to_dict()
    data = [pd.DataFrame(spec["datasets"][layer["data"]["name"]]) for layer in spec["layer"]]
    rules, lines = data
    assert dict(zip(rules["Model"], rules["value"], strict=True)) == {"original model": 0.8, "retrained model": 0.9}
    assert lines["value"].tolist() == [0.8, 0.85, 0.88]
    assert spec["title"] == "Accuracy"


def test_a_panel_says_where_it_stands():
    curves = live.read(measured())
    said = [live.sentence(curves, panel) for panel in live.panels(curves, "equal_opportunity_gap", "")]
    assert said[0] == "Rows to forget 0.700 (original 0.200)."
    assert said[1] == "Accuracy 0.880 (original 0.800, retrained 0.900)."


def test_the_table_says_what_the_curves_show():
    curves = live.read(measured())
    table = live.table(curves, live.panels(curves, "equal_opportunity_gap", "sex"))
    assert table["Step"].tolist() == ["0", "10", "20", "original model", "retrained model"]
    assert table["Accuracy"].tolist() == [0.8, 0.85, 0.88, 0.8, 0.9]
    assert table["Loss"].tolist()[:4] == [0.2, 0.5, 0.7, 0.2]
    assert np.isnan(table["Loss"].iloc[4])


# --- where a project stands


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 50}


def a_run(id: str, gap: float = 0.2, parent: str | None = None, **body: object) -> Run:
    metrics = {"intervals": {"accuracy": figure(0.9)}, "gaps": {"sex": {"equal_opportunity_gap": figure(gap)}}}
    asked = {"intervals": {"accuracy": figure(0.8)}, "gaps": {"sex": {"equal_opportunity_gap": figure(gap + 0.1)}}}
    whole = {"metrics": metrics, "evaluation_metrics": asked, "n": {"train": 100, "holdout": 50}, "groups": ["sex"], **body}
    return Run(id, "unlearn" if parent else "train", id, "2030-01-01T00:00:00+00:00", "d", parent, whole)


def a_record(kind: str, **inputs: object) -> Record:
    return Record(1, kind, "", {"inputs": inputs}, "", "")


def taken(*args: object) -> list[bool]:
    return [step.taken for step in standing.steps(*args)]


def test_a_project_stands_where_its_records_say():
    run, child = a_run("r"), a_run("u", gap=0.05, parent="r")
    scored, compared = a_record("attribute", run="r"), a_record("compare", original="r", unlearned="u")
    assert taken(None, [], [], None, "") == [False] * 4
    assert taken(run, [run], [], None, "sex") == [True, False, False, False]
    assert taken(run, [run], [scored], None, "sex") == [True, True, False, False]
    assert taken(run, [run], [replace(scored, body={"inputs": {"run": "other"}})], None, "sex")[1] is False
    assert taken(run, [a_run("y", parent="r", yardstick=True), run], [scored], None, "sex")[2] is False
    assert taken(run, [child, run], [scored, compared], None, "sex") == [True] * 4


def test_the_picture_has_the_numbers():
    run, child = a_run("r"), a_run("u", gap=0.05, parent="r")
    compared = a_record("compare", original="r", unlearned="u")
    ask, _, decide, prove = standing.steps(run, [child, run], [compared], Selection((1, 2)), "sex")
    gap = "Equal-opportunity gap by sex 0.300 (0.200 to 0.400), n = 50 evaluation rows."
    said = f"Accuracy 0.800 (0.700 to 0.900), n = 50 evaluation rows. {gap}"
    assert ask.found == said, "as Audit tells it"
    assert standing.both(run) == (
        "Accuracy 0.800 (0.700 to 0.900), n = 50 evaluation rows. Accuracy 0.900 (0.800 to 1.000), n = 50 holdout rows."
    )
    assert decide.found == "2 rows selected. 1 model made by unlearning."
    assert prove.found == "u: Equal-opportunity gap 0.200 before, 0.050 (\N{MINUS SIGN}0.050 to 0.150), n = 50 holdout rows after."


def test_of_an_unlearned_run_the_picture_tells_the_way_that_led_to_it():
    run, child = a_run("r"), a_run("u", parent="r", n_removed=3, removed=[1, 2, 3])
    other, further = a_run("o", parent="r"), a_run("f", gap=0.05, parent="u", n_removed=2, removed=[1, 2, 3, 4, 5])
    records = [a_record("attribute", run="r"), a_record("compare", original="r", unlearned="o")]
    runs = [further, other, child, run]
    assert taken(child, runs, records, None, "sex") == [True, True, True, False]
    records.append(a_record("compare", original="u", unlearned="f", retrained="y"))
    assert taken(child, runs, records, None, "sex")[3] is False, "that is of a model made from it"
    assert taken(further, runs, records, None, "sex") == [True] * 4
    _, find, decide, prove = standing.steps(further, runs, records, None, "sex")
    assert find.found == "1 set of scores for 100 training rows."
    assert decide.found == "No rows selected. This model was made without 2 training rows (5 with earlier requests)."
    assert prove.found.startswith("f: Equal-opportunity gap 0.200 before, 0.050"), "of the model before this request"
    assert not prove.vain


def test_a_gap_that_did_not_fall_has_no_green_tick_and_its_model_is_named():
    run, worse, better = a_run("r"), a_run("worse", gap=0.3, parent="r"), a_run("better", gap=0.1, parent="r")
    of = {name: a_record("compare", original="r", unlearned=name) for name in ("worse", "better")}
    prove = standing.steps(run, [worse, better, run], list(of.values()), None, "sex")[3]
    assert prove.found.startswith("worse: Equal-opportunity gap 0.200 before, 0.300")
    assert prove.found.endswith("after: it did not fall.")
    assert "green" not in standing._mark(prove)
    prove = standing.steps(run, [worse, better, run], [of["better"]], None, "sex")[3]
    assert prove.found.startswith("better: ")
    assert "green" in standing._mark(prove)
    assert "did not fall" not in prove.found


def test_the_table_of_runs_names_the_data_where_there_are_several():
    runs = [replace(a_run("b"), dataset="e"), a_run("a")]
    assert [row["Data"] for row in standing.table(runs, "sex", {"d": "loans", "e": "adult"})] == ["adult", "loans"]
    assert not any("Data" in row for row in standing.table(runs, "sex", {"d": "loans", "e": "loans"}))


def test_a_gap_whose_other_group_is_ahead_now_is_told_with_its_sign():
    def rates(high: float, low: float, few: float) -> dict[str, object]:
        of = {"F": figure(low), "M_a": figure(high), "tiny": {**figure(few), "n": 9}}
        return {"sex": {name: {"true_positive_rate": rate} for name, rate in of.items()}}

    run, reversed_, same = a_run("r"), a_run("u", gap=0.036, parent="r"), a_run("v", gap=0.036, parent="r")
    for made, groups in ((run, rates(0.6, 0.4, 0.1)), (reversed_, rates(0.464, 0.5, 0.9)), (same, rates(0.5, 0.464, 0.9))):
        made.body["metrics"]["groups"] = groups
    said = f"Its sign changed: M\\_a {words.MINUS} F is {words.MINUS}0.036 now."
    assert [standing.turned(run, made, "sex") for made in (reversed_, same, run)] == [said, "", ""]
    compared = a_record("compare", original="r", unlearned="u")
    assert standing.steps(run, [reversed_, run], [compared], None, "sex")[-1].found.endswith(f" holdout rows after. {said}")
    assert standing.turned(run, a_run("w", parent="r"), "sex") == standing.turned(run, same, "race") == ""


def test_the_table_of_runs_leaves_yardsticks_out_and_counts_rows():
    runs = [a_run("u", parent="r", removed=[1, 2, 3]), a_run("y", parent="r", yardstick=True), a_run("r")]
    rows = standing.table(runs, "sex")
    assert [row["id"] for row in rows] == ["u", "r"]
    assert [row["Training rows"] for row in rows] == [97, 100]


def test_the_demo_is_the_set_as_it_comes():
    as_it_comes = a_run("a", source={"data": "bundled:loans", "data_set": {}})
    altered = a_run("b", source={"data": "bundled:loans", "data_set": {"seed": 3}})
    assert standing.demo_run([altered, as_it_comes]) is as_it_comes
    assert standing.demo_run([altered]) is None


# --- forms


@dataclass(frozen=True)
class Every:
    """One setting of each kind."""

    count: int = option(3, "A count", min=1, max=9)
    rate: float = option(1e-4, "A rate", min=0.0, max=1.0)
    flag: bool = option(False, "A flag")
    way: Literal["one", "two"] = option("one", "A way")
    widths: tuple[int, ...] = option((64, 32), "Widths", min=1)
    group: str = option("", "A column", column=True)
    word: str = option("", "A word")
    folded: int = option(5, "Folded", advanced=True)


def every_kind() -> None:
    import streamlit as st

    from influence.ui import forms
    from tests.test_ui_frame import Every

    st.session_state["all"] = forms.settings_form(Every, "f", columns=["sex", "race"], hidden=("word",))
    st.session_state["open"] = forms.settings_form(Every, "o", columns=["sex"], automatic=("count", "way", "rate"), given={"folded": 8})


def test_a_form_draws_every_kind_of_setting_and_gives_its_values():
    at = AppTest.from_function(every_kind).run()
    assert not at.exception
    usual = {"count": 3, "rate": 1e-4, "flag": False, "way": "one", "widths": (64, 32), "group": "", "folded": 5}
    assert at.session_state["all"] == usual
    assert at.session_state["open"] == {"flag": False, "widths": (64, 32), "group": "", "word": "", "folded": 8}
    at.number_input(key="f.count").set_value(7)
    at.selectbox(key="f.group").select("race")
    at.text_input(key="f.widths").set_value("8, 4")
    at.toggle(key="f.flag").set_value(True)
    at.selectbox(key="f.way").select("two")
    at.run()
    assert at.session_state["all"] == usual | {"count": 7, "group": "race", "widths": (8, 4), "flag": True, "way": "two"}


@pytest.mark.parametrize(
    ("key", "wrong", "said"),
    [
        ("f.widths", "8, x", "Widths must be whole numbers with commas between them, such as 64, 32; got '8, x'."),
        ("f.widths", "0", "Widths must be at least 1; got '0'."),
        ("f.count", 10, "Count must be between 1 and 9; got 10."),
        ("f.rate", 50.0, "Rate must be between 0.0 and 1.0; got 50.0."),
        ("o.rate", 50.0, "Rate must be between 0.0 and 1.0; got 50.0."),
    ],
)
def test_a_setting_that_is_not_allowed_is_refused_where_it_stands_and_nothing_goes_on(key, wrong, said):
    at = AppTest.from_function(every_kind).run()
    form, kind = ("all" if key[0] == "f" else "open"), (at.text_input if isinstance(wrong, str) else at.number_input)
    del at.session_state[form]
    kind(key=key).set_value(wrong).run()
    assert not at.exception
    assert [error.value.replace("\\", "") for error in at.error] == [said]
    assert "Nothing can be started" in at.caption[-1].value
    assert form not in at.session_state
    assert at.toggle(key=f"{key[0]}.flag"), "what else there is to set is drawn all the same"


def choice() -> None:
    import streamlit as st

    from influence.ui import forms
    from tests.test_ui_frame import KINDS

    st.session_state["chosen"] = forms.choose(KINDS, "k", "Which", lambda made: made.closed, first="second")


@dataclass(frozen=True)
class First:
    """Does the first thing, for $5.

    The rest is told when asked for.
    """

    n: int = option(1, "A number")
    closed: str = field(default="", init=False)


@dataclass(frozen=True)
class Second(First):
    """Does the second thing."""


@dataclass(frozen=True)
class Third(First):
    """Does the third thing."""

    closed: str = field(default="It needs a recipe. Train it here.", init=False)


KINDS = Registry("tests", "kind")
KINDS._found = True
KINDS._classes = {"first": First, "second": Second, "third": Third}


def test_a_choice_explains_itself_and_says_what_is_not_open():
    at = AppTest.from_function(choice).run()
    assert not at.exception
    assert at.radio[0].options == ["Second", "First"]
    assert at.session_state["chosen"] == ("second", {"n": 1})
    assert any("Third" in c.value and "It needs a recipe" in c.value.replace("\\", "") for c in at.caption)
    at.radio[0].set_value("first")
    at.run()
    at.number_input(key="k.first.n").set_value(4).run()
    assert at.session_state["chosen"] == ("first", {"n": 4})
    assert any("told when asked for" in m.value for m in at.markdown)


def test_every_action_is_said_as_what_is_being_done():
    assert set(names()) == set(words.VERBS)
