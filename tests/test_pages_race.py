"""The Run page with several methods: the choice, the table, the small pictures, what came of each, and the states on the way."""

from __future__ import annotations

import pandas as pd
import pytest

from influence import jobs
from influence.actions import _monitor, _steps, perform
from influence.jobs import process
from influence.queries.group_rate import NAMES
from influence.registry import unlearning
from influence.types import Event
from influence.ui import lanes, live, racing, words
from tests import drawing
from tests.drawing import claim, drawn, press, text, work

no_worker, fresh, shown = drawing.no_worker, drawing.fresh, drawing.shown


def raced(fresh, shown):
    """The page with a race of two methods asked for."""
    at = shown(fresh, "run")
    next(box for box in at.get("button_group") if box.key == "run.many").set_value("Race several").run()
    next(box for box in at.multiselect if box.key == "run.methods").set_value(["retrain", "finetune"]).run()
    assert "Finetune**: At least " in text(at)
    return press(at, "Start 2 methods")


def lanes_of(at) -> pd.DataFrame:
    return next(frame.value for frame in at.dataframe if "Method" in frame.value.columns).set_index("Method")


def looked_at(at):
    return next(box for box in at.selectbox if box.key == "run.lane")


def test_methods_that_are_not_recommended_are_shown_on_request_with_why(fresh, shown):
    at = shown(fresh, "run")

    def names() -> list[str]:
        return next(box for box in at.radio if box.key == "run.method").options

    assert names() == ["Retrain", "Influence step"]
    more = next(box for box in at.toggle if box.key == "run.method.all")
    weak = [name for name, cls in unlearning.classes.items() if cls.reservation]
    assert more.label == f"Show {len(weak)} more that are not recommended"
    more.set_value(True).run()
    assert set(names()) == {"Retrain", "Influence step", *map(words.title, weak)}
    next(box for box in at.radio if box.key == "run.method").set_value("finetune").run()
    next(box for box in at.toggle if box.key == "run.method.all").set_value(False).run()
    assert names() == ["Retrain", "Influence step"]
    assert not at.exception


def test_one_of_one_method_and_several_is_always_lit(fresh, shown):
    at = shown(fresh, "run")
    assert next(box for box in at.get("button_group") if box.key == "run.many").proto.required


def test_a_race_is_one_job_per_method_retraining_first_and_each_is_cancelled_alone(fresh, shown):
    at = raced(fresh, shown)
    asked = jobs.listed(fresh)
    assert [job.args["method"] for job in reversed(asked)] == ["retrain", "finetune"]
    assert len({(job.args["selection"], job.args["run"], job.args["query"]) for job in asked}) == 1
    assert lanes_of(at)["State"].to_dict() == {"Do nothing": "", "Retrain": "waiting", "Finetune": "waiting"}
    jobs.cancel(fresh, asked[1].id)
    assert work(fresh).args["method"] == "finetune"
    table = lanes_of(shown(fresh, "run"))
    assert table["State"].to_dict() == {"Do nothing": "", "Retrain": "cancelled", "Finetune": "done"}
    made = next(run for run in fresh.runs() if run.body.get("method", {}).get("name") == "finetune")
    assert table.loc["Finetune", "Distance"] == words.number(made.body["live"]["distance"])
    assert table.loc["Do nothing", "Distance"] == words.number(made.body["references"]["original"]["distance"])
    assert table.loc["Finetune", "Share"] == words.percent(made.body["seconds"] / made.body["retrain_seconds"], 0)
    told = text(shown(fresh, "run", job=asked[0].id))
    assert "0.5 is a guess, less than retraining's no success." in told
    assert "less than the retrained model's is no success either: those rows stand out." in told
    assert table.loc["Finetune", "unseen"].startswith(words.number(made.body["live"]["test_accuracy"]))


def test_what_failed_says_why_below_the_table_and_the_race_goes_on(fresh, shown, monkeypatch):
    from influence.errors import BadInput
    from influence.unlearning.finetune import Finetune

    monkeypatch.setattr(Finetune, "laid_out", lambda *_: (_ for _ in ()).throw(BadInput("It got too wild. Lower lr.")))
    raced(fresh, shown)
    work(fresh)
    work(fresh)
    at = shown(fresh, "run")
    table = lanes_of(at)
    assert table["State"].to_dict() == {"Do nothing": "", "Retrain": "done", "Finetune": "failed"}
    assert "**Finetune** failed: It got too wild. Lower lr." in text(at)
    assert table.loc["Retrain", "Distance"] == "itself"


def test_a_pause_is_said_and_offers_to_go_on(fresh, shown):
    raced(fresh, shown)
    with process.hold(fresh.path):
        task = claim(fresh)
        task.hear(Event("train", 5, 20, metrics={"accuracy": 0.75, "forget_accuracy": 0.5}))
        task.write()
        at = shown(fresh, "run")
        assert lanes_of(at).loc["Retrain", "State"] == words.percent(0.25, 0)
        press(at, "Pause")
        assert lanes_of(at).loc["Retrain", "State"] == "paused"
        task.listen()
        assert not task.going.is_set()
        press(at, "Go on")
        task.listen()
        assert task.going.is_set()


def test_what_is_over_without_a_measurement_says_why_instead_of_drawing_nothing(fresh, shown):
    asked = {"run": fresh.run().id, "selection": fresh.put_selection(fresh.current()), "group": "group"}

    def told(job) -> str:
        return text(shown(fresh, "run", job=job))

    stopped = jobs.submit(fresh, "unlearn", {**asked, "method": "finetune"})
    with process.hold(fresh.path):
        task = claim(fresh)
        task.hear(Event("retrained", 1, 1, metrics={"original:forget_loss": 0.5, "original:attack": 0.5, "retrained:forget_loss": 0.6}))
        task.write()
        jobs.cancel(fresh, stopped)
    assert jobs.get(fresh, stopped).over
    assert "No curve of Loss; Loss attack (AUC): it stopped before its first measurement." in told(stopped)
    anew = jobs.submit(fresh, "unlearn", {**asked, "method": "retrain", "set": {"preprocessing": "refitted"}})
    work(fresh)
    said = told(anew)
    assert "No curve of Distance from the retrained model: its inputs were made anew" in said
    assert "not measured" not in said
    known = jobs.submit(fresh, "unlearn", {**asked, "method": "retrain"})
    work(fresh)
    said = told(known)
    assert "this model was kept from before" in said
    assert "not measured" not in said
    assert "Dotted: the original model" not in said


def test_what_a_command_made_stands_beside_what_the_page_asked_for(fresh, shown):
    chosen = fresh.put_selection(fresh.current())
    for method in ("finetune", "scrub"):
        made = perform("unlearn", fresh, {"method": method, "selection": chosen})
    step = _steps.held(fresh, made["run"])[1]
    at = shown(fresh, "run")
    assert list(lanes_of(at).index) == ["Do nothing", "Retrain", "Finetune", words.title("scrub")]
    assert lanes_of(at).loc["Retrain", "Share"] == words.percent(1.0, 0)
    looked_at(at).set_value(words.title("scrub")).run()
    slider = next(s for s in at.select_slider if s.key.startswith("steps."))
    slider.set_value(step["step"]).run()
    table = next(frame.value for frame in at.dataframe if "metric" in frame.value.columns).set_index("metric")
    assert table.loc["Accuracy, unseen rows", f"step {step['step']}"] == words.number(step["metrics"]["accuracy"])
    press(at, f"Take step {step['step']:,} as the result")
    assert (work(fresh).action, fresh.runs()[0].body["step"]["at"]) == ("roll_back", step["step"])
    assert f"is now a model of its own: {words.title('scrub')} without 40 rows, step" in text(drawn(at))
    kept = len(_steps.held(fresh, made["run"]))
    press(drawn(at), f"Delete the {kept} kept steps ({words.size(_steps.size(fresh, made['run']))})")
    assert _steps.held(fresh, made["run"]) == []


def test_a_repeat_that_came_to_nothing_does_not_hide_what_was_finished(fresh, shown):
    args = {"method": "finetune", "run": fresh.run().id, "selection": fresh.put_selection(fresh.current())}
    by_command = perform("unlearn", fresh, {**args, "set": {"epochs": 2}})["run"]
    for given in ({"epochs": 1}, {"epochs": 1}, {"epochs": 2}):
        last = jobs.submit(fresh, "unlearn", {**args, "set": given})
        if jobs.listed(fresh)[1:2]:
            jobs.cancel(fresh, last)
        else:
            made = work(fresh).result["run"]
    at = shown(fresh, "run")
    found = {lane.name: lane for lane in lanes.found(fresh.run(args["run"]), args["selection"])}
    for name, run in (("Finetune (epochs 1)", made), ("Finetune (epochs 2)", by_command)):
        assert (found[name].run.id, found[name].state) == (run, "done")
        assert f"**{name}** done: This was finished before; its repeat was cancelled." in text(at)
    looked_at(at).set_value("Finetune (epochs 1)").run()
    assert "This was finished before; its repeat was cancelled." in text(at)


def test_another_models_job_is_not_shown_as_this_ones(fresh, shown):
    other = fresh.run()
    job = jobs.submit(fresh, "unlearn", {"method": "finetune", "run": other.id, "selection": fresh.put_selection(fresh.current())})
    perform("train", fresh, {**drawing.SMALL, "name": "second"})
    at = shown(fresh, "run", job=job, run=fresh.run().id)
    assert f"The job under way is asked of another model, {words.run_name(other)}." in text(at)
    assert f"run={other.id}" in next(link.proto.query_string for link in at.get("page_link") if link.proto.label == "See it there")
    assert "Cancel" not in [button.label for button in at.main.button]
    assert "asked of another model" not in text(shown(fresh, "run", job=job, run=other.id))


def test_what_was_asked_last_is_looked_at_once_it_is_over_and_then_what_people_choose(fresh, shown):
    args = {"method": "finetune", "run": fresh.run().id, "selection": fresh.put_selection(fresh.current())}
    first, second = (jobs.submit(fresh, "unlearn", {**args, "set": {"epochs": epochs}}) for epochs in (1000, 1))
    jobs.cancel(fresh, first)
    at = shown(fresh, "run", job=second)
    assert looked_at(at).value == "Finetune (epochs 1000)"
    assert work(fresh).id == second
    drawn(at)
    assert looked_at(at).value == "Finetune (epochs 1)"
    looked_at(at).set_value("Finetune (epochs 1000)").run()
    assert looked_at(drawn(at)).value == "Finetune (epochs 1000)"
    copied = shown(fresh, "run", job=second, **{"run.lane": "Finetune (epochs 1000)"})
    assert looked_at(copied).value == "Finetune (epochs 1000)"


def test_a_method_that_there_is_no_more_stands_by_its_name(fresh, shown, monkeypatch):
    chosen, args = fresh.put_selection(fresh.current()), {"run": fresh.run().id}
    perform("unlearn", fresh, {"method": "scrub", "selection": chosen})
    job = jobs.submit(fresh, "unlearn", {**args, "method": "finetune", "set": {"epochs": 1}, "selection": chosen})
    work(fresh)
    for gone in ("scrub", "finetune"):
        monkeypatch.delitem(unlearning._classes, gone)
    at = shown(fresh, "run", job=job)
    assert list(lanes_of(at).index) == ["Do nothing", "Retrain", "Finetune", words.title("scrub")]
    assert looked_at(at).value == "Finetune"
    looked_at(at).set_value(words.title("scrub")).run()
    assert not at.exception
    assert "is ready after" in text(at)
    other = jobs.submit(fresh, "unlearn", {**args, "method": "finetune", "set": {"vigour": 1}, "selection": chosen})
    assert {f"Finetune ({job})", f"Finetune ({other})"} < set(lanes_of(shown(fresh, "run")).index)


def test_what_is_made_once_is_told_apart_from_the_seconds_of_every_request(fresh, shown):
    chosen = fresh.put_selection(fresh.current())
    made = [fresh.run(perform("unlearn", fresh, {"method": name, "selection": chosen})["run"]) for name in ("finetune", "influence_step")]
    at = shown(fresh, "run")
    step = made[1].body
    assert lanes_of(at)["Seconds"].to_dict() == {
        "Do nothing": "", "Retrain": f"{step['retrain_seconds']:.2f}", "Finetune": f"{made[0].body['seconds']:.2f}",
        "Influence step": f"{step['seconds']:.2f}",
    }  # fmt: skip
    once = f"preparation took {words.duration(step['prepare_seconds'])}, once for all requests to the model before it (1 so far)"
    assert f"Influence step: {once}, counted in neither." in text(at)
    looked_at(at).set_value("Influence step").run()
    assert f"{once}." in text(at)


def test_a_race_begins_with_retraining_if_it_is_quick_and_the_nearest_method_and_with_none_that_is_not_recommended(
    fresh, shown, monkeypatch
):
    def offered():
        at = shown(fresh, "run")
        next(box for box in at.get("button_group") if box.key == "run.many").set_value("Race several").run()
        return next(box for box in at.multiselect if box.key == "run.methods"), at

    box, at = offered()
    assert box.value == ["retrain", "influence_step"]
    assert box.options[:2] == ["Retrain", "Influence step"]
    assert "Not recommended" not in text(at)
    assert "the model is retrained as well" not in text(at)
    doubtful = {words.title(name): bool(cls.reservation) for name, cls in unlearning.classes.items()}
    rest = [doubtful[name] for name in box.options[2:]]
    assert rest == sorted(rest)
    monkeypatch.setattr(racing, "QUICK", 0.0)
    box, at = offered()
    assert box.value == ["influence_step"]
    assert "For comparison the model is retrained as well, once." in text(at)


def test_how_to_reach_the_exact_claim_is_said_where_preprocessing_was_kept(fresh, shown):
    made = perform("unlearn", fresh, {"method": "retrain"})
    assert made["claim"] == "L1"
    assert "For L2 choose Retrain with its setting Preprocessing at Refitted." in text(shown(fresh, "run", run=made["run"]))


def test_an_address_that_names_no_run_is_answered_on_the_page(fresh, shown):
    at = shown(fresh, "run", run="nonsense")
    assert any("nonsense" in box.value for box in at.main.get("warning") or at.main.warning)


def test_bands_and_chance_stand_behind_the_curves():
    rows = [("oracles_low:attack", 0.4), ("oracles_high:attack", 0.6), ("oracles:n", 8.0), ("attack", 0.5), ("gap:b", 0.5), ("gap:a", 0.4)]
    curves = live.read(pd.DataFrame([{"step": 1, "stage": "x", "name": name, "value": value, "seconds": 0.0} for name, value in rows]))
    assert (curves.bands, curves.oracles, curves.names) == ({"attack": (0.4, 0.6)}, 8, ["attack", "gap:b", "gap:a"])
    attack, groups = live.panels(curves, "", "sex", 100, 400)
    assert attack.chance == pytest.approx((0.5 - 1.96 * (501 / 480000) ** 0.5, 0.5 + 1.96 * (501 / 480000) ** 0.5))
    drawn_ones = live.chart(curves, attack).to_dict()
    assert [layer["mark"]["type"] for layer in drawn_ones["layer"]] == ["rect", "rect", "rule", "line"]
    colour = live.chart(curves, groups).to_dict()["layer"][-1]["encoding"]["color"]["scale"]
    assert dict(zip(colour["domain"], colour["range"], strict=True)) == live.of_groups(["a", "b"])
    assert live.by_chance(0, 400) is None


def curves_of(*rows: tuple[str, float]) -> live.Curves:
    return live.read(pd.DataFrame([{"step": 1, "stage": "x", "name": name, "value": value, "seconds": 0.0} for name, value in rows]))


def test_figures_of_groups_are_called_what_they_are_and_stand_beside_their_n():
    assert {gap: NAMES[of] for gap, of in _monitor.RATES.items()} == live.EACH
    curves = curves_of(("original:gap:a", 0.4), ("n:gap:a", 1200.0), ("gap:a", 0.5))
    (panel,) = live.panels(curves, "predictive_equality_gap", "sex")
    assert panel.title == "False positive rate by sex"
    assert live.sentence(curves, panel) == "a 0.500 (original 0.400, n = 1,200)."
    assert live.of_each("", True) == "Mean absolute error"
    assert live.of_each("group_loss_gap", False) == "Loss"


def test_rows_that_were_relabelled_are_called_so_in_a_race():
    curves = curves_of(("forget_accuracy", 0.5), ("retrained:forget_accuracy", 0.4), ("attack", 0.6), ("oracles:n", 8.0))
    lane = lanes.Lane("Influence step", None, None, curves)
    n = {"forget": 3, "retain": 10, "test": 20}
    assert "Accuracy, relabelled" in racing.table([lane], n, True)
    assert "Rows: 3 relabelled, 10 retained, 20 unseen, by their old labels." in racing.said([lane], n, True)
    assert "tells relabelled from unseen rows" in racing.said([lane], n, True)
    assert racing.dashed(curves, True).startswith(
        "Dashed: the model retrained with the new labels. Band: 8 models retrained with them from"
    )
    shown = live.panels(curves_of(("forget_loss", 0.5)), "", "", relabelled=True)
    assert list(shown[0].metrics.values()) == ["Relabelled rows"]
    assert live.named("forget_loss", relabelled=True) == "Loss, relabelled rows"


def test_a_part_without_a_band_is_named():
    parts = [(f"{part}_loss", 0.5) for part in ("forget", "retain", "test")]
    curves = curves_of(("oracles_low:test_loss", 0.4), ("oracles_high:test_loss", 0.6), ("oracles:n", 8.0), *parts)
    assert "No band for rows to forget and retained rows: what" in racing.dashed(curves)
    assert "No band" not in racing.dashed(curves_of(*parts))


def test_a_lane_is_called_by_title_with_the_settings_that_are_not_usual():
    given = lanes._given("noisy_finetune", {"noisy_steps": 7})
    assert lanes._name(given) == "Noisy finetune (noisy steps 7)"
