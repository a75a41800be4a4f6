"""Whole sources: blocks against the table itself, sums and intervals against the scores, and what retraining says; who helps nobody."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from influence.actions import helps_nobody as nobody
from influence.actions import perform
from influence.actions._opened import opened
from influence.actions.sources import LARGE
from influence.conditions import either, met, read
from influence.errors import BadInput
from influence.grads import outputs
from influence.patterns import blocks_of
from influence.readable import readable
from influence.registry import finders
from influence.store import Project
from influence.training import load, train


def covered(found, table) -> None:
    """Blocks exclude each other, hold what their conditions say, and together are all rows but the rest."""
    masks = np.stack([block.rows for block in found.blocks])
    assert masks.sum(0).max() == 1
    assert (~masks.any(0)).sum() == found.rest
    for block in found.blocks:
        np.testing.assert_array_equal(met(block.pattern, table), block.rows)
        assert block.rows.any()


DAYS = pd.Series(pd.date_range("2012-11-20", "2014-02-10", freq="3D"))


@pytest.mark.parametrize(
    "written",
    [lambda d: d, lambda d: d.dt.strftime("%Y-%m-%d"), lambda d: d.dt.strftime("%d.%m.%Y"), lambda d: d.dt.strftime("%Y-%m-%dT23:50:00Z")],
    ids=["times", "iso", "german", "zone"],
)
@pytest.mark.parametrize("by", ["", "year", "quarter", "month"])
def test_dates_fall_into_periods(written, by):
    table = pd.DataFrame({"day": written(DAYS)})
    table.loc[5, "day"] = None
    found = blocks_of(table, "day", {"day": "date"}, by)
    covered(found, table)
    assert found.ordered
    assert found.cut == (by or "quarter")
    assert found.blocks[-1].name == "missing"
    periods = DAYS.drop(5).dt.to_period({"year": "Y", "quarter": "Q", "month": "M"}[by or "quarter"])
    assert [block.rows.sum() for block in found.blocks[:-1]] == periods.value_counts().sort_index().tolist()
    assert found.blocks[0].name == {"year": "2012", "quarter": "2012 Q4", "month": "2012-11"}[by or "quarter"]


def test_categories_numbers_and_missing_cells_are_blocks():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "licence": rng.choice(np.array(["CC BY", "none, known", None], dtype=object), 300), "year": rng.integers(2015, 2020, 300),
            "size": rng.normal(size=300), "flag": rng.random(300) < 0.3, "many": [f"v{i % 60}" for i in range(300)], "one": 1,
            "own": [f"r{i}" for i in range(300)],
        }
    )  # fmt: skip
    table.loc[:9, "size"] = np.nan
    for column, cut, count in (("licence", "category", 3), ("year", "value", 5), ("size", "range", 9), ("flag", "category", 2)):
        found = blocks_of(table, column, {})
        covered(found, table)
        assert (found.cut, len(found.blocks), found.rest) == (cut, count, 0)
    many = blocks_of(table, "many", {})
    covered(many, table)
    assert (len(many.blocks), many.rest) == (50, 50)
    named = blocks_of(table, "year", {"year": "category"})  # numbers that are names
    covered(named, table)
    assert named.cut == "category"
    for column, given, sentence in (
        ("one", {}, "one value"), ("own", {}, "Nearly every row"), ("absent", {}, "no column 'absent'"), ("", {}, "No column was chosen"),
        ("year", {"by": "month"}, "holds no dates"), ("year", {"by": "day"}, "year, quarter, month"), ("size", {"bins": 1}, "2 bins"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=sentence):
            blocks_of(table, column, {}, **given)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Records of three sources, of which the model never sees the source; those of one are all of one outcome."""
    folder = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    n = 1500
    x = rng.normal(size=(n, 2))
    source = rng.choice(["web", "clinic", "bought"], n, p=[0.7, 0.24, 0.06])
    outcome = np.where((source == "bought") | (rng.random(n) < 1 / (1 + np.exp(-2 * x[:, 0]))), "yes", "no")
    test = (source != "bought") & (rng.random(n) < 0.5)
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, n), unit="D")
    table = pd.DataFrame(
        {"a": x[:, 0].round(3), "b": x[:, 1].round(3), "source": source, "day": day.strftime("%Y-%m-%d"), "outcome": outcome,
         "team": rng.choice(["u", "v"], n), "split": np.where(test, "test", "train")}
    )  # fmt: skip
    table.to_csv(folder / "records.csv", index=False)
    home = Project(folder / "p")
    perform("train", home, {
        "data": str(folder / "records.csv"), "target": "outcome", "audit": ["source", "day"], "protected": ["team"],
        "split": "split", "set": {"epochs": 6, "batch_size": 64, "hidden": (8,)},
    })  # fmt: skip
    return home


def test_a_bad_source_stands_out_and_the_largest_does_not(project):
    told = perform("sources", project, {"column": "source", "query": "calibration"})
    it = opened(project, None)
    scores = project.scores(next(iter(project.notes("scores/").values()))["scores"]).column().astype(float)
    n = len(scores)
    assert {b["block"] for b in told["blocks"]} == {"web", "clinic", "bought"}
    assert [-b["change"] for b in told["blocks"]] == sorted((-b["change"] for b in told["blocks"]), reverse=True)
    for block in told["blocks"]:
        inside = (it.dataset.train.columns["source"] == block["block"]).to_numpy()
        own = scores[inside]
        assert (block["n"], block["share"]) == (inside.sum(), pytest.approx(inside.mean()))
        assert block["change"] == pytest.approx(own.sum())
        assert block["high"] - block["change"] == pytest.approx(1.96 * np.sqrt(n * np.var(scores * inside)))
        assert block["per_row"] == pytest.approx(own.mean())
        assert block["label"] == pytest.approx(it.dataset.train.y[inside].mean())
        logits = outputs(it.bound, it.dataset.train).log_softmax(1).numpy()
        assert block["loss"] == pytest.approx(-logits[np.arange(n), it.dataset.train.y][inside].mean(), rel=1e-5)
    bought, web = (next(b for b in told["blocks"] if b["block"] == name) for name in ("bought", "web"))
    assert told["blocks"][0] is bought
    assert bought["change"] < bought["random_low"]
    assert web["share"] > LARGE > 0.5 * bought["share"]
    assert "bought" in readable("sources", project, told)


def test_random_blocks_lie_where_it_is_said(project):
    block = perform("sources", project, {"column": "source", "query": "calibration"})["blocks"][0]
    scores = project.scores(next(iter(project.notes("scores/").values()))["scores"]).column().astype(float)
    rng = np.random.default_rng(0)
    sums = np.array([scores[rng.choice(len(scores), block["n"], replace=False)].sum() for _ in range(4000)])
    assert block["random"] == pytest.approx(sums.mean(), abs=4 * sums.std() / 4000**0.5)
    within = ((sums >= block["random_low"]) & (sums <= block["random_high"])).mean()
    assert 0.97 < within < 0.995  # 95 % for three blocks together


def test_blocks_are_kept_withdrawn_and_confirmed(project):
    args = {"column": "source", "query": "calibration"}
    told = perform("sources", project, {**args, "check": 1})
    assert perform("sources", project, args)["computed"] == told["computed"]
    assert perform("sources", project, {**args, "again": True})["computed"] != told["computed"]
    first, other = told["blocks"][:2]
    it = opened(project, None)
    found = finders.make("pattern", {"conditions": first["conditions"]})(None, it.dataset.train)
    assert found.reason["words"] == "rows where source = bought"
    both = it.dataset.train.columns["source"].isin([first["block"], other["block"]]).to_numpy()
    confirmed = perform(
        "confirm_suspects", project, {"query": "calibration", "patterns": [either([first["conditions"], other["conditions"]])]}
    )
    (entry,) = confirmed["confirmed"]
    assert entry["n"] == both.sum()
    assert entry["rule"] == f"source = {first['block']} or source = {other['block']}"
    for mask, realised in ((met(read(first["conditions"]), it.dataset.train.columns), first["realised"]), (both, entry)):
        bound = load(train(it.trained.model, it.dataset.train, it.trained.recipe, weights=1.0 - mask.astype(np.float32)))
        rows = it.dataset.holdout
        p = [outputs(b, rows).softmax(1)[:, 1].numpy().mean() for b in (it.bound, bound)]
        assert realised["same"]["holdout"]["measured"]["change"] == pytest.approx(p[1] - p[0], abs=1e-6)


def test_blocks_of_time_stay_in_order_and_ranks_have_no_unit(project):
    told = perform("sources", project, {"column": "day", "query": "loss", "method": "tracin", "by": "quarter"})
    assert told["ordered"]
    assert not told["calibrated"]
    assert [b["block"] for b in told["blocks"]] == sorted(b["block"] for b in told["blocks"])
    assert "in no unit" in readable("sources", project, told)
    with pytest.raises(BadInput, match="no column 'nothing'"):
        perform("sources", project, {"column": "nothing", "query": "loss"})


def test_rows_that_a_run_does_without_are_in_no_block(project):
    it = opened(project, None)
    gone = it.dataset.train.ids[(it.dataset.train.columns["source"] == "bought").to_numpy()]
    made = perform("unlearn", project, {"ids": gone.tolist(), "method": "retrain"})
    told = perform("sources", project, {"column": "source", "query": "loss", "run": made["run"]})
    assert {b["block"] for b in told["blocks"]} == {"web", "clinic"}
    assert told["n"] == len(it.dataset.train) - len(gone)


def test_whoever_helps_nobody_is_told_by_every_group_and_checked_on_holdout_rows(project):
    told = perform("helps_nobody", project, {"share": 0.02, "seeds": 2})
    it = opened(project, None)
    scores = project.scores(told["scores"])
    assert scores.labels == ("Loss of u (team)", "Loss of v (team)")
    at = it.dataset.train.mask(told["ids"])
    assert (scores.values[at] < 0).all()
    assert told["harmful"] == (scores.values < 0).all(1).sum()
    assert len(told["ids"]) == round(0.02 * len(scores.ids))
    assert scores.values[at].max(1).max() <= np.sort(scores.values.max(1))[len(told["ids"]) - 1]
    for k, group in enumerate(told["groups"]):
        assert group["predicted"] == pytest.approx(scores.values[at, k].sum())
        name = "uv"[k]
        inside = (it.dataset.holdout.columns["team"] == name).to_numpy()
        rows, changes = it.dataset.holdout.take(inside), []
        for seed in (1000, 1001):
            recipe = it.trained.recipe.__class__(**{**it.trained.recipe.given, "seed": seed})
            both = [load(train(it.trained.model, it.dataset.train, recipe, weights=w.astype(np.float32))) for w in (at * 0 + 1, 1 - at)]
            lost = [-outputs(b, rows).log_softmax(1).numpy()[np.arange(len(rows)), rows.y] for b in both]
            changes.append(lost[1] - lost[0])
        realised = told["realised"]["holdout"][group["label"]]["found"]
        assert realised["change"] == pytest.approx(np.mean(changes), abs=1e-5)
        assert (realised["n"], realised["seeds"]) == (inside.sum(), 2)
        assert realised["low"] < realised["change"] < realised["high"]
    assert "without random rows" in readable("helps_nobody", project, told)
    finder = finders.make("helps_nobody", {"share": 0.02, "scores": told["scores"]})
    assert finder(scores, it.dataset.train).ids == tuple(told["ids"])


def test_an_interval_over_rows_and_seeds_covers_the_truth():
    """Mean 0.1 over rows of sd 1 and seeds of sd 0.1: about 95 % of intervals hold it."""
    rng, held = np.random.default_rng(0), []
    for _ in range(400):
        told = nobody.over_rows(0.1 + rng.normal(size=(1, 200)) + 0.1 * rng.normal(size=(5, 1)) + 0.1 * rng.normal(size=(5, 200)))
        held.append(told["low"] <= 0.1 <= told["high"])
    assert np.mean(held) >= 0.94


@pytest.mark.parametrize(
    ("given", "sentence"),
    [({"group": "a column"}, "no column"), ({"share": 0.0}, "less than one row"), ({"seeds": 1}, "two or more"),
     ({"method": "nothing"}, "no attribution method")],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(project, given, sentence):
    with pytest.raises(BadInput, match=sentence):
        perform("helps_nobody", project, given)


def test_copies_across_the_split_are_found_and_chosen(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(300, 2)).round(3), columns=["a", "b"])
    table["y"], table["split"] = rng.choice(["no", "yes"], 300), np.where(np.arange(300) < 200, "train", "test")
    table.loc[200:204, ["a", "b"]] = table.loc[0:4, ["a", "b"]].to_numpy()  # five test rows copy training rows
    table.loc[10, ["a", "b"]] = table.loc[11, ["a", "b"]]
    table.loc[10, "y"], table.loc[11, "y"] = "no", "yes"
    table.to_csv(tmp_path / "t.csv", index=False)
    home = Project(tmp_path / "p")
    perform("train", home, {"data": str(tmp_path / "t.csv"), "target": "y", "split": "split", "set": {"epochs": 1}})
    told = perform("duplicates", home, {})
    assert (told["clusters"], told["across"], told["in_training"], sum(told["copied"].values())) == (6, 5, 2, 5)
    rows = home.table(told["rows"])
    assert rows["across"].tolist() == [True] * 10 + [False] * 2
    assert rows[~rows["across"]]["conflicting"].all()
    for _, cluster in rows.groupby("cluster"):
        assert len(set(map(tuple, table.loc[cluster["id"], ["a", "b"]].to_numpy()))) == 1
        assert cluster["conflicting"].all() == (cluster["label"].nunique() > 1)
    train_rows, scores = home.dataset(home.run().dataset).train, home.scores(told["scores"])
    across = finders.make("duplicates", {"which": "across"})
    assert set(across(scores, train_rows).ids) == set(range(5))
    with pytest.raises(BadInput, match="on the page Suspects"):
        across(None, train_rows)
    alone, known = (finders.make("duplicates", {"which": "conflicting"})(given, train_rows) for given in (None, scores))
    assert alone.ids == known.ids == (10, 11)
    assert "6 clusters" in readable("duplicates", home, told)
    with pytest.raises(BadInput, match="from 0 to 1"):
        perform("duplicates", home, {"distance": 2.0})
    first = perform("outliers", home, {})
    kept = home.scores(first["scores"])
    assert finders.make("outliers", {"k": 5})(kept, train_rows).ids == finders.make("outliers", {"k": 5})(None, train_rows).ids
    assert [r["id"] for r in first["first"][:5]] == list(finders.make("outliers", {"k": 5})(None, train_rows).ids)
    assert "Rare is not wrong" in readable("outliers", home, first)
