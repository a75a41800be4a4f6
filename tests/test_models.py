"""Every architecture: shapes, determinism, derivatives of all kinds, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jvp

from influence.attribution.tracin import TracIn
from influence.errors import BadInput
from influence.grads import outputs, sweep
from influence.loop import Bound, cat, tensors
from influence.losses import per_example
from influence.registry import models
from influence.replay import walk
from influence.training import bound_at, load, train, train_many
from influence.types import Examples
from tests.tiny import Mean, bind, examples, question, recipe

WORDS = 9
BERT = {
    "model_type": "bert", "vocab_size": WORDS, "pad_token_id": WORDS - 1, "hidden_size": 8, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 12, "max_position_embeddings": 9, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
GRAPH = {
    "x": ["x", "float32", [5]], "y": "out",
    "tensors": {
        "w": ["first.weight", "parameter", [6, 5], "float32"], "b": ["first.bias", "parameter", [6], "float32"],
        "s": ["scale.weight", "parameter", [6], "float32"], "v": ["last.weight", "parameter", [3, 6], "float32"],
    },
    "nodes": [
        ["aten.linear.default", {"input": {"of": "x"}, "weight": {"of": "w"}, "bias": {"of": "b"}}, ["h"]],
        ["aten.gelu.default", {"self": {"of": "h"}}, ["g"]],
        ["aten.mul.Tensor", {"self": {"of": "g"}, "other": {"of": "s"}}, ["m"]],
        ["aten.linear.default", {"input": {"of": "m"}, "weight": {"of": "v"}}, ["out"]],
    ],
}  # fmt: skip
KINDS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "logistic": ((5,), {}),
    "mlp": ((5,), {"hidden": "6,4"}),
    "mlp relu": ((5,), {"hidden": "6,4", "activation": "relu"}),
    "cnn": ((2, 6, 6), {"channels": "4,8"}),
    "cnn flatten": ((2, 7, 6), {"channels": "4,8", "head": "flatten"}),
    "resnet9": ((3, 8, 8), {"width": 8}),
    "resnet9 relu": ((3, 9, 11), {"width": 8, "activation": "relu"}),
    "resnet9 batch": ((3, 8, 8), {"width": 8, "norm": "batch"}),
    "resnet18": ((3, 8, 8), {"width": 8}),
    "resnet18 batch": ((3, 9, 11), {"width": 8, "norm": "batch", "activation": "relu"}),
    "resnet18 large": ((3, 32, 33), {"width": 8, "stem": "large"}),
    "transformer": ((6,), {"vocabulary": WORDS, "width": 8, "heads": 2, "layers": 2, "ratio": 2}),
    "bag": ((6,), {"vocabulary": WORDS, "width": 5, "hidden": "4,3"}),
    "huggingface": ((6,), {"config": json.dumps(BERT)}),
    "graph": ((5,), {"graph": json.dumps(GRAPH)}),
    "ensemble": ((5,), {"member": json.dumps({"name": "mlp", "given": {"hidden": "6"}}), "members": 2}),
}
"""Shape of one input and settings: small, but every layer is there."""
TEXTS = ("transformer", "bag", "huggingface")


def texts(n: int, length: int, seed: int = 0) -> np.ndarray:
    """Token ids of texts of different lengths, 0 behind the end; the first has no token at all."""
    rng = np.random.default_rng(seed)
    ends = np.arange(n) % (length + 1)
    return np.where(np.arange(length) < ends[:, None], rng.integers(1, WORDS, (n, length)), 0)


def rows_for(kind: str, n: int = 7, seed: int = 0) -> Examples:
    rows = examples(n, KINDS[kind][0], seed=seed)
    if kind not in TEXTS:
        return rows
    x = texts(n, *rows.shape, seed)
    x[0, 0] = 2 * (kind == "huggingface")  # its text of no token is one of padding, whose vector moves answers and does not learn
    return replace(rows, x=x)


def made(kind: str, rows: Examples) -> Any:
    if kind == "huggingface":
        pytest.importorskip("transformers", exc_type=ImportError)
    return bind(kind.split()[0], rows, **KINDS[kind][1])


def bound_for(kind: str, n: int = 7) -> tuple[Bound, Any, torch.Tensor]:
    rows = rows_for(kind, n)
    bound = Bound(made(kind, rows), 1, "float64")
    bound.module.eval()
    return bound, *tensors(rows, "float64")


def test_every_architecture_is_tested():
    assert {kind.split()[0] for kind in KINDS} == set(models.classes)


@pytest.mark.parametrize("kind", KINDS)
def test_one_line_of_outputs_per_row_whatever_its_neighbours(kind):
    bound, x, _ = bound_for(kind)
    whole = bound.module(x)
    assert whole.shape == (7, 3)
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(torch.cat([bound.module(x[i : i + 1]) for i in range(7)]), whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_follow_from_the_seed(kind):
    model = made(kind, rows_for(kind))
    first, again, other = (Bound(model, seed).flat for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def losses_of(bound: Bound, x: Any, y: torch.Tensor):
    return lambda p: per_example("cross_entropy", functional_call(bound.module, p, (x,)), y)


def weights_and_direction(bound: Bound) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    v = torch.randn(len(bound.flat), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    v, at = v / v.norm(), [p.detach() for p in bound.params]
    return dict(zip(bound.names, at, strict=True)), dict(zip(bound.names, bound.views(v), strict=True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, of what it loads at the first jvp
@pytest.mark.parametrize("kind", KINDS)
def test_forward_derivative_is_the_difference_quotient(kind):
    bound, x, y = bound_for(kind)
    at, along = weights_and_direction(bound)
    losses = losses_of(bound, x, y)
    found = jvp(losses, (at,), (along,))[1]
    h = 1e-5
    ahead, behind = (losses({name: at[name] + step * along[name] for name in at}) for step in (h, -h))
    torch.testing.assert_close(found, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_product_with_the_hessian_is_the_difference_quotient(kind):
    bound, x, y = bound_for(kind)
    at, along = weights_and_direction(bound)

    def gradient(step: float, graph: bool = False) -> tuple[list[torch.Tensor], tuple[torch.Tensor, ...]]:
        moved = [(at[name] + step * along[name]).requires_grad_() for name in at]
        loss = losses_of(bound, x, y)(dict(zip(at, moved, strict=True))).sum()
        return moved, torch.autograd.grad(loss, moved, create_graph=graph)

    moved, grads = gradient(0, graph=True)
    found = cat(torch.autograd.grad(grads, moved, list(along.values()), materialize_grads=True))
    h = 1e-5
    quotient = (cat(gradient(h)[1]) - cat(gradient(-h)[1])) / (2 * h)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, quotient, rtol=1e-5, atol=1e-6 * float(found.norm()))


@pytest.mark.parametrize("way", ["ghost", "forward", "backward"])
@pytest.mark.parametrize("kind", KINDS)
def test_sweep_is_one_gradient_at_a_time(kind, way):
    bound, x, y = bound_for(kind)
    v = torch.randn(2, len(bound.flat), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    one_by_one = []
    for i in range(len(y)):
        loss = per_example("cross_entropy", bound.module(x[i : i + 1]), y[i : i + 1]).sum()
        one_by_one.append(v @ cat(torch.autograd.grad(loss, bound.params)))
    np.testing.assert_allclose(sweep(bound, x, y, "cross_entropy", v, 4, way), torch.stack(one_by_one).numpy(), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_many_side_by_side_are_the_same_as_one(kind):
    rows = rows_for(kind, 12)
    how = recipe(epochs=1, checkpoints=1)
    weights = np.ones((2, 12))
    weights[1, [2, 5]] = 0
    together = train_many(made(kind, rows), rows, how, weights)
    for r, w in enumerate(weights):
        alone = load(train(made(kind, rows), rows, how, w)).vector()
        torch.testing.assert_close(together[r], alone, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_metagradient_is_the_difference_quotient_of_retraining(kind):
    rows = rows_for(kind, 12)
    model, how, asked = made(kind, rows), recipe(epochs=2, checkpoints=1, lr=0.01, batch_size=6), question(rows_for(kind, 6, 1), Mean())
    slope = walk(train(model, rows, how), rows, asked).slope[:, 0]
    direction = np.random.default_rng(0).normal(size=12)
    h = 1e-5
    thetas = train_many(model, rows, how, np.stack([1 + h * direction, 1 - h * direction]))
    values = [float(asked.value(outputs(bound_at(model, how, theta), asked.examples))) for theta in thetas]
    assert (values[0] - values[1]) / (2 * h) == pytest.approx(slope @ direction, rel=1e-4, abs=1e-8)


def test_padding_changes_nothing():
    rows = rows_for("transformer")
    bound, x, _ = bound_for("transformer")
    longer = replace(made("transformer", rows), inputs=(9,))
    wide = Bound(longer, 1, "float64").module
    state = bound.module.state_dict()
    state["places.weight"] = torch.cat([state["places.weight"], torch.ones(3, 8, dtype=torch.float64)])
    wide.load_state_dict(state)
    padded = torch.cat([x, torch.zeros(len(x), 3, dtype=x.dtype)], 1)
    torch.testing.assert_close(wide(padded), bound.module(x), rtol=1e-12, atol=1e-13)
    moved = x.flip(1)
    assert not torch.allclose(bound.module(moved)[1:], bound.module(x)[1:])  # places do count


def test_dropout_is_for_training_alone():
    for kind in ("mlp", "transformer", "bag"):
        rows = rows_for(kind)
        module, (x, _) = Bound(replace(made(kind, rows), dropout=0.5), 1, "float64").module, tensors(rows, "float64")
        assert not torch.equal(module.train()(x), module(x))
        assert torch.equal(module.eval()(x), module(x))
        assert any(isinstance(layer, nn.Dropout) and layer.p == 0.5 for layer in module.modules())


def test_what_old_settings_build_stays():
    rows = rows_for("mlp")
    assert [type(layer) for layer in made("mlp", rows)()] == [nn.Flatten, nn.Linear, nn.GELU, nn.Linear, nn.GELU, nn.Linear]


def test_resnet9_has_the_size_of_its_line():
    model = replace(models.make("resnet9"), inputs=(3, 32, 32), outputs=10)
    convolutions = [layer for layer in model().modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64, 128, 128, 128, 256, 512, 512, 512]
    assert sum(p.numel() for p in model().parameters()) == pytest.approx(6.57e6, rel=0.01)


def test_resnet18_has_the_size_of_the_papers_at_both_kinds_of_image():
    """He et al., table 1; 11,689,512 is what torchvision documents for resnet18 with 1000 classes."""
    for side, classes, said in ((224, 1000, 11_689_512), (32, 10, 11_173_962)):
        module = replace(models.make("resnet18", {"norm": "batch"}), inputs=(3, side, side), outputs=classes)()
        assert sum(p.numel() for p in module.parameters()) == said
        first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
        assert first.kernel_size == ((7, 7) if side == 224 else (3, 3))


@pytest.mark.parametrize(
    ("kind", "shape", "given", "said"),
    [
        ("resnet9", (5,), {}, "needs images"),
        ("resnet9", (1, 6, 6), {}, "at least 8 x 8"),
        ("resnet9", (3, 8, 8), {"width": 12}, "multiple of 8; got 12"),
        ("resnet18", (5,), {}, "needs images"),
        ("resnet18", (3, 6, 6), {}, "at least 8 x 8"),
        ("resnet18", (3, 31, 40), {"stem": "large"}, "at least 32 x 32"),
        ("resnet18", (3, 8, 8), {"width": 12}, "multiple of 8; got 12"),
        ("transformer", (3, 8, 8), {}, "lists of token ids"),
        ("transformer", (5,), {"width": 10, "heads": 4}, "multiple of heads; got 10 and 4"),
        ("cnn", (5,), {}, "needs images"),
        ("bag", (3, 8, 8), {}, "lists of token ids"),
        ("huggingface", (5,), {}, "needs its config.json"),
        ("graph", (5,), {}, "comes with its weights"),
    ],
)
def test_what_does_not_fit_is_refused(kind, shape, given, said):
    with pytest.raises(BadInput, match=said):
        replace(models.make(kind, given), inputs=shape, outputs=2)()


@pytest.mark.parametrize(("kind", "given"), [("transformer", {"width": 8, "heads": 2}), ("bag", {})])
def test_measurements_are_no_texts(kind, given):
    rows = examples(8, (6,))
    model = bind(kind, rows, vocabulary=WORDS, **given)
    with pytest.raises(BadInput, match="whole numbers"):
        train(model, rows, recipe())


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_model_is_trained_and_explained(kind):
    rows = rows_for(kind, 40)
    y = (rows.x == 3).any(1).astype(np.int64)
    rows = replace(rows, y=y, classes=("without", "with"))
    how = {**models.classes[kind].usual(40), "lr": 0.02, "eps_root": 1e-8, "epochs": 20, "batch_size": 10}
    trained = train(made(kind, rows), rows, recipe(**how))
    right = outputs(load(trained), rows).argmax(1).numpy() == y
    assert right.mean() > 0.9
    assert np.isfinite(TracIn()(trained, rows, question(rows, Mean())).values).all()


def test_the_weights_of_the_usual_resnet18_answer_as_they_did():
    """Its names, layers and order as torchvision's, written out here: only a probe tells ReLU and the largest value from others."""
    from influence.exchange.matching import Probe, matched

    class Basic(nn.Module):
        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
            self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
            if stride != 1:
                self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

        def forward(self, x):
            beside = self.downsample(x) if hasattr(self, "downsample") else x
            return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + beside).relu()

    class Usual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
            for k, (before, after) in enumerate(((8, 8), (8, 16), (16, 32), (32, 64)), 1):
                setattr(self, f"layer{k}", nn.Sequential(Basic(before, after, 1 + (k > 1)), Basic(after, after, 1)))
            self.fc = nn.Linear(64, 4)

        def forward(self, x):
            x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
            return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3)))

    torch.manual_seed(0)
    module, x = Usual(), torch.randn(6, 3, 64, 64)
    module.train()(x)
    module.eval()
    with torch.no_grad():
        said = module(x).numpy()
    found = matched(module.state_dict(), (3, 64, 64), 4, probe=Probe(x.numpy(), said))
    assert (found.model.id, found.model.norm, found.model.activation, found.model.pooling) == ("resnet18", "batch", "relu", "max")
    assert found.off < 1e-6
