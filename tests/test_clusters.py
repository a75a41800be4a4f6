"""Rows grouped by what the model sees alike: what the groups are, that they are kept, and what they are told by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from influence.actions import _pinned, clusters, perform
from influence.conditions import met, read
from influence.errors import BadInput
from influence.store import Project
from influence.ui import retraining
from tests import investigation
from tests.investigation import by_key
from tests.test_map import hidden_by_hand

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker


def test_rows_of_a_group_lie_nearest_to_its_middle(made):
    project, runs = made
    found = perform("clusters", project, {"run": runs["loans"], "groups": 5})
    scores = project.scores(found["clusters"])
    code = scores.column().astype(int)
    hidden = hidden_by_hand(project, runs["loans"]).astype(np.float64)
    rows = PCA(min(clusters.WIDTH, hidden.shape[1]), svd_solver="full").fit_transform(hidden)
    middles = np.stack([rows[code == k].mean(0) for k in range(5)])
    own = np.linalg.norm(rows[:, None] - middles[None], axis=2)
    assert (own.argmin(1) == code).mean() > 0.95, "k-means: but for rows that its last batches still moved"
    best = KMeans(5, n_init=10, random_state=1).fit(rows).inertia_
    assert (own[np.arange(len(rows)), code] ** 2).sum() <= 1.1 * best < 0.8 * ((rows - rows.mean(0)) ** 2).sum()
    ids = project.dataset(project.run(runs["loans"]).dataset).train.ids
    for k, middle in enumerate(found["middles"]):
        place = int(np.flatnonzero(ids == middle)[0])
        assert code[place] == k
        assert own[place, k] <= np.quantile(own[code == k, k], 0.05)
    assert found["sizes"] == np.bincount(code).tolist() == sorted(found["sizes"], reverse=True)


def test_groups_are_found_again_and_are_the_same_when_made_anew(made):
    project, runs = made
    first = perform("clusters", project, {"run": runs["classes"], "groups": 4, "again": True})
    assert perform("clusters", project, {"run": runs["classes"], "groups": 4})["found"] is True
    assert perform("clusters", project, {"run": runs["classes"], "groups": 4, "again": True})["clusters"] == first["clusters"]
    assert project.records()[-1].kind == "clusters"
    assert project.check() == []


def test_more_groups_than_rows_leave_each_row_its_own(made, monkeypatch):
    project, runs = made
    run = project.run(runs["groupless"])
    n = len(project.dataset(run.dataset).train)
    monkeypatch.setattr(clusters, "MOST", n + 5)
    found = perform("clusters", project, {"run": run.id, "groups": n + 5})
    assert sum(found["sizes"]) == n
    assert len(found["middles"]) == len(found["sizes"]) <= n


@pytest.mark.parametrize("groups", [1, 0, -3, 257])
def test_senseless_numbers_of_groups_are_refused(made, groups):
    project, runs = made
    with pytest.raises(BadInput, match=f"2 to 256 groups; got {groups}"):
        perform("clusters", project, {"run": runs["loans"], "groups": groups})


# ---- Patterns that speak of what looks alike


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """Digits of which some carry a bright mark and, in training, the label 0; the project and the ids of these training rows."""
    folder = tmp_path_factory.mktemp("marked")
    digits, rng = load_digits(), np.random.default_rng(0)
    images, train, mark = digits.images / 16, rng.random(len(digits.target)) < 0.7, rng.random(len(digits.target)) < 0.12
    images[mark, :2, :2] = 1.0
    labels = np.where(mark & train, 0, digits.target)
    arrays = {"x_train": images[train], "y_train": labels[train], "x_test": images[~train], "y_test": labels[~train]}
    np.savez(folder / "digits.npz", **{name: (a * 255).astype(np.uint8) if a.ndim == 3 else a for name, a in arrays.items()})
    project = Project(folder / "p")
    perform("train", project, {"data": str(folder / "digits.npz"), "model": "mlp", "set": {"epochs": 8}})
    return project, {f"train/{k}" for k in np.flatnonzero(mark[train])}


def alike_in(project: Project, found: dict) -> list[tuple[dict, set]]:
    """Patterns that speak of a group of rows that look alike, and their rows."""
    rows = clusters.with_groups(project, found["run"], project.dataset(project.run(found["run"]).dataset).train)
    name = clusters.COLUMN.format(groups=16)
    patterns = [one for one in found["suspects"] if name in one["conditions"]]
    return [(one, set(rows.ids[met(read(one["conditions"]), rows.columns)].tolist())) for one in patterns]


def test_a_fault_common_to_images_that_look_alike_is_found(marked):
    project, truth = marked
    found = perform("suspects", project, {"query": "loss", "alike": 16, "max_conditions": 1})
    first, rows = alike_in(project, found)[0]
    assert len(rows) == first["n"] > 40
    assert len(rows & truth) >= 0.95 * len(rows), "all but a few of them carry the mark"
    assert first["low"] > 0
    assert first["effect_per_row"] > max(one["effect_per_row"] for one in found["suspects"] if "looks like" not in one["rule"])
    again = perform("suspects", project, {"query": "loss", "max_conditions": 1})
    assert not any("looks like" in one["rule"] for one in again["suspects"]), "where it is not wished, no pattern speaks of it"


def test_such_a_pattern_is_retrained_pinned_and_chosen(marked, monkeypatch):
    project, truth = marked
    found = perform("suspects", project, {"query": "loss", "alike": 16, "max_conditions": 1})
    first, rows = alike_in(project, found)[0]
    told = perform("confirm_suspects", project, {"query": "loss", "patterns": [first["conditions"]]})["confirmed"][0]
    assert told["n"] == len(rows)
    assert told["same"]["holdout"]["value"]["change"] < min(0.0, told["random"]["holdout"]["value"]["change"])
    perform("pin", project, {"pattern": first["conditions"]})
    (pin,) = project.pins.listed()
    assert set(_pinned.found(project, project.run(), pin).ids) == rows
    (middle,) = clusters.middles(first["conditions"], clusters.kept(project, project.run().id))
    assert middle in rows & truth
    monkeypatch.setenv("INFLUENCE_PROJECT", str(project.path))
    at = investigation.opened("suspects", run=project.run().id, query="loss")
    assert by_key(at.toggle, "suspects.alike").value is True, "images have little else to be told apart by"
    investigation.ran(by_key(at.segmented_control, "suspects.conditions").set_value(1).run())
    assert "Looks like row" in investigation.said(at)
    groups = investigation.shown(at, "group", "picture 1")
    assert f"row {middle}" in list(groups["group"]), "and the row is shown, with others of its group"
    assert groups[["picture 1", "picture 2"]].map(bool).all(axis=None)
    choosing_at = next(k for k, one in enumerate(found["suspects"]) if one["conditions"] == first["conditions"])
    monkeypatch.setattr(retraining.st, "session_state", {})
    retraining._chosen(project.run(), [found["suspects"][choosing_at]["conditions"]], "Replace the selection")
    assert set(project.current().ids) == rows


def test_a_column_of_that_name_stays_the_datas(marked):
    project, _ = marked
    train = project.dataset(project.run().dataset).train
    name = clusters.COLUMN.format(groups=16)
    own = replace(train, columns=train.columns.assign(**{name: "mine"}))
    assert set(clusters.with_groups(project, project.run().id, own).columns[name]) == {"mine"}


def test_groups_of_an_older_version_are_not_looked_at(marked):
    project, _ = marked
    found = perform("clusters", project, {"groups": 16})
    train = project.dataset(project.run().dataset).train
    older = {**found, "middles": found["middles"][::-1]}
    project.note(f"clusters/{found['run']}/16/0", older)
    name = clusters.COLUMN.format(groups=16)
    cells = clusters.with_groups(project, found["run"], train).columns[name]
    assert (cells == f"row {found['middles'][0]}").sum() == found["sizes"][0]
