"""The parts of the unlearning methods, each against what it should be."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from torch import nn

from influence import grads, training
from influence.batchnorm import weighted
from influence.errors import BadInput
from influence.loop import Loop, tensors
from influence.losses import per_example
from influence.registry import models, unlearning
from influence.types import Examples, Recipe, Selection, Trained
from influence.unlearning import _descent, _neighbours, neggrad_plus, noisy_finetune
from influence.unlearning._descent import Request, resumed, shortened, step_size
from influence.unlearning._guard import Guard, losses
from influence.unlearning._neighbours import expected_losses, neighbour_losses
from tests.tiny import Normalised, bind, examples, recipe


def cancer(flip: int = 0) -> tuple[Examples, Examples, tuple[int, ...]]:
    bunch = load_breast_cancer()
    x, ids = StandardScaler().fit_transform(bunch.data).astype(np.float32), np.arange(len(bunch.target))
    y, train = bunch.target.astype(np.int64), ids % 3 > 0
    wrong = np.random.default_rng(0).choice(ids[train], flip, replace=False)
    y[wrong] = 1 - y[wrong]
    every = Examples(x, y, ids, pd.DataFrame({"row": ids}), ("malignant", "benign"))
    return every.take(train), every.take(~train), tuple(wrong.tolist())


def fitted(train: Examples, model: str = "logistic", removed: tuple[int, ...] = (), **recipe: object) -> Trained:
    built = replace(models.make(model), inputs=train.shape, outputs=train.outputs)
    return training.train(built, train, Recipe(**{"batch_size": 32, "epochs": 30, **recipe}), removed=removed)


def mean_loss(trained: Trained, examples: Examples) -> float:
    return float(losses(training.load(trained), trained.recipe or Recipe(), examples).mean())


def accuracy(trained: Trained, examples: Examples) -> float:
    return float((grads.outputs(training.load(trained), examples).argmax(1).numpy() == examples.y).mean())


# Retraining


def test_retrain_is_training_without_the_rows():
    train, _, wrong = cancer(20)
    trained, selection = fitted(train), Selection(wrong)
    made = unlearning.make("retrain")(trained, train, selection)
    plain = fitted(train.without(selection), removed=wrong)
    assert [c.digest for c in made.checkpoints] == [c.digest for c in plain.checkpoints]
    weighted = training.train(trained.model, train, trained.recipe, weights=1.0 - train.mask(wrong))
    assert made.final.digest == weighted.final.digest, "nothing but the removal may differ"


def test_retrain_fresh_draws_weights_and_order_anew():
    train, _, wrong = cancer(20)
    trained, selection = fitted(train), Selection(wrong)
    made = unlearning.make("retrain", {"truth": "fresh", "seed": 7})(trained, train, selection)
    plain = fitted(train.without(selection), removed=wrong, seed=7)
    assert made.final.digest == plain.final.digest
    assert made.recipe.seed == 7
    assert made.claim == "L2"
    assert made.final.digest != unlearning.make("retrain")(trained, train, selection).final.digest


@pytest.mark.parametrize("first", ["retrain", "finetune", "neggrad_plus"])
def test_one_removal_after_another_ends_at_the_same_retraining(first):
    train, _, wrong = cancer(20)
    trained = fitted(train)
    once = unlearning.make(first)(trained, train, Selection(wrong[:10]))
    twice = unlearning.make("retrain")(once, train, Selection(wrong[10:]))
    assert twice.final.digest == unlearning.make("retrain")(trained, train, Selection(wrong)).final.digest
    assert set(twice.removed) == set(wrong)


# Defaults on real data


@pytest.mark.parametrize("name", ["finetune", "neggrad_plus"])
@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_breast_cancer_with_default_settings(name, model):
    train, test, wrong = cancer(20)
    trained, selection = fitted(train, model), Selection(wrong)
    made, oracle = (unlearning.make(method)(trained, train, selection) for method in (name, "retrain"))
    forget, retained = train.take(train.mask(wrong)), train.without(selection)
    assert mean_loss(made, forget) > 1.5 * mean_loss(trained, forget)
    assert accuracy(made, retained) >= accuracy(oracle, retained) - 0.01
    assert accuracy(made, test) >= accuracy(oracle, test) - 0.02


def mislabelled_digits() -> tuple[Examples, tuple[int, ...]]:
    bunch = load_digits()
    x, ids = (bunch.images[:, None] / 16).astype(np.float32), np.arange(len(bunch.target))
    y = bunch.target.astype(np.int64)
    wrong = np.random.default_rng(0).choice(ids, 60, replace=False)
    y[wrong] = (y[wrong] + 3) % 10
    return Examples(x, y, ids, pd.DataFrame({"row": ids}), tuple("0123456789")), tuple(wrong.tolist())


def test_neggrad_plus_forgets_what_fine_tuning_leaves():
    train, wrong = mislabelled_digits()
    trained = fitted(train, "mlp", batch_size=64, epochs=100)
    forget, selection = train.take(train.mask(wrong)), Selection(wrong)
    oracle, tuned, climbed = (
        mean_loss(unlearning.make(name, given)(trained, train, selection), forget)
        for name, given in (("retrain", {}), ("finetune", {"epochs": 2}), ("neggrad_plus", {"epochs": 2}))
    )
    assert tuned + 0.3 < climbed < oracle


def test_rows_that_are_not_learnt_by_heart_are_forgotten_too():
    """After a training of usual length wrong labels are surprising already; the target has to lie above that, as retraining does."""
    train, wrong = mislabelled_digits()
    trained, selection, forget = fitted(train, "mlp", batch_size=64, epochs=15), Selection(wrong), train.take(train.mask(wrong))
    by_kind = expected_losses(training.load(trained), trained.recipe, train.without(selection), forget)
    target = float(by_kind[torch.from_numpy(forget.y)].mean())
    oracle = mean_loss(unlearning.make("retrain")(trained, train, selection), forget)
    assert 1.05 * mean_loss(trained, forget) < target < 1.1 * oracle
    for name, did in (("neggrad_plus", "climbed"), ("salun", "taught other labels")):
        said: list[str] = []
        unlearning.make(name)(trained, train, selection, report=lambda event, said=said: said.append(event.note))
        assert re.fullmatch(rf"It {did} in [1-9]\d* of \d+ steps\.", said[-1])


def test_a_method_that_only_fine_tuned_says_so(monkeypatch):
    train, wrong = mislabelled_digits()
    trained, said = fitted(train, "mlp", batch_size=64, epochs=15), []
    monkeypatch.setattr(neggrad_plus, "expected_losses", lambda *asked: 0 * expected_losses(*asked))
    unlearning.make("neggrad_plus")(trained, train, Selection(wrong), report=lambda event: said.append(event.note))
    assert said[-1].startswith("It only fine-tuned")


def test_each_brake_alone_keeps_the_model_whole(monkeypatch):
    train, _, wrong = cancer(20)
    trained, selection = fitted(train, "mlp"), Selection(wrong)
    kept, forget = train.without(selection), train.take(train.mask(wrong))
    method = unlearning.make("neggrad_plus", {"alpha": 0.6, "tolerance": 0.0})
    limit = lambda *given: torch.full((2,), torch.inf)  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr(Guard, "holds", lambda self, bound: True)
        by_target = method(trained, train, selection)
        patched.setattr(neggrad_plus, "expected_losses", limit)
        free = method(trained, train, selection)
    monkeypatch.setattr(neggrad_plus, "expected_losses", limit)
    by_guard = method(trained, train, selection)
    oracle = mean_loss(unlearning.make("retrain")(trained, train, selection), forget)
    assert mean_loss(free, forget) > 10 * oracle, "climbing without end"
    assert mean_loss(by_target, forget) < 2 * oracle
    assert accuracy(by_target, kept) > accuracy(free, kept) + 0.01
    assert mean_loss(by_guard, kept) <= mean_loss(trained, kept), "the last weights that did the retained rows no harm"
    assert mean_loss(by_guard, forget) > mean_loss(trained, forget)


# The objective of NegGrad+


def test_objective_is_the_published_one():
    train, _, wrong = cancer(20)
    trained, selection = fitted(train, "mlp", dtype="float64"), Selection(wrong)
    retained, forget = train.without(selection), train.take(train.mask(wrong))
    recipe = shortened(trained, train, 1, 0, 0)
    loop = neggrad_plus._pairs(Request(trained, train, retained, forget, recipe), 0.7)
    loop.target = torch.full((len(train),), torch.inf)
    assert sum(loop.split) == len(retained)
    assert sorted(np.concatenate([at[:n] for at, n in zip(loop.batches.places, loop.split, strict=True)])) == sorted(
        np.flatnonzero(~train.mask(wrong))
    )
    x, y = tensors(train, "float64")
    kept, gone = loop.batches.places[3].split([loop.split[3], len(loop.batches.places[3]) - loop.split[3]])
    assert set(train.ids[gone]) <= set(wrong)
    by_hand = 0.7 * torch.nn.functional.cross_entropy(loop.bound.module(x[kept]), y[kept])
    by_hand = by_hand - 0.3 * torch.nn.functional.cross_entropy(loop.bound.module(x[gone]), y[gone])
    assert float(loop.losses(3).mean().detach()) == pytest.approx(float(by_hand.detach()), rel=1e-12)
    loop.braked = True
    only = 0.7 * torch.nn.functional.cross_entropy(loop.bound.module(x[kept]), y[kept])
    assert float(loop.losses(3).mean().detach()) == pytest.approx(float(only.detach()), rel=1e-12)


def test_alpha_one_is_fine_tuning():
    train, _, wrong = cancer(20)
    trained, selection = fitted(train, dtype="float64"), Selection(wrong)
    tuned = unlearning.make("finetune")(trained, train, selection)
    climbed = unlearning.make("neggrad_plus", {"alpha": 1.0})(trained, train, selection)
    a, b = (training.load(made).flat for made in (tuned, climbed))
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_a_single_row_can_be_forgotten():
    train, _, wrong = cancer(20)
    trained = fitted(train, "mlp")
    one = Selection(wrong[:1])
    made = unlearning.make("neggrad_plus")(trained, train, one)
    assert mean_loss(made, train.take(train.mask(one.ids))) > mean_loss(trained, train.take(train.mask(one.ids)))


# l1-sparse


def test_l1_sparse_descends_on_the_loss_and_the_size_of_the_weights():
    train, _, wrong = cancer(20)
    trained = fitted(train, "mlp", dtype="float64")
    retained, forget = train.without(Selection(wrong)), train.take(train.mask(wrong))
    recipe = shortened(trained, train, 1, 0, 0)
    loop, _ = unlearning.make("l1_sparse", {"gamma": 0.3}).laid_out(Request(trained, train, retained, forget, recipe))
    t, steps = 3, len(loop.batches)
    x, y = tensors(retained, "float64")
    at = loop.batches.places[t]
    loss = torch.nn.functional.cross_entropy(loop.bound.module(x[at]), y[at])
    loss = loss + 0.3 * (1 - t / steps) * sum(p.abs().sum() for p in loop.bound.params)
    by_hand = torch.cat([g.flatten() for g in torch.autograd.grad(loss, loop.bound.params)])
    torch.testing.assert_close(loop.gradient(t), by_hand, rtol=1e-10, atol=1e-12)


def test_l1_sparse_makes_weights_small():
    train, _, wrong = cancer(20)
    trained, gone = fitted(train, "mlp"), Selection(wrong)
    sizes = [float(training.load(unlearning.make("l1_sparse", {"gamma": g})(trained, train, gone)).flat.abs().sum()) for g in (0.0, 1e-3)]
    assert sizes[1] < 0.95 * sizes[0]
    plain = unlearning.make("finetune")(trained, train, gone)
    assert unlearning.make("l1_sparse", {"gamma": 0.0, "tolerance": 1.0})(trained, train, gone).final.digest == plain.final.digest


# The target


def test_neighbours_are_those_of_scikit_learn_and_the_model_speaks_of_them():
    train, test, _ = cancer(20)
    recipe, said = Recipe(dtype="float64"), torch.randn(len(train), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, log = neighbour_losses(recipe, train, said, test).numpy(), said.log_softmax(1).numpy()
    near = NearestNeighbors(n_neighbors=10).fit(train.x).kneighbors(test.x, return_distance=False)
    np.testing.assert_allclose(found, [-log[at, y].mean() for at, y in zip(near, test.y, strict=True)], rtol=1e-9)
    own = neighbour_losses(recipe, train, said, train.take(np.arange(5))).numpy()
    near = NearestNeighbors(n_neighbors=11).fit(train.x).kneighbors(train.x[:5], return_distance=False)
    for i in range(5):
        assert own[i] == pytest.approx(-log[near[i][near[i] != i], train.y[i]].mean(), rel=1e-9)


def test_neighbours_of_a_numeric_target():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    rows = Examples(x, x.sum(1), np.arange(200), pd.DataFrame(index=range(200)))
    train, test, said = rows.take(np.arange(150)), rows.take(np.arange(150, 200)), torch.from_numpy(rng.normal(size=(150, 1))).float()
    found = neighbour_losses(Recipe(loss="squared"), train, said, test).numpy()
    near = NearestNeighbors(n_neighbors=10).fit(train.x).kneighbors(test.x, return_distance=False)
    np.testing.assert_allclose(found, ((said.numpy()[near, 0] - test.y[:, None]) ** 2).mean(1), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("by_name", [False, True])
def test_neighbours_of_texts_have_their_words(by_name):
    """What is said of a text costs one label 20 and the other nothing, so that the loss tells how many neighbours are of the true class."""
    rng, n, longest = np.random.default_rng(0), 600, 30
    true, length = rng.integers(0, 2, n), rng.integers(8, longest + 1, n)
    own, any_of = 2 + 150 * true[:, None] + rng.integers(0, 150, (n, longest)), 302 + rng.integers(0, 700, (n, longest))
    words, there = np.where(rng.random((n, longest)) < 0.5, own, any_of), np.arange(longest) < length[:, None]
    tokens = np.where(there, words, 0)
    ids = {"attention_mask": there.astype(np.int64), "input_ids": np.where(there, words - 1, rng.integers(0, 1000, (n, 1)))}
    texts = Examples(ids if by_name else tokens, true, np.arange(n), pd.DataFrame(index=range(n)), ("a", "b"))
    wrong = replace(texts, y=1 - true).take(np.arange(30))
    said = 20.0 * torch.nn.functional.one_hot(torch.from_numpy(true[30:]), 2)
    assert float(neighbour_losses(Recipe(), texts.take(np.arange(30, n)), said, wrong).mean()) / 20 > 0.85


def test_target_tells_wrong_labels_from_ordinary_rows():
    train, _, wrong = cancer(20)
    trained = fitted(train, "mlp")
    bound, ordinary = training.load(trained), tuple(train.ids[~train.mask(wrong)][:40].tolist())
    for ids, low, high in ((wrong, 1.5, 4.0), (ordinary, 0.0, 0.5)):
        retained, forget = train.without(Selection(ids)), train.take(train.mask(ids))
        target = expected_losses(bound, trained.recipe, retained, forget)
        assert low <= float(target[torch.from_numpy(forget.y)].mean()) <= high


def test_target_of_a_class_without_excess_is_the_models_own_loss_less_what_its_twins_know():
    """If the forget rows are copies of the retained ones, nothing is to be forgotten; a copy has its twin for a tenth neighbour."""
    train, _, _ = cancer()
    twins = replace(train, ids=train.ids + 10_000)
    trained = fitted(train)
    bound = training.load(trained)
    target = expected_losses(bound, trained.recipe, train, twins).numpy()
    own, log = losses(bound, trained.recipe, train).numpy(), grads.outputs(bound, train).log_softmax(1).numpy()
    near = NearestNeighbors(n_neighbors=11).fit(train.x).kneighbors(train.x, return_distance=False)
    tenth = np.array([found[found != i][9] for i, found in enumerate(near)])
    known = (-log[tenth, train.y] - own) / 10
    for kind in (0, 1):
        assert target[kind] == pytest.approx((own - known)[train.y == kind].mean(), rel=1e-2)
        assert 0 < target[kind] <= own[train.y == kind].mean()


def test_target_looks_at_a_bounded_number_of_rows(monkeypatch):
    train, _, wrong = cancer(20)
    trained = fitted(train)
    monkeypatch.setattr(_neighbours, "REFERENCE", 50)
    monkeypatch.setattr(_neighbours, "ASKED", 16)
    asked: list[tuple[int, int]] = []
    inner = neighbour_losses

    def counting(recipe: Recipe, reference: Examples, said: torch.Tensor, rows: Examples) -> torch.Tensor:
        asked.append((len(reference), len(rows)))
        return inner(recipe, reference, said, rows)

    monkeypatch.setattr(_neighbours, "neighbour_losses", counting)
    expected_losses(training.load(trained), trained.recipe, train.without(Selection(wrong)), train.take(train.mask(wrong)))
    assert {reference for reference, _ in asked} == {50}
    assert max(rows for _, rows in asked) <= 32


# Step size and guard


def test_step_size_is_the_recipes_where_that_does_no_harm():
    train, _, wrong = cancer(20)
    trained = fitted(train)
    recipe = shortened(trained, train, 0, 0, 0)
    assert step_size(trained, train.without(Selection(wrong)), recipe, "", lambda event: None) == trained.recipe.lr


def test_step_size_shrinks_where_the_recipes_does_harm():
    train, _, _ = cancer(20)
    trained = fitted(train, "mlp", lr=0.02)
    recipe = replace(shortened(trained, train, 0, 0, 0), lr=8.0)
    found = step_size(trained, train, recipe, "", lambda event: None)
    assert found < 8.0
    tried = resumed(Loop, trained, train, replace(recipe, lr=found))
    tried.run(0, len(tried.batches))
    assert float(losses(tried.bound, recipe, train).mean()) < 1.2 * mean_loss(trained, train)


def test_a_given_step_size_is_used_and_its_failure_said():
    train, _, wrong = cancer(20)
    trained = fitted(train, "mlp", optimizer="sgd")
    made = unlearning.make("finetune", {"lr": 0.01})(trained, train, Selection(wrong))
    assert 0.004 < made.final.lr < 0.006, "the mean of a fall from 0.01 to 0"
    broken = replace(trained, recipe=replace(trained.recipe, weight_decay=1.0))
    with pytest.raises(BadInput, match=r"not finite .* Lower lr"):
        unlearning.make("finetune", {"lr": 10.0, "epochs": 60})(broken, train, Selection(wrong))


def test_shortened_keeps_what_belongs_to_the_model():
    train, _, _ = cancer()
    trained = fitted(train, epochs=30, dtype="float64", momentum=0.5, schedule="cosine", warmup=0.1)
    found = shortened(trained, train, 0, 0, 3)
    assert (found.epochs, found.batch_size, found.seed, found.schedule, found.warmup) == (6, 32, 3, "linear", 0.0)
    assert (found.dtype, found.momentum, found.lr, found.threads) == ("float64", 0.5, 0.05, 1)
    assert shortened(trained, train, 2, 8, 0).epochs == 2
    assert shortened(replace(trained, recipe=None), train, 0, 0, 0).loss == "cross_entropy"
    assert shortened(replace(trained, recipe=None), replace(train, classes=()), 0, 0, 0).loss == "squared"


def test_losses_are_those_of_the_recipe():
    train, _, _ = cancer()
    trained = fitted(train)
    x, y = tensors(train, "float32")
    expected = per_example("cross_entropy", training.load(trained).module(x), y)
    torch.testing.assert_close(losses(training.load(trained), trained.recipe, train), expected.detach())


def test_two_rows_must_remain():
    rows = Examples(np.eye(3, dtype=np.float32), np.arange(3, dtype=np.float32), np.arange(3), pd.DataFrame(index=range(3)))
    trained = fitted(rows, loss="squared", epochs=2)
    with pytest.raises(BadInput, match="Only 1 training rows would remain"):
        unlearning.make("retrain")(trained, rows, Selection((0, 1)))
    assert _descent.LOOKS >= 20


# Batch statistics


CARRY_ON = [name for name, cls in unlearning.classes.items() if issubclass(cls, _descent.Descent | noisy_finetune.NoisyFinetune)]


@pytest.mark.parametrize("name", CARRY_ON)
def test_a_row_left_over_has_no_batch_to_itself_where_statistics_are_taken(name):
    train = examples(20)
    trained, gone = training.train(Normalised(), train, recipe(batch_size=4, epochs=5)), Selection(tuple(train.ids[:3].tolist()))
    made = unlearning.make(name)(trained, train, gone)  # 17 rows stay
    assert torch.isfinite(training.load(made).vector()).all()
    assert made.removed == gone.ids


@dataclass(frozen=True)
class FirstNormalised:
    """A model whose batch statistics are those of its inputs, whatever its weights are."""

    inputs: tuple[int, ...] = (4,)
    outputs: int = 3

    def __call__(self) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))


@pytest.mark.parametrize("name", [name for name, cls in unlearning.classes.items() if issubclass(cls, _descent.Descent)])
def test_removed_rows_have_no_part_in_the_batch_statistics_that_stay(name):
    train = examples(40)
    trained = training.train(FirstNormalised(), train, recipe(batch_size=8, epochs=5))
    out = train.mask(train.ids[:6])
    far = replace(train, x=np.where(out[:, None], train.x + 50.0, train.x))
    found = []
    for rows in (train, far):
        loop, _ = unlearning.make(name, {"lr": 0.1}).laid_out(Request(trained, rows, rows.take(~out), rows.take(out), recipe(batch_size=8)))
        loop.bound.module.train()
        loop.run(0, len(loop.batches))
        found.append(torch.cat(loop.bound.floating()))
    assert torch.equal(*found)


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 2)])
@pytest.mark.parametrize("stay", [6, 2, 1, 0])
def test_a_batch_is_normalised_by_all_rows_and_remembered_by_those_that_stay(stay, shape):
    """A single row that stays is no measure of the others: by it alone they would be hundreds of deviations away."""
    x, kind = torch.randn(shape, dtype=torch.float64), nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    layer, all_rows, those = (kind(4, dtype=torch.float64) for _ in range(3))
    (own,) = weighted(layer)
    own.remembered = torch.arange(6) < stay
    torch.testing.assert_close(layer(x), all_rows(x), rtol=1e-12, atol=1e-12)
    if x[:stay].numel() > 4:  # of one number per channel there is no variance
        those(x[:stay])
    torch.testing.assert_close(layer.running_mean, those.running_mean)
    torch.testing.assert_close(layer.running_var, those.running_var)


def test_a_row_left_over_joins_the_batch_before_it():
    train = examples(17)
    short = recipe(batch_size=4, epochs=2, schedule="linear")
    sizes = {}
    for model in (Normalised(), bind("mlp", train)):
        trained = training.train(model, train.take(np.arange(16)), short)
        loop = resumed(Loop, trained, train, short)
        sizes[type(model)] = [len(part) for part in loop.batches.places]
        assert [np.unique(half).size for half in np.split(torch.cat(loop.batches.places).numpy(), 2)] == [17, 17], "each row once a pass"
        assert len(loop.batches.lr) == len(loop.batches)
    assert list(sizes.values()) == [[4, 4, 4, 5] * 2, [4, 4, 4, 4, 1] * 2]
    alone = resumed(Loop, training.train(bind("mlp", train), train, short), train, replace(short, batch_size=1))
    alone.norms = [nn.BatchNorm1d(1)]
    assert _descent.joined(alone, alone.batches.places) == alone.batches.places
    noisy = noisy_finetune.NoisyFinetune(noisy_steps=3).laid_out(
        training.train(Normalised(), train.take(np.arange(16)), short), train, short
    )
    assert len(noisy.batches) == 8
