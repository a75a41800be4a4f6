"""What every registered evaluation must hold to; a new file in `influence/evaluation/` is tested here without another line."""

from __future__ import annotations

import re
from dataclasses import is_dataclass

import numpy as np
import pandas as pd
import pytest

from influence.errors import BadInput
from influence.registry import described, evaluation
from influence.types import Examples
from tests.questions import KINDS, filled, outputs, rows

NAMES = sorted(evaluation.classes)
COLUMNS = ["metric", "group", "value", "low", "high", "n", "better"]


def fits(name: str, kind: str) -> bool:
    """Whether the evaluation applies to this kind of target; all apply to classes."""
    if KINDS[kind]:
        return True
    try:
        table(name, kind)
    except BadInput:
        return False
    return True


def logits_of(examples: Examples, seed: int = 0) -> np.ndarray:
    return outputs(examples, seed).numpy()


def table(name: str, kind: str, reference: bool = False) -> pd.DataFrame:
    examples = rows(kind)
    return filled(evaluation, name)(logits_of(examples), examples, logits_of(examples, 5) if reference else None)


CASES = [pytest.param(name, kind, id=f"{name}-{kind}") for name in NAMES for kind in KINDS if fits(name, kind)]


def test_kinds_of_target_are_covered():
    assert {case.values[1] for case in CASES} == set(KINDS)


@pytest.mark.parametrize("name", NAMES)
def test_is_settings_only(name):
    cls = evaluation.classes[name]
    assert is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    measure = filled(evaluation, name)
    assert evaluation.make(**described(measure)) == measure


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_row_is_complete(name, kind, reference):
    found = table(name, kind, reference)
    assert list(found.columns) == COLUMNS
    assert len(found)
    assert not found.duplicated(["metric", "group"]).any()
    assert found["metric"].map(lambda metric: bool(re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", metric))).all()
    assert found["group"].map(lambda group: isinstance(group, str)).all()
    assert found["better"].isin(["lower", "higher", "neither"]).all()
    assert found["n"].dtype.kind == "i"
    assert found["n"].between(1, 150).all()
    assert np.isfinite(found["value"]).all()
    enough = found["n"] >= 10
    assert (found.loc[enough, "low"] <= found.loc[enough, "value"]).all()
    assert (found.loc[enough, "value"] <= found.loc[enough, "high"]).all()


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_same_twice_in_any_order_of_rows(name, kind, reference):
    examples = rows(kind)
    z, other = logits_of(examples), logits_of(examples, 5) if reference else None
    order = np.random.default_rng(3).permutation(len(examples))
    first = filled(evaluation, name)(z, examples, other)
    pd.testing.assert_frame_equal(filled(evaluation, name)(z, examples, other), first)
    again = filled(evaluation, name)(z[order], examples.take(order), other[order] if reference else None)
    pd.testing.assert_frame_equal(again, first)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_single_precision_is_enough(name, kind):
    examples = rows(kind)
    z, other = logits_of(examples), logits_of(examples, 5)
    found = filled(evaluation, name)(z.astype(np.float32), examples, other.astype(np.float32))
    pd.testing.assert_frame_equal(found, filled(evaluation, name)(z, examples, other), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_few_rows_have_values_but_no_intervals(name, kind):
    examples = rows(kind)
    place = np.concatenate([np.flatnonzero(examples.columns["group"].to_numpy() == g)[:10] for g in ("a", "b")])
    found = table_of(name, examples.take(place))
    few = found[found["n"] < 10]
    assert few[["low", "high"]].isna().all(axis=None)
    try:
        fewer = table_of(name, examples.take(place[[*range(4), *range(10, 14)]]))
    except BadInput as said:
        assert re.match(r"[A-Z].* .*\.$", str(said))  # noqa: PT017 (either a table or a sentence)
    else:
        assert np.isfinite(fewer["value"]).all()
        assert fewer[["low", "high"]].isna().all(axis=None)


def table_of(name: str, examples: Examples) -> pd.DataFrame:
    return filled(evaluation, name)(logits_of(examples), examples, logits_of(examples, 5))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_more_rows_make_narrower_intervals(name, kind):
    width = {}
    for n in (400, 6400):
        found = table_of(name, rows(kind, n=n)).set_index(["metric", "group"])
        width[n] = found["high"] - found["low"]
    ratio = (width[400] / width[6400]).dropna()
    assert (ratio > 1).all(), ratio
    assert 3 < ratio.median() < 5, "sixteen times the rows, a quarter of the width (single gaps near 0 are cut off there)"


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_inputs_stay_as_they_were(name, kind):
    examples = rows(kind)
    z, other, columns = logits_of(examples), logits_of(examples, 5), examples.columns.copy()
    for array in (z, other):
        array.setflags(write=False)
    filled(evaluation, name)(z, examples, other)
    pd.testing.assert_frame_equal(examples.columns, columns)


@pytest.mark.parametrize("name", [name for name in NAMES if "group" in evaluation.classes[name].__dataclass_fields__])
def test_unknown_columns_and_classes_are_refused(name):
    examples = rows()
    with pytest.raises(BadInput, match=r"no column 'race' to form groups by; there are: group, age\."):
        filled(evaluation, name, group="race")(logits_of(examples), examples)
    if "positive" in evaluation.classes[name].__dataclass_fields__:
        with pytest.raises(BadInput, match="no class 'maybe'"):
            filled(evaluation, name, positive="maybe")(logits_of(examples), examples)
