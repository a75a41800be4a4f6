"""Similarity of gradients and activations against one row at a time; how far lists of rows agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from influence.attribution.activation_similarity import ActivationSimilarity
from influence.attribution.gradient_similarity import GradientSimilarity
from influence.attribution.indexed import Indexed
from influence.errors import BadInput
from influence.evaluation.agreement import correlations, overlaps
from influence.grads import mask, query_gradient, row_gradients
from influence.index import FIRST
from influence.loop import Bound, tensors
from influence.training import checkpoint, load, train
from influence.types import Event, Trained
from influence.workspace import Workspace
from tests.tiny import Built, Frozen, Mean, bind, examples, question, recipe


def problem(classes: int = 3, n: int = 21):
    rows, ask = examples(n, (4,), classes), examples(11, (4,), classes, seed=1)
    how = recipe(loss="cross_entropy" if classes else "squared", lr=0.05)
    return train(bind("mlp", rows, hidden="5"), rows, how), rows, question(ask) if classes else question(ask, Mean())


@pytest.mark.parametrize("layers", ["all", "last"])
@pytest.mark.parametrize("normalise", ["none", "cosine", "centred"])
def test_gradient_similarity_is_that_of_whole_gradients(normalise, layers):
    trained, rows, asked = problem()
    bound = load(trained)
    v = query_gradient(bound, asked)[1] * mask(bound, layers)
    g = row_gradients(bound, *tensors(rows, "float64"), "cross_entropy") * mask(bound, layers)
    if normalise == "centred":
        g = g - g.mean(0)
    expected = g @ v.T
    if normalise != "none":
        expected = expected / g.norm(dim=1)[:, None] / v.norm(dim=1)
    found = GradientSimilarity(normalise=normalise, layers=layers, batch=8)(trained, rows, asked).values
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("names", ["1", "3.bias", "3", ""])
@pytest.mark.parametrize("layers", ["all", "last"])
@pytest.mark.parametrize("normalise", ["none", "cosine", "centred"])
def test_frozen_parameters_have_no_part_in_gradient_similarity(normalise, layers, names):
    trained, rows, asked = problem()
    trained = replace(trained, model=Frozen(trained.model, names))
    bound = load(trained)
    v = query_gradient(bound, asked)[1] * mask(bound, layers)
    g = row_gradients(bound, *tensors(rows, "float64"), "cross_entropy") * mask(bound, layers)
    g = g - g.mean(0) if normalise == "centred" else g
    scale = g.norm(dim=1)[:, None] * v.norm(dim=1) if normalise != "none" else torch.ones(())
    found = GradientSimilarity(normalise=normalise, layers=layers, batch=8)(trained, rows, asked).values
    np.testing.assert_allclose(found, torch.nan_to_num(g @ v.T / scale), rtol=1e-8, atol=1e-12)
    assert found.any() == bool(mask(bound, layers).any())


@pytest.mark.parametrize("normalise", ["cosine", "centred"])
def test_gradient_similarity_takes_as_many_rows_at_a_time_as_its_memory_allows(normalise):
    trained, rows, asked = problem()
    told: list[int] = []
    for memory in (0.01, None):
        events: list[Event] = []
        GradientSimilarity(normalise=normalise)(trained, rows, asked, events.append, Workspace(memory=memory))
        told.append(len(events))
    assert told[0] > told[1]


def test_an_index_is_of_the_rows_that_training_saw():
    """Of so many rows that some scores are the screen's estimates."""
    rows, ask = examples(600, (4,)), examples(11, (4,), seed=1)
    seen = np.arange(600) % 3 > 0
    left = rows.take(seen)
    trained = train(bind("mlp", rows, hidden="5"), left, recipe(epochs=1), removed=tuple(rows.ids[~seen]))
    there, gone = (Indexed(size=8, scored=FIRST)(trained, some, question(ask)).values for some in (rows, left))
    np.testing.assert_array_equal(there[~seen], 0)
    np.testing.assert_array_equal(there[seen], gone)


@pytest.mark.parametrize("normalise", ["cosine", "centred"])
def test_rows_without_a_gradient_of_their_own_score_nothing(normalise):
    """All rows alike: centred, nothing is left of any."""
    rows = examples(6, (4,))
    alike = replace(rows, x=np.tile(rows.x[:1], (6, 1)), y=np.tile(rows.y[:1], 6))
    trained = problem()[0]
    values = GradientSimilarity(normalise=normalise)(trained, alike, problem()[2]).values
    assert np.ptp(values, axis=0).max() < 1e-12
    assert (values == 0).all() == (normalise == "centred")


@pytest.mark.parametrize("normalise", ["cosine", "none"])
@pytest.mark.parametrize("classes", [3, 0])
def test_activation_similarity_is_a_vote_of_neighbours(classes, normalise):
    trained, rows, asked = problem(classes)
    module = load(trained).module

    def hidden(x: np.ndarray) -> torch.Tensor:
        h = module[:-1](torch.from_numpy(x))
        return nn.functional.normalize(h, dim=1) if normalise == "cosine" else h

    with torch.no_grad():
        mine, theirs, z = hidden(rows.x), hidden(asked.examples.x), module(torch.from_numpy(asked.examples.x))
    z.requires_grad_()
    values = asked.value(z)
    expected = np.zeros((len(rows), len(values)))
    for k, value in enumerate(values):
        slope = torch.autograd.grad(value, z, retain_graph=True)[0]
        for i in range(len(rows)):
            label = torch.eye(3, dtype=torch.float64)[rows.y[i]] if classes else torch.tensor([rows.y[i]])
            for q in range(len(z)):
                said = z[q].softmax(0) if classes else z[q]
                expected[i, k] -= float(mine[i] @ theirs[q] * (slope[q] @ (label - said.detach())))
    found = ActivationSimilarity(normalise=normalise, batch=8)(trained, rows, asked).values
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("normalise", ["cosine", "none"])
@pytest.mark.parametrize("classes", [3, 0])
@pytest.mark.parametrize(("model", "data"), [("float64", "float32"), ("float32", "float64")])
def test_activation_similarity_computes_in_the_models_precision(classes, normalise, model, data):
    """Rows of the other precision are turned into the model's: not a digit is lost on the way, and none is made up."""
    trained, rows, asked = problem(classes)
    trained = train(trained.model, rows, replace(trained.recipe, dtype=model))
    rows, asked = (replace(rows, x=rows.x.astype(data)), replace(asked, examples=replace(asked.examples, x=asked.examples.x.astype(data))))
    same = replace(rows, x=rows.x.astype(model)), replace(asked, examples=replace(asked.examples, x=asked.examples.x.astype(model)))
    method, kinds = ActivationSimilarity(normalise=normalise, batch=8), set()
    hidden = method._hidden

    def seen(bound: Bound, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = hidden(bound, x)
        kinds.update(str(t.dtype) for t in found)
        return found

    object.__setattr__(method, "_hidden", seen)
    values = method(trained, rows, asked).values
    assert kinds == {f"torch.{model}"}
    np.testing.assert_array_equal(values, method(trained, *same).values)


@pytest.mark.parametrize("normalise", ["cosine", "none"])
@pytest.mark.parametrize("classes", [3, 0])
@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter:UserWarning")
def test_activation_similarity_follows_the_model_to_its_device(classes, normalise, monkeypatch):
    """Tensors on "meta" hold no numbers, but meet no tensor of another device either."""
    trained, rows, asked = problem(classes)
    monkeypatch.setenv("INFLUENCE_DEVICE", "meta")
    assert load(trained).flat.is_meta
    monkeypatch.setattr(torch.Tensor, "cpu", lambda t: torch.zeros(t.shape, dtype=t.dtype) if t.is_meta else t)
    assert not ActivationSimilarity(normalise=normalise, batch=8)(trained, rows, asked).values.any()


def test_activation_similarity_says_where_there_is_no_last_hidden_layer():
    rows = examples(6, (4,))
    model = Built("conv1d")
    for what, closed in (("conv1d", False), ("bare layer", False), ("own parameter", False), ("only a norm", True)):
        trained = Trained(_Normed() if closed else replace(model, what=what), (), None)
        assert bool(ActivationSimilarity().unavailable(trained)) == closed
    bound = Bound(_Followed(), 0, "float32")
    followed = Trained(_Followed(), (checkpoint(bound.state(), 1, 0.1),), None)
    with pytest.raises(BadInput, match="last Linear layer"):
        ActivationSimilarity()(followed, replace(rows, x=rows.x.astype("f4")), question(replace(rows, x=rows.x.astype("f4"))))


class _Normed(Built):
    def __init__(self) -> None:
        super().__init__("a norm")

    def __call__(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))


class _Followed(Built):
    def __init__(self) -> None:
        super().__init__("a tanh")

    def __call__(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 3), nn.Tanh())


def test_overlap_of_lists():
    up = np.arange(10.0)
    values = np.stack([up, 2 * up, -up], axis=1)
    np.testing.assert_array_equal(overlaps(values, 3), [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(overlaps(values, 3, lowest=False), overlaps(values, 3))
    np.testing.assert_array_equal(overlaps(values, 10), np.ones((3, 3)))
    with pytest.raises(BadInput, match="at least as many rows"):
        overlaps(values, 11)


def test_random_lists_share_as_many_rows_as_chance_gives():
    found = overlaps(np.random.default_rng(0).normal(size=(2000, 12)), 200)
    assert found[~np.eye(12, dtype=bool)].mean() == pytest.approx(0.1, abs=0.02)


def test_rank_correlations_are_scipys_and_their_intervals_hold():
    rng, inside = np.random.default_rng(0), []
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's of a normal pair with Pearson's .6
    for _ in range(400):
        pair = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 60)
        r, low, high = correlations(pair)
        assert r[0, 1] == pytest.approx(spearmanr(*pair.T).statistic)
        inside.append(low[0, 1] <= truth <= high[0, 1])
    assert 0.92 <= np.mean(inside) <= 0.98
    r, low, high = correlations(np.stack([np.arange(9.0), -np.arange(9.0)], axis=1))
    assert r[0, 1] == low[0, 1] == high[0, 1] == pytest.approx(-1)
    assert np.isnan(correlations(np.arange(8.0).reshape(4, 2))[1]).all()
