"""Several methods on the same rows: a race, the states kept on the way, rolling back to one, and what a pause costs."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from influence import training
from influence.actions import _bands, _monitor, _oracles, _steps, perform
from influence.actions._aside import Aside
from influence.actions._opened import opened
from influence.errors import BadInput, Cancelled
from influence.store import Project
from influence.types import Event, Selection

METHODS = ["scrub", "retrain", "finetune"]


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """A project in which three methods forgot the same rows, and what the race said."""
    torch.set_num_threads(1)
    project = Project(tmp_path_factory.mktemp("raced") / "p")
    run = perform("train", project, {"data": "bundled:loans", "data_set": {"n": 1200}, "set": {"epochs": 4, "batch_size": 64}})["run"]
    ids = opened(project, run).dataset.train.ids[:30].tolist()
    return project, run, ids, perform("race", project, {"methods": METHODS, "ids": ids, "run": run})


def lane(raced, method):
    return next(lane for lane in raced[3]["lanes"] if lane["method"] == method)


def test_a_race_retrains_once_and_tells_every_method_beside_the_same_two_models(raced):
    project, run, ids, found = raced
    assert [lane["method"] for lane in found["lanes"]] == ["retrain", "scrub", "finetune"]
    assert {lane["retrained"] for lane in found["lanes"]} == {found["retrained"]} == {lane(raced, "retrain")["run"]}
    runs = [r for r in project.runs() if r.kind == "unlearn"]
    assert [r.body["method"]["name"] for r in runs].count("retrain") == 1
    assert not any(r.body.get("yardstick") for r in runs)
    original = opened(project, run)
    forget = original.dataset.train.take(original.dataset.train.mask(ids))
    for name, of in (("original", original), ("retrained", opened(project, found["retrained"]))):
        hit = (of.answers(forget).argmax(1).numpy() == forget.y).mean()
        assert found["references"][name]["forget_accuracy"] == pytest.approx(hit)
    apart = [_monitor.margins_of(of.answers(forget).numpy(), forget) for of in (original, opened(project, found["retrained"]))]
    assert found["references"]["original"]["distance"] == pytest.approx(np.abs(apart[0] - apart[1]).mean(), rel=1e-4)
    assert 0 < lane(raced, "finetune")["live"]["distance"] < 100


def test_a_method_that_fails_says_why_and_the_others_go_on(raced, monkeypatch):
    from influence.unlearning.finetune import Finetune

    project, run, ids, _ = raced
    monkeypatch.setattr(Finetune, "laid_out", lambda *_: (_ for _ in ()).throw(BadInput("It got too wild. Lower lr.")))
    found = perform("race", project, {"methods": ["finetune", "scrub"], "ids": ids[:20], "run": run})
    assert [(lane["method"], lane["error"]) for lane in found["lanes"]] == [("finetune", "It got too wild. Lower lr."), ("scrub", "")]
    assert found["retrained"]


def test_an_error_of_one_method_is_its_own_and_cancelling_ends_the_race(raced, monkeypatch):
    from influence.unlearning.finetune import Finetune

    project, run, ids, _ = raced

    def breaks(*_):
        raise RuntimeError("shapes do not match:\n  (3, 4)")

    monkeypatch.setattr(Finetune, "laid_out", breaks)
    found = perform("race", project, {"methods": ["finetune", "scrub"], "ids": ids[:20], "run": run})
    assert [lane["method"] for lane in found["lanes"]] == ["finetune", "scrub"]
    assert found["lanes"][0]["error"] == (
        "It stopped unexpectedly: RuntimeError: shapes do not match: (3, 4). Unlearn by finetune alone to see where."
    )
    assert found["lanes"][1]["run"]
    assert found["retrained"]

    def cancels(event):
        if event.stage == "scrub":
            raise Cancelled

    with pytest.raises(Cancelled):
        perform("race", project, {"methods": ["scrub", "finetune"], "ids": ids[:20], "run": run}, cancels)


@pytest.mark.parametrize(
    ("methods", "match"), [([], "different methods"), (["scrub", "scrub"], "each once"), (["scrub", "magic"], "magic")]
)
def test_a_race_that_cannot_be_run_is_refused_before_it_begins(raced, methods, match):
    project, run, ids, _ = raced
    before = len(project.runs())
    with pytest.raises(BadInput, match=match):
        perform("race", project, {"methods": methods, "ids": ids, "run": run})
    assert len(project.runs()) == before


def test_asking_for_the_yardstick_by_name_trains_nothing_again(raced):
    project, run, ids, found = raced
    events: list[Event] = []
    again = perform("unlearn", project, {"run": run, "ids": ids, "method": "retrain"}, events.append)
    assert again["run"] == found["retrained"]
    assert "train" not in {event.stage for event in events}
    tuned = perform("unlearn", project, {"run": run, "ids": ids[:10], "method": "scrub"})
    own = perform("unlearn", project, {"run": run, "ids": ids[:10], "method": "retrain"})
    hidden, shown = (project.run(r) for r in (tuned["retrained"], own["run"]))
    assert (hidden.body.get("yardstick"), shown.body.get("yardstick")) == (True, None)
    assert hidden.body["checkpoints"] == shown.body["checkpoints"]
    assert own["seconds"] == tuned["retrain_seconds"]


# --- kept states


def test_states_are_kept_evenly_with_what_was_seen_and_none_of_a_retraining(raced):
    project = raced[0]
    assert _steps.held(project, lane(raced, "retrain")["run"]) == []
    held = _steps.held(project, lane(raced, "finetune")["run"])
    steps = [each["step"] for each in held]
    assert 5 <= len(held) <= _steps.MOST
    assert steps == sorted(set(steps))
    assert all(0 < step < each["of"] for step, each in zip(steps, held, strict=True))
    assert [each["seconds"] for each in held] == sorted(each["seconds"] for each in held)
    it = opened(project, lane(raced, "finetune")["run"])
    bound = training.load(it.trained).load(project.state(held[3]["digest"]))
    with torch.no_grad():
        seen = it.dataset.holdout
        hit = (bound.module.eval()(torch.from_numpy(np.array(seen.x))).argmax(1).numpy() == seen.y).mean()
    assert held[3]["metrics"]["accuracy"] == pytest.approx(hit)


def test_a_kept_step_becomes_a_run_of_its_own_and_the_old_one_stays(raced):
    project, run, _, _ = raced
    old = project.run(lane(raced, "scrub")["run"])
    at = _steps.held(project, old.id)[2]
    made = perform("roll_back", project, {"run": old.id, "step": at["step"]})
    new = project.run(made["run"])
    assert (new.parent, new.kind, new.body["claim"], new.body["selection"]) == (run, "unlearn", "L1", old.body["selection"])
    assert new.body["checkpoints"][-1]["digest"] == at["digest"] != old.body["checkpoints"][-1]["digest"]
    assert new.body["removed"] == old.body["removed"]
    assert new.body["step"] == {"at": at["step"], "of": at["of"], "run": old.id}
    assert new.body["method"] == old.body["method"]
    assert new.name.endswith(f"step {at['step']}")
    record = next(r for r in project.records() if r.body["outputs"].get("run") == new.id)
    assert record.body["settings"]["step"] == new.body["step"]
    assert project.run(old.id) == old
    assert perform("compare", project, {"run": new.id})["runs"]["retrained"] == old.body["retrained"]
    with pytest.raises(
        BadInput, match=f"was taken at step {at['step']} of {at['of']}.* Judge it by run {old.id}, and this run's model alone"
    ):
        perform("verify", project, {"run": new.id, "oracles": 5, "runs": 5})
    assert _oracles.held(opened(project, new.id)) == 0, "nothing was trained for it"
    with pytest.raises(BadInput, match=f"It was taken at step {at['step']} of run {old.id}; roll {old.id} back instead"):
        perform("roll_back", project, {"run": new.id, "step": at["step"]})
    dropped = perform("drop_steps", project, {"run": old.id})
    assert dropped["dropped"] > 2
    assert _steps.held(project, old.id) == []
    assert project.objects.find(at["digest"]), "a run was made of it"
    assert project.check(deep=True) == []
    with pytest.raises(BadInput, match="No state of step"):
        perform("roll_back", project, {"run": old.id, "step": at["step"]})


def test_a_step_that_is_not_kept_is_refused_with_those_that_are(raced):
    project = raced[0]
    id = lane(raced, "finetune")["run"]
    with pytest.raises(BadInput, match=f"There are: {_steps.held(project, id)[0]['step']}, "):
        perform("roll_back", project, {"run": id, "step": 99_999})
    with pytest.raises(BadInput, match="None are"):
        perform("roll_back", project, {"run": lane(raced, "retrain")["run"], "step": 1})


KILLED = """
import sys
from influence import training
from influence.actions import _steps
from influence.store import Project
from influence.types import Event

project = Project(sys.argv[1])
bound = training.load(project.trained(sys.argv[2]))
with _steps.keeping(project, lambda bound: {"loss": 1.0}, lambda event: None) as steps:
    for k in range(1, 5):
        bound.flat.fill_(k + 0.5)
        steps.report(Event("x", k, 6, metrics=steps.look(bound)))
    print(len(steps.entries), flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_job_kept_goes_when_the_next_one_begins_and_not_while_it_lives(raced):
    project, run, ids, _ = raced
    before = objects(project)
    with subprocess.Popen([sys.executable, "-c", KILLED, project.path, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as job:
        assert job.stdout.readline() == b"4\n"
        left = objects(project) - before
        assert len(left) == 4
        assert _steps.sweep(project) == 0, "it lives"
        _steps.discard(project, [name.partition(".")[0] for name in left])
        assert left <= objects(project), "the same weights kept by two jobs are those of both"
        job.kill()
    perform("unlearn", project, {"run": run, "ids": ids[7:12], "method": "retrain"})
    assert not left & objects(project)
    assert not project.noted(_steps.KEEPING)


def test_a_finished_run_keeps_its_states_whatever_was_left_behind(raced):
    project, run, ids, _ = raced
    id = perform("unlearn", project, {"run": run, "ids": ids[3:20], "method": "scrub"})["run"]
    held, final = _steps.held(project, id), project.run(id).body["checkpoints"][-1]["digest"]
    paths = {project.objects.find(each["digest"]) for each in held}
    assert _steps.size(project, id) == sum(path.stat().st_size for path in paths) > 0
    orphan = project.put_state({"a": torch.arange(7.0)})
    project.note(_steps.KEEPING, {"killed": [orphan, final, *(each["digest"] for each in held)]})
    assert _steps.sweep(project) == 1
    assert _steps.held(project, id) == held
    assert project.objects.find(orphan) is None
    assert project.check(deep=True) == []


def objects(project):
    return {path.name for path in project.objects.folder.glob("*/*.safetensors")}


def test_nothing_is_left_of_what_was_cancelled(raced):
    project, run, ids, _ = raced
    perform("unlearn", project, {"run": run, "ids": ids[5:15], "method": "retrain"})
    before = objects(project)

    def cancels(event):
        if event.stage == "finetune" and event.total and event.done > event.total / 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        perform("unlearn", project, {"run": run, "ids": ids[5:15], "method": "finetune"}, cancels)
    assert objects(project) == before
    assert project.check() == []


class Walks:
    """Takes a watcher through so many looks, each at other weights."""

    def __init__(self, project, bound, count):
        self.steps = _steps.Kept(project, lambda bound: {"loss": 1.0}, lambda event: None)
        for k in range(count):
            bound.flat.fill_(k + 1.0)
            self.steps.report(Event("x", k, count, metrics=self.steps.look(bound)))


def test_a_long_way_is_thinned_and_large_models_keep_few_or_none(raced, monkeypatch):
    project, run = raced[:2]
    bound = training.load(project.trained(run))
    before = objects(project)
    steps = Walks(project, bound, 100).steps
    places = np.diff([each["step"] for each in steps.entries])
    assert 12 <= len(steps.entries) <= _steps.MOST
    assert len(set(places)) == 1
    assert len(objects(project) - before) == len(steps.entries)
    steps.end()
    assert objects(project) == before
    size = sum(value.nbytes for value in bound.state().values())
    monkeypatch.setattr(_steps, "ROOM", 3.5 * size / 2**20)
    few = Walks(project, bound, 100).steps
    assert 1 < len(few.entries) <= 3
    few.end()
    monkeypatch.setattr(_steps, "ROOM", 1.5 * size / 2**20)
    assert Walks(project, bound, 100).steps.entries == []


def test_only_the_newest_runs_keep_their_states(raced, monkeypatch):
    project, run, ids, _ = raced
    monkeypatch.setattr(_steps, "RUNS", 1)
    id = perform("unlearn", project, {"run": run, "ids": ids[:20], "method": "scrub"})["run"]
    assert [name for name, held in project.notes(_steps.PREFIX).items() if held] == [_steps.note(id)]
    assert project.check(deep=True) == []


# --- what is seen, and what is counted


def test_a_pause_is_no_part_of_what_unlearning_costs(raced):
    project, run, ids, _ = raced
    paused = []

    def pauses(event):
        if event.stage == "finetune" and event.metrics and len(paused) < 4:
            paused.append(time.sleep(0.5))

    began = time.perf_counter()
    made = perform("unlearn", project, {"run": run, "ids": ids, "method": "finetune"}, pauses)
    assert len(paused) == 4
    assert 0 < made["seconds"] < time.perf_counter() - began - 2.0


def test_aside_counts_calls_that_fail(monkeypatch):
    def fails(given):
        time.sleep(0.02)
        raise BadInput(given)

    aside = Aside(fails)
    with pytest.raises(BadInput, match="no"):
        aside("no")
    assert aside.seconds >= 0.02


def test_the_attack_is_a_half_by_chance_one_where_members_stand_out_and_counts_ties_half():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=300), rng.normal(size=500)
    assert abs(_monitor.auc(a, b) - 0.5) < 0.06
    assert _monitor.auc(a + 100, b) == 1.0
    assert _monitor.auc(a - 100, b) == 0.0
    assert _monitor.auc(np.zeros(3), np.zeros(5)) == 0.5
    assert _monitor.auc(a, b) == pytest.approx(np.mean(a[:, None] > b[None]))


def test_oracles_that_are_kept_tell_between_which_values_retraining_lies(raced):
    project, run, ids, found = raced
    it = opened(project, found["retrained"])
    rows = opened(project, run).dataset.train
    truth = _monitor.margins(it.dataset, Selection(tuple(ids)), it.bound, 1)
    watched = _monitor.watched(it.dataset, Selection(tuple(ids)))
    assert _bands.bands(project, found["retrained"], watched, truth) == {}
    _oracles.grow(it, _bands.FEWEST, lambda event: None)
    told = _bands.bands(project, found["retrained"], watched, truth)
    assert told["oracles"] == {"n": 8.0}
    forget = rows.take(rows.mask(ids))
    each = [(out["forget"].argmax(1) == forget.y).mean() for out in _oracles.kept(it)]
    assert (told["oracles_low"]["forget_accuracy"], told["oracles_high"]["forget_accuracy"]) == pytest.approx((min(each), max(each)))
    assert 0 < told["oracles_low"]["distance"] <= told["oracles_high"]["distance"]
    events: list[Event] = []
    perform("unlearn", project, {"run": run, "ids": ids, "method": "scrub"}, events.append)
    names = {name for event in events for name in event.metrics}
    assert {"oracles_low:accuracy", "oracles_high:distance", "oracles:n", "original:distance", "retrained:attack"} <= names


@pytest.fixture
def chained(raced, monkeypatch):
    """Two requests, one after the other, of a model of which oracles are known by few retained rows: rows of the second, its yardstick."""
    project, run, ids, found = raced
    monkeypatch.setattr(_oracles, "ROWS", 60)
    later = opened(project, run).dataset.train.ids[100:120].tolist()
    made = perform("unlearn", project, {"run": found["retrained"], "ids": later, "method": "scrub"})
    it = opened(project, made["retrained"])
    _oracles.grow(it, _bands.FEWEST, lambda event: None)
    return project, found["retrained"], ids, later, it


def test_after_several_requests_oracles_and_curves_are_of_the_same_rows(chained):
    project, before, ids, later, it = chained
    selection = Selection(tuple(later))
    rows, known = _monitor.watched(it.dataset, selection, project.run(before).body["removed"]), _oracles.parts(it)
    assert rows["retain"].ids.tolist() == known["retained"].ids.tolist()
    assert len(rows["retain"]) == 60
    assert set(known["forget"].ids) == {*ids, *later}
    told = _bands.bands(project, it.run.id, rows, _monitor.margins(it.dataset, selection, it.bound, 1))
    own = np.isin(known["forget"].ids, later)
    each = [(out["forget"][own].argmax(1) == known["forget"].y[own]).mean() for out in _oracles.kept(it)]
    assert (told["oracles_low"]["forget_accuracy"], told["oracles_high"]["forget_accuracy"]) == pytest.approx((min(each), max(each)))
    assert {"retain_loss", "test_loss", "attack", "distance", "accuracy"} <= set(told["oracles_low"])


def test_no_band_is_told_of_rows_or_labels_by_which_oracles_are_not_known(chained, monkeypatch):
    project, before, _, later, it = chained
    rows = _monitor.watched(it.dataset, Selection(tuple(later)), project.run(before).body["removed"])
    truth = _monitor.margins(it.dataset, Selection(tuple(later)), it.bound, 1)
    other = {**rows, "forget": replace(rows["forget"], y=1 - rows["forget"].y)}
    told = set(_bands.bands(project, it.run.id, other, truth)["oracles_low"])
    assert told == {"retain_loss", "retain_accuracy", "test_loss", "test_accuracy", "accuracy"}
    alike = it.dataset.train.y == _oracles.parts(it)["retained"].y[-1]
    more = {**rows, "retain": it.dataset.train.take(it.seen & alike)}
    assert not any(name.startswith("retain") for name in _bands.bands(project, it.run.id, more, truth)["oracles_low"])


def test_it_is_told_on_how_many_rows_each_group_rests(raced):
    project, run, ids, _ = raced
    events: list[Event] = []
    perform("unlearn", project, {"run": run, "ids": ids[:25], "method": "finetune", "group": "group"}, events.append)
    told = {name: value for event in events for name, value in event.metrics.items()}
    rows = project.dataset(project.run(run).dataset).holdout
    good = rows.y == rows.classes.index(rows.favourable)
    counts = rows.columns["group"][good].value_counts().to_dict()
    assert {name: value for name, value in told.items() if name.startswith("n:")} == {f"n:gap:{name}": n for name, n in counts.items()}
    for query, kind in (("predictive_equality_gap", "negatives"), ("demographic_parity_gap", "all")):
        sizes = _monitor.group_sizes(opened(project, run).dataset, query, "group")
        which = ~good if kind == "negatives" else np.ones(len(rows), dtype=bool)
        assert sizes == {f"gap:{name}": n for name, n in rows.columns["group"][which].value_counts().items()}
