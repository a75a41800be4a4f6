"""What every registered finder must hold to; a new file in `influence/finders/` is tested here without another line."""

from __future__ import annotations

import importlib
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np
import pytest

from influence.digest import digest
from influence.errors import BadInput
from influence.registry import described, finders, settings
from influence.types import Examples, Scores, Selection
from tests.questions import rows

NAMES = sorted(finders.classes)
PATTERN = '[{"column": "group", "is_": "equal to", "value": "a"}, {"column": "age", "is_": "at most", "value": "50"}]'
GIVEN: dict[str, Any] = {
    "ids": "107, 103",
    "value": "a",
    "k": 7,
    "conditions": PATTERN,
    "outline": "-1 -1, 1 -1, 1 1, -1 1",
    "distance": 0.05,
    "neighbours": 5,
    "share": 0.1,
}
"""Settings without a useful default, by name; a setting that names a column gets "group"."""
WRONG: dict[str, Any] = {
    "ids": "no such row",
    "k": 1000,
    "label": "no such question",
    "conditions": "no such pattern",
    "outline": "0 0, 1 1",
    "distance": 1e-9,
    "neighbours": 400,
    "share": 1e-6,
}


def asked(name: str, **given: Any) -> Any:
    known = settings(finders.classes[name])
    needed = {s.name: "group" if s.column else GIVEN[s.name] for s in known if s.column or s.name in GIVEN}
    return finders.make(name, {**needed, **{key: value for key, value in given.items() if key in {s.name for s in known}}})


def material(text: bool = False) -> tuple[Scores, Examples]:
    examples = rows()
    if text:
        examples = replace(examples, ids=np.array([str(i) for i in examples.ids], dtype=object))
    values = np.random.default_rng(0).normal(size=(len(examples), 2))
    values.setflags(write=False)
    return Scores(values, examples.ids, ("First", "Second"), "random", False), examples


@pytest.mark.parametrize("text", [False, True], ids=["numbers", "text"])
@pytest.mark.parametrize("name", NAMES)
def test_ids_are_training_ids_in_their_own_type(name, text):
    scores, examples = material(text)
    found = asked(name)(scores, examples)
    assert isinstance(found, Selection)
    assert 0 < len(found) <= len(examples)
    assert len(set(found.ids)) == len(found)
    assert {type(i) for i in found.ids} == {str if text else int}
    assert examples.mask(found.ids).sum() == len(found)


@pytest.mark.parametrize("text", [False, True], ids=["numbers", "text"])
@pytest.mark.parametrize("name", NAMES)
def test_the_reason_replays(name, text):
    scores, examples = material(text)
    found = asked(name)(scores, examples)
    assert found.reason["rule"] == name
    given = {s.name: found.reason[s.name] for s in settings(finders.classes[name])}
    again = finders.make(name, given)(scores, examples)
    assert again.ids == found.ids
    assert again.reason == found.reason
    assert found.reason["words"]


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_refused_in_a_sentence(name):
    scores, examples = material()
    names = {s.name for s in settings(finders.classes[name])}
    wrong = {s.name: "no such column" for s in settings(finders.classes[name]) if s.column} | {k: v for k, v in WRONG.items() if k in names}
    assert wrong
    for key, value in wrong.items():
        with pytest.raises(BadInput, match=r"^[A-Z0-9].*\.$"):
            asked(name, **{key: value})(scores, examples)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_unchanged(name):
    scores, examples = material()
    before = digest([scores.values, scores.ids]), examples.digest
    asked(name)(scores, examples)
    fresh = Examples(examples.x, examples.y, examples.ids, examples.columns, examples.classes)
    assert (digest([scores.values, scores.ids]), fresh.digest) == before


@pytest.mark.parametrize("name", NAMES)
def test_is_settings_with_help_and_says_what_it_is(name):
    cls = finders.classes[name]
    assert is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    finder = asked(name)
    assert finders.make(**described(finder)) == finder
    assert all(s.help for s in settings(cls))
    assert importlib.import_module(cls.__module__).__doc__
    assert finders.explain(name)
