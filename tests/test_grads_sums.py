"""TracIn over checkpoints by products of rows, self-influence over checkpoints, and memory that does not grow with the rows."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from influence.attribution.tracin import MANY, TracIn, own_influence
from influence.errors import BadInput
from influence.grads import Rows, mask, query_gradient, sweep
from influence.loop import tensors
from influence.queries.prediction import Prediction
from influence.training import load, train
from influence.types import Event, Question
from tests.test_grads_operations import Arch, one_by_one
from tests.tiny import Mean, bind, examples, question, recipe

SHAPES = {"mlp": (4,), "cnn": (1, 6, 6)}
MEASURE = """
import resource
import torch
from torch import nn
from influence.grads import Rows, products, self_influence, sweep
from influence.loop import Bound

torch.set_num_threads(1)

class Arch:
    inputs, outputs = (), 3
    def __call__(self):
        return nn.Sequential(nn.Linear(200, 300), nn.GELU(), nn.Linear(300, 3))

bound = Bound(Arch())
v = torch.randn(2, len(bound.flat))

def work(what, n):
    x, y = torch.zeros(1, 200).expand(n, 200), torch.zeros(n, dtype=torch.int64)
    if what == "sweep":
        sweep(bound, x, y, "cross_entropy", v)
    elif what == "products":
        products(bound, Rows(x[:4], y[:4], "cross_entropy"), Rows(x, y, "cross_entropy"), memory=8)
    else:
        self_influence(bound, x, y, "cross_entropy", memory=8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

for what in ("sweep", "products", "self-influence"):
    few = work(what, 1_500)
    print(work(what, 15_000) - few)
"""


def predictions(rows, count: int) -> Question:
    return Question(tuple(Prediction(id=str(i)) for i in rows.ids[:count]), rows)


@pytest.mark.parametrize("layers", ["all", "last"])
@pytest.mark.parametrize("kind", SHAPES)
def test_many_predictions_are_scored_by_products_as_by_sweeps(kind, layers, monkeypatch):
    rows, ask = examples(40, SHAPES[kind]), examples(20, SHAPES[kind], seed=1)
    trained = train(bind(kind, rows), rows, recipe())
    asked = predictions(ask, MANY + 2)
    asked = asked.oriented(torch.zeros(20, 3, dtype=torch.float64))
    expected = TracIn("forward", layers)(trained, rows, asked).values
    monkeypatch.setattr("influence.attribution.tracin.sweep", None)  # no sweep is called
    np.testing.assert_allclose(TracIn(layers=layers)(trained, rows, asked).values, expected, rtol=1e-8, atol=1e-12)


def test_few_values_or_values_of_many_rows_are_swept(monkeypatch):
    rows, ask = examples(40), examples(20, seed=1)
    trained = train(bind("mlp", rows), rows, recipe())
    monkeypatch.setattr("influence.attribution.tracin.products", None)
    for asked in (predictions(ask, MANY - 1), Question((*predictions(ask, MANY).queries, Mean()), ask)):
        TracIn()(trained, rows, asked.oriented(torch.zeros(20, 3, dtype=torch.float64)))


def test_last_layer_is_the_formula_with_its_parameters_alone():
    rows, asked = examples(30), question(examples(20, seed=1))
    trained = train(bind("mlp", rows), rows, recipe())
    total = 0.0
    for kept in trained.checkpoints:
        bound = load(trained, kept)
        v = query_gradient(bound, asked)[1] * mask(bound, "last")
        total = total + kept.lr * sweep(bound, *tensors(rows, "float64"), "cross_entropy", v, kind="forward")
    np.testing.assert_allclose(TracIn(layers="last")(trained, rows, asked).values, total, rtol=1e-9, atol=1e-12)


def test_progress_of_products_counts_training_rows():
    rows, ask = examples(40), examples(20, seed=1)
    trained = train(bind("mlp", rows), rows, recipe(checkpoints=2))
    events: list[Event] = []
    TracIn()(trained, rows, predictions(ask, MANY).oriented(torch.zeros(20, 3, dtype=torch.float64)), events.append)
    assert {event.total for event in events} == {80}
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert events[-1].done == 80


@pytest.mark.parametrize("kind", SHAPES)
def test_own_influence_is_its_formula(kind):
    rows = examples(12, SHAPES[kind])
    trained = replace(train(bind(kind, rows), rows, recipe()), removed=(rows.ids[3],))
    expected = np.zeros(12)
    for kept in trained.checkpoints:
        bound = load(trained, kept)
        bound.module.eval()
        expected += kept.lr * one_by_one(bound, Rows(*tensors(rows, "float64"), "cross_entropy")).square().sum(1).numpy()
    expected[3] = 0
    np.testing.assert_allclose(own_influence(trained, rows), expected, rtol=1e-9)


def test_a_question_may_touch_frozen_and_unused_parameters():
    bound, rows = load(train(bind("mlp", examples(9)), examples(9), recipe())), examples(9)
    bound.params[0].requires_grad_(False)
    _, v = query_gradient(bound, question(rows))
    assert (bound.views(v)[0] == 0).all()
    assert (bound.views(v)[1] != 0).any()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows():
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    more = [float(line) for line in done.stdout.split()]
    assert max(more) < 12, f"{more} MiB more for 13,500 more rows; their gradients would take 3,300, what their layers say 31"


def test_forward_alone_says_where_it_cannot_go():
    from torch import nn
    from torch.nn.utils.parametrizations import weight_norm

    from influence.loop import Bound

    bound = Bound(Arch(lambda: weight_norm(nn.Linear(4, 3))), 0, "float64")
    with pytest.raises(BadInput, match="Choose the auto or backward sweep"):
        sweep(
            bound,
            torch.randn(3, 4).double(),
            torch.zeros(3, dtype=torch.int64),
            "cross_entropy",
            torch.zeros(1, len(bound.flat)).double(),
            kind="forward",
        )
