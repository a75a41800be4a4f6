"""Newton's method on the last layer: against dense solves, its own bound, and retraining."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from influence import training
from influence.errors import BadInput
from influence.registry import models, unlearning
from influence.types import Event, Examples, Recipe, Selection, Trained
from influence.unlearning import _last_layer
from influence.unlearning._last_layer import LastLayer, hessian, placed, ridge
from influence.workspace import Workspace


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Scaled:
    """A model that ends in a normalisation."""

    inputs: tuple[int, ...]
    outputs: int

    def __call__(self) -> nn.Module:
        return nn.Sequential(nn.Linear(self.inputs[0], self.outputs), nn.LayerNorm(self.outputs))


@dataclass(frozen=True)
class Followed(Scaled):
    """A model of which something follows the last layer."""

    def __call__(self) -> nn.Module:
        return nn.Sequential(nn.Linear(self.inputs[0], self.outputs), nn.Tanh())


def rows(seed: int, n: int = 60, width: int = 4, classes: int = 3) -> Examples:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width)).astype(np.float32)
    score = x @ rng.normal(size=(width, max(classes, 1))) + rng.normal(size=(n, max(classes, 1)))
    y = score.argmax(1) if classes else score[:, 0].astype(np.float32)
    y[:classes] = np.arange(classes)
    return Examples(x, y, np.arange(n), pd.DataFrame(index=range(n)), tuple("abcdefgh"[:classes]))


def fitted(train: Examples, model: str = "logistic", **recipe: object) -> Trained:
    built = replace(models.make(model, {"hidden": (5,)} if model == "mlp" else None), inputs=train.shape, outputs=train.outputs)
    loss = "cross_entropy" if train.classes else "squared"
    given = {"loss": loss, "epochs": 4, "batch_size": 20, "dtype": "float64", "weight_decay": 0.01, **recipe}
    return training.train(built, train, Recipe(**given))


def solved(of: LastLayer, forget: np.ndarray) -> torch.Tensor:
    """The minimum of the goal without rows, by autograd's Hessian and nothing of the method's, (P,)."""
    x, y, n, strong = of.of.rows.x, of.of.rows.target, of.of.n, of.of.decay
    start = of.of.bound.flat.clone()
    gone = torch.from_numpy(np.isin(of.of.ids, forget))
    shape = of.of.bound.params[0].shape

    def loss(flat: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        z = x[which] @ flat.view(shape).T
        if of.of.rows.loss == "squared":
            return ((z[:, 0] - y[which]) ** 2).sum() / n
        return torch.nn.functional.cross_entropy(z, y[which], reduction="sum") / n

    slope = torch.autograd.functional.jacobian(lambda f: loss(f, ~gone) + loss(f, gone), start)

    def goal(flat: torch.Tensor) -> torch.Tensor:
        return loss(flat, ~gone) - slope @ flat + strong / 2 * ((flat - start) ** 2).sum()

    flat = start.clone()
    for _ in range(30):
        g = torch.autograd.functional.jacobian(goal, flat)
        if float(g.norm()) < 1e-13:
            break
        flat = flat - torch.linalg.solve(torch.autograd.functional.hessian(goal, flat), g)
    assert float(torch.autograd.functional.jacobian(goal, flat).norm()) < 1e-12
    return flat


@pytest.mark.parametrize("model", ["logistic", "mlp"])
@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("large", [False, True])
def test_it_ends_where_a_dense_solve_does(model, classes, large, monkeypatch):
    if large:
        monkeypatch.setattr(_last_layer, "LARGE", 0)
        monkeypatch.setattr(_last_layer, "DONE_LARGE", 1e-6)
    train = rows(1, classes=classes)
    trained, gone = fitted(train, model), np.arange(10, 25)
    layer = LastLayer.at(trained, train, Workspace())
    goal = layer.without(train.take(train.mask(gone)))
    step = layer.moved(goal, 20)
    truth = solved(layer, gone) - goal.start
    assert float(truth.norm()) > 1e-3
    torch.testing.assert_close(step, truth, rtol=1e-4, atol=1e-6)
    made = unlearning.make("newton_head", {"tolerance": 1.0})(trained, train, Selection(tuple(gone.tolist())))
    moved = training.load(made).flat - training.load(trained).flat
    torch.testing.assert_close(moved, placed(training.load(trained), step) - training.load(trained).flat, rtol=1e-4, atol=1e-6)


def test_the_curvature_is_that_of_autograd():
    layer = LastLayer.at(fitted(rows(2)), rows(2), Workspace())
    x, y = layer.of.rows.x, layer.of.rows.target
    z = lambda flat: x @ flat.view(3, -1).T  # noqa: E731
    dense = torch.autograd.functional.hessian(lambda f: torch.nn.functional.cross_entropy(z(f), y), layer.of.bound.flat.clone())
    found = hessian(layer.of, _last_layer._second(layer.of))
    torch.testing.assert_close(found, dense + layer.of.decay * torch.eye(len(dense)).double())


def test_the_bound_holds_in_every_case_and_says_something():
    """One step, none, and steps to nowhere: 100 cases, against the true minimum, in weights and in outputs."""
    shares = []
    for seed in range(100):
        train = rows(seed, n=40, classes=(0, 2, 3)[seed % 3])
        layer = LastLayer.at(fitted(train, epochs=2), train, Workspace())
        gone = np.random.default_rng(seed).choice(np.arange(3, 40), 8, replace=False)
        goal = layer.without(train.take(train.mask(gone)))
        truth = solved(layer, gone)
        shift = 0.1 * torch.randn(len(truth), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        for at in (goal.start, goal.start + layer.moved(goal, 1), truth + shift):
            far, bound = float((at - truth).norm()), layer.far(goal, at)
            assert far <= bound * (1 + 1e-9) + 1e-12
            off = layer.of.rows.x @ (at - truth).view(layer.of.bound.params[0].shape).T
            assert (off.norm(dim=1) <= bound * layer.of.rows.x.norm(dim=1) * (1 + 1e-9) + 1e-12).all()
        shares.append(far / bound)
    assert 0.05 < np.median(shares) < 1, "within a factor of twenty of the truth"


def test_it_says_its_bound_and_that_the_layers_before_saw_the_rows():
    train, seen = rows(3), list[Event]()
    trained = fitted(train, "mlp")
    unlearning.make("newton_head")(trained, train, Selection(tuple(range(10, 25))), report=seen.append)
    assert "The last layer is at most" in seen[-1].note
    assert "The layers before saw the rows" in seen[-1].note


def test_features_are_made_once(monkeypatch):
    train, workspace = rows(4), Workspace()
    trained, method = fitted(train, "mlp"), unlearning.make("newton_head")
    method.prepare(trained, train, workspace)
    monkeypatch.setattr(_last_layer, "hidden", None)
    method(trained, train, Selection((10, 11)), workspace=workspace)
    method(trained, train, Selection((12, 13)), workspace=workspace)


def test_only_the_last_layer_moves():
    train = rows(5)
    trained = fitted(train, "mlp")
    made = unlearning.make("newton_head")(trained, train, Selection(tuple(range(10, 25))))
    before, after = trained.final.load(), made.final.load()
    assert {name for name in before if not torch.equal(before[name], after[name])} == set(list(before)[-2:])


def test_of_a_linear_model_it_comes_near_retraining():
    """Damping stands for the time of training: without it the layer would answer to the rows as if training had no end."""
    bunch = load_digits()
    y = bunch.target.astype(np.int64)
    wrong = np.random.default_rng(0).choice(len(y), 90, replace=False)
    y[wrong] = (y[wrong] + 3) % 10
    train = Examples((bunch.data / 16).astype(np.float32), y, np.arange(len(y)), pd.DataFrame(index=range(len(y))), tuple("0123456789"))
    trained, gone = fitted(train, epochs=20, batch_size=64, dtype="float32", weight_decay=1e-4), Selection(tuple(wrong.tolist()))
    made, oracle = (unlearning.make(name)(trained, train, gone) for name in ("newton_head", "retrain"))
    far = [float((training.load(a).flat - training.load(oracle).flat).norm()) for a in (trained, made)]
    assert far[1] < 0.2 * far[0]


def test_how_strongly_the_goal_is_convex():
    assert ridge(None, 100) == 0.01
    assert ridge(Recipe(optimizer="adamw", weight_decay=0.1), 100) == 0.01
    short, long = (ridge(Recipe(epochs=epochs, weight_decay=0.02), 100) for epochs in (2, 200))
    assert short > long > 0.02


def test_models_that_do_not_end_in_a_linear_layer_are_refused():
    method, train = unlearning.make("newton_head"), rows(6)
    assert method.unavailable(fitted(train)) == ""
    trained = replace(fitted(train), model=Scaled((4,), 3))
    assert "does not end in one" in method.unavailable(trained)
    followed = training.train(Followed((4,), 3), train, Recipe(epochs=1))
    with pytest.raises(BadInput, match="not that of its last Linear layer"):
        method(followed, train, Selection((5,)))
