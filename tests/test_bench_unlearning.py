"""The unlearning benchmark: forget sets of each kind, and figures that tell retraining from doing nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.unlearning import cells, drawn, strata
from benchmarks.unlearning.cells import Cell, Data
from benchmarks.unlearning.measures import figures
from influence.training import load


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "CACHE", tmp_path_factory.mktemp("trained"))
        yield cells.CACHE


@pytest.fixture(scope="module")
def data(folder):
    torch.set_num_threads(1)
    return Data("digits", 6)


@pytest.fixture(scope="module")
def cell(data):
    return Cell(data, "mislabelled")


def test_a_share_of_the_labels_is_wrong_and_no_other_is(data):
    _, rows, wrong, _, _ = data.parts
    from benchmarks.truth.settings import digits

    assert len(wrong) == 26
    assert np.array_equal(np.flatnonzero(np.asarray(rows.y) != np.asarray(digits()[0].y)), wrong)


def test_models_are_kept_and_those_of_another_purpose_or_other_rows_are_others(folder, monkeypatch):
    data = Data("digits", 2)
    originals, without = data.trained("original"), data.trained("oracle", np.arange(30))
    parts = {path.name.rsplit("-", 1)[0] for path in folder.glob("*.npz")}
    assert parts == {"digits-original", "digits-oracle"}
    monkeypatch.setattr(cells, "train_many", lambda *_: pytest.fail("what is kept was trained anew"))
    for models, purpose, gone in ((originals, "original", None), (without, "oracle", np.arange(30))):
        for one, again in zip(models, Data("digits", 2).trained(purpose, gone), strict=True):
            assert torch.equal(load(one).flat, load(again).flat)
    with pytest.raises(pytest.fail.Exception):
        data.trained("oracle", np.arange(31))


def test_another_draw_has_other_labels_rows_and_seeds(data):
    other = Data("digits", 6, draw=1)
    (_, rows, wrong, test, _), (_, others, elsewhere, _, _) = data.parts, other.parts
    assert len(np.intersect1d(wrong, elsewhere)) < len(wrong) / 2
    assert np.flatnonzero(np.asarray(rows.y) != np.asarray(others.y)).size == len(np.union1d(wrong, elsewhere))
    for kind in ("random", "coherent"):
        one, two = (strata.chosen(kind, data.originals[0], each.parts[1], test, each.parts[2], draw=each.draw) for each in (data, other))
        assert len(np.intersect1d(one, two)) < len(one) / 2
    assert (data.title, other.title) == ("digits", "digits (draw 1)")


@pytest.mark.parametrize("kind", strata.KINDS)
def test_rows_of_a_kind_are_distinct_and_have_wrong_labels_only_where_that_is_the_kind(data, kind):
    _, rows, wrong, test, _ = data.parts
    found = strata.chosen(kind, data.originals[0], rows, test, wrong)
    assert len(set(found.tolist())) == len(found) == (26 if kind == "mislabelled" else strata.FEWEST)
    assert np.isin(found, wrong).all() == (kind == "mislabelled")
    if kind == "coherent":
        assert len(set(np.asarray(rows.y)[found].tolist())) == 1


@pytest.mark.slow
def test_retraining_is_nearer_to_the_oracles_than_doing_nothing(cell):
    nothing, retrained = (figures(cell, cell.judged(method)[0]) for method in ("nothing", "retrain"))
    assert nothing["margin_shift"] > 3 > 1 > abs(retrained["margin_shift"])
    assert nothing["klom"] > nothing["klom_null"]
    assert retrained["klom"] <= retrained["klom_null"]
    assert retrained["average_gap"]["mean"] < nothing["average_gap"]["mean"]


def test_a_method_is_run_once_per_original_with_a_seed_of_its_own(cell):
    said, cost = cell.judged("last_layers", {"epochs": 1})
    assert said["forget"].shape == (6, 26, 10)
    assert cost["seconds"] > 0 == cost["prepare_seconds"]
    assert len({out.tobytes() for out in said["forget"]}) == 6


def test_how_many_models_are_told_has_an_interval():
    assert drawn._told({"told": 0.18, "models": 50}) == "18% (10% to 31%)"
    assert drawn._told({"told": 0.5, "models": 3}) == "50%", "too few to say"


def test_tables_have_nothing_and_retrain_first_and_mark_what_is_within_twice_the_null(tmp_path, monkeypatch):
    for name in ("RESULTS", "PAGE"):
        monkeypatch.setattr(drawn, name, tmp_path / name)
    row = {"klom_null": 1.0, "told": 0.5, "margin_shift": 1.0, "cost": 0.1, "prepare_cost": 0.0, "rows": 9, "forgotten": 2, "models": 3}
    row |= {"train_seconds": 1.0, "average_gap": {"mean": 1.0, "low": 0.5, "high": 1.5}}
    row |= {f"{part}_{of}": 0.0 for part in ("forget", "retained", "unseen") for of in ("change", "low", "high")}
    for method, klom in (("scrub", 3.0), ("finetune", 1.9), ("retrain", 1.0), ("nothing", 9.0)):
        drawn.keep(f"adult/random/0.01/{method}", {**row, "klom": klom})
    drawn.keep("adult/random/0.01/ssd", {"refused": "No."})
    drawn.keep("cifar/random/0.1/nothing", {**row, "klom": 9.0})
    (_, rows), _ = drawn.cells()
    assert list(rows) == ["nothing", "retrain", "finetune", "scrub", "ssd"]
    drawn.PAGE.write_text("Head\n" + drawn.MARK + "stale")
    monkeypatch.setattr(drawn, "_picture", lambda shown: None)
    drawn.draw()
    text = drawn.PAGE.read_text()
    assert text.startswith("Head\n")
    assert "stale" not in text
    for line in (
        "| finetune | **1.90** (null 1.00)",
        "| scrub | 3.00 (null",
        "| ssd | No. |",
        "### adult, random\n",
        "### cifar, random 10%\n",
    ):
        assert line in text
