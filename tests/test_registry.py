"""Settings, their checks, and finding registered classes by file."""

from __future__ import annotations

import dataclasses
import sys
import types
from dataclasses import dataclass
from typing import Literal

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence import registry
from influence.errors import BadInput
from influence.registry import Registry, build, checked, described, option, settings
from influence.types import Recipe


@dataclass(frozen=True)
class Sample:
    """A sample
    with two lines.
    """

    count: int = option(3, "How many", min=1, max=5)
    share: float = option(0.5, "Which part", min=0.0)
    kind: Literal["a", "b"] = option("a", "Which kind", advanced=True)
    level: Literal[1, 2] = option(1, "Which level")
    loud: bool = option(False, "Whether")
    sizes: tuple[int, ...] = option((4, 2), "Widths", min=1)
    group: str = option("", "Which", column=True)
    hidden: int = 7


BY_NAME = {setting.name: setting for setting in settings(Sample)}


def test_settings_are_the_declared_fields_in_order():
    assert list(BY_NAME) == ["count", "share", "kind", "level", "loud", "sizes", "group"]
    assert [setting.type for setting in BY_NAME.values()] == [int, float, str, int, bool, tuple, str]
    assert [setting.default for setting in BY_NAME.values()] == [3, 0.5, "a", 1, False, (4, 2), ""]
    assert BY_NAME["kind"].choices == ("a", "b")
    assert BY_NAME["kind"].advanced
    assert BY_NAME["group"].column
    assert (BY_NAME["count"].min, BY_NAME["count"].max, BY_NAME["share"].max) == (1, 5, None)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", "4", 4),
        ("count", 4.0, 4),
        ("share", "1e3", 1000.0),
        ("share", 2, 2.0),
        ("kind", "b", "b"),
        ("level", "2", 2),
        ("loud", "TRUE", True),
        ("loud", "0", False),
        ("loud", True, True),
        ("sizes", "8,4", (8, 4)),
        ("sizes", " 8 , 4, ", (8, 4)),
        ("sizes", [8, 4.0], (8, 4)),
        ("sizes", "", ()),
        ("group", "sex", "sex"),
    ],
)
def test_text_and_values_become_the_setting(name, value, expected):
    found = checked(BY_NAME[name], value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("count", "many", "count must be a whole number; got 'many'"),
        ("count", 3.7, "must be a whole number"),
        ("count", float("inf"), "must be a whole number"),
        ("count", None, "must be a whole number"),
        ("count", 6, "count must be between 1 and 5; got 6"),
        ("count", 0, "between 1 and 5"),
        ("share", -0.1, "at least 0.0; got -0.1"),
        ("share", float("nan"), "at least 0.0"),
        ("kind", "c", "kind must be one of a, b; got 'c'"),
        ("level", 3, "must be one of 1, 2"),
        ("loud", "perhaps", "loud must be true or false; got 'perhaps'"),
        ("sizes", "8,x", "sizes must be whole numbers with commas between them, such as 64, 32; got"),
        ("sizes", "8,0", "at least 1"),
        ("sizes", [2.5], "sizes must be whole numbers with commas between them, such as 64, 32; got"),
        ("sizes", 8, "sizes must be whole numbers with commas between them, such as 64, 32; got"),
    ],
)
def test_what_a_setting_does_not_allow_is_refused(name, value, message):
    with pytest.raises(BadInput, match=message):
        build(Sample, {name: value})


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match="Sample has no setting 'hidden'; it has: count, share"):
        build(Sample, {"hidden": 3})


@hypothesis.settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "count": st.integers(1, 5),
            "share": st.floats(0, allow_nan=False, allow_infinity=False),
            "kind": st.sampled_from("ab"),
            "loud": st.booleans(),
            "sizes": st.lists(st.integers(1, 99), max_size=3).map(tuple),
        },
    )
)
def test_text_gives_what_the_value_gives(given_):
    as_text = {name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value) for name, value in given_.items()}
    assert build(Sample, as_text) == build(Sample, given_) == Sample(**given_)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A package of two registered classes in two files."""
    folder = tmp_path / "some_kind"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(
            "from dataclasses import dataclass\n"
            "from influence.registry import option\n"
            "from kind_holder import kind\n\n"
            f'@kind\n@dataclass(frozen=True)\nclass Thing:\n    """The {name}.\n\n    More.\n    """\n\n'
            '    width: int = option(2, "Width", min=1)\n    sizes: tuple[int, ...] = option((1,), "Sizes")\n'
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = Registry("some_kind", "thing")
    holder = types.ModuleType("kind_holder")
    holder.kind = kind
    monkeypatch.setitem(sys.modules, "kind_holder", holder)
    yield kind, folder
    for name in [name for name in sys.modules if name.startswith("some_kind")]:
        del sys.modules[name]


def test_classes_are_found_by_file(made):
    kind, _ = made
    assert list(kind.classes) == ["one", "two"]
    assert [cls.id for cls in kind.classes.values()] == ["one", "two"]
    assert kind.make("two", {"width": "5"}).width == 5
    assert kind.explain("one") == "The one.\n\nMore."
    with pytest.raises(BadInput, match="There is no thing 'three'; there are: one, two"):
        kind.make("three")
    with pytest.raises(BadInput, match="at least 1"):
        kind.make("one", {"width": 0})


def test_described_makes_an_equal_one(made):
    kind, _ = made
    thing = kind.make("one", {"width": 9, "sizes": "3,4"})
    assert described(thing) == {"name": "one", "given": {"width": 9, "sizes": (3, 4)}}
    assert kind.make(**described(thing)) == thing


def test_the_version_of_what_is_computed_is_told(made):
    kind, _ = made
    thing = kind.make("one")
    type(thing).version = 3
    assert described(thing)["version"] == 3
    assert kind.make(**described(thing)) == thing


def test_an_error_in_a_file_is_raised(made):
    kind, folder = made
    (folder / "broken.py").write_text("raise RuntimeError('broken file')\n")
    with pytest.raises(RuntimeError, match="broken file"):
        kind.classes  # noqa: B018


ALL = [value for value in vars(registry).values() if isinstance(value, Registry)]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.what)
def test_registered_classes_are_frozen_settings_with_allowed_defaults(kind):
    for name, cls in kind.classes.items():
        assert dataclasses.is_dataclass(cls), name
        assert cls.__dataclass_params__.frozen, f"{name} must be frozen"
        for setting in settings(cls):
            assert checked(setting, setting.default) == setting.default, f"{name}.{setting.name}: its default is not allowed"
        assert kind.make(**described(cls())) == cls()


def test_the_recipes_defaults_are_allowed():
    assert build(Recipe, {s.name: s.default for s in settings(Recipe)}) == Recipe()
    parts = {f.name for f in dataclasses.fields(Recipe)} - {"course"}  # it comes with a training, nobody sets it
    assert parts == {s.name for s in settings(Recipe)}, "every other part of a recipe is a setting"
