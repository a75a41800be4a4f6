"""Laws of the values: identity by content, ids instead of positions, refusals."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from influence.digest import digest
from influence.errors import BadInput
from influence.types import Checkpoint, Course, Question, Recipe, Scores, Selection, Trained, Trajectory, as_places, leaves, tree_map
from tests.tiny import Mean, Tangle, bind, examples, question

# digest -----------------------------------------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(), parts, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(values)
def test_equal_content_has_equal_digests(value):
    import copy

    assert digest(copy.deepcopy(value)) == digest(value)
    assert len(digest(value)) == 64


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0, False),
        ("1", 1),
        (None, "None"),
        (0.1, float(np.nextafter(0.1, 1))),
        ([1, [2]], [1, 2]),
        ({"a": 1}, {"a": 2}),
        (np.zeros(2), np.zeros(2, dtype="f4")),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.array(["a", "b"], dtype=object), np.array(["b", "a"], dtype=object)),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1.0]})),
        (pd.DataFrame({"a": ["x", None]}), pd.DataFrame({"a": ["x", "y"]})),
        (Mean(), Tangle()),
        (Recipe(), Recipe(seed=1)),
    ],
    ids=str,
)
def test_different_content_has_different_digests(one, other):
    assert digest(one) != digest(other)


def test_numpy_scalars_tuples_and_layout_make_no_difference():
    assert digest(np.float64(0.5)) == digest(0.5)
    assert digest(np.int32(3)) == digest(3)
    assert digest((1, 2)) == digest([1, 2])
    table = np.arange(6.0).reshape(2, 3)
    assert digest(table) == digest(np.asfortranarray(table)) == digest(table[::-1][::-1])
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@settings(deadline=None)
@given(hnp.arrays(st.sampled_from(["f4", "f8", "i8", "?", "U3", "M8[D]"]), hnp.array_shapes(min_dims=0, min_side=0, max_dims=3)))
def test_every_kind_of_array_has_a_digest(array):
    assert digest(array) == digest(array.copy())
    if array.size > 1 and array.dtype.kind == "f" and not np.isnan(array).any():
        changed = array.copy()
        changed.flat[-1] = np.nextafter(changed.flat[-1], np.inf, dtype=array.dtype)
        assert digest(array) != digest(changed) or changed.flat[-1] == array.flat[-1]


@pytest.mark.parametrize(
    "value", [lambda: 1, {"f": print}, [object()], {1, 2}, torch.zeros(2), Mean], ids=lambda value: type(value).__name__
)
def test_what_has_no_identity_by_content_is_refused(value):
    with pytest.raises(TypeError, match="no identity by content"):
        digest(value)


def test_a_query_that_holds_a_closure_has_no_identity():
    @dataclass(frozen=True)
    class Closed:
        labels: tuple[str, ...] = ("x",)
        function: Any = None

    with pytest.raises(TypeError, match="function has no identity"):
        _ = Question((Closed(function=lambda: 1),), examples(3)).digest


def test_digests_are_the_same_in_another_process():
    program = "from influence.digest import digest; from influence.types import Recipe; print(digest([Recipe(), {'a': 0.1, 'ü': None}]))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "5", "PYTHONPATH": "."}
    )
    assert done.stdout.strip() == digest([Recipe(), {"a": 0.1, "ü": None}])


def test_every_setting_of_a_recipe_is_part_of_its_identity():
    other = {"loss": "huber", "optimizer": "adamw", "schedule": "cosine", "dtype": "float64", "decayed": "matrices"}
    assert digest(replace(Recipe(), course=Course("a", "b", dict))) != digest(Recipe())
    for field in (f for f in fields(Recipe) if f.name != "course"):
        value = getattr(Recipe(), field.name)
        changed = replace(Recipe(), **{field.name: other[field.name] if isinstance(value, str) else value + 1})
        assert digest(changed) != digest(Recipe()), field.name


# examples ---------------------------------------------------------------------------------------------------------------------------------


def test_identity_of_examples_is_their_content():
    rows = examples(6)
    assert rows.digest == examples(6).digest
    other = {
        "x": rows.x + 1,
        "y": (rows.y + 1) % 3,
        "ids": rows.ids + 1,
        "columns": rows.columns.assign(more=1),
        "classes": ("class 0", "class 1", "other"),
    }
    for name, value in other.items():
        assert replace(rows, **{name: value}).digest != rows.digest, name
    assert rows.take(np.arange(6)[::-1]).digest != rows.digest


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=8, max_size=8), st.sampled_from([None, [f"r{i}" for i in range(8)]]))
def test_take_keeps_ids_and_everything_of_a_row(kept, ids):
    rows, mask = examples(8, ids=ids), np.array(kept)
    by_mask, by_place = rows.take(mask), rows.take(np.flatnonzero(mask))
    assert by_mask.digest == by_place.digest
    np.testing.assert_array_equal(by_mask.ids, rows.ids[mask])
    np.testing.assert_array_equal(rows.mask(by_mask.ids), mask)
    assert by_mask.columns.equals(rows.columns[mask].reset_index(drop=True))
    gone = Selection(tuple(rows.ids[~mask]))
    assert rows.without(gone).digest == by_mask.digest


def test_named_inputs():
    rows = examples(5)
    named = replace(rows, x={"b": rows.x, "a": rows.x * 2})
    assert [leaf.tolist() for leaf in leaves(named.x)] == [(rows.x * 2).tolist(), rows.x.tolist()]
    assert tree_map(len, named.x) == {"a": 5, "b": 5}
    assert tree_map(len, rows.x) == 5
    assert len(named.take(np.arange(2)).x["a"]) == 2
    with pytest.raises(BadInput, match="one length"):
        replace(rows, x={"a": rows.x, "b": rows.x[:3]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(3, dtype=int)}, "one length"),
        ({"columns": pd.DataFrame({"a": [1]})}, "one length"),
        ({"ids": np.zeros(5, dtype=int)}, "distinct"),
        ({"y": np.full(5, 3)}, "places 0 to 2"),
        ({"y": np.full(5, -1)}, "places 0 to 2"),
    ],
    ids=str,
)
def test_examples_that_do_not_fit_are_refused(change, message):
    with pytest.raises(BadInput, match=message):
        replace(examples(5), **change)


@pytest.mark.parametrize(
    ("ids", "asked"),
    [(None, [99]), (None, ["abc"]), (None, [100.5]), (None, [None]), (None, [2**70]), (["a", "b", "c"], ["aa"]), (["1", "2", "3"], [1])],
    ids=str,
)
def test_unknown_ids_are_refused_whatever_they_are(ids, asked):
    with pytest.raises(BadInput, match="ids"):
        examples(3, ids=ids).mask(asked)


def test_numbers_given_as_text_are_known():
    assert examples(3).mask(["101", 102]).tolist() == [False, True, True]
    assert examples(3).mask([]).tolist() == [False] * 3


def test_outputs_and_shape():
    assert (examples(3, (2, 4, 4)).shape, examples(3, classes=5).outputs, examples(3, classes=0).outputs) == ((2, 4, 4), 5, 1)


def test_a_selection_without_rows_keeps_reason_and_the_labels_of_the_others():
    rows = Selection((3, 1, 2), "relabel", {"rule": "ids given"}, ("a", "b", "c"))
    assert rows.without([1, 7]) == Selection((3, 2), "relabel", {"rule": "ids given"}, ("a", "c"))
    assert rows.without([7]) is rows
    assert Selection((3, 1)).without((3, 1)) == Selection(())


def test_places_of_ids():
    assert as_places(["b", "x", "a"], np.array(["a", "b"])).tolist() == [1, -1, 0]
    assert as_places(np.array([5, 7]), np.array([7, 6, 5])).tolist() == [2, 0]


# questions, scores, selections, models ----------------------------------------------------------------------------------------------------


def test_a_question_asks_all_its_queries_in_order():
    rows = examples(7)
    asked = question(rows, Mean(), Tangle())
    logits = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert asked.labels == ("mean loss", "gap", "spread")
    parts = [query.value(logits, rows) for query in (Mean(), Tangle())]
    torch.testing.assert_close(asked.value(logits), torch.cat(parts))
    torch.testing.assert_close(asked.measured(logits), torch.cat(parts))
    assert asked.oriented(logits).digest == asked.digest


def test_two_test_sets_are_two_questions():
    assert question(examples(7)).digest == question(examples(7)).digest
    assert question(examples(7)).digest != question(examples(7, seed=1)).digest
    assert question(examples(7), Mean()).digest != question(examples(7), Mean(better="higher")).digest


def test_scores_refuse_what_is_not_finite_or_misshapen():
    ids = np.arange(3)
    Scores(np.zeros((3, 2)), ids, ("a", "b"), "m", True)
    for value in (np.nan, np.inf):
        bad = np.zeros((3, 2))
        bad[1, 1] = value
        with pytest.raises(BadInput, match="1 of 6 scores of m are not finite"):
            Scores(bad, ids, ("a", "b"), "m", True)
    for shape in ((3, 1), (2, 2), (3,)):
        with pytest.raises(BadInput, match=r"must be \(3, 2\)"):
            Scores(np.zeros(shape), ids, ("a", "b"), "m", True)


def test_a_column_of_scores_by_name_or_place():
    scores = Scores(np.arange(6.0).reshape(3, 2), np.arange(3), ("a", "b"), "m", True)
    assert scores.column("b").tolist() == scores.column(1).tolist() == [1, 3, 5]


def test_a_selection_is_a_set():
    assert Selection((3, 1)).digest == Selection((1, 3)).digest == Selection((1, 3), reason={"rule": "hand"}).digest
    assert Selection((1, 3)).digest != Selection((1, 2)).digest
    assert Selection((1, 3)).digest != Selection((1, 3), "relabel").digest
    assert len(Selection((1, 3))) == 2


def test_identity_of_a_model():
    rows = examples(4)
    kept = Checkpoint("d", 3, 0.1, dict)
    trained = Trained(bind("mlp", rows), (kept,), Recipe())
    assert trained.final is kept
    assert trained.digest == replace(trained, checkpoints=(replace(kept, load=lambda: {"other": 1}),)).digest
    assert trained.digest == replace(trained, trajectory=Trajectory("t", dict)).digest, "recording changes no model"
    others = {
        "model": bind("mlp", rows, hidden="3"),
        "checkpoints": (replace(kept, digest="e"),),
        "recipe": Recipe(seed=1),
        "claim": "L1",
        "removed": (1,),
    }
    for name, value in others.items():
        assert replace(trained, **{name: value}).digest != trained.digest, name


def test_values_are_frozen():
    for value in (examples(3), Recipe(), Selection((1,)), question(examples(3))):
        with pytest.raises(AttributeError):
            setattr(value, fields(value)[0].name, None)


def test_models_say_what_they_cannot_take():
    with pytest.raises(BadInput, match="needs images"):
        bind("cnn", examples(3))()
    with pytest.raises(BadInput, match="multiples of 4"):
        bind("cnn", examples(3, (1, 8, 8)), channels="6")()
    with pytest.raises(BadInput, match="at least 1"):
        bind("mlp", examples(3), hidden="0")


@pytest.mark.parametrize("kind", ["logistic", "mlp", "cnn"])
@pytest.mark.parametrize("classes", [0, 2, 5])
def test_models_map_rows_to_outputs(kind, classes):
    rows = examples(6, (2, 8, 8), classes)
    assert bind(kind, rows)()(torch.from_numpy(rows.x).float()).shape == (6, classes or 1)
