"""The adapters on Captum beside TracIn: each is its formula, and each guard stands where Captum alone fails or is silently wrong."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from influence.attribution.captum_arnoldi import CaptumArnoldi, orthogonal
from influence.attribution.captum_naive import CaptumNaive, inverse_root
from influence.attribution.captum_rand_proj import CaptumRandProj
from influence.attribution.captum_similarity import CaptumSimilarity
from influence.attribution.captum_tracin import CaptumTracIn
from influence.attribution.tracin import TracIn
from influence.errors import BadInput
from influence.grads import outputs, query_gradient, row_gradients
from influence.loop import Bound, cat, tensors
from influence.losses import per_example
from influence.training import bound_at, checkpoint, load, train, train_many
from influence.types import Event, Trained
from influence.workspace import Workspace
from tests.tiny import MODULES, OTHERS, Built, Mean, bind, examples, question, recipe

EVERY = [CaptumTracIn(), CaptumTracIn("last"), CaptumRandProj(), CaptumNaive(), CaptumArnoldi(steps=10), CaptumSimilarity()]


def trained_on(kind: str = "mlp", classes: int = 3, n: int = 21, **given):
    shape = (2, 8, 8) if kind == "cnn" else (4,)
    rows, ask = examples(n, shape, classes), examples(15, shape, classes, seed=1)
    how = recipe(loss="cross_entropy" if classes else "squared", checkpoints=3, **{"lr": 0.05, "weight_decay": 0.01, **given})
    return train(bind(kind, rows), rows, how, record=64), rows, question(ask) if classes else question(ask, Mean())


def built(what: str):
    """A model that is not trained here, in float32."""
    model = Built(what)
    shape = (4,) if what in OTHERS else MODULES[what][0]
    kept = tuple(checkpoint(Bound(model, seed).state(), seed, lr) for seed, lr in ((1, 0.5), (2, 0.25)))
    rows, ask = (replace(e, x=e.x.astype("f4")) for e in (examples(9, shape), examples(7, shape, seed=1)))
    return Trained(model, kept, None), rows, question(ask)


def relative(found, truth) -> float:
    return float(np.abs(np.asarray(found) - np.asarray(truth)).max() / np.abs(np.asarray(truth)).max())


def flat_hessian(trained: Trained, rows) -> np.ndarray:
    """Hessian of the mean training loss at the final weights, by differences of gradients, (P, P): good to about 1e-9."""
    bound = load(trained)
    x, y = tensors(rows, "float64")
    start, step = bound.flat.clone(), 1e-5

    def gradient(by: torch.Tensor) -> torch.Tensor:
        bound.flat.copy_(start + by)
        return cat(torch.autograd.grad(per_example(trained.recipe.loss, bound.module(x), y).mean(), bound.params))

    h = torch.stack([(gradient(e) - gradient(-e)) / (2 * step) for e in step * torch.eye(len(start), dtype=start.dtype)])
    return h.numpy()


def gradients(trained: Trained, rows, asked) -> tuple[np.ndarray, np.ndarray]:
    """Per-row gradients (N, P) and the question's (Q, P) at the final weights."""
    bound = load(trained)
    g = row_gradients(bound, *tensors(rows, bound.dtype), trained.recipe.loss)
    return g.numpy(), query_gradient(bound, asked)[1].numpy()


# all --------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", EVERY, ids=repr)
def test_named_inputs_are_refused(method):
    trained, rows, asked = trained_on()
    with pytest.raises(BadInput, match="one array of inputs"):
        method(trained, replace(rows, x={"a": rows.x}), asked)


@pytest.mark.parametrize("method", EVERY, ids=repr)
def test_captum_works_on_the_cpu_wherever_models_live(method, monkeypatch):
    given = trained_on("logistic")
    expected = method(*given).values
    monkeypatch.setattr("influence.loop.device", lambda: torch.device("meta"))
    assert Bound(given[0].model).device.type == "meta"
    assert method.unavailable(given[0]) == ""
    np.testing.assert_array_equal(method(*given).values, expected)


@pytest.mark.parametrize("method", EVERY, ids=repr)
def test_rows_that_training_never_saw_score_zero(method):
    trained, rows, asked = trained_on("logistic")
    gone = tuple(rows.ids[[2, 5]])
    without = train(trained.model, rows, trained.recipe, removed=gone)
    scores = method(without, rows, asked).values
    assert not scores[[2, 5]].any()
    rest = method(without, rows.take(~np.isin(rows.ids, gone)), asked).values
    np.testing.assert_allclose(np.delete(scores, [2, 5], axis=0), rest, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("method", [m for m in EVERY if not isinstance(m, CaptumArnoldi)], ids=repr)
def test_little_memory_changes_no_score(method):
    given = trained_on("logistic")
    found = method(*given, workspace=Workspace(memory=0.002)).values
    np.testing.assert_allclose(found, method(*given).values, rtol=1e-8, atol=1e-12)


# rand_proj --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["logistic", "mlp", "cnn"])
def test_without_projection_it_is_tracin_on_the_last_layer(kind):
    given = trained_on(kind)
    for dimensions in (0, 4096):
        found = CaptumRandProj(dimensions, batch=8)(*given).values
        np.testing.assert_allclose(found, CaptumTracIn("last")(*given).values, rtol=1e-8, atol=1e-12)


def test_the_mean_over_projections_is_tracin_on_the_last_layer():
    given = trained_on()
    exact = CaptumTracIn("last")(*given).values
    drawn = np.stack([CaptumRandProj(64, seed)(*given).values for seed in range(60)])
    error = (drawn.mean(0) - exact) / (drawn.std(0, ddof=1) / np.sqrt(len(drawn)))
    assert np.abs(error).max() < 4.5
    assert drawn.std(0).min() > 0


def test_projection_is_the_same_in_every_block():
    given = trained_on()
    whole = CaptumRandProj(64)(*given).values
    parts = CaptumRandProj(64)(*given, workspace=Workspace(memory=0.01)).values
    np.testing.assert_allclose(parts, whole, rtol=1e-9, atol=1e-12)


def test_captum_alone_embeds_training_rows_with_the_test_loss():
    """Why both sides have one linear loss here."""
    from captum.influence import TracInCPFast, TracInCPFastRandProj
    from captum.influence._utils.nearest_neighbors import NearestNeighbors

    class NoIndex(NearestNeighbors):
        def setup(self, data):
            pass

        def get_nearest_neighbors(self, query, k):
            raise NotImplementedError

    torch.manual_seed(0)
    net, x, y = nn.Linear(4, 3, bias=False), torch.randn(9, 4), torch.arange(9) % 3
    losses = {"loss_fn": nn.CrossEntropyLoss(reduction="sum"), "test_loss_fn": nn.MultiMarginLoss(reduction="sum")}
    given = (net, net, DataLoader(TensorDataset(x, y), 9), ["a"], lambda model, path: 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = TracInCPFast(*given, **losses).influence((x[:2], y[:2])).detach()
        wrong = TracInCPFastRandProj(*given, **losses, nearest_neighbors=NoIndex()).influence((x[:2], y[:2]), k=None).detach()
    assert relative(wrong, right) > 0.1


# naive ------------------------------------------------------------------------------------------------------------------------------------


def damped_inverse(h: np.ndarray, damping: float) -> np.ndarray:
    """(h + damping)^-1 on the directions of positive curvature."""
    values, vectors = np.linalg.eigh(h)
    keep = values + damping > 1e-7
    return vectors[:, keep] / (values[keep] + damping) @ vectors[:, keep].T


@pytest.mark.parametrize(("kind", "classes"), [("logistic", 3), ("mlp", 0), pytest.param("mlp", 3, marks=pytest.mark.slow)])
def test_naive_is_its_formula(kind, classes):
    trained, rows, asked = trained_on(kind, classes)
    g, v = gradients(trained, rows, asked)
    expected = g @ damped_inverse(flat_hessian(trained, rows), 0.02 + 0.01) @ v.T / len(rows)
    for batch in (8, 64):
        np.testing.assert_allclose(CaptumNaive(0.02, batch=batch)(trained, rows, asked).values, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("what", ["layer norm", "own parameter", "tied", "used twice", "no bias"])
def test_naive_is_right_for_layers_that_captum_would_leave_out(what):
    trained, rows, asked = built(what)
    how = recipe(dtype="float64", weight_decay=0.0)
    trained = Trained(trained.model, (checkpoint(Bound(trained.model, 1, "float64").state(), 1, 1.0),), how)
    g, v = gradients(trained, rows, asked)
    expected = g @ damped_inverse(flat_hessian(trained, rows), 0.1) @ v.T / len(rows)
    assert relative(CaptumNaive(0.1)(trained, rows, asked).values, expected) < 1e-5


@pytest.mark.slow
def test_naive_foretells_retraining_of_a_model_trained_to_its_end():
    trained, rows, asked = trained_on("logistic", n=60, batch_size=60, epochs=1500, lr=0.5, schedule="constant", weight_decay=0.05)
    asked = replace(asked, queries=(Mean(),))
    scores = CaptumNaive(damping=0.0)(trained, rows, asked).values[:, 0]
    w = np.concatenate([np.ones((1, 60)), 1 - 0.2 * np.eye(60)])
    thetas = train_many(trained.model, rows, trained.recipe, w)
    value = np.array([float(asked.value(outputs(bound_at(trained.model, trained.recipe, t), asked.examples))[0]) for t in thetas])
    change = value[1:] - value[0]
    assert np.polyfit(0.2 * scores, change, 1)[0] == pytest.approx(1, abs=0.03)
    assert np.corrcoef(scores, change)[0, 1] > 0.998


@pytest.mark.parametrize("method", [CaptumNaive(0.02), CaptumArnoldi(0.02, steps=30, directions=8)], ids=repr)
def test_damping_means_the_same_for_every_number_of_rows(method):
    """All rows twice: the mean loss and its Hessian stay, each row counts half."""
    trained, rows, asked = trained_on("mlp")
    double = replace(
        rows,
        x=np.concatenate([rows.x, rows.x]),
        y=np.concatenate([rows.y, rows.y]),
        ids=np.arange(2 * len(rows)),
        columns=rows.columns.iloc[list(range(len(rows))) * 2].reset_index(drop=True),
    )
    once = method(trained, rows, asked).values
    np.testing.assert_allclose(method(trained, double, asked).values[: len(rows)], once / 2, rtol=1e-5, atol=1e-9)


def test_captum_alone_takes_eigenvectors_that_are_not_orthogonal():
    """Softmax: adding the same to all outputs changes nothing, so an eigenvalue repeats."""
    from captum.influence._utils.common import _top_eigen

    trained, rows, _ = trained_on("logistic")
    h, reg = torch.from_numpy(flat_hessian(trained, rows)), 0.01
    truth = torch.linalg.inv(h + reg * torch.eye(len(h)))
    values, vectors = _top_eigen(h.clone(), len(h), reg, 0.0)
    assert relative(vectors / values @ vectors.T, truth) > 0.1
    r = inverse_root(h, len(h), reg, 0.0)
    assert relative(r.T @ r, truth) < 1e-5


def test_captum_alone_finds_the_best_rows_for_another_question():
    from captum.influence import NaiveInfluenceFunction

    torch.manual_seed(0)
    net, x, y = nn.Linear(4, 1, bias=False), torch.randn(9, 4), torch.randn(9, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = NaiveInfluenceFunction(
            net, DataLoader(TensorDataset(x, y), 9), "", lambda model, path: 1.0,
            loss_fn=lambda z, t: ((z - t) ** 2).sum(1), test_loss_fn=lambda z, t: z.sum(1),
        )  # fmt: skip
        scores = peer.influence((x[:1], y[:1]))[0]
        best = peer.influence((x[:1], y[:1]), k=9)
    assert relative(best.influence_scores[0], scores[best.indices[0]]) > 0.1


def test_large_models_are_closed_to_naive():
    trained, rows, asked = trained_on("cnn")
    assert "the limit is 2,000. Choose captum_arnoldi" in CaptumNaive().unavailable(trained)
    with pytest.raises(BadInput, match="the limit is 2,000"):
        CaptumNaive()(trained, rows, asked)


def test_a_hessian_without_positive_curvature_is_refused():
    with pytest.raises(BadInput, match="no positive eigenvalue"):
        inverse_root(-torch.eye(3), 3, 0.5, 0.0)


# arnoldi ----------------------------------------------------------------------------------------------------------------------------------


def test_arnoldi_is_naive_on_the_same_directions():
    given = trained_on("mlp")
    few = CaptumNaive(0.02, directions=5)(*given).values
    found = CaptumArnoldi(0.02, steps=60, directions=5)(*given).values
    assert relative(found, few) < 1e-5
    assert relative(CaptumNaive(0.02)(*given).values, few) > 1e-2, "the other directions matter too"


def test_arnoldi_on_the_whole_space_is_naive():
    given = trained_on("logistic", classes=0)
    assert len(load(given[0]).flat) == 5
    assert relative(CaptumArnoldi(steps=5, directions=5, exhausted=0.0)(*given).values, CaptumNaive()(*given).values) < 1e-6


def test_vectors_that_are_not_orthogonal_are_refused():
    """Three classes of one softmax: the space ends before the parameters do, and noise follows."""
    trained, rows, asked = trained_on("logistic")
    with pytest.raises(BadInput, match="not orthogonal"):
        CaptumArnoldi(steps=200, directions=50, exhausted=0.0)(trained, rows, asked)
    assert orthogonal(2 * torch.eye(3)).sum() == 6


def test_a_space_that_does_not_fit_is_refused_before_it_is_made():
    trained, rows, asked = trained_on()
    with pytest.raises(BadInput, match=r"200 vectors of .* parameters.*1 MiB may be used\. Lower steps"):
        CaptumArnoldi()(trained, rows, asked, workspace=Workspace(memory=1))


class Unused(nn.Module):
    """Its first layer takes no part."""

    def __init__(self) -> None:
        super().__init__()
        self.spare, self.out = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x)


def test_a_parameter_that_is_not_used_moves_no_other(monkeypatch):
    """Captum alone pairs the gradients by the second layer with the first layer's share of its vectors."""
    monkeypatch.setitem(OTHERS, "unused", Unused)
    model, rows, ask = Built("unused"), examples(9), examples(7, seed=1)
    trained = Trained(model, (checkpoint(Bound(model, 1, "float64").state(), 1, 1.0),), recipe(weight_decay=0.0))
    asked, method = question(ask), CaptumArnoldi(0.1, steps=25, directions=4)
    right = method(trained, rows, asked).values
    assert relative(right, CaptumNaive(0.1, directions=4)(trained, rows, asked).values) < 0.02
    assert relative(CaptumTracIn()(trained, rows, asked).values, TracIn()(trained, rows, asked).values) < 1e-9
    monkeypatch.setattr("influence.attribution._captum_curvature.all_used", lambda *_: True)
    assert relative(method(trained, rows, asked).values, right) > 0.1
    monkeypatch.setattr("influence.attribution._captum_curvature.by_batch_is_right", lambda *_: False)
    with pytest.raises(RuntimeError, match="not have been used"):
        method(trained, rows, asked)


@pytest.mark.parametrize("method", [CaptumNaive(), CaptumArnoldi(steps=5)], ids=repr)
def test_curvature_is_kept_for_the_next_question(method, tmp_path):
    trained, rows, asked = trained_on("mlp")
    first: list[Event] = []
    whole = method(trained, rows, asked, first.append, Workspace(tmp_path))
    again: list[Event] = []
    one = method(trained, rows, replace(asked, queries=(Mean(),)), again.append, Workspace(tmp_path))
    np.testing.assert_allclose(one.values[:, 0], whole.values[:, 0], rtol=1e-9)
    assert len(again) < len(first)
    assert len(list(tmp_path.rglob("R.npy"))) == 1
    replace(method, damping=0.5)(trained, rows, asked, workspace=Workspace(tmp_path))
    assert len(list(tmp_path.rglob("R.npy"))) == 2


# similarity -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["logistic", "mlp", "cnn"])
def test_the_product_of_last_inputs_is_tracin_on_the_last_layer(kind):
    trained, rows, asked = trained_on(kind)
    final = replace(trained, checkpoints=trained.checkpoints[-1:])
    expected = CaptumTracIn("last")(final, rows, asked).values / trained.final.lr
    np.testing.assert_allclose(CaptumSimilarity("dot", batch=8)(trained, rows, asked).values, expected, rtol=1e-6, atol=1e-9)


def test_a_named_layer_with_the_cosine_is_its_formula():
    trained, rows, asked = trained_on("mlp")
    bound = load(trained)
    x, y = tensors(rows, "float64")
    t, _ = tensors(asked.examples, "float64")
    z, c = bound.module(x).detach().requires_grad_(), bound.module(t).detach().requires_grad_()
    d = torch.autograd.grad(per_example("cross_entropy", z, y).sum(), z)[0]
    h, ht = (nn.functional.normalize(bound.module[:3](part)) for part in (x, t))
    expected = [(h @ ht.T * (d @ torch.autograd.grad(value, c, retain_graph=True)[0].T)).sum(1) for value in asked.value(c)]
    found = CaptumSimilarity(layer="2", batch=8)(trained, rows, asked).values
    np.testing.assert_allclose(found, torch.stack(expected, 1).detach().numpy(), rtol=1e-6, atol=1e-9)


def test_an_unknown_layer_is_closed_with_the_known_ones():
    trained, rows, asked = trained_on("mlp")
    assert "it has: 0, 1, 2, 3" in CaptumSimilarity(layer="body").unavailable(trained)
    with pytest.raises(BadInput, match="no layer 'body'"):
        CaptumSimilarity(layer="body")(trained, rows, asked)


def test_captum_alone_fails_for_one_layer_for_a_shorter_last_batch_and_keeps_old_activations(tmp_path):
    from captum.influence import SimilarityInfluence

    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    rows, x = TensorDataset(torch.randn(6, 3)), torch.randn(2, 3)
    with pytest.raises(AttributeError, match="list"):
        SimilarityInfluence(net, "0", rows, str(tmp_path / "a"), batch_size=6).influence(x, top_k=2)
    both = SimilarityInfluence(net, ["0", "1"], rows, str(tmp_path / "b"), batch_size=4)
    with pytest.raises(RuntimeError, match="out of range"):
        both.influence(x, top_k=4)
    peer = SimilarityInfluence(net, ["0", "1"], rows, str(tmp_path / "c"), batch_size=6)
    before = peer.influence(x, top_k=6)["1"]
    nn.init.normal_(net[1].weight)
    found = peer.influence(x, top_k=6)["1"]
    right = SimilarityInfluence(net, ["0", "1"], rows, str(tmp_path / "d"), batch_size=6).influence(x, top_k=6)["1"]
    assert before[0].shape == found[0].shape
    assert not torch.allclose(found[1], right[1])


def test_activations_of_other_weights_are_not_found_again():
    trained, rows, asked = trained_on("mlp")
    other = replace(trained, checkpoints=trained.checkpoints[:1])
    first = CaptumSimilarity()(other, rows, asked).values
    CaptumSimilarity()(trained, rows, asked)
    np.testing.assert_array_equal(CaptumSimilarity()(other, rows, asked).values, first)
