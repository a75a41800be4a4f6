"""The actions, on a small simulated set whose biased rows are known: each against retraining, none without its record."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from influence.actions import names, perform, prepare
from influence.actions._calibration import band, fit, fit_ways, of_way
from influence.actions._opened import opened
from influence.actions.preview import OLDER, curves, kept, key, older, unbanded
from influence.actions.preview import predicted as predict
from influence.errors import BadInput, Cancelled
from influence.readable import readable
from influence.registry import attribution
from influence.store import Project
from influence.types import Event, Selection

GAP = {"query": "equal_opportunity_gap", "query_set": {"group": "group"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with one trained run on 1,500 simulated loans, prepared for previews."""
    project = Project(tmp_path_factory.mktemp("project") / "p")
    result = perform("train", project, {"data": "bundled:loans", "data_set": {"n": 1500}, "set": {"epochs": 12, "batch_size": 64}})
    perform("prepare", project, {"group": "group"})
    return project, result


def test_every_verb_is_found():
    assert {"demo", "train", "attribute", "prepare", "preview", "confirm", "fidelity", "unlearn", "compare", "report"} <= set(names())
    with pytest.raises(BadInput, match="there are: "):
        perform("explode", None, {})


def test_training_is_bit_equal_and_leaves_records(made):
    project, first = made
    second = perform("train", project, {"data": "bundled:loans", "data_set": {"n": 1500}, "set": {"epochs": 12, "batch_size": 64}})
    weights = [project.run(run["run"]).body["checkpoints"][-1]["digest"] for run in (first, second)]
    assert weights[0] == weights[1]
    assert project.check() == []
    assert [r.kind for r in project.records()].count("train") == 2
    table = pd.read_parquet(first["predictions"])
    assert {"id", "split", "target", "group", "p_declined", "p_granted"} <= set(table.columns)
    assert set(table["split"]) == {"train", "evaluation", "holdout"}
    assert np.allclose(table[["p_declined", "p_granted"]].sum(axis=1), 1)
    hit = (table["p_granted"] > 0.5) == (table["target"] == "granted")
    assert hit[table["split"] == "holdout"].mean() == pytest.approx(first["metrics"]["accuracy"])


def test_excluding_rows_equals_retraining_without_them(made):
    project, first = made
    ids = opened(project, first["run"]).dataset.train.ids[:40].tolist()
    excluded = perform(
        "train", project, {"data": "bundled:loans", "data_set": {"n": 1500}, "set": {"epochs": 12, "batch_size": 64}, "exclude": ids}
    )
    again = perform("unlearn", project, {"run": first["run"], "ids": ids, "method": "retrain"})
    digests = [project.run(run["run"]).body["checkpoints"][-1]["digest"] for run in (excluded, again)]
    assert digests[0] == digests[1]
    assert excluded["n_train"] == first["n_train"] - 40


def test_the_metagradient_finds_the_planted_rows_and_random_does_not(made):
    project, first = made
    planted = set(opened(project, first["run"]).dataset.planted)
    found = {}
    for method in ("metagradient", "random"):
        got = perform("attribute", project, {**GAP, "method": method, "run": first["run"]})
        scores = project.scores(got["scores"])
        top = scores.ids[np.argsort(scores.column(), kind="stable")[: len(planted)]]
        found[method] = len(planted & set(top.tolist())) / len(planted)
    assert found["metagradient"] > 0.3 > found["random"] + 0.1


def test_attribute_times_itself_against_a_plain_loop_and_says_whether_it_replayed(made):
    project, first = made
    for recompute in (False, True):
        got = perform("attribute", project, {**GAP, "run": first["run"], "set": {"recompute": recompute}, "baseline": True})
        assert got["replayed"] is recompute
        assert got["train_seconds"] > 0
        assert got["walk_seconds"] > 0
        assert got["calibrated"] is True


def test_what_a_method_says_of_how_it_went_is_kept_with_its_scores(made):
    project, first = made
    for _ in range(2):
        got = perform("attribute", project, {**GAP, "method": "indexed", "set": {"scored": 100}, "run": first["run"]})
        assert got["told"].startswith("Recall")
        assert "n = 16" in got["told"]
    assert got["found"]
    assert perform("attribute", project, {**GAP, "method": "gradient_similarity", "run": first["run"]})["told"] == ""


def test_scores_of_an_older_version_of_a_method_are_not_taken_for_its_own(made, monkeypatch):
    project, first = made
    asked = {**GAP, "method": "tracin", "run": first["run"]}
    perform("attribute", project, asked)
    assert perform("attribute", project, asked)["found"]
    monkeypatch.setattr(attribution.classes["tracin"], "version", 2, raising=False)
    assert not perform("attribute", project, asked)["found"]


def test_preview_bands_hold_real_retrainings(made):
    project, first = made
    run = first["run"]
    note = kept(project, run, "group")
    scores = project.scores(note["scores"])
    label = next(name for name in note["labels"] if "opportunity" in name.lower())
    ks = [10, 25, 50, 75, 100]
    points = project.table(perform("confirm", project, {"run": run, "group": "group", "label": label, "ks": ks, "seeds": 2})["points"])
    same = points[(points["truth"] == "same") & (points["role"] == "evaluation")].set_index(["label", "k"])
    curve = curves(note, scores, np.argsort(scores.column(label), kind="stable"), ks).set_index(["label", "k"]).loc[same.index]
    inside = (same["value_change"] >= curve["low"]) & (same["value_change"] <= curve["high"])
    assert inside.mean() > 0.85
    asked = curve.loc[label]
    assert np.corrcoef(asked["change"], same.loc[label, "value_change"])[0, 1] > 0.95
    assert set(points["truth"]) == {"same", "fresh"}
    assert points.loc[points["truth"] == "fresh", "seed"].nunique() == 2


def test_bands_hold_at_both_ends_of_a_ranking(made):
    """Near its least, a loss falls by less than scores say and rises by several times as much."""
    project, first = made
    note = kept(project, first["run"], "group")
    scores, inside = project.scores(note["scores"]), {}
    for better in ("lower", "higher"):
        asked = {"run": first["run"], "group": "group", "label": "Mean loss", "better": better, "ks": [10, 40, 90], "seeds": 0}
        points = project.table(perform("confirm", project, asked)["points"])
        real = points[points["role"] == "evaluation"].set_index(["label", "k"])
        order = np.argsort(scores.column("Mean loss") * (1 if better == "lower" else -1), kind="stable")
        for kind in ("value", "measured"):
            curve = curves(note, scores, order, asked["ks"], kind).set_index(["label", "k"]).loc[real.index]
            inside[better, kind] = real[f"{kind}_change"].between(curve["low"] - 1e-9, curve["high"] + 1e-9).mean()
    assert min(inside.values()) > 0.85, inside
    slopes = note["calibration"]["Mean loss"]["value"]
    assert slopes["rises"]["slope"] > 1.2 * slopes["slope"]


def test_there_are_no_bands_where_retraining_was_not_tried(made):
    project, first = made
    note = kept(project, first["run"], "group")
    scores, most = project.scores(note["scores"]), note["most"]
    curve = curves(note, scores, np.argsort(scores.column(0), kind="stable"), [most, most + 1], "measured")
    assert curve["change"].notna().all()
    assert (curve["low"].notna() == (curve["k"] == most)).all()
    told = perform("preview", project, {"run": first["run"], "group": "group", "ids": scores.ids[: most + 1].tolist()})
    assert f"beyond {most:,} rows" in told["unbanded"]
    assert {e["low"] for e in told["predicted"].values()} == {e["measured_high"] for e in told["predicted"].values()} == {None}
    assert all(e["pair"]["low"] is None for e in told["predicted"].values() if "pair" in e)
    text = readable("preview", project, told)
    assert told["unbanded"] in text
    assert "none" in text
    assert perform("preview", project, {"run": first["run"], "group": "group", "ids": scores.ids[:3].tolist()})["unbanded"] == ""


def test_a_preview_of_an_older_version_opens_without_bands_and_is_prepared_anew(made, monkeypatch):
    project, first = made
    note = kept(project, first["run"], "group")
    fits = {
        label: {kind: {k: v for k, v in it.items() if k != "rises"} for kind, it in own.items()}
        for label, own in note["calibration"].items()
    }
    pairs = {
        label: {"before": it["before"], "fit": {k: v for k, v in it["fit"].items() if k != "rises"}} for label, it in note["pairs"].items()
    }
    old = {k: v for k, v in note.items() if k not in ("most", "retrainings")} | {"calibration": fits, "pairs": pairs}
    with project.transaction():
        project.note(key(first["run"], "group"), old)
    found = kept(project, first["run"], "group")
    assert older(found)
    assert not older(note)
    assert unbanded(found, 3) == OLDER
    scores = project.scores(found["scores"])
    for entry in predict(found, scores, scores.ids[:3]).values():
        assert entry["measured_change"] is not None
        assert entry["measured_low"] is entry["high"] is None
    monkeypatch.setattr(prepare, "prepare", lambda *_: note)
    told = perform("preview", project, {"run": first["run"], "group": "group", "ids": scores.ids[:3].tolist()})
    assert told["predicted"] == predict(note, scores, scores.ids[:3])
    with project.transaction():
        project.note(key(first["run"], "group"), note)


def test_each_way_of_a_metric_is_fitted_apart():
    rng = np.random.default_rng(1)
    scored = rng.normal(size=200)
    reached = np.abs(scored) + 0.1
    real = np.where(scored > 0, 3.0, 0.5) * scored + 0.01 * reached * rng.normal(size=200)
    fitted = of_way(fit_ways(scored, scored, real, reached), np.array([-1.0, 2.0]))
    assert fitted["slope"] == pytest.approx([0.5, 3.0], abs=0.02)
    few = fit_ways(-np.abs(scored), scored, real, reached)
    assert few["rises"] == {k: v for k, v in few.items() if k != "rises"} == fit(scored, real, reached)


def test_preview_of_a_list_equals_the_curve_at_its_end(made):
    project, first = made
    note = kept(project, first["run"], "group")
    scores = project.scores(note["scores"])
    order = np.argsort(scores.column(0), kind="stable")
    curve = curves(note, scores, order, [30]).set_index("label")
    for label, entry in predict(note, scores, scores.ids[order[:30]].tolist()).items():
        assert entry["change"] == pytest.approx(curve.loc[label, "change"])
        assert entry["low"] <= entry["change"] <= entry["high"]
    with pytest.raises(BadInput, match="not among"):
        predict(note, scores, [10**9])


def test_what_people_read_as_a_share_is_predicted_as_one(made):
    """Bands that are far too wide end where a share or a gap of shares ends; a loss may grow."""
    project, first = made
    note = kept(project, first["run"], "group")
    scores = project.scores(note["scores"])
    wild = replace(scores, values=1000 * scores.values)
    curve = curves(note, wild, np.argsort(scores.column(0), kind="stable"), [100], "measured").set_index("label")
    shares = [label for label in note["labels"] if "loss" not in label.lower()]
    for label in shares:
        low, high = (note["before"][label]["measured"] + curve.loc[label, end] for end in ("low", "high"))
        assert 0 <= low + 1e-12 <= high + 1e-12 <= 1 + 2e-12, label
    assert any(note["before"][label]["measured"] + curve.loc[label, "high"] == pytest.approx(1) for label in shares)
    assert note["before"]["Mean loss"]["measured"] + curve.loc["Mean loss", "high"] > 1


def test_calibration_recovers_slope_and_width():
    rng = np.random.default_rng(0)
    hits, slopes = [], []
    for _ in range(400):
        reached = np.repeat([0.1, 0.4, 1.0, 2.0], 5)
        predicted = rng.normal(size=20) * reached
        fitted = fit(predicted, 1.2 * predicted + 0.3 * reached * rng.normal(size=20), reached)
        slopes.append(fitted["slope"])
        _, low, high = band(fitted, np.array([0.7]), np.array([0.9]))
        hits.append(low[0] <= 1.2 * 0.7 + 0.3 * 0.9 * rng.normal() <= high[0])
    assert np.mean(slopes) == pytest.approx(1.2, abs=0.02)
    assert 0.92 < np.mean(hits) < 0.98


def test_fidelity_of_the_metagradient_is_high_and_of_random_is_not(made):
    project, first = made
    args = {**GAP, "run": first["run"], "fraction": 0.02, "subsets": 24}
    good = perform("fidelity", project, {**args, "method": "metagradient"})
    poor = perform("fidelity", project, {**args, "method": "random"})
    assert good["lds"] > 0.95
    assert good["lds_low"] <= good["lds"] <= good["lds_high"]
    assert 0.8 < good["slope"] < 1.25
    assert abs(poor["lds"]) < 0.6
    assert poor["slope"] is None
    assert good["noise_ceiling"] is None
    fresh = perform("fidelity", project, {**args, "method": "metagradient", "truth": "fresh", "subsets": 8})
    assert fresh["noise_ceiling"] is None or 0 <= fresh["noise_ceiling"] <= 1


@pytest.mark.parametrize(
    "change", [{"fraction": 0.0}, {"fraction": 1.0}, {"subsets": 2}, {"truth": "other"}, {"truth": "fresh", "seeds": 1}]
)
def test_fidelity_refuses_what_makes_no_sense(made, change):
    project, first = made
    with pytest.raises(BadInput):
        perform("fidelity", project, {**GAP, "run": first["run"], "fraction": 0.02, "subsets": 8, **change})


@pytest.mark.parametrize(
    "method", ["retrain", *(pytest.param(name, marks=pytest.mark.slow) for name in ("finetune", "neggrad_plus")), "influence_step"]
)
def test_unlearning_makes_a_run_with_live_metrics_and_comparison(made, method):
    project, first = made
    ids = list(opened(project, first["run"]).dataset.planted)
    events: list[Event] = []
    got = perform("unlearn", project, {"run": first["run"], "ids": ids, "method": method}, events.append)
    run = project.run(got["run"])
    assert (run.kind, run.parent) == ("unlearn", first["run"])
    assert got["claim"] == "L1"
    assert ("encoder" in got["claim_note"]) is (method == "retrain")
    names = {name for event in events for name in event.metrics}
    assert {"forget_loss", "retain_loss", "test_loss", "accuracy", "gap", "original:gap"} <= names
    assert ("retrained:gap" in names) is (method != "retrain")
    assert got["retrained"] if method != "retrain" else got["retrained"] == got["run"]
    assert sum("forget_loss" in event.metrics for event in events) >= 20
    assert project.run(None).id == project.runs()[0].id or project.run(None).kind == "train"
    compared = perform("compare", project, {"run": got["run"]})
    metrics = project.table(compared["tables"]["metrics"])
    assert {"original", "retrained"} <= set(metrics["role"])
    assert (metrics["n"] > 0).all()
    change = project.table(compared["tables"]["change"])
    assert set(change["rows"]) == {"evaluation", "holdout"}
    report = perform("report", project, {"run": got["run"]})
    assert "Simulated" in (project.path / report["html"]).read_text(encoding="utf-8")


def test_the_cost_of_unlearning_is_told_without_the_looks_of_the_live_curves(made, monkeypatch):
    from influence.actions import unlearn

    project, first = made
    slow = unlearn.monitor

    def watched(*args, **given):
        look = slow(*args, **given)

        def looks(bound):
            time.sleep(0.05)
            return look(bound)

        return looks

    monkeypatch.setattr(unlearn, "monitor", watched)
    began = time.perf_counter()
    ids = opened(project, first["run"]).dataset.train.ids[20:30].tolist()
    got = perform("unlearn", project, {"run": first["run"], "ids": ids, "method": "finetune"})
    whole = time.perf_counter() - began
    assert 0 < got["seconds"] < whole - 20 * 0.05


def test_preparation_is_paid_once_and_shared_by_the_requests(made, monkeypatch):
    project, first = made
    train = opened(project, first["run"]).dataset.train

    def forgotten(start: int) -> dict[str, Any]:
        return perform("unlearn", project, {"run": first["run"], "ids": train.ids[start : start + 5].tolist(), "method": "influence_step"})

    told = [forgotten(40)]
    monkeypatch.setattr("influence.curvature.ekfac._Passes.bases", lambda self: pytest.fail("made again instead of looked up"))
    told += [forgotten(50)]
    assert 0 < told[0]["prepare_seconds"] <= told[1]["prepare_seconds"]
    assert told[1]["served"] == told[0]["served"] + 1
    body = project.run(told[1]["run"]).body
    assert (body["prepare_seconds"], body["served"]) == (told[1]["prepare_seconds"], told[1]["served"])


def test_a_yardstick_is_noted_with_its_record_or_not_at_all(made, monkeypatch):
    project, first = made
    ids = opened(project, first["run"]).dataset.train.ids[30:40].tolist()
    monkeypatch.setattr(Project, "note", lambda *args: (_ for _ in ()).throw(OSError("full")))
    before = len(project.records()), len(project.runs())
    with pytest.raises(OSError, match="full"):
        perform("unlearn", project, {"run": first["run"], "ids": ids, "method": "retrain"})
    assert (len(project.records()), len(project.runs())) == before


def test_the_watched_groups_are_guarded_unless_the_settings_say_otherwise(made):
    project, first = made
    ids = opened(project, first["run"]).dataset.train.ids[20:25].tolist()
    for given, expected in (({}, "group"), ({"guard": ""}, "")):
        run = perform("unlearn", project, {"run": first["run"], "ids": ids, "method": "influence_step", "set": given})["run"]
        assert project.run(run).body["method"]["given"].get("guard", "") == expected
    assert (
        "guard"
        not in project.run(perform("unlearn", project, {"run": first["run"], "ids": ids, "method": "finetune"})["run"]).body["method"][
            "given"
        ]
    )


def test_the_current_selection_is_what_unlearn_takes(made):
    project, first = made
    ids = opened(project, first["run"]).dataset.train.ids[:5].tolist()
    project.choose(Selection(tuple(ids), reason={"rule": "first five"}))
    assert perform("unlearn", project, {"run": first["run"]})["n_removed"] == 5


def test_nothing_is_written_by_an_action_that_is_cancelled_or_refused(made):
    project, first = made
    before = len(project.records()), len(project.runs())

    def stop(event: Event) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        perform(
            "unlearn",
            project,
            {"run": first["run"], "ids": [int(opened(project, first["run"]).dataset.train.ids[9])], "method": "finetune"},
            stop,
        )
    for args in ({"ids": [10**9]}, {"ids": []}, {"ids": ["abc"]}, {"ids": [0], "method": "magic"}):
        with pytest.raises(BadInput):
            perform("unlearn", project, {"run": first["run"], **args})
    with pytest.raises(BadInput):
        perform("attribute", project, {"query": "equal_opportunity_gap", "query_set": {"group": "no such column"}, "run": first["run"]})
    with pytest.raises(BadInput):
        perform("attribute", project, {**GAP, "run": "no such run"})
    assert (len(project.records()), len(project.runs())) == before


def test_a_numeric_target_goes_all_the_way(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    side = rng.choice(["left", "right"], 400)
    y = x @ [1.0, -2.0, 0.5] + np.where(side == "left", 1.0, 0.1) * rng.normal(size=400)
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "side": side, "price": y}).to_csv(tmp_path / "prices.csv", index=False)
    project = Project(tmp_path / "p")
    got = perform("train", project, {"data": str(tmp_path / "prices.csv"), "target": "price", "protected": ["side"]})
    assert got["metrics"]["r2"] > 0.5
    assert got["metrics"]["mae"] > 0
    assert "side" in got["metrics"]["gaps"]
    perform("prepare", project, {"group": "side"})
    assert perform("preview", project, {"ids": [int(opened(project, None).dataset.train.ids[0])]})["predicted"]
    scores = perform("attribute", project, {"query": "group_loss_gap", "query_set": {"group": "side"}})
    assert scores["calibrated"]
    unlearned = perform("unlearn", project, {"ids": opened(project, None).dataset.train.ids[:10].tolist(), "method": "finetune"})
    assert perform("compare", project, {"run": unlearned["run"]})["tables"]["metrics"]


def test_a_verified_model_is_said_to_be(made):
    project, first = made
    ids = opened(project, first["run"]).dataset.train.ids[60:70].tolist()
    run = perform("unlearn", project, {"run": first["run"], "ids": ids, "method": "finetune"})["run"]
    page = lambda: (project.path / perform("report", project, {"run": run})["html"]).read_text(encoding="utf-8")  # noqa: E731
    assert "was not verified beside models that never saw the rows" in page()
    perform("verify", project, {"run": run, "oracles": 3})
    assert "Too few to say: 3 models trained without the rows" in page()
    assert "was not verified beside models" not in page()
