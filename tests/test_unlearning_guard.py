"""Whether the retained rows suffer: all together, and each group of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from test_unlearning import cancer, fitted, mean_loss

from influence import training
from influence.actions import perform
from influence.errors import BadInput
from influence.registry import settings, unlearning
from influence.store import Project
from influence.types import Event, Examples, Recipe, Selection, Trained
from influence.unlearning._guard import GROUP_ROWS, MOST_GROUPS, SEEN, Guard, constant_loss, losses, sample

GUARDED = [name for name, cls in unlearning.classes.items() if any(s.name == "guard" for s in settings(cls))]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Project:
    """A project with a model of simulated loans."""
    project = Project(tmp_path_factory.mktemp("guarded") / "p")
    perform("train", project, {"data": "bundled:loans", "data_set": {"n": 600}, "set": {"epochs": 2, "batch_size": 64}})
    return project


def test_guard_allows_a_share_of_what_training_gained():
    train, _, _ = cancer()
    trained = fitted(train)
    bound, start = training.load(trained), mean_loss(trained, train)
    share = np.bincount(train.y) / len(train)
    guess = -(share * np.log(share)).sum()
    assert constant_loss(trained.recipe, train) == pytest.approx(guess, rel=1e-5)
    guard = Guard(bound, trained.recipe, train, 0.1)
    assert guard.most == pytest.approx(start + 0.1 * (guess - start), rel=1e-3)
    assert guard.holds(bound)
    bound.flat.mul_(-1.0)
    assert not guard.holds(bound)
    bound.flat.fill_(torch.nan)
    assert not guard.holds(bound)


def test_a_training_that_has_hardly_begun_is_no_limit():
    train, _, _ = cancer()
    bound = training.load(fitted(train, epochs=1, lr=1e-6))
    guess = constant_loss(Recipe(), train)
    guard = Guard(bound, Recipe(), train, 0.1)
    start = guard.loss(bound)
    assert start > 0.9 * guess
    assert guard.most >= start + 0.1 * 0.05 * guess - 1e-6


def test_constant_loss_of_a_numeric_target_is_its_variance():
    y = np.random.default_rng(0).normal(size=50).astype(np.float32)
    rows = Examples(y[:, None], y, np.arange(50), pd.DataFrame(index=range(50)))
    assert constant_loss(Recipe(loss="squared"), rows) == pytest.approx(y.var(), rel=1e-5)


def rare(n: int = 3000, positives: int = 12) -> tuple[Examples, Trained]:
    """Rows of which hardly any are of one class, and their model."""
    y = np.r_[np.ones(positives, dtype=np.int64), np.zeros(n - positives, dtype=np.int64)]
    x = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32) + 2 * y[:, None].astype(np.float32)
    train = Examples(x, y, np.arange(n), pd.DataFrame(index=range(n)), ("no", "yes"))
    return train, fitted(train, epochs=10)


def test_a_rare_class_is_watched():
    train, trained = rare()
    assert sample(train, SEEN, trained.recipe.seed, "guard").y.sum() < 5
    bound = training.load(trained)
    guard = Guard(bound, trained.recipe, train, 0.1)
    assert guard.rows.y.sum() == 12
    assert guard.holds(bound)
    assert guard.rise > 0.1 * 0.05 * guard.loss(bound)
    bias = next(part for part in bound.module.parameters() if part.ndim == 1)
    bias.data += torch.tensor([3.0, -3.0])  # hardly better on the many, much worse on the few
    assert not guard.holds(bound)


def test_classes_that_are_not_rare_leave_the_sample_as_it_is():
    train, trained = rare(positives=300)
    guard = Guard(training.load(trained), trained.recipe, train, 0.1)
    assert guard.rows.ids.tolist() == sample(train, SEEN, trained.recipe.seed, "guard").ids.tolist()


def test_a_numeric_target_that_is_hardly_ever_another_leaves_room():
    y = np.zeros(3000, dtype=np.float32)
    y[:2] = 5.0
    rows = Examples(np.random.default_rng(0).normal(size=(3000, 3)).astype(np.float32), y, np.arange(3000), pd.DataFrame(index=range(3000)))
    recipe = next(Recipe(loss="squared", seed=s) for s in range(20) if not sample(rows, SEEN, s, "guard").y.any())
    guard = Guard(training.load(fitted(rows, epochs=1, loss="squared")), recipe, rows, 0.1)
    assert guard.rise >= 0.1 * 0.05 * y.var()


def test_sample_depends_on_ids_alone():
    train, _, _ = cancer()
    shown = sample(train, 50, 0, "guard")
    assert len(shown) == 50
    turned = sample(train.take(np.arange(len(train))[::-1].copy()), 50, 0, "guard")
    assert set(shown.ids) == set(turned.ids)
    assert set(shown.ids) != set(sample(train, 50, 1, "guard").ids)
    assert sample(train, 10_000, 0, "guard") is train


def two_kinds(n: int = 400, few: int = 80, seed: int = 0) -> tuple[Examples, Trained]:
    """Rows of a large group "many", of a smaller one "few" with a rule of its own, and of one too small to be watched; and their model."""
    draw = np.random.default_rng(seed)
    code = np.repeat([0, 1, 2], [n, few, GROUP_ROWS - 1])
    x = np.c_[draw.normal(size=len(code)), code == 1].astype(np.float32)
    x = np.c_[x, x[:, 0] * x[:, 1]].astype(np.float32)
    y = (np.where(code == 1, -x[:, 0], x[:, 0]) + 0.1 * draw.normal(size=len(code)) > 0).astype(np.int64)
    table = pd.DataFrame({"group": np.array(["many", "few", "fewest"])[code]})
    train = Examples(x, y, np.arange(len(code)), table, ("no", "yes"))
    return train, fitted(train, lr=0.1)


def test_every_group_of_enough_rows_has_the_limit_of_all():
    train, trained = two_kinds()
    bound = training.load(trained)
    guard = Guard(bound, trained.recipe, train, 0.1, "group")
    assert list(guard.most_of) == ["many", "few"], "largest first, and none of fewer rows than are watched"
    for name, most in guard.most_of.items():
        rows = train.take((train.columns["group"] == name).to_numpy())
        assert most == pytest.approx(float(losses(bound, trained.recipe, rows).mean()) + guard.most - guard.loss(bound), rel=1e-6)
    assert guard.holds(bound)
    assert guard.harmed(bound) == ""


def test_harm_to_a_group_shows_where_all_rows_together_hide_it():
    train, trained = two_kinds(n=2000, few=60)
    bound = training.load(trained)
    whole, parted = (Guard(bound, trained.recipe, train, 0.3, by) for by in ("", "group"))
    (weight,) = (part for part in bound.module.parameters() if part.ndim == 2)
    weight.data[:, 2] *= 0.6  # the rule of the few is half forgotten
    assert whole.holds(bound)
    assert not parted.holds(bound)
    assert parted.harmed(bound) == "few"
    bound.flat.fill_(torch.nan)
    assert parted.harmed(bound) == "many"


def test_the_largest_groups_are_watched_on_samples():
    n = 1000
    train, _, _ = cancer()
    x = np.random.default_rng(0).normal(size=(2 * n, 30)).astype(np.float32)
    names = np.r_[np.repeat("large", n), np.array([f"group {k % 16:02d}" for k in range(n)])]
    rows = Examples(x, np.arange(2 * n) % 2, np.arange(2 * n), pd.DataFrame({"group": names}), train.classes)
    guard = Guard(training.load(fitted(train, epochs=1)), Recipe(), rows, 0.1, "group")
    assert len(guard.groups) == MOST_GROUPS
    assert next(iter(guard.groups)) == "large"
    assert len(guard.groups["large"]) == SEEN
    with pytest.raises(BadInput, match="nothing"):
        Guard(training.load(fitted(train, epochs=1)), Recipe(), rows, 0.1, "nothing")


@pytest.mark.parametrize("method", GUARDED)
def test_methods_go_back_where_a_group_is_harmed(method, monkeypatch):
    train, trained = two_kinds(n=600, few=60)
    gone = Selection(tuple(train.ids[(train.columns["group"] == "few").to_numpy()][:30].tolist()))
    start = training.load(trained).flat.clone()
    moved = lambda guard, bound: "few" if guard.groups and not torch.equal(bound.flat, start) else ""  # noqa: E731
    free = training.load(unlearning.make(method)(trained, train, gone)).flat
    monkeypatch.setattr(Guard, "harmed", moved)
    held = training.load(unlearning.make(method, {"guard": "group"})(trained, train, gone)).flat
    assert torch.equal(held, start)
    if method != "ssd":  # finds nothing to make smaller here
        assert not torch.equal(free, start)


def test_a_step_ends_where_a_group_would_suffer_and_says_which():
    train, trained = two_kinds(n=1500, few=110)
    few = (train.columns["group"] == "few").to_numpy()
    gone = Selection(tuple(train.ids[few][:55].tolist()))
    said: list[Event] = []
    free = unlearning.make("influence_step", {"tolerance": 0.02})(trained, train, gone)
    held = unlearning.make("influence_step", {"tolerance": 0.02, "guard": "group"})(trained, train, gone, report=said.append)
    rest = train.without(gone)
    rows = rest.take((rest.columns["group"] == "few").to_numpy())
    at = {name: mean_loss(each, rows) for name, each in (("before", trained), ("free", free), ("held", held))}
    assert at["before"] < at["held"] < at["free"]
    assert "retained rows of few" in said[-1].note


@pytest.mark.parametrize(
    ("method", "given", "says"),
    [
        *((name, {"guard": "nope"}, "There is no column 'nope' to form groups by") for name in GUARDED),
        ("noisy_finetune", {"noisy_steps": 1000}, "steps, so that 1,000 cannot be noisy"),
        ("noisy_finetune", {"noisy_steps": 14, "epochs": 2}, "There are 14 steps"),
    ],
)
def test_settings_that_do_not_fit_the_rows_are_refused_before_anything_is_trained(made, monkeypatch, method, given, says):
    monkeypatch.setattr(training, "train", lambda *_, **__: pytest.fail("the model was retrained first"))
    ids, before = made.dataset(made.run().dataset).train.ids[:10].tolist(), len(made.runs())
    with pytest.raises(BadInput, match=says):
        perform("unlearn", made, {"ids": ids, "method": method, "set": given})
    assert len(made.runs()) == before


def test_settings_that_just_fit_the_rows_are_not_refused(made):
    ids = made.dataset(made.run().dataset).train.ids[:10].tolist()
    perform("unlearn", made, {"ids": ids, "method": "noisy_finetune", "set": {"noisy_steps": 13, "epochs": 2}})
