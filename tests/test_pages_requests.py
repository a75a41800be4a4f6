"""Requests to delete rows, one after another, on the pages Plan and Run: what earlier ones removed stays out, and is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from influence import jobs as queue
from influence.actions import perform
from influence.actions._compared import Compared
from influence.actions._opened import opened
from influence.errors import BadInput
from influence.evaluation._tables import row_losses
from influence.finders.rows import parts
from influence.store import Project
from influence.types import Selection
from influence.ui import forgetting, racing, words
from tests import drawing
from tests.drawing import SMALL, address, links, press, text

no_worker, shown = drawing.no_worker, drawing.shown


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SimpleNamespace:
    """A model, one without its first 50 rows, and of that one without 5 more of 7, fitted anew; tests change nothing but the selection."""
    project = Project(tmp_path_factory.mktemp("requests") / "p")
    first = perform("train", project, SMALL)["run"]
    train = project.dataset(project.run(first).dataset).train
    ids = train.ids.tolist()
    second = perform("unlearn", project, {"run": first, "ids": ids[:50], "method": "retrain"})["run"]
    given = {"run": second, "ids": ids[48:55], "method": "retrain", "set": {"preprocessing": "refitted"}}
    third = perform("unlearn", project, given)["run"]
    return SimpleNamespace(project=project, first=first, second=second, third=third, ids=ids)


def choose(made: SimpleNamespace, ids: list, **more) -> None:
    data = made.project.run(made.first).dataset
    made.project.choose(Selection(tuple(ids), reason={"words": "rows of a request", "dataset": data}, **more))


def test_a_further_request_begins_at_the_model_that_the_last_one_made(made, shown):
    choose(made, made.ids[50:90])
    at = shown(made.project, "plan", run=made.second)
    said = text(at)
    assert "A further request begins here" in said
    assert "Predictions follow a training by its recipe" in said
    assert links(at)["See predictions on the original"] == "plan"
    assert links(at)["Unlearn these rows"] == "run"
    assert "40 training rows" in said
    assert "would be back" not in said
    assert "Prepare the preview" not in [b.label for b in at.main.button]


@pytest.mark.parametrize("page", ["plan", "run"])
def test_rows_that_would_be_back_are_told_with_the_way_to_keep_them_out(made, shown, page):
    choose(made, made.ids[40:90])
    at = shown(made.project, page, run=made.first)
    assert "40 rows that were removed in " in text(at)
    press(at, "Run it on that model")
    assert address(at, "run") == made.third
    assert at.title[0].value == "Run"
    assert "would be back" not in text(at)
    assert "rows of a request" in text(at), "they are rows of that model's data, too"


def test_the_way_leads_to_a_model_that_the_request_is_not_yet_done_for(made, shown):
    choose(made, made.ids[50:55])
    at = press(shown(made.project, "run", run=made.first), "Run it on that model")
    assert address(at, "run") == made.second


def test_nothing_comes_back_of_rows_that_are_asked_for_again(made, shown):
    choose(made, made.ids[:60])
    assert "would be back" not in text(shown(made.project, "run", run=made.first))
    choose(made, made.ids[:60], action="relabel", labels=("approved",) * 60)
    assert "55 rows that were removed in " in text(shown(made.project, "run", run=made.first))


def test_rows_that_are_gone_already_are_not_offered_for_removal(made, shown):
    choose(made, made.ids[:50])
    for page in ("plan", "run"):
        at = shown(made.project, page, run=made.second)
        assert "All 50 selected rows were already removed from this model." in text(at)
        assert {"Compare it with the other models", "Run on the original"} <= set(links(at))
        assert "Unlearn these rows" not in links(at)
        assert not [b for b in at.main.button if b.label == "Start unlearning"]


def test_only_rows_that_are_still_there_are_counted(made, shown):
    choose(made, made.ids[40:90])
    train = made.project.dataset(made.project.run(made.second).dataset).train
    total = len(made.ids) - 50
    still = f"**40 of the 50 selected rows** are still in the model: {words.percent(40 / total)} of its {total:,} training rows."
    at = shown(made.project, "run", run=made.second)
    assert f"{still} They will be removed. Selected: rows of a request." in text(at)
    assert [b for b in at.main.button if b.label == "Start unlearning"]
    assert "40 of 50 selected rows left" in [link.proto.label for link in at.sidebar.get("page_link")]
    at = shown(made.project, "plan", run=made.second)
    assert f"{still} Selected: rows of a request." in text(at)
    kinds = next(e.value for e in at.dataframe if "selected share" in e.value.columns)
    kinds = kinds[kinds["column"] == "group"].set_index("value")
    assert kinds["selected"].to_dict() == train.columns["group"][50:90].value_counts().to_dict()
    assert kinds["all"].to_dict() == train.columns["group"][50:].value_counts().to_dict()
    assert kinds["share of all"].sum() == pytest.approx(1)
    choose(made, made.ids[:50])
    at = shown(made.project, "plan", run=made.second)
    assert "**None of the 50 selected rows** is still in the model." in text(at)
    assert not [e for e in at.dataframe if "selected share" in e.value.columns]


def looked_up(at: AppTest, typed: str = "", file: tuple[str, bytes] | None = None) -> AppTest:
    at.text_area(key="plan.ids.typed").set_value(typed)
    if file:
        at.file_uploader(key="plan.ids.file").set_value((*file, "text/csv"))
    return press(at, "Look these rows up")


def test_rows_are_selected_by_their_ids(made, shown):
    made.project.choose(Selection(()))
    at = looked_up(shown(made.project, "plan", run=made.first), f"{made.ids[3]}, {made.ids[1]}\n{made.ids[2]}")
    press(at, "Select these 3 rows")
    assert made.project.current().ids == (made.ids[3], made.ids[1], made.ids[2])
    assert links(at)["Unlearn these rows"] == "run"


def test_ids_that_are_not_there_are_told_in_lots_and_nothing_is_selected_by_itself(made, shown):
    choose(made, made.ids[90:91])
    data = made.project.dataset(made.project.run(made.second).dataset)
    unused = [*data.evaluation.ids[:2], data.holdout.ids[0]]
    table = "note,id\n" + "".join(f"x,{i}\n" for i in [*made.ids[48:53], *unused, 987654321])
    at = looked_up(shown(made.project, "plan", run=made.second), "no-such-id", ("request.csv", table.encode()))
    said = text(at)
    assert "9 ids in the column “id” of request.csv." in said
    assert "2 ids: not in the data at all (no-such-id, 987654321)." in said
    assert f"3 ids: only among evaluation or holdout rows, on which the model was never trained ({', '.join(map(str, unused))})." in said
    assert f"2 ids: already removed from this model ({made.ids[48]}, {made.ids[49]})." in said
    assert made.project.current().ids == (made.ids[90],)
    press(at, "Go on with the 3 that are there")
    assert made.project.current().ids == tuple(made.ids[50:53])


def test_ids_none_of_which_is_there_select_nothing(made, shown):
    at = looked_up(shown(made.project, "plan", run=made.second), str(made.ids[0]))
    assert "so there is nothing to remove" in text(at)
    assert "plan.ids.select" not in [b.key for b in at.main.button]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"), (bytes(range(256)) * 20, "holds binary data"), (b"who,id\na,\nb,2\n", "1 of 2 are empty"),
        (b"12\n15\n", "holds only numbers (12); it must name the columns"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_ids_is_said_in_a_sentence(made, shown, content, said):
    at = looked_up(shown(made.project, "plan", run=made.first), file=("ids.csv", content))
    assert [said in e.value.replace("\\", "") for e in at.error] == [True]


def test_a_heading_that_is_an_id_of_the_data_is_not_passed_over(made, shown, monkeypatch):
    monkeypatch.setattr("influence.ui.naming.id_column", lambda path, most: (str(made.ids[0]), [made.ids[1]]))
    at = looked_up(shown(made.project, "plan", run=made.first), file=("ids.csv", b"x"))
    assert "so the file has no heading" in text(at)


@pytest.mark.parametrize(
    ("typed", "cut"),
    [
        ("a b\nc d\nx y", ["a b", "c d", "x y"]), ("1 2 999 998", ["1", "2", "999", "998"]), ("1, 2;x y", ["1", "2", "x y"]),
        ("7 8", ["7", "8"]), ("1\n2", ["1", "2"]),
    ],
)  # fmt: skip
def test_ids_of_which_some_are_unknown_are_cut_where_most_are_known(typed, cut):
    assert parts(typed, {"a b": 0, "1": 0}, {"c d": 0, "2": 0}) == cut


def test_a_request_after_another_says_how_many_rows_are_gone_in_all(made, shown):
    made.project.choose(Selection(()))
    page = (made.project.path / perform("report", made.project, {"run": made.third, "rows": True})["html"]).read_text(encoding="utf-8")
    assert "Retrain without 5 rows (55 with earlier requests)" in page
    assert "5 training rows (" in page
    assert "; 55 with earlier requests) were removed" in page
    assert f'<p class="ids">{", ".join(map(str, made.ids[50:55]))}</p>' in page, "of the 7 that were asked for, 2 were gone already"
    assert page.count(">Before this request<") >= 1
    assert ">Original<" not in page
    assert "were removed: what the model still had of ids given" in page
    seen = len(made.ids) - 50
    train = made.project.dataset(made.project.run(made.third).dataset).train.columns["group"]
    for name, n in train[50:].value_counts().items():
        assert f'<td>{name}</td><td class="num">{(train[50:55] == name).sum()}</td>' in page
        assert f'<td class="num">{n:,}</td><td class="num">{words.percent(n / seen)}</td>' in page, "of the rows that the model had"
    assert "model from the model before this request on the same rows" in page
    for name in ("run", "compare", "verify"):
        at = shown(made.project, name, run=made.third)
        assert ("“Original” on this page is the model before this request" in text(at)) == (name != "verify")
        noun = "row" if name == "run" else "training row"
        assert f"without 5 {noun}s (55 with earlier requests)" in text(at), name
    model = at.sidebar.selectbox(key="choice.run")
    assert [o.split(" · ", 1)[1] for o in model.options[:2]] == [
        "Retrain without 5 rows (55 with earlier requests)",
        "Retrain without 50 rows",
    ]


def test_a_class_that_leaves_only_one_other_is_not_offered(made, shown):
    made.project.choose(Selection(()))
    at = shown(made.project, "plan", run=made.first)
    assert "A whole class cannot be forgotten here" in text(at)
    assert not [box for box in at.selectbox if str(box.key).startswith("plan.class")]


def test_shares_and_sizes_are_of_the_rows_that_the_model_was_made_with(made, shown):
    project = made.project
    chosen = project.put_selection(Selection(tuple(made.ids[40:60])))
    run, seen = project.run(made.second), len(made.ids) - 50
    shown(project, "run", run=made.second)
    assert racing._sizes(run, chosen)["retain"] == min(racing.ROWS, seen - 10), "ten of the twenty are no rows of this model"
    choose(made, made.ids[50:90])
    assert f"40 training rows** of {seen:,} ({words.percent(40 / seen)})" in text(shown(project, "plan", run=made.second))
    with pytest.raises(BadInput, match=f"All {seen:,} training rows of this model are selected"):
        perform("unlearn", project, {"run": made.second, "ids": made.ids[50:], "method": "retrain"})


def test_rows_that_are_gone_already_are_no_part_of_a_request(made, monkeypatch):
    project, asked, left = made.project, made.ids[45:55], made.ids[50:55]
    third = project.run(made.third).body
    assert project.selection(third["selection"]).ids == tuple(left), "the record names what the request removed"
    found = perform("race", project, {"run": made.second, "ids": asked, "methods": ["retrain", "finetune"]})
    assert found["n_removed"] == 5
    runs = [project.run(lane["run"]) for lane in found["lanes"]]
    assert {run.body["n_removed"] for run in runs} == {5}
    assert {run.body["selection"] for run in runs} == {third["selection"]}
    it = opened(project, made.second)
    for one in (opened(project, run.id) for run in runs):
        rows = it.dataset.train.take(it.dataset.train.mask(left))
        loss = row_losses(one.answers(rows).numpy(), rows.y, True).mean()
        assert one.run.body["live"]["forget_loss"] == pytest.approx(loss, rel=1e-4), "curves are of the rows that go"
    selection = Selection(tuple(asked))
    compared = Compared({"original": it, "unlearned": opened(project, runs[1].id)}, selection, "")
    assert sorted(compared.ids["forgotten"]) == sorted(left), "older records name all that was selected"
    job = SimpleNamespace(args={"run": made.second, "selection": project.put_selection(selection)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("influence.ui.state.project", lambda: project)
        assert forgetting.sizes(job) == (5, it.run.body["n"]["holdout"])
        assert racing._sizes(it.run, job.args["selection"])["forget"] == 5
    monkeypatch.setattr("influence.actions.prepare.prepare", lambda *given: pytest.fail("retrained before it was refused"))
    for action in ("unlearn", "race", "preview"):
        given = {"methods": ["retrain"]} if action == "race" else {}
        with pytest.raises(BadInput, match="All 7 selected rows were already removed from this model"):
            perform(action, project, {"run": made.second, "ids": made.ids[:7], **given})


def test_the_curves_of_a_further_request_say_what_their_original_is(made, shown):
    for run, told in ((made.first, "Dotted: the original model. "), (made.second, "Dotted: the original model, which here is the model ")):
        args = {"run": run, "method": "finetune", "selection": made.project.put_selection(Selection(tuple(made.ids[50:60])))}
        job = queue.submit(made.project, "unlearn", args)
        drawing.work(made.project)
        said = text(shown(made.project, "run", run=run, job=job))
        assert told in said
        assert ("before this request, itself made by unlearning." in said) == (run == made.second)


def test_of_rows_that_are_gone_already_nothing_is_predicted(made):
    first, second = (perform("preview", made.project, {"run": made.second, "ids": ids}) for ids in (made.ids[45:55], made.ids[50:55]))
    assert first["n"] == 5
    assert first == second


def test_run_asks_for_the_rows_that_are_left_and_finds_what_was_made_of_them(made, shown):
    choose(made, made.ids[45:55])
    perform("unlearn", made.project, {"run": made.second, "method": "finetune"})
    at = shown(made.project, "run", run=made.second)
    assert "The model without 5 rows (55 with earlier requests) is ready" in text(at)
    press(at, "Start unlearning")
    job = queue.listed(made.project, 1)[0]
    assert made.project.selection(job.args["selection"]).ids == tuple(made.ids[50:55])
