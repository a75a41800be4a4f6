"""Pins: nothing is lost, every step can be undone, other data stay apart, and what is shown is read again and never a kept picture."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from influence.actions import _pinned, perform
from influence.errors import BadInput
from influence.evidence.report import picture
from influence.store import Project, catalogue
from influence.store import pins as pins_module
from influence.store.pins import MOST, NOTE, Pin
from influence.types import Selection
from tests import investigation

made = investigation.made
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path / "p")


def a_pin(k: int = 0, **more) -> Pin:
    return Pin("rows", "train-1", "d" * 64, f"pin {k}", {"rows": f"r{k}"}, **more)


def titles(project: Project) -> list[str]:
    return [pin.title for pin in project.pins.listed()]


# ---- the store


def test_a_pin_comes_back_as_it_was_also_after_a_restart(project):
    given = a_pin(1, said="A | sentence", page="audit", address={"run": "train-1", "suspects.share": ["1 %", "50 %"]}, note="Why? <b>")
    kept = project.pins.add(given)
    assert Project(project.path).pins.listed() == [kept]
    assert replace(kept, id="", created="", place=0) == given
    assert kept.id
    assert kept.created.startswith("20")


def test_the_same_thing_is_pinned_once_whatever_its_note(project):
    first = project.pins.add(a_pin(1))
    assert (
        project.pins.add(replace(a_pin(1), note="other", page="plan", title="else", made={"rows": "r1", "selection": "x", "kept": "y"}))
        == first
    )
    assert project.pins.count() == 1
    project.pins.add(replace(a_pin(1), run="train-2"))
    project.pins.add(a_pin(2))
    assert project.pins.count() == 3


def test_every_step_is_undone_and_done_again(project):
    pins = project.pins
    states, ids = [[]], {}

    def state():
        return [(p.id, p.note, p.place) for p in pins.listed()]

    for k in range(4):
        ids[k] = pins.add(a_pin(k)).id
        states.append(state())
    for step in (lambda: pins.note(ids[1], "why"), lambda: pins.swap(ids[0], ids[3]), lambda: pins.remove([ids[1], ids[2]])):
        step()
        states.append(state())
    assert titles(project) == ["pin 3", "pin 0"]
    for wanted in reversed(states[:-1]):
        assert pins.undo()
        assert state() == wanted
    assert pins.undo() == ""
    for wanted in states[1:]:
        assert pins.redo()
        assert state() == wanted
    assert pins.redo() == ""
    pins.undo()
    assert pins.steps() == ("move pin 0", "remove 2 pins")
    pins.add(a_pin(9))
    assert pins.steps() == ("pin pin 9", ""), "a new step ends what could be done again"
    assert pins.redo() == ""


def test_what_changes_nothing_is_no_step(project):
    kept = project.pins.add(a_pin(1, note="why"))
    before = project.pins.steps()
    project.pins.note(kept.id, "why")
    project.pins.remove(["gone"])
    project.pins.add(a_pin(1))
    assert project.pins.steps() == before


def test_notes_are_bounded_and_pins_that_are_gone_are_said(project):
    kept = project.pins.add(a_pin(1, note="x" * NOTE))
    with pytest.raises(BadInput, match=r"at most 2,000 characters; got 1,000,000"):
        project.pins.note(kept.id, "x" * 10**6)
    with pytest.raises(BadInput, match="at most 2,000 characters"):
        project.pins.add(a_pin(2, note="x" * (NOTE + 1)))
    assert titles(project) == ["pin 1"]
    long = project.pins.add(replace(a_pin(3), title="t" * 10**5, said="s" * 10**5, address={"run": "r", "x.y": "z" * 10**6}))
    assert (len(long.title), len(long.said), long.address) == (pins_module.TITLE, pins_module.SAID, {"run": "r"})
    project.pins.remove([kept.id])
    for change in (lambda: project.pins.note(kept.id, "n"), lambda: project.pins.swap(kept.id, long.id)):
        with pytest.raises(BadInput, match="This pin is gone"):
            change()


@pytest.mark.slow
def test_ten_thousand_pins_are_listed_quickly_and_no_more_are_taken(project):
    every = [pins_module._row(replace(a_pin(k), id=f"{k:016}", created="2026", place=k)) for k in range(MOST - 1)]
    with project.catalogue.write() as connection:
        connection.execute(catalogue.pin.insert(), every)
    project.pins.add(a_pin(MOST - 1))
    began = time.process_time()
    assert len(project.pins.listed()) == project.pins.count() == MOST
    assert project.pins.find(a_pin(MOST - 1).content).title == f"pin {MOST - 1}"
    project.pins.note(project.pins.listed()[5000].id, "why")
    assert time.process_time() - began < 3
    with pytest.raises(BadInput, match="at most 10,000 pins"):
        project.pins.add(a_pin(MOST))
    project.pins.remove([pin.id for pin in project.pins.listed()])
    assert project.pins.count() == 0
    project.pins.undo()
    assert project.pins.count() == MOST
    steps = sqlite3.connect(project.path / "catalogue.sqlite").execute("SELECT count(*) FROM pin_step").fetchone()[0]
    assert steps <= pins_module.STEPS


PROGRAM = """
import sys
from influence.store import Project
from influence.store.pins import Pin
project, own = Project(sys.argv[1]), sys.argv[2]
print("ready", flush=True); sys.stdin.readline()
for k in range(40):
    kept = project.pins.add(Pin("rows", own, "d" * 64, f"{own} {k}", {"rows": str(k)}))
    project.pins.note(kept.id, f"note {k} of {own}")
"""


PIPES = {"cwd": ROOT, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}


def _race(both: list[subprocess.Popen]) -> None:
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("\n")
        one.stdin.flush()
    assert [one.wait(60) for one in both] == [0, 0]


def test_two_processes_that_pin_at_once_lose_nothing(project):
    command = [sys.executable, "-c", PROGRAM, str(project.path)]
    with ExitStack() as stack:
        _race([stack.enter_context(subprocess.Popen([*command, own], **PIPES)) for own in ("a", "b")])
    found = project.pins.listed()
    assert sorted(pin.title for pin in found) == sorted(f"{own} {k}" for own in "ab" for k in range(40))
    assert all(pin.note == f"note {pin.title.split()[1]} of {pin.run}" for pin in found)
    assert len({pin.place for pin in found}) == 80
    for _ in range(160):
        assert project.pins.undo()
    assert project.pins.count() == 0


def test_any_order_of_steps_is_undone_to_nothing(project):
    draw = random.Random(7)
    for k in range(60):
        there = [pin.id for pin in project.pins.listed()]
        what = draw.choice(["add", "note", "swap", "remove", "undo", "redo"])
        if what == "add" or not there:
            project.pins.add(a_pin(k))
        elif what == "note":
            project.pins.note(draw.choice(there), f"n{k}")
        elif what == "swap" and len(there) > 1:
            project.pins.swap(*draw.sample(there, 2))
        elif what == "remove":
            project.pins.remove(draw.sample(there, draw.randint(1, len(there))))
        elif what in ("undo", "redo"):
            getattr(project.pins, what)()
    last = project.pins.listed()
    back = 0
    while project.pins.undo():
        back += 1
    assert project.pins.count() == 0
    assert sum(1 for _ in iter(project.pins.redo, "")) == back
    assert project.pins.listed() == last


def test_a_project_from_before_there_were_pins_gets_their_tables(tmp_path):
    old = Project(tmp_path / "old")
    old.note("a", 1)
    old.close()
    with sqlite3.connect(tmp_path / "old" / "catalogue.sqlite") as connection:
        connection.executescript("DROP TABLE pin; DROP TABLE pin_step;")
    again = Project(tmp_path / "old")
    again.pins.add(a_pin(1))
    assert (again.pins.count(), again.noted("a")) == (1, 1)


# ---- what a pin shows


def rows_pin(project: Project, run: str, n: int = 30, scores: str = "") -> Pin:
    it = project.run(run)
    ids = tuple(project.dataset(it.dataset).train.ids[:n].tolist())
    chosen = Selection(ids, reason={"rule": "rows", "words": f"the first {n} rows"})
    given = {"rows": chosen.digest, "selection": project.put_selection(chosen), **({"scores": scores} if scores else {})}
    return Pin("rows", run, it.dataset, f"The first {n} rows", given, page="influence")


@pytest.mark.parametrize("which", ["loans", "numeric", "classes", "groupless", "unlearned"])
def test_rows_are_read_from_the_data(made, which):
    project, runs = made
    found = _pinned.read(project, rows_pin(project, runs[which]))
    train = project.dataset(project.run(runs[which]).dataset).train
    assert (found.n, len(found.rows), found.missing) == (30, _pinned.ROWS, "")
    assert found.columns[0] == "id"
    assert [row[0] for row in found.rows] == [str(id) for id in train.ids[: _pinned.ROWS]]
    target = project.dataset(project.run(runs[which]).dataset).target
    if target in train.columns:
        at = found.columns.index(target, 1)
        assert [row[at] for row in found.rows] == [_pinned._cell(v) for v in train.columns[target][: _pinned.ROWS]]
    assert f"of {len(train):,}" in found.said


def test_rows_beside_scores_tell_their_sum_and_each_score(made):
    project, runs = made
    scores = project.noted(f"preview/{runs['loans']}/group")["scores"]
    found = _pinned.read(project, rows_pin(project, runs["loans"], 30, scores))
    values = project.scores(scores).column()[:30]
    assert f"add up to {_pinned.words.signed(float(values.sum()))}" in found.said
    assert [row[1] for row in found.rows] == [_pinned._cell(float(v)) for v in values[: _pinned.ROWS]]
    assert found.columns[1] == f"change if removed: {project.scores(scores).labels[0]}", "of several questions it is said which"


def test_a_pin_whose_run_or_objects_are_gone_says_so(made):
    project, runs = made
    pin = rows_pin(project, runs["loans"])
    for broken in (
        replace(pin, run="train-gone"),
        replace(pin, made={"rows": "x", "selection": "0" * 64}),
        replace(pin, made={}),
        replace(pin, kind="unknown"),
        replace(pin, kind="pattern", made={"conditions": "no json"}),
        replace(pin, kind="gap", made={"kept": pin.made["selection"]}),
    ):
        found = _pinned.read(project, broken)
        assert found.missing.endswith("."), broken
        assert not found.rows


def test_a_preview_is_read_anew_and_one_that_was_prepared_since_is_not_passed_off_as_it(made):
    project, runs = made
    note = project.noted(f"preview/{runs['loans']}/group")
    pin = rows_pin(project, runs["loans"])
    pin = replace(pin, kind="preview", made={**pin.made, "group": "group", "scores": note["scores"]})
    found = _pinned.read(project, pin)
    ids = project.selection(pin.made["selection"]).ids
    truth = perform("preview", project, {"run": runs["loans"], "ids": ids})["predicted"]
    assert len(found.figures) == len(truth)
    for figure, entry in zip(found.figures, truth.values(), strict=True):
        assert figure.found.value == pytest.approx(entry["measured_before"] + entry["measured_change"])
        assert figure.found.low <= figure.found.value <= figure.found.high
    evaluation = project.dataset(pin.dataset).evaluation
    approved = int((evaluation.y == evaluation.classes.index(evaluation.favourable)).sum())
    rests = {figure.label.split(",")[0]: figure.found.n for figure in found.figures}
    assert rests["Accuracy"] == len(evaluation) > approved
    assert rests["Equal-opportunity gap by group"] == approved  # true positive rates rest on those who should be approved
    assert "prepared anew" in _pinned.read(project, replace(pin, made={**pin.made, "scores": "0" * 64})).missing


def test_a_comparison_tells_each_model_and_is_drawn(made):
    project, runs = made
    table = project.noted(f"compare/{runs['unlearned']}/group")["tables"]["metrics"]
    run = project.run(runs["unlearned"])
    pin = Pin("comparison", run.id, run.dataset, "Accuracy", {"table": table, "metric": "accuracy", "column": "group"})
    found = _pinned.read(project, pin)
    truth = project.table(table).query("metric == 'accuracy' and column in ('', 'group')")
    assert [(f.series, f.found.value, f.found.n) for f in found.figures] == list(
        truth[["role", "value", "n"]].itertuples(index=False, name=None)
    )
    drawn = str(picture(found))
    assert drawn.count("<g><title>") == truth["low"].notna().sum()


def test_scores_are_drawn_as_the_histogram_of_their_values(made):
    project, runs = made
    scores = project.noted(f"preview/{runs['loans']}/group")["scores"]
    run = project.run(runs["loans"])
    found = _pinned.read(project, Pin("scores", run.id, run.dataset, "Scores", {"scores": scores}))
    values = project.scores(scores).column()
    assert sum(found.counts) == len(values) == found.n
    np.testing.assert_allclose([found.edges[0], found.edges[-1]], [values.min(), values.max()], rtol=1e-6)
    assert str(picture(found)).count("<rect") == sum(count > 0 for count in found.counts)


def test_rows_of_pins_come_with_where_they_are_from_and_other_data_are_refused(made):
    project, runs = made
    pin = project.pins.add(rows_pin(project, runs["loans"]))
    found = _pinned.found(project, project.run(runs["loans"]), pin)
    assert (found.reason["pin"], found.reason["n"], len(found)) == (pin.id, 30, 30)
    assert found.reason["words"] == "the first 30 rows, pinned on Influence"
    with pytest.raises(BadInput, match="belongs to other data"):
        _pinned.found(project, project.run(runs["classes"]), pin)
    with pytest.raises(BadInput, match="names no rows"):
        _pinned.found(project, project.run(runs["loans"]), replace(pin, kind="scores"))
    pattern = replace(pin, kind="pattern", made={"conditions": '[{"column": "group", "is_": "equal to", "value": "A"}]'})
    data = project.dataset(project.run(runs["loans"]).dataset)
    rows = _pinned.found(project, project.run(runs["loans"]), pattern)
    assert set(rows.ids) == set(data.train.ids[(data.train.columns["group"] == "A").to_numpy()].tolist())
    project.pins.undo()


def test_a_pattern_of_an_unlearned_model_counts_and_names_only_rows_that_it_has(made):
    project, runs = made
    run = project.run(runs["unlearned"])
    train, gone = project.dataset(run.dataset).train, set(run.body["removed"])
    group = train.columns["group"][train.mask(tuple(gone))].iloc[0]
    conditions = f'[{{"column": "group", "is_": "equal to", "value": "{group}"}}]'
    pin = Pin("pattern", run.id, run.dataset, "A group", {"conditions": conditions})
    there = set(train.ids[(train.columns["group"] == group).to_numpy()].tolist()) - gone
    shown = _pinned.read(project, pin)
    assert shown.n == len(there)
    assert f"of {len(train) - len(gone):,}." in shown.said
    assert set(_pinned.found(project, run, pin).ids) == there


# ---- commands and the report


def test_the_actions_pin_and_list_and_the_report_holds_it_with_its_note_as_text(made):
    project, runs = made
    before = project.pins.count()
    ids = project.dataset(project.run(runs["loans"]).dataset).train.ids[:12].tolist()
    hostile = "<script>alert(1)</script> {{ 7 * 7 }} \"'&"
    first = perform("pin", project, {"run": runs["loans"], "ids": ids, "note": hostile})
    pattern = '[{"column": "group", "is_": "equal to", "value": "A"}]'
    perform("pin", project, {"run": runs["loans"], "pattern": pattern})
    assert perform("pin", project, {"run": runs["loans"], "ids": ids, "note": "another"})["id"] == first["id"]
    perform("pin", project, {"run": runs["loans"], "ids": ids, "note": hostile})
    told = perform("pins", project, {"run": runs["loans"]})["pins"]
    assert [(one["kind"], one["note"], one["n"]) for one in told][:1] == [("rows", hostile, 12)]
    assert told[1]["title"] == "group = A"
    for run in ("loans", "unlearned"):
        page = (project.path / perform("report", project, {"run": runs[run], "group": "group"})["html"]).read_text()
        assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7 * 7 }}" in page
        assert "<script" not in page
        assert "group = A" in page
        assert not any(f"<td>{id}</td>" in page for id in ids), "single rows only if somebody chooses so"
        with_rows = perform("report", project, {"run": runs[run], "group": "group", "rows": True})
        page = (project.path / with_rows["html"]).read_text()
        assert all(f"<td>{id}</td>" in page for id in ids)
    other = (project.path / perform("report", project, {"run": runs["numeric"], "group": "side"})["html"]).read_text()
    assert "<h2>Evidence</h2>" not in other
    assert "group = A" not in other
    while project.pins.count() > before:
        project.pins.undo()


def test_what_cannot_be_pinned_is_refused(made):
    project, runs = made
    before = project.pins.count()
    for given, told in (
        ({"ids": []}, "is empty"),
        ({"ids": ["no such"]}, "Ids must be like"),
        ({"ids": [10**9]}, "not among"),
        ({"pattern": "{}"}, "A pattern is a list"),
        ({"pattern": '[{"column": "group", "is_": "equal to", "value": "Z"}]'}, "There are no rows where group = Z"),
        ({"pattern": '[{"column": "group", "is_": "equal to", "value": "A"}]', "ids": [1]}, "got both"),
        ({"ids": [0], "note": "x" * 5000}, "at most 2,000 characters"),
    ):
        with pytest.raises(BadInput, match=told):
            perform("pin", project, {"run": runs["loans"], **given})
    assert project.pins.count() == before
