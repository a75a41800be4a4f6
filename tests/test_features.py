"""What inputs add to an answer: against closed forms and integrals by hand in float64; that parts add up; tokens with the mask as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from influence import features
from influence.errors import BadInput
from influence.loop import tensors
from influence.queries._groups import log_odds
from influence.training import load, train
from tests.tiny import bind, examples, recipe

torch.set_num_threads(1)


def trained(kind: str, classes: int, **given):
    rows = examples(24, (4,), classes)
    how = recipe(loss="cross_entropy" if classes else "squared", checkpoints=1, lr=0.05)
    bound = load(train(bind(kind, rows, **given), rows, how))
    x, _ = tensors(rows, bound.dtype)
    return bound, x


def value(c: int | None):
    return (lambda z: z[:, 0]) if c is None else (lambda z: log_odds(z, torch.full((len(z),), c)))


@pytest.mark.parametrize("classes", [2, 0])
def test_of_a_linear_model_they_are_weights_times_distances(classes):
    bound, x = trained("logistic", classes)
    w = dict(bound.module.named_parameters())
    weights = next(p for p in w.values() if p.dim() == 2).detach()
    slope = (weights[1] - weights[0]) if classes else weights[0]
    found = features.of_numbers(bound, x[3], x.mean(0), value(1 if classes else None))
    np.testing.assert_allclose(found.values, (slope * (x[3] - x.mean(0))).numpy(), rtol=1e-7)
    assert found.gap < 1e-7  # Captum's step sizes are of single precision


@pytest.mark.parametrize("classes", [3, 0])
def test_of_a_perceptron_they_are_the_integral_by_hand(classes):
    bound, x = trained("mlp", classes, hidden="5")
    of = value(2 if classes else None)
    row, base = x[7], x.mean(0)
    found = features.of_numbers(bound, row, base, of)
    total = torch.zeros(4, dtype=torch.float64)
    points = 1500
    for k in range(points):  # the midpoint rule: another sum than Captum's
        at = (base + (k + 0.5) / points * (row - base)).requires_grad_()
        total += torch.autograd.grad(of(bound.module(at[None]))[0], at)[0] / points
    np.testing.assert_allclose(found.values, (total * (row - base)).numpy(), rtol=1e-5, atol=1e-8)
    with torch.no_grad():
        ends = of(bound.module(torch.stack([row, base])))
    assert (found.value, found.baseline) == (pytest.approx(float(ends[0])), pytest.approx(float(ends[1])))
    assert found.complete


def test_steps_are_doubled_until_the_parts_add_up(monkeypatch):
    monkeypatch.setattr(features, "MOST", 512)
    bound, x = trained("mlp", 0, hidden="5")
    steep = value(None)

    def steps(sharp: float) -> features.Parts:
        with torch.no_grad():
            middle = steep(bound.module((x[7] + x.mean(0))[None] / 2))
        return features.of_numbers(bound, x[7], x.mean(0), lambda z: (sharp * (steep(z) - middle)).sigmoid())

    easy, hard, beyond = steps(1), steps(300), steps(1e8)
    assert easy.steps == features.FIRST
    assert features.FIRST < hard.steps < features.MOST
    assert (easy.complete, hard.complete) == (True, True)
    assert beyond.steps == features.MOST
    assert not beyond.complete


TEXTS = np.array([[3, 4, 5, 6, 0, 0], [6, 2, 0, 0, 0, 0]])


def reader(kind: str):
    """A model of texts in float64 that has learnt nothing, and the vectors of its tokens, padding's among them."""
    from influence.loop import Bound
    from influence.registry import models

    given = {"vocabulary": 9, "width": 4, **({"heads": 2} if kind == "transformer" else {})}
    bound = Bound(models.classes[kind](inputs=(6,), outputs=2, **given), dtype="float64")
    bound.module.eval()
    with torch.no_grad():
        bound.module.tokens.weight.mul_(30)  # from the small vectors of a new table to ones that bend
    return bound, bound.module.tokens.weight


@pytest.mark.parametrize("kind", ["bag", "transformer"])
def test_tokens_begin_at_padding_with_the_mask_as_it_is(kind):
    bound, vectors = reader(kind)
    x, of = torch.from_numpy(TEXTS[0]), value(1)
    found = features.of_tokens(bound, x, torch.zeros(6, dtype=torch.bool), of)
    before = vectors.detach().clone()
    with torch.no_grad():
        said = float(of(bound.module(x[None]))[0])
        vectors.copy_(before[:1].expand_as(before))  # every token now has padding's vector, and is still there
        nothing = float(of(bound.module(x[None]))[0])
        vectors.copy_(before)
    assert (found.value, found.baseline) == (pytest.approx(said), pytest.approx(nothing))
    assert abs(said - nothing) > 1e-3
    assert found.values.sum() == pytest.approx(said - nothing, abs=features.CLOSE * np.abs(found.values).sum() + 1e-6)
    assert found.values[:4].all()
    assert not found.values[4:].any()  # padding adds nothing to padding
    assert torch.equal(vectors, before)


def test_tokens_of_a_bag_are_the_integral_by_hand():
    bound, vectors = reader("bag")
    x, of = torch.from_numpy(TEXTS[0]), value(0)
    found = features.of_tokens(bound, x, torch.zeros(6, dtype=torch.bool), of)
    there, none, points = vectors[x].detach(), vectors[0].detach().expand(6, -1), 3000
    total = torch.zeros(6, 4, dtype=torch.float64)
    for k in range(points):
        at = (none + (k + 0.5) / points * (there - none)).requires_grad_()
        mean = at[:4].mean(0, keepdim=True)
        total += torch.autograd.grad(of(bound.module.layers(mean))[0], at)[0] / points
    np.testing.assert_allclose(found.values, (total * (there - none)).sum(1).numpy(), rtol=1e-4, atol=1e-8)


def test_tokens_that_are_kept_add_nothing():
    bound, _ = reader("transformer")
    kept = torch.tensor([True, False, False, True, False, False])
    found = features.of_tokens(bound, torch.from_numpy(TEXTS[0]), kept, value(1))
    assert not found.values[kept.numpy()].any()
    assert found.values[1:3].all()


class TwoTables(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Embedding(9, 3), nn.Embedding(9, 3)

    def forward(self, x):
        return (self.one(x) * self.other(x)).sum((1, 2))[:, None]


def test_a_model_with_two_tables_is_refused():
    with pytest.raises(BadInput, match="one table of vectors"):
        features._table(TwoTables(), torch.from_numpy(TEXTS))


def test_what_is_not_finite_is_refused():
    bound, x = trained("logistic", 2)
    with pytest.raises(BadInput, match="not finite"):
        features.of_numbers(bound, x[0], x.mean(0), lambda z: z[:, 0] * torch.inf)
