"""Making data sets of tables: roles, inputs and targets are right, and every bad choice gives one clear message."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from influence.data.encoding import encode, fit_encoding
from influence.data.schema import infer
from influence.data.tabular import prepare
from influence.errors import BadInput
from influence.types import Selection

N = 400


def table(n=N, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "key": [f"r{place:04d}" for place in range(n)],
            "age": rng.integers(18, 80, n),
            "wage": rng.normal(3000, 500, n),
            "job": rng.choice(["cook", "nurse", "clerk"], n),
            "member": rng.random(n) < 0.5,
            "sex": rng.choice(["F", "M"], n),
            "region": rng.choice(["N", "S"], n),
            "since": pd.date_range("2001-01-01", periods=n).strftime("%Y-%m-%d"),
            "remark": [f"applicant {place} called twice about the loan" for place in range(n)],
            "one": "x",
            "none": None,
        }
    )
    frame["bought"] = np.where(frame["wage"] + rng.normal(0, 300, n) > 3000, "yes", "no")
    frame.loc[::7, "wage"] = np.nan
    frame.loc[::5, "job"] = None
    return frame


FRAME = table()
TARGET = {"target": "bought"}


def changed(**columns):
    return FRAME.assign(**columns)


def only_in_training(column, value="F"):
    """The column holds two values among training rows, and one in the test rows."""
    train = prepare(FRAME, **TARGET).train.ids
    return FRAME[column].where(FRAME.index.isin(train), value)


BAD_CHOICES = {
    "no target": (FRAME, {"target": ""}, "No target is chosen"),
    "target absent": (FRAME, {"target": "bougth"}, "Did you mean 'bought'"),
    "protected absent": (FRAME, TARGET | {"protected": ["Sex"]}, "Did you mean 'sex'"),
    "audit absent": (FRAME, TARGET | {"audit": ["zzz"]}, "There are: key, age"),
    "drop absent": (FRAME, TARGET | {"drop": ["ages"]}, "Did you mean 'age'"),
    "id absent": (FRAME, TARGET | {"id": "keys"}, "Did you mean 'key'"),
    "split absent": (FRAME, TARGET | {"split": "fold"}, "split column 'fold' is not"),
    "target protected": (FRAME, TARGET | {"protected": ["bought"]}, "as target and as protected column"),
    "target dropped": (FRAME, TARGET | {"drop": ["bought"]}, "as target and as column to leave out"),
    "protected and audit": (FRAME, TARGET | {"protected": ["sex"], "audit": ["sex"]}, "as protected column and as audit column"),
    "id protected": (FRAME, TARGET | {"id": "key", "protected": ["key"]}, "as id column and as protected column"),
    "few rows": (FRAME.head(19), TARGET, "has 19 rows; at least 20"),
    "one row": (FRAME.head(1), TARGET, "has 1 row; at least 20"),
    "target of one class": (FRAME, {"target": "one"}, "is 'x' in every row"),
    "target empty": (FRAME, {"target": "none"}, "has no value in any row"),
    "target one class or missing": (changed(bought=FRAME["bought"].where(FRAME["bought"] == "yes")), TARGET, "at least two classes"),
    "target empty beside a split": (
        FRAME.assign(part=["train", "test"] * (len(FRAME) // 2)),
        {"target": "none", "split": "part"},
        "has no value in any row",
    ),
    "texts alone": (FRAME[["remark", "bought"]], TARGET, "name it as the column of texts (--text remark)"),
    "target text": (FRAME, {"target": "remark"}, "holds free text, which is not supported"),
    "target dates": (FRAME, {"target": "since"}, "holds dates, which is not supported"),
    "target ids": (FRAME, {"target": "key"}, "a different value in nearly every row"),
    "multi-label with bars": (changed(bought=np.resize(["a", "b", "a|b", "c|a"], N)), TARGET, "(multi-label)"),
    "multi-label lists": (changed(bought=list(np.resize(np.array([["a"], ["a", "b"], ["b"]], dtype=object), N))), TARGET, "(multi-label)"),
    "number asked of text": (FRAME, TARGET | {"task": "number"}, "a number was asked for"),
    "target of numbers and words": (changed(bought=["n.a.", *map(str, np.arange(1, N) / 7)]), TARGET, "cells that are no numbers"),
    "too many classes": (changed(bought=np.resize([f"c{place}" for place in range(101)], N)), TARGET, "101 classes; at most 100"),
    "rare class": (changed(bought=["once", *FRAME["bought"][1:]]), TARGET, "at least 2 are needed"),
    "infinite": (
        changed(wage=FRAME["wage"].where(FRAME.index != 3, np.inf)),
        TARGET,
        "'wage' is infinite or too large in 1 row, first in row 3 (inf)",
    ),
    "infinite target": (changed(bought=FRAME["wage"].where(FRAME.index != 5, -np.inf)), TARGET, "'bought' is infinite or too large"),
    "infinite text": (changed(key=["inf", *map(str, np.arange(1, N) / 7)]), TARGET, "'key' is infinite"),
    "number that does not vary": (
        changed(bought=np.where(FRAME.index < 200, 0.5, FRAME.index / 7), split=np.where(FRAME.index < 200, "train", "test")),
        TARGET | {"split": "split"},
        "does not vary among the training rows",
    ),
    "too large": (changed(wage=FRAME["wage"] * 1e304), TARGET, "in 342 rows, first in row 1"),
    "protected empty": (FRAME, TARGET | {"protected": ["none"]}, "has no value in any row; at least two groups"),
    "protected of one group": (FRAME, TARGET | {"protected": ["one"]}, "is 'x' in every row; at least two groups"),
    "audit of one group": (FRAME, TARGET | {"audit": ["one"]}, "The audit column 'one'"),
    "protected text": (FRAME, TARGET | {"protected": ["remark"]}, "makes nearly every row a group"),
    "one group in evaluation": (
        changed(sex=only_in_training("sex")),
        TARGET | {"protected": ["sex"]},
        "only 'F' among the evaluation rows",
    ),
    "id missing": (changed(key=FRAME["key"].where(FRAME.index != 4)), TARGET | {"id": "key"}, "is missing in 1 row;"),
    "id repeated": (changed(key=["r0001", *FRAME["key"][1:]]), TARGET | {"id": "key"}, "repeats in 1 row, such as 'r0001'"),
    "id of fractions": (changed(key=FRAME.index / 7), TARGET | {"id": "key"}, "must hold whole numbers, or text"),
    "split of other words": (changed(split=np.resize(["a", "b"], N)), TARGET | {"split": "split"}, "says 'a', 'b'"),
    "split of one word": (changed(split="train"), TARGET | {"split": "split"}, "says 'train'"),
    "split without training": (changed(split=np.resize(["dev", "test"], N)), TARGET | {"split": "split"}, "says 'dev', 'test'"),
    "split missing": (changed(split=np.resize(["train", "test", None], N)), TARGET | {"split": "split"}, "is missing in 133 rows"),
    "share": (FRAME, TARGET | {"test_share": 1.0}, "must lie between 0.01 and 0.9"),
    "nothing held out": (FRAME.head(20), TARGET | {"test_share": 0.01}, "at least 10, 1 and 1"),
    "no input": (FRAME[["bought", "remark", "since"]], TARGET, "No column is left as an input"),
    "two test sets": (changed(split=np.resize(["train", "test"], N)), TARGET | {"split": "split", "evaluation_frame": FRAME}, "Choose one"),
    "second file lacks a column": (FRAME, TARGET | {"evaluation_frame": FRAME.drop(columns="wage")}, "lacks 'wage'"),
    "second file of other types": (FRAME, TARGET | {"evaluation_frame": changed(age="old")}, "text such as 'old' in the second"),
    "second file with a new class": (
        FRAME,
        TARGET | {"evaluation_frame": changed(bought="perhaps")},
        "The class 'perhaps' of 'bought' has 0 training rows",
    ),
    "repeated names": (pd.concat([FRAME, FRAME["age"]], axis=1), TARGET, "names repeat: 'age'"),
}


@pytest.mark.parametrize("case", BAD_CHOICES)
def test_a_bad_choice_gives_one_clear_message(case):
    frame, choices, message = BAD_CHOICES[case]
    with pytest.raises(BadInput) as caught:
        prepare(frame, **choices)
    text = str(caught.value)
    assert message in text
    assert text.endswith((".", "?"))
    assert "\n" not in text


@pytest.fixture(scope="module")
def made():
    return prepare(FRAME, target="bought", protected=["sex"], audit=["region"], drop=["age"], name="t", seed=3)


def test_parts_of_columns(made):
    inputs = {entry["name"] for entry in made.encoding["columns"]}
    assert inputs == {"wage", "job", "member", "sex"}
    assert list(made.train.columns) == [name for name in FRAME if name != "age"]
    parts = {column["name"]: (column["part"], column["input"]) for column in made.columns}
    assert parts["sex"] == ("protected", True)
    assert parts["region"] == ("audit", False)
    assert parts["age"] == ("dropped", False)
    assert parts["bought"] == ("target", False)
    assert parts["remark"] == ("input", False)
    for left_out in ("key (id)", "since (date)", "remark (text)", "one (constant)", "none (empty)"):
        assert left_out in made.notes
    assert not any(feature.startswith(("region", "age", "bought")) for feature in made.encoding["features"])


def test_protected_and_dropped_stays_visible():
    made = prepare(FRAME, **TARGET, protected=["sex"], drop=["sex"])
    assert "sex" in made.train.columns
    assert "sex" not in {entry["name"] for entry in made.encoding["columns"]}


def test_rows_keep_their_cells(made):
    for role in ("train", "evaluation", "holdout"):
        rows = made.split(role)
        np.testing.assert_array_equal(rows.columns["remark"].to_numpy(), FRAME["remark"].to_numpy()[rows.ids])
        np.testing.assert_array_equal(np.array(rows.classes)[rows.y], FRAME["bought"].to_numpy()[rows.ids])
        assert rows.x.dtype == np.float32
        assert rows.y.dtype == np.int64
        assert np.isfinite(rows.x).all()
    ids = np.concatenate([made.train.ids, made.evaluation.ids, made.holdout.ids])
    assert sorted(ids) == list(range(N))


def test_inputs_agree_with_scikit_learn(made):
    train, test = FRAME.loc[made.train.ids], FRAME.loc[made.holdout.ids]
    features = made.encoding["features"]
    median = train["wage"].median()
    scaler = StandardScaler().fit(train[["wage"]].fillna(median))
    np.testing.assert_allclose(made.holdout.x[:, features.index("wage")], scaler.transform(test[["wage"]].fillna(median))[:, 0], atol=1e-6)
    np.testing.assert_array_equal(made.holdout.x[:, features.index("wage is missing")], test["wage"].isna())
    hot = OneHotEncoder(sparse_output=False).fit(train[["job"]].fillna("is missing"))
    places = [features.index(f"job = {level}" if level != "is missing" else "job is missing") for level in hot.categories_[0]]
    np.testing.assert_array_equal(made.holdout.x[:, places], hot.transform(test[["job"]].fillna("is missing")))
    np.testing.assert_array_equal(made.holdout.x[:, features.index("member")], test["member"])


def test_the_encoder_sees_training_rows_only(made):
    test = ~FRAME.index.isin(made.train.ids)
    disturbed = changed(wage=FRAME["wage"].mask(test, 1e6), job=FRAME["job"].mask(test, "unheard of"))
    other = prepare(disturbed, target="bought", protected=["sex"], audit=["region"], drop=["age"], name="t", seed=3)
    assert other.encoding == made.encoding
    assert other.train.digest == made.train.digest
    jobs = [place for place, feature in enumerate(made.encoding["features"]) if feature.startswith("job")]
    assert not other.holdout.x[:, jobs].any()


def test_the_encoding_is_json_and_can_be_applied_again(made):
    kept = json.loads(json.dumps(made.encoding))
    np.testing.assert_array_equal(encode(FRAME.loc[made.evaluation.ids], kept), made.evaluation.x)
    assert made.train.x.shape[1] == len(kept["features"])
    with pytest.raises(BadInput, match="'wage' is not in the table"):
        encode(FRAME.drop(columns="wage"), kept)
    with pytest.raises(BadInput, match="not of a table"):
        encode(FRAME, {"kind": "image"})


def test_a_long_tail_of_levels_becomes_other():
    levels = [f"v{place:03d}" for place in range(130)]
    column = pd.Series(np.repeat(levels, np.arange(130, 0, -1)))
    encoding = fit_encoding(pd.DataFrame({"c": column}), infer(pd.DataFrame({"c": column})))
    assert encoding["features"] == [f"c = {level}" for level in levels[:99]] + ["c = (other)"]
    x = encode(pd.DataFrame({"c": ["v000", "v129", "unheard of", None]}), encoding)
    assert x[:3].argmax(1).tolist() == [0, 99, 99]
    assert x.sum(1).tolist() == [1, 1, 1, 0]


def test_columns_that_do_not_vary_in_training_are_no_inputs():
    train = prepare(FRAME, **TARGET).train.ids
    frame = changed(late=(~FRAME.index.isin(train)).astype(int) * 0.1 + 0.1)
    made = prepare(frame, **TARGET)
    assert "late" not in made.encoding["features"]
    assert "late (one value in training)" in made.notes


def test_every_role_gets_its_share():
    made = prepare(table(20_000), target="bought", test_share=0.3)
    sizes = np.array([len(made.train), len(made.evaluation), len(made.holdout)]) / 20_000
    np.testing.assert_allclose(sizes, [0.7, 0.15, 0.15], atol=0.01)


def roles_by_id(data):
    return {id: role for role in ("train", "evaluation", "holdout") for id in data.split(role).ids.tolist()}


@given(st.integers(0, 2**31 - 1), st.sets(st.integers(0, N - 1), min_size=1, max_size=200))
@settings(max_examples=15, deadline=None)
def test_removing_rows_moves_no_other_row(seed, removed):
    whole = roles_by_id(prepare(FRAME, **TARGET, id="key", seed=seed))
    fewer = roles_by_id(prepare(FRAME.drop(index=list(removed)), **TARGET, id="key", seed=seed))
    assert fewer == {id: role for id, role in whole.items() if int(id[1:]) not in removed}


def test_the_order_of_rows_does_not_matter_with_ids():
    shuffled = FRAME.sample(frac=1, random_state=1)
    assert roles_by_id(prepare(shuffled, **TARGET, id="key")) == roles_by_id(prepare(FRAME, **TARGET, id="key"))


def test_another_seed_is_another_split():
    assert roles_by_id(prepare(FRAME, **TARGET)) == roles_by_id(prepare(FRAME, **TARGET))
    assert roles_by_id(prepare(FRAME, **TARGET)) != roles_by_id(prepare(FRAME, **TARGET, seed=1))


@pytest.mark.parametrize(
    ("words", "roles"),
    [
        (("train", "validation", "test"), ("train", "evaluation", "holdout")),
        (("TRAIN", "Evaluation", "Holdout "), ("train", "evaluation", "holdout")),
        (("training", "dev", "test"), ("train", "evaluation", "holdout")),
    ],
)
def test_a_split_column_of_three_words(words, roles):
    column = np.resize(words, N)
    made = prepare(changed(part=column), **TARGET, split="part")
    assert not any("part" in feature for feature in made.encoding["features"])
    for word, role in zip(words, roles, strict=True):
        np.testing.assert_array_equal(made.split(role).ids, np.flatnonzero(column == word))


@pytest.mark.parametrize("word", ["test", "Evaluation"])
def test_a_single_test_part_is_halved(word):
    column = np.resize(["train", word], N)
    made = prepare(changed(part=column), **TARGET, split="part")
    np.testing.assert_array_equal(made.train.ids, np.flatnonzero(column == "train"))
    np.testing.assert_array_equal(np.sort(np.r_[made.evaluation.ids, made.holdout.ids]), np.flatnonzero(column == word))
    assert abs(len(made.evaluation) - len(made.holdout)) < 40


def test_a_second_file_has_ids_of_its_own():
    second = table(60, seed=1)
    made = prepare(FRAME, **TARGET, evaluation_frame=second.drop(columns="age"), drop=["age"])
    np.testing.assert_array_equal(made.train.ids, np.arange(N))
    assert sorted(np.r_[made.evaluation.ids, made.holdout.ids]) == list(range(60))
    np.testing.assert_array_equal(made.holdout.columns["remark"].to_numpy(), second["remark"].to_numpy()[made.holdout.ids])
    np.testing.assert_array_equal(made.holdout.x, encode(second.loc[made.holdout.ids], made.encoding))


@pytest.mark.parametrize("ids", [[f"r{place:04d}" for place in range(N)], list(range(7, 7 + 3 * N, 3))])
def test_a_column_of_ids(ids):
    made = prepare(changed(key=ids), **TARGET, id="key")
    assert made.train.ids.dtype.kind in "iU"
    assert set(roles_by_id(made)) == set(ids)
    assert "key" not in made.train.columns
    assert len(made.train.without(Selection(tuple(made.train.ids[:3].tolist())))) == len(made.train) - 3


def test_rows_without_a_target_are_counted_and_keep_others_in_place():
    whole = roles_by_id(prepare(FRAME, **TARGET))
    gone = FRAME.index % 10 == 0
    made = prepare(changed(bought=FRAME["bought"].mask(gone)), **TARGET)
    assert "40 rows without a value of bought were left out" in made.notes
    assert roles_by_id(made) == {id: role for id, role in whole.items() if id % 10}


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, 2], ("2", "9", "10")),
        ([1.0, 0.0, 2.0], ("0", "1", "2")),
        ([True, False], ("False", "True")),
        (["b", "a", "C"], ("C", "a", "b")),
    ],
)
def test_classes_are_sorted(labels, classes):
    made = prepare(changed(bought=np.resize(labels, N)), **TARGET)
    assert made.train.classes == classes
    assert made.encoding["target"] == {"name": "bought", "kind": "classes", "classes": list(classes)}
    np.testing.assert_array_equal(
        made.train.y, [classes.index(str(label).removesuffix(".0")) for label in np.resize(labels, N)[made.train.ids]]
    )


def test_a_numeric_target_is_standardised_by_training_rows():
    wage = FRAME["wage"].fillna(2500)
    made = prepare(changed(wage=wage), target="wage", protected=["sex"])
    scale = made.encoding["target"]
    assert (made.train.classes, made.train.y.dtype, made.train.outputs) == ((), np.float32, 1)
    np.testing.assert_allclose([made.train.y.mean(), made.train.y.std()], [0, 1], atol=1e-5)
    np.testing.assert_allclose(made.holdout.y * scale["sd"] + scale["mean"], wage[made.holdout.ids], rtol=1e-5)
    np.testing.assert_array_equal(made.holdout.columns["wage"], wage[made.holdout.ids])


@pytest.mark.parametrize(("distinct", "task", "classes"), [(20, "auto", 20), (21, "auto", 0), (20, "number", 0), (21, "classes", 21)])
def test_whole_numbers_are_classes_unless_they_are_many(distinct, task, classes):
    made = prepare(changed(bought=np.arange(N) % distinct), **TARGET, task=task)
    assert len(made.train.classes) == classes


def test_identity_is_content(made):
    again = prepare(FRAME, target="bought", protected=["sex"], audit=["region"], drop=["age"], name="t", seed=3, source={"path": "x"})
    assert again.digest == made.digest
    assert again.source == {"path": "x"}
    assert replace(made, planted=(1,)).digest != made.digest
    assert (
        prepare(
            changed(wage=FRAME["wage"] + 1), target="bought", protected=["sex"], audit=["region"], drop=["age"], name="t", seed=3
        ).digest
        != made.digest
    )
    assert json.loads(json.dumps(list(made.columns))) == list(made.columns)
