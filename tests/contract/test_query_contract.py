"""What every registered query must hold to; a new file in `influence/queries/` is tested here without another line."""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from influence.digest import digest
from influence.errors import BadInput
from influence.registry import described, queries
from influence.types import Examples, Question
from tests.questions import KINDS, filled, outputs, rows

NAMES = sorted(queries.classes)


def fits(name: str, kind: str) -> bool:
    """Whether the query can be asked of this kind of target; all can be asked of classes."""
    if KINDS[kind]:
        return True
    examples = rows(kind)
    try:
        filled(queries, name).value(outputs(examples), examples)
    except BadInput:
        return False
    return True


CASES = [pytest.param(name, kind, id=f"{name}-{kind}") for name in NAMES for kind in KINDS if fits(name, kind)]
REFUSED = [name for name in NAMES if not fits(name, "number")]


def asked(name: str, kind: str) -> tuple[Any, Examples, torch.Tensor]:
    """An oriented query, its rows and the outputs it was oriented on."""
    examples = rows(kind)
    logits = outputs(examples)
    return filled(queries, name).oriented(logits, examples), examples, logits


def test_kinds_of_target_are_covered():
    assert {case.values[1] for case in CASES} == set(KINDS)


@pytest.mark.parametrize("name", NAMES)
def test_is_settings_only(name):
    cls = queries.classes[name]
    assert is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    query = filled(queries, name)
    assert queries.make(**described(query)) == query
    assert query.better in ("lower", "higher", "neither")
    assert isinstance(hash(query), int)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_labels_fit_the_values(name, kind):
    query, examples, logits = asked(name, kind)
    value, measured = query.value(logits, examples), query.measured(logits, examples)
    assert value.shape == measured.shape == (len(query.labels),)
    assert value.dtype == measured.dtype == torch.float64
    assert torch.isfinite(value).all()
    assert torch.isfinite(measured).all()
    for label in (*query.labels, query.measured_label):
        assert re.fullmatch(r"[A-Z]\S*( \S+)*", label), f"{label!r} is no name for people"
    assert len(set(query.labels)) == len(query.labels)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_gradient_is_that_of_finite_differences_twice(name, kind):
    query, _, _ = asked(name, kind)
    examples = rows(kind, n=100, seed=4)
    free = outputs(examples).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: query.value(z, examples), free, atol=1e-7)
    # Second derivatives along two directions: all of them would take (M C) squared evaluations.
    along = torch.from_numpy(np.random.default_rng(5).normal(size=(2, *free.shape)))
    step = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda e: query.value(free.detach() + torch.tensordot(e, along, 1), examples), step, atol=1e-6)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_value_has_a_gradient(name, kind):
    query, examples, logits = asked(name, kind)
    free = logits.clone().requires_grad_()
    for value in query.value(free, examples):
        (found,) = torch.autograd.grad(value, free, retain_graph=True)
        assert found.abs().max() > 0


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_orienting_fixes_a_functional(name, kind):
    query, examples, logits = asked(name, kind)
    other, holdout = outputs(examples, seed=7, pull=-2.0), rows(kind, n=190, seed=11)
    assert query.oriented(logits, examples) == query
    assert query.oriented(other, examples) == query
    assert query.oriented(outputs(holdout), holdout) == query
    torch.testing.assert_close(filled(queries, name).value(logits, examples), query.value(logits, examples))
    torch.testing.assert_close(filled(queries, name).measured(logits, examples), query.measured(logits, examples))
    assert torch.isfinite(query.value(outputs(holdout), holdout)).all()


@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if "gap" in case.values[0]])
def test_gaps_are_not_negative_where_they_were_oriented_and_may_be_elsewhere(name, kind):
    signs = set()
    for seed in range(6):
        examples = rows(kind, seed=seed)
        query = filled(queries, name).oriented(outputs(examples, seed), examples)
        assert query.value(outputs(examples, seed), examples) >= 0
        signs |= {bool(query.value(outputs(examples, other), examples) < 0) for other in range(20, 26)}
        assert query.measured(outputs(examples, seed + 50), examples) >= 0
    assert signs == {True, False}


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_order_of_rows_is_nothing(name, kind):
    query, examples, logits = asked(name, kind)
    order = np.random.default_rng(2).permutation(len(examples))
    shuffled, moved = examples.take(order), logits[torch.from_numpy(order)]
    torch.testing.assert_close(query.value(moved, shuffled), query.value(logits, examples))
    torch.testing.assert_close(query.measured(moved, shuffled), query.measured(logits, examples))
    assert filled(queries, name).oriented(moved, shuffled) == query


@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if case.values[1] != "number"])
def test_only_differences_of_outputs_count(name, kind):
    query, examples, logits = asked(name, kind)
    shift = torch.linspace(-3, 3, len(examples), dtype=torch.float64)[:, None]
    torch.testing.assert_close(query.value(logits + shift, examples), query.value(logits, examples))
    torch.testing.assert_close(query.measured(logits + shift, examples), query.measured(logits, examples))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_single_precision_is_enough(name, kind):
    query, examples, logits = asked(name, kind)
    assert query.value(logits.float(), examples).dtype == torch.float32
    torch.testing.assert_close(query.value(logits.float(), examples).double(), query.value(logits, examples), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(query.measured(logits.float(), examples).double(), query.measured(logits, examples), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if case.values[1] != "number"])
def test_sure_models_give_finite_answers(name, kind):
    query, examples, logits = asked(name, kind)
    free = (logits * 1e4).float().requires_grad_()
    value = query.value(free, examples)
    (found,) = torch.autograd.grad(value.sum(), free)
    assert torch.isfinite(value).all()
    assert torch.isfinite(found).all()
    assert torch.isfinite(query.measured(free.detach(), examples)).all()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_inputs_stay_as_they_were(name, kind):
    query, examples, logits = asked(name, kind)
    before, table, y = logits.clone(), examples.columns.copy(), examples.y.copy()
    query.value(logits, examples)
    query.measured(logits, examples)
    filled(queries, name).oriented(logits, examples)
    assert torch.equal(logits, before)
    assert (examples.y == y).all()
    pd.testing.assert_frame_equal(examples.columns, table)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_identity_tells_questions_apart(name, kind):
    query, examples, logits = asked(name, kind)
    again = filled(queries, name).oriented(logits, examples)
    assert digest(again) == digest(query)
    others = [digest(filled(queries, other).oriented(logits, examples)) for other in NAMES if other != name and fits(other, kind)]
    assert digest(query) not in others
    assert Question((query,), examples).digest != Question((query,), rows(kind, seed=1)).digest


@pytest.mark.parametrize("name", REFUSED)
def test_a_numeric_target_is_refused_in_a_sentence(name):
    examples = rows("number")
    for act in ("value", "measured"):
        with pytest.raises(BadInput, match=r"^[A-Z].* .*\.$"):
            getattr(filled(queries, name), act)(outputs(examples), examples)


GROUPED = [name for name in NAMES if "group" in {f.name for f in queries.classes[name].__dataclass_fields__.values()}]


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("group", ["nothing", ""])
def test_an_unknown_column_is_refused_with_the_known_ones(name, group):
    examples = rows()
    for act in ("oriented", "value", "measured"):
        with pytest.raises(BadInput, match=r"there are: group, age\."):
            getattr(filled(queries, name, group=group), act)(outputs(examples), examples)


@pytest.mark.parametrize("name", [name for name in NAMES if "positive" in queries.classes[name].__dataclass_fields__])
def test_an_unknown_class_is_refused_with_the_known_ones(name):
    examples = rows("three")
    for act in ("oriented", "value", "measured"):
        with pytest.raises(BadInput, match=r"'maybe'; there are: bad, fair, good\."):
            getattr(filled(queries, name, positive="maybe"), act)(outputs(examples), examples)
