"""Gradients of questions and sweeps against plain autograd, one example at a time, in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from influence.errors import BadInput, Cancelled
from influence.grads import logits, outputs, query_gradient, sweep
from influence.loop import Bound, cat, tensors
from influence.losses import per_example
from influence.types import Event
from tests.tiny import MODULES, OTHERS, Built, Mean, bind, examples, question

REGISTERED = {"logistic": (4,), "mlp": (4,), "cnn": (1, 6, 6)}


def made(kind: str, n: int = 9, seed: int = 3):
    """A bound module and rows that fit it."""
    shape = REGISTERED[kind] if kind in REGISTERED else (4,) if kind in OTHERS else MODULES[kind][0]
    rows = examples(n, shape)
    if kind == "embedding":
        rows = replace(rows, x=np.random.default_rng(1).integers(0, 7, (n, 4)))
    model = (
        bind(kind, rows, **({"hidden": "5"} if kind == "mlp" else {"channels": "4,8"} if kind == "cnn" else {}))
        if kind in REGISTERED
        else Built(kind)
    )
    return Bound(model, seed, "float64"), rows


def one_by_one(bound: Bound, x, y, loss: str, v: torch.Tensor) -> np.ndarray:
    """<grad l_i, v_q> from a whole gradient per example."""
    bound.module.eval()
    rows = []
    for i in range(len(y)):
        single = per_example(loss, bound.module(x[i : i + 1]), y[i : i + 1]).sum()
        rows.append(v @ cat(torch.autograd.grad(single, bound.params)))
    return torch.stack(rows).numpy()


def directions(bound: Bound, q: int = 3) -> torch.Tensor:
    return torch.randn(q, len(bound.flat), dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("kind", [*REGISTERED, *MODULES, *OTHERS])
def test_query_gradient_is_that_of_plain_autograd(kind):
    bound, rows = made(kind)
    asked = question(rows)
    values, gradient = query_gradient(bound, asked, batch=4)
    bound.module.eval()
    expected = asked.value(bound.module(tensors(rows, "float64")[0]))
    plain = torch.stack([cat(torch.autograd.grad(value, bound.params, retain_graph=True)) for value in expected])
    torch.testing.assert_close(values, expected.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient, plain, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared", "huber"])
@pytest.mark.parametrize("kind", ["ghost", "forward"])
@pytest.mark.parametrize("name", REGISTERED)
def test_sweep_of_registered_models(name, kind, loss):
    rows = examples(11, REGISTERED[name], classes=3 if loss == "cross_entropy" else 0)
    bound = Bound(bind(name, rows), 1, "float64")
    x, y = tensors(rows, "float64")
    v = directions(bound)
    np.testing.assert_allclose(sweep(bound, x, y, loss, v, 4, kind), one_by_one(bound, x, y, loss, v), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["ghost", "forward", "backward", "auto"])
@pytest.mark.parametrize("name", [*MODULES, "tied"])
def test_sweep_of_layers_linear_in_their_parameters(name, kind):
    bound, rows = made(name)
    x, y = tensors(rows, "float64")
    v = directions(bound)
    np.testing.assert_allclose(
        sweep(bound, x, y, "cross_entropy", v, 4, kind), one_by_one(bound, x, y, "cross_entropy", v), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("name", sorted(OTHERS.keys() - {"tied"}))
def test_other_layers_go_forward_and_refuse_ghost(name):
    bound, rows = made(name)
    x, y = tensors(rows, "float64")
    v = directions(bound)
    with pytest.raises(BadInput, match="is used otherwise"):
        sweep(bound, x, y, "cross_entropy", v, kind="ghost")
    for kind in ("auto", "forward", "backward"):
        np.testing.assert_allclose(
            sweep(bound, x, y, "cross_entropy", v, 4, kind), one_by_one(bound, x, y, "cross_entropy", v), rtol=1e-9, atol=1e-12
        )


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 12),
    width=st.integers(1, 6),
    hidden=st.lists(st.integers(1, 5), max_size=3),
    classes=st.sampled_from([0, 2, 3, 5]),
    q=st.integers(1, 4),
    batch=st.integers(1, 13),
)
def test_any_shape(n, width, hidden, classes, q, batch):
    rows = examples(n, (width,), classes)
    bound = Bound(bind("mlp", rows, hidden=hidden), 2, "float64")
    x, y = tensors(rows, "float64")
    v, loss = directions(bound, q), "cross_entropy" if classes else "squared"
    truth = one_by_one(bound, x, y, loss, v)
    assert truth.shape == (n, q)
    for kind in ("ghost", "forward"):
        np.testing.assert_allclose(sweep(bound, x, y, loss, v, batch, kind), truth, rtol=1e-8, atol=1e-11)


def test_sweep_leaves_the_module_as_it_was():
    bound, rows = made("mlp")
    before = bound.flat.clone()
    x, y = tensors(rows, "float64")
    sweep(bound, x, y, "cross_entropy", directions(bound))
    assert torch.equal(bound.flat, before)
    assert all(p.grad is None and not layer._forward_hooks for layer in bound.module.modules() for p in layer.parameters())


def test_sweep_tells_its_progress_and_can_be_stopped():
    bound, rows = made("mlp")
    x, y = tensors(rows, "float64")
    events: list[Event] = []
    sweep(bound, x, y, "cross_entropy", directions(bound), batch=4, report=events.append)
    assert [(event.done, event.total) for event in events] == [(4, 9), (8, 9), (9, 9)]

    def stop(event: Event) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        sweep(bound, x, y, "cross_entropy", directions(bound), batch=4, report=stop)


def test_outputs_do_not_depend_on_the_batch():
    bound, rows = made("cnn")
    x, _ = tensors(rows, "float64")
    torch.testing.assert_close(logits(bound, x, 2), outputs(bound, rows), rtol=1e-12, atol=1e-14)
    assert outputs(bound, rows).shape == (9, 3)


def test_a_gradient_that_overflows_is_refused():
    bound, rows = made("mlp")
    bound.flat.fill_(1e200)
    with pytest.raises(BadInput, match="not finite"):
        query_gradient(bound, question(rows, Mean()))
