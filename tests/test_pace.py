"""What is said of the cost of retrainings: the arithmetic of the estimate, and that it follows what retrainings took."""

from __future__ import annotations

import pytest

from influence.actions import _bank, _retrained, perform
from influence.actions._pace import Estimate, estimate, noted
from influence.store import Project
from influence.ui import costs, words

LOANS = {"data": "bundled:loans", "data_set": {"n": 600}, "set": {"epochs": 1, "batch_size": 64}}


class Clock:
    """A clock on which everything that is timed takes so many seconds."""

    def __init__(self, *steps: float) -> None:
        self.now, self.steps = 0.0, [*steps]

    def perf_counter(self) -> float:
        self.now += self.steps.pop(0) if self.steps else 0.0
        return self.now


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path / "p")


def run(project: Project, seconds: float | None, model: str = "mlp"):
    return project.add_run("train", "0" * 64, {"model": {"name": model}, "seconds": seconds})


def test_an_estimate_rests_on_the_nearest_that_was_seen(project):
    mine, alike, other = run(project, 10.0), run(project, 4.0), run(project, 4.0, "cnn")
    assert estimate(project, mine, 8) == Estimate(80.0, "alone")
    noted(project, other, 16, 64.0)
    assert estimate(project, mine, 8) == Estimate(80.0, "alone"), "another kind of model says nothing"
    noted(project, alike, 16, 16.0)  # a quarter of what one takes alone
    assert estimate(project, mine, 8) == Estimate(pytest.approx(20.0), "kind")
    noted(project, run(project, 1.0), 16, 8.0)  # half of it: 24 s in all where 80 would be alone
    assert estimate(project, mine, 8) == Estimate(pytest.approx(8 * 10 * 24 / 80), "kind")
    noted(project, mine, 16, 40.0)
    assert estimate(project, mine, 8) == Estimate(pytest.approx(20.0), "own")
    noted(project, mine, 4, 30.0)  # the mean over all, so that a few at the end do not decide
    assert estimate(project, mine, 8) == Estimate(pytest.approx(8 * 70 / 20), "own")


def test_without_any_time_nothing_is_said(project):
    mine = run(project, None)
    assert estimate(project, mine, 8) is None
    noted(project, run(project, None), 16, 8.0)
    assert estimate(project, mine, 8) is None
    noted(project, mine, 2, 3.0)
    assert estimate(project, mine, 8) == Estimate(12.0, "own")


def test_what_it_rests_on_is_said(project, monkeypatch):
    monkeypatch.setattr(costs.state, "project", lambda: project)
    mine, alike = run(project, 10.0), run(project, 4.0)
    assert costs.retrainings(run(project, None), 8) == "8 real trainings"
    assert costs.retrainings(mine, 9) == f"9 real trainings: at most {words.about(90)}, as if one went after another"
    noted(project, alike, 16, 16.0)
    assert costs.retrainings(mine, 8) == f"8 real trainings: {words.about(20)}, if they go side by side as those of another MLP did"
    noted(project, mine, 16, 400.0)
    assert costs.retrainings(mine, 8) == f"8 real trainings: {words.about(200)}, as earlier ones of this model took"
    assert words.about(200) == "about 3\N{NO-BREAK SPACE}min"


def test_banks_and_previews_tell_what_they_took(project, monkeypatch):
    perform("train", project, LOANS)
    mine = project.run()
    monkeypatch.setattr(_bank, "time", Clock(0.0, 8.0, 0.0, 4.0))
    perform("fidelity", project, {"query": "loss", "method": "random", "fraction": 0.05, "subsets": 20})
    assert estimate(project, mine, 10) == Estimate(10 * 12 / 20, "own")
    perform("fidelity", project, {"query": "loss", "method": "random", "fraction": 0.05, "subsets": 20})
    assert estimate(project, mine, 10) == Estimate(10 * 12 / 20, "own"), "models that are kept take no time"
    monkeypatch.setattr(_retrained, "time", Clock(0.0, 3.0, 0.0, 1.0))
    perform("prepare", project, {"group": "group"})
    told = project.noted(f"pace/{mine.id}")
    assert told["models"] > 30
    assert told["seconds"] == pytest.approx(16.0)
    assert told["alone"] == mine.body["seconds"]
