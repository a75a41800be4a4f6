"""Everything that a person chooses and sets: frozen dataclasses found by file.

A file in `influence/attribution/` (or queries, unlearning, evaluation, finders, mislabelled, models) that decorates one frozen dataclass
with its registry is found by its file name, the id. The fields declared with `option` are its settings: form, command line, record and
identity all come from them. Adding one is adding one file; or, for one's own models and methods, installing a package that names a frozen
dataclass as an entry point of the group that the folder is called by (`influence.models`, ...): code comes by installing, never by upload.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import logging
import pkgutil
import typing
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeVar

from influence.errors import BadInput

T = TypeVar("T", bound=type)
NEEDED = {int: "a whole number", float: "a number", bool: "true or false", tuple: "whole numbers with commas between them, such as 64, 32"}
"""What a setting of a type takes, in words."""
log = logging.getLogger("lethe")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of a registered class, as a form or a command line shows it."""

    name: str
    type: type
    default: Any
    help: str
    min: float | None
    max: float | None
    choices: tuple[Any, ...]
    advanced: bool
    column: bool


def option(
    default: Any,
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    advanced: bool = False,
    column: bool = False,
    later: bool = False,
) -> Any:
    """Declare a setting: default, help and limits. `column`: its value names a column of the data; `advanced`: folded away in forms.

    `later`: it came to a class of which instances are kept; with its default it is no part of their identity, which stays what it was.
    """
    kept = {"help": help, "min": min, "max": max, "advanced": advanced, "column": column}
    return dataclasses.field(default=default, metadata={"option": kept, "later": later})


def settings(cls: type) -> tuple[Setting, ...]:
    """Return the settings that a dataclass declares with `option`, in order."""
    hints = typing.get_type_hints(cls)
    return tuple(_setting(f, hints[f.name]) for f in dataclasses.fields(cls) if "option" in f.metadata)


def _setting(field: dataclasses.Field[Any], hint: Any) -> Setting:
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    kind = type(choices[0]) if choices else (typing.get_origin(hint) or hint)
    return Setting(field.name, kind, field.default, choices=choices, **field.metadata["option"])


def build(cls: type, given: Mapping[str, Any]) -> Any:
    """Make an instance from settings given as text or values, checked against names, types, limits and choices.

    Raises:
        BadInput: an unknown name, or a value that its setting does not allow.
    """
    known = {s.name: s for s in settings(cls)}
    for name in given:
        if name not in known:
            raise BadInput(f"{cls.__name__} has no setting {name!r}; it has: {', '.join(known) or 'none'}.")
    return cls(**{name: checked(known[name], value) for name, value in given.items()})


def checked(setting: Setting, value: Any) -> Any:
    """Turn `value` into the setting's type within its limits.

    Raises:
        BadInput: it is of another type, outside the limits, or not among the choices.
    """
    try:
        converted = _convert(setting.type, value)
    except (KeyError, TypeError, ValueError):
        raise BadInput(f"{setting.name} must be {NEEDED.get(setting.type, setting.type.__name__)}; got {value!r}.") from None
    if setting.choices and converted not in setting.choices:
        raise BadInput(f"{setting.name} must be one of {', '.join(map(str, setting.choices))}; got {value!r}.")
    if not all(_within(setting, part) for part in (converted if setting.type is tuple else (converted,))):
        low, high = setting.min, setting.max
        bounds = f"at least {low}" if high is None else f"at most {high}" if low is None else f"between {low} and {high}"
        raise BadInput(f"{setting.name} must be {bounds}; got {value!r}.")
    return converted


def _within(setting: Setting, value: Any) -> bool:
    return (setting.min is None or value >= setting.min) and (setting.max is None or value <= setting.max)


def _convert(kind: type, value: Any) -> Any:
    if kind is bool and isinstance(value, str):
        return {"true": True, "false": False, "1": True, "0": False}[value.strip().lower()]
    if kind is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(_convert(int, part) for part in parts if str(part).strip())
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value} is no whole number")
    return kind(value)


class Registry:
    """The classes of one kind, by id.

    `in_shards`: what to choose instead, of a kind whose classes ask for one model trained on all rows together, but for those that say
    otherwise by a class variable `in_shards`: their `unavailable` refuses others (`Trained.in_shards`).
    """

    def __init__(self, package: str, what: str, in_shards: str = "") -> None:
        self.package, self.what, self.in_shards = package, what, in_shards
        self._classes: dict[str, type] = {}
        self._found = False

    def __call__(self, cls: T) -> T:
        """Register a class under the name of its file; used as a decorator."""
        name = cls.__module__.rsplit(".", 1)[-1]
        cls.id = name  # type: ignore[attr-defined]
        self._classes[name] = self._of_one(cls)
        return cls

    @property
    def classes(self) -> dict[str, type]:
        """All classes by id; importing the package's files is what finds them, and an error in one is raised."""
        if not self._found:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._found = True
            for entry in entry_points(group=self.package):
                self._install(entry)
        return dict(sorted(self._classes.items()))

    def _install(self, entry: EntryPoint) -> None:
        """Register what an installed package offers; one that cannot be had is left out with a warning: others are not its victims."""
        try:
            cls = entry.load()
            fits = isinstance(cls, type) and dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
            reason = "" if fits and any("__call__" in vars(base) for base in cls.__mro__) else "it is no frozen dataclass that one calls"
        except Exception as error:  # whatever somebody's package raises
            reason = f"{type(error).__name__}: {error}"
        if entry.name in self._classes:
            reason = "that name is taken"
        if reason:
            log.warning("The installed %s %r (%s) is left out: %s", self.what, entry.name, entry.value, reason)
            return
        cls.id = entry.name
        self._classes[entry.name] = self._of_one(cls)

    def _of_one(self, cls: type) -> type:
        """See that the class refuses models trained in shards, unless it says that it is open to them."""
        own, instead = getattr(cls, "unavailable", None), self.in_shards
        if not instead or own is None or getattr(cls, "in_shards", False):
            return cls

        @functools.wraps(own)
        def unavailable(made: Any, trained: Any) -> str:
            return trained.in_shards(type(made).id, instead) or str(own(made, trained))

        cls.unavailable = unavailable  # type: ignore[attr-defined]
        return cls

    def make(self, name: str, given: Mapping[str, Any] | None = None, version: int = 0) -> Any:
        """Make the one of this name with these settings; `version`, which `described` tells, makes no difference here.

        Raises:
            BadInput: no such name (the known ones are listed), or settings that it does not allow.
        """
        if name not in self.classes:
            raise BadInput(f"There is no {self.what} {name!r}; there are: {', '.join(self.classes)}.")
        return build(self.classes[name], given or {})

    def explain(self, name: str) -> str:
        """Return the explanation of one: its class docstring."""
        return inspect.cleandoc(self.classes[name].__doc__ or "")


def described(instance: Any) -> dict[str, Any]:
    """Return id and settings of a registered instance as JSON; `Registry.make(**_)` with them gives an equal one.

    A class whose results changed says so by a class variable `version`, which is told too: what an older one found is not its own.
    """
    cls = type(instance)
    told = {"version": cls.version} if hasattr(cls, "version") else {}
    return {"name": cls.id, "given": {s.name: getattr(instance, s.name) for s in settings(cls)}, **told}


models = Registry("influence.models", "model")
queries = Registry("influence.queries", "query")
attribution = Registry("influence.attribution", "attribution method", in_shards="retraining")
unlearning = Registry("influence.unlearning", "unlearning method", in_shards="sisa or retrain")
evaluation = Registry("influence.evaluation", "evaluation")
verification = Registry("influence.verification", "test of forgetting")
method_verification = Registry("influence.verification.of_methods", "test of a method")
finders = Registry("influence.finders", "finder")
mislabelled = Registry("influence.mislabelled", "score of labels", in_shards="loss or out_of_sample")
datasets = Registry("influence.data.bundled", "bundled data set")
