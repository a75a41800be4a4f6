"""Who else changes without some rows: predicted metrics, their intervals, and the predictions that move most."""

from __future__ import annotations

import numpy as np
import pytest

from influence.actions import _anew, perform, preview, who_changes
from influence.actions._calibration import anew, fit, holm, p_value
from influence.actions._measures import tables
from influence.actions._opened import opened
from influence.actions._retrained import random_sets
from influence.errors import BadInput
from influence.evidence import anew as anew_words
from influence.readable import readable
from influence.store import Project
from influence.training import bound_at, train_many
from influence.ui import whochanges

FRESH = 20


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("who") / "p")
    given = {"data": "bundled:loans", "data_set": {"n": 1200}, "set": {"epochs": 5, "batch_size": 64}}
    return project, perform("train", project, given)["run"]


@pytest.fixture(scope="module")
def asked(made):
    project, run = made
    ids = project.dataset(project.run(run).dataset).train.ids[:30].tolist()
    return ids, perform("who_changes", project, {"run": run, "group": "group", "ids": ids})


def test_the_command_says_what_the_page_says_of_each_metric(made, asked):
    project, _ = made
    rows = project.table(asked[1]["metrics"]).to_dict("records")
    words_said = [anew_words.change(row) for row in rows]
    assert anew_words.UNCERTAIN in words_said
    lines = readable("who_changes", project, asked[1]).splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("  metric"))
    assert [line.split("  ")[-1].strip() for line in lines[at + 1 : at + 1 + len(rows)]] == words_said
    assert whochanges.table(project.table(asked[1]["metrics"])).set_index(["metric", "group"])["change"].value_counts().to_dict() == {
        word: words_said.count(word) for word in words_said
    }
    assert "Holm's procedure" in lines[at + 1 + len(rows)]


def test_now_is_what_the_model_measures(made, asked):
    project, run = made
    it, table = opened(project, run), project.table(asked[1]["metrics"])
    utility, fairness = tables(it.outputs("evaluation").numpy(), it.dataset, "evaluation", "group")
    for measured, group in ((utility, False), (fairness["group"], True)):
        for line in measured.to_dict("records"):
            own = table[(table["metric"] == line["metric"]) & (table["group"] == line["group"])]
            if len(own) and (group is False or line["metric"] != "accuracy" or line["group"]):
                assert own["now"].iloc[0] == pytest.approx(line["value"])
                assert own["n"].iloc[0] == line["n"]
    assert {"auc", "equal_opportunity_gap", "worst_group_loss", "true_positive_rate"} <= set(table["metric"])
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()


@pytest.mark.slow
def test_intervals_hold_models_trained_anew_and_are_no_wider_than_they_need(made):
    """Random removals, fresh seeds none of which calibrated anything; pooled over all metrics."""
    from influence import grads

    project, run = made
    it = opened(project, run)
    perform("who_changes", project, {"run": run, "group": "group", "ids": it.dataset.train.ids[:2].tolist()})
    inside, narrow = [], []
    sets = random_sets(it.seen, 20, FRESH // 4, 99)
    thetas = train_many(
        it.trained.model, it.dataset.train, it.trained.recipe, 1.0 - np.repeat(sets, 4, 0).astype(np.float32), list(range(500, 500 + FRESH))
    )
    for k, gone in enumerate(sets):
        note = perform("who_changes", project, {"run": run, "group": "group", "ids": it.dataset.train.ids[gone].tolist()})
        table = project.table(note["metrics"])
        for theta in thetas[4 * k : 4 * k + 4]:
            logits = grads.outputs(bound_at(it.trained.model, it.trained.recipe, theta), it.dataset.evaluation).numpy()
            real = {(line["metric"], line["group"]): line["value"] for line in who_changes._lines(logits, it.dataset, "group")}
            for row in table.to_dict("records"):
                inside.append(row["low"] - 1e-9 <= real[row["metric"], row["group"]] <= row["high"] + 1e-9)
        narrow.append(np.median((table["high"] - table["low"]) / table["chance"].where(table["chance"] > 0)))
    assert np.mean(inside) >= 0.86
    assert np.median(narrow) < 8


def test_retrained_models_are_made_once_and_shared(made, asked):
    project, run = made
    again = perform("who_changes", project, {"run": run, "group": "", "ids": asked[0][:5]})
    assert again["trained"] == 0
    assert _anew.missing(project, run) == 0
    assert _anew.held(project, run) == _anew.COUNT
    seeds = _anew.outputs(project, run, "seeds")
    assert len(seeds) == _anew.COUNT
    assert len({z.tobytes() for z in seeds}) == _anew.COUNT
    assert who_changes.kept(project, project.run(run), asked[0], "group") == asked[1]
    assert who_changes.kept(project, project.run(run), asked[0][:-1], "group") is None


def test_the_retrained_models_do_without_their_sets(made, asked):
    """The k-th of them is the model retrained, with the same seed, without the k-th set."""
    from influence import grads

    project, run = made
    it = opened(project, run)
    sets = _anew.sets(it)
    theta = train_many(it.trained.model, it.dataset.train, it.trained.recipe, 1.0 - sets[-1:].astype(np.float32))[0]
    real = grads.outputs(bound_at(it.trained.model, it.trained.recipe, theta), it.dataset.evaluation).numpy()
    assert np.allclose(real, _anew.outputs(project, run, "without")[-1], atol=1e-4)
    assert len({row.tobytes() for row in sets}) > len(sets) // 2  # small data make equal sets


def test_movers_flip_first_and_tell_what_chance_does(made, asked):
    project, run = made
    moved, it = project.table(asked[1]["moved"]), opened(project, run)
    flipped = (moved["says"] != moved["says_then"]).to_numpy()
    assert not (np.diff(flipped.astype(int)) > 0).any(), "rows that flip come first"
    at = dict(zip(it.dataset.evaluation.ids, it.outputs("evaluation").numpy(), strict=True))
    names = it.dataset.evaluation.classes
    assert all(str(row.says) == names[at[row.id].argmax()] for row in moved.itertuples())
    assert moved["flips"].between(0, _anew.COUNT).all()
    assert moved["flips_by_chance"].between(0, _anew.COUNT).all()


def test_a_numeric_target_is_told_in_its_own_unit(tmp_path):
    rng = np.random.default_rng(0)
    import pandas as pd

    x = rng.normal(size=(300, 2))
    path = tmp_path / "t.csv"
    side = np.select([x[:, 0] > 0.5, x[:, 0] > -0.5], ["a", "b"], None)
    pd.DataFrame({"x": x[:, 0], "z": x[:, 1], "side": side, "y": 1000 * x[:, 0] + rng.normal(size=300)}).to_csv(path, index=False)
    project = Project(tmp_path / "p")
    run = perform("train", project, {"data": str(path), "target": "y", "protected": ["side"], "set": {"epochs": 3}})["run"]
    ids = project.dataset(project.run(run).dataset).train.ids[:8].tolist()
    note = perform("who_changes", project, {"run": run, "ids": ids})
    table, moved = project.table(note["metrics"]), project.table(note["moved"])
    assert project.run(run).body["evaluation_metrics"]["mae"] == pytest.approx(
        table.query("metric == 'mae' and group == ''")["now"].iloc[0]
    )
    assert list(moved) == ["id", "says", "says_then"]
    assert moved["says"].abs().max() > 100


def test_what_cannot_be_predicted_is_refused_in_a_sentence(made):
    project, run = made
    every = project.dataset(project.run(run).dataset).train.ids.tolist()
    with pytest.raises(BadInput, match="not all"):
        perform("who_changes", project, {"run": run, "ids": every})
    with pytest.raises(BadInput, match="ids"):
        perform("who_changes", project, {"run": run, "ids": [-5]})


def test_prediction_interval_is_that_of_one_new_draw():
    """Where predictions are exact, nine of ten new draws lie within; where chance is nothing, the fit's own error remains."""
    rng = np.random.default_rng(1)
    exact = fit(np.arange(1.0, 17), np.arange(1.0, 17), np.ones(16))
    inside = []
    for _ in range(2000):
        _, low, high = anew(exact, rng.normal(size=16), 0.0, 0.0)
        inside.append(low <= rng.normal() <= high)
    assert 0.88 < np.mean(inside) < 0.92
    noisy = fit(np.ones(16), 1 + 0.1 * rng.normal(size=16), np.ones(16))
    value, low, high = anew(noisy, np.full(16, 5.0), 1.0, 1.0)
    assert value == pytest.approx(6.0, abs=0.1)
    assert 0.2 < high - low < 0.6


def test_p_values_are_those_of_the_intervals_and_right_by_chance():
    rng, noisy = np.random.default_rng(2), fit(np.ones(16), 1 + 0.1 * np.random.default_rng(3).normal(size=16), np.ones(16))
    seeds = rng.normal(size=16)
    for level in (0.5, 0.9, 0.999):
        for end in anew(noisy, seeds, 1.0, 1.0, level)[1:]:
            assert p_value(noisy, seeds, 1.0, 1.0, end) == pytest.approx(1 - level, rel=1e-4)
    assert p_value(noisy, seeds, 1.0, 1.0, anew(noisy, seeds, 1.0, 1.0)[0]) == 1.0
    assert p_value(noisy, np.full(16, 5.0), 0.0, 0.0, 6.0) < 1e-8, "without chance nothing else is possible"


def test_holm_adjusts_as_published_and_says_a_word_by_chance_in_one_table_of_ten():
    """The first figures by hand; tables of 40 lines, none of which changes, half of them one and the same metric."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    rng, nothing, said = np.random.default_rng(4), fit(np.arange(1.0, 17), np.arange(1.0, 17), np.ones(16)), []
    for _ in range(200):
        seeds, now = rng.normal(size=(16, 21)), rng.normal(size=21)
        p = np.array([p_value(nothing, seeds[:, i], 0.0, 0.0, now[i]) for i in range(21)])
        said.append((holm(np.concatenate([p[:20], np.repeat(p[20], 20)])) <= 0.1).any())
    assert 0.02 < np.mean(said) < 0.15, "without the adjustment it is nine in ten"


def test_words_are_said_where_the_adjusted_p_value_bears_them_out():
    row = {"now": 0.5, "value": 0.6, "low": 0.55, "high": 0.65, "p": 0.05}
    assert anew_words.change(row) == "higher"
    assert anew_words.change({**row, "value": 0.45, "low": 0.44, "high": 0.49}) == "lower"
    assert anew_words.change({**row, "p": 0.2}) == "no clear change", "the interval alone does not do"
    assert anew_words.change({**row, "low": 0.1, "high": 0.9}) == anew_words.UNCERTAIN


def test_trainings_anew_are_recorded_and_name_what_they_made(made, asked):
    project, run = made
    records = [r.body for r in project.records() if r.kind == "train_anew" and r.body["inputs"]["run"] == run]
    made_here = project.noted(f"anew/{run}")
    assert {r["outputs"]["outputs"] for r in records} == {digest for parts in made_here.values() for digest, _ in parts}
    assert sum(r["settings"]["models"] for r in records) == 2 * _anew.COUNT
    assert project.check() == []


def test_what_a_prepared_preview_has_comes_from_its_scores(made):
    """One removal has one prediction: that of the scores, shifted by what new seeds do on average."""
    project, run = made
    it = opened(project, run)
    perform("prepare", project, {"run": run, "group": "group"})
    note, ids = preview.kept(project, run, "group"), it.dataset.train.ids[100:115].tolist()
    found = project.table(perform("who_changes", project, {"run": run, "group": "group", "ids": ids})["metrics"])
    told = preview.predicted(note, project.scores(note["scores"]), ids)
    lines = [
        {(line["metric"], line["group"]): line["value"] for line in who_changes._lines(z, it.dataset, "group")}
        for z in _anew.outputs(project, run, "seeds")
    ]
    seen = 0
    for label, query in note["queries"].items():
        place = who_changes.place_of(query, True)
        row = found[(found["metric"] == place[0]) & (found["group"] == place[1])].iloc[0]
        mean = np.mean([line[place] for line in lines])
        if 0 < row["value"] < 1 and 0 < told[label]["measured_before"] + told[label]["measured_change"] < 1:
            assert row["value"] == pytest.approx(mean + told[label]["measured_change"], abs=1e-9), label
            seen += 1
    assert seen >= 6


def test_where_no_interval_is_known_nothing_is_surprising():
    assert p_value({"n": 1, "slope": 1.0, "sigma": 1.0, "slope_sd": 1.0}, np.array([0.1, 0.2, 0.3]), 1.0, 1.0, 5.0) == 1.0
