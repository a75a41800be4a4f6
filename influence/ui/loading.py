"""Load's middle part: which column plays which part, and which model. The check of it all: `checking.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import pandas as pd
import streamlit as st

from influence.data.choices import Choices
from influence.data.dataset import Dataset
from influence.data.kinds import FOR_TARGETS
from influence.data.schema import Kind
from influence.data.split import tells_roles
from influence.data.target import foreseen
from influence.errors import BadInput
from influence.registry import models
from influence.store.formats import canonical
from influence.types import Recipe
from influence.ui import columns, forms, pictures, sources, state, texts, words
from influence.ui.sheets import Sheet
from influence.ui.source import Source

SENSITIVE = re.compile(r"\b(sex|gender|race|ethnic\w*|nationalit\w*|religion|disab\w*|marital\w*|age|age cat)\b")
TESTS = {"share": "A share of the rows", "split": "A column", "eval": "A second file"}
AUTOMATIC = ("batch_size", "epochs", "loss")
"""Settings of a recipe that fit themselves to the data when they are left open."""
PREVIEWED = 20


@dataclass(frozen=True)
class Parts:
    """Which column plays which part, and which rows are test rows, as the action `train` takes them."""

    target: str = ""
    protected: tuple[str, ...] = ()
    audit: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    id: str = ""
    split: str = ""
    eval: str = ""
    test_share: float = 0.2
    kinds: Mapping[str, str] = field(default_factory=dict)
    positive: str = ""

    def given(self) -> dict[str, Any]:
        """Return what differs from the defaults, as arguments of an action."""
        return {name: value for name, value in vars(self).items() if value != getattr(Parts(), name)}

    def choices(self) -> Choices:
        """Return the parts of columns alone."""
        return Choices(*(getattr(self, f.name) for f in fields(Choices)))


@dataclass(frozen=True)
class Plan:
    """All that was chosen on the page: the arguments of the actions `check` and `train`."""

    source: Source
    parts: Parts
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def args(self) -> dict[str, Any]:
        """Return the arguments; what is left at its default is left out."""
        chosen = self.parts.given()
        rest = {name: value for name, value in self.settings.items() if name != "seed"}
        args = {"data": self.source.data, "name": self.source.name, "model": self.model, "set": rest, "seed": self.settings.get("seed", 0)}
        read = self.source.bundled or self.source.images or self.source.texts
        settings = {"data_set": dict(self.source.data_set)} if read else {}
        sheet = {"sheet": self.source.sheet} if isinstance(self.source, Sheet) else {}
        own = {name: value for name, value in chosen.items() if not self.source.bundled or name == "positive"}
        return args | settings | sheet | own

    def refuse(self) -> None:
        """Refuse what is seen to be wrong without reading anything anew.

        Raises:
            BadInput: no target is chosen, or a column has parts that exclude each other.
        """
        if not (self.source.bundled or self.source.images):
            self.parts.choices().check(self.source.table())


def key_of(source: Source) -> str:
    """Return what the keys of a source's widgets begin with."""
    return f"load.{source.stamp[0]}"


def parts(source: Source, brought: bool = False) -> Parts:
    """Draw the columns of a table and the choice of their parts. `brought`: a model comes with them, which may say its favourable class."""
    found, text = source.columns(), str(source.data_set.get("text", ""))
    names, key = [c.name for c in found if c.name != text], key_of(source)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        target = st.selectbox(
            "Target", names, index=None, placeholder="Choose the column to predict", key=f"{key}.target", persist_state="session"
        )
        goal = st.container()
        rest = [name for name in names if name != target]
        protected = _several(
            "Protected columns",
            rest,
            f"{key}.protected",
            "They define the groups that are compared. The model sees them unless they are left out as well.",
        )
        st.caption(_hint(rest, protected)) if _hint(rest, protected) else None
        audit = _several("Audit columns", rest, f"{key}.audit", "They define groups too, but the model never sees them.")
        drop = _several("Leave out", rest, f"{key}.drop", "The model does not see these columns.")
        about = "Ids name rows in every list and must be distinct. Without a column the rows are numbered from 0."
        id = st.selectbox("ID column", rest, index=None, placeholder="Row number", key=f"{key}.id", help=about, persist_state="session")
        tests = _tests(source, rest, key)
    with right:
        kinds = columns.kinds([c for c in found if c.name not in (id, tests.get("split"), text)], key)
        chosen = Parts(target or "", tuple(protected), tuple(audit), tuple(drop), id or "", **tests, kinds=kinds)
        st.dataframe(
            columns.shown(found, chosen.choices(), text),
            hide_index=True,
            height=min(560, 36 * len(found) + 38),
            alt="Columns of the table: part, kind, missing cells, distinct values, example and note",
        )
    with goal:
        classes = _classes(canonical(source.stamp), chosen.target, kinds.get(chosen.target, ""), source)
        return replace(chosen, positive=_favourable(classes, f"{key}.{target}", brought))


@st.cache_resource(show_spinner=False, max_entries=16)
def _classes(stamp: str, target: str, kind: str, _source: Source) -> tuple[str, ...]:
    """Return the classes that a column will have as the target, of a kind if a person said one."""
    column = next((column for column in _source.columns() if column.name == target), None)
    if column is None:
        return ()
    values = _source.table()[target]
    if not kind:
        return foreseen(values, column, "auto")
    return foreseen(values, replace(column, kind=cast(Kind, kind)), FOR_TARGETS[kind]) if kind in FOR_TARGETS else ()


def favouring(source: Source, chosen: Parts, seen: Dataset, brought: bool = False) -> Parts:
    """Draw the choice of the favourable class of data whose classes are known, and return the parts with it."""
    with st.columns([3, 4] if brought else [2, 5], gap="large")[0]:
        return replace(chosen, positive=_favourable(seen.train.classes, f"{key_of(source)}.{seen.target}", brought))


def _favourable(classes: Sequence[str], key: str, brought: bool) -> str:
    """Draw the choice of the class of which rates and gaps speak; return it, or "" for what it is where nobody says anything.

    That is the last class; of a model that is brought it is what the model says, if it says so, which the page does not know yet.
    """
    if not classes:
        return ""
    about = "The outcome that is good to have. Rates and gaps between groups speak of it, unless a question names another class."
    last = len(classes) - 1
    options, first = (("", *classes), 0) if brought else (classes, last)
    said = f"As the model says, else {classes[last]}"
    picked = st.selectbox(
        "Favourable class", options, index=first, key=f"{key}.positive", help=about, persist_state="session",
        format_func=lambda name: name or said,
    )  # fmt: skip
    return "" if picked == classes[last] and not brought else picked


def _several(label: str, names: list[str], key: str, help: str) -> list[str]:
    return st.multiselect(label, names, key=key, help=help, placeholder="None", persist_state="session")


def _hint(names: list[str], chosen: list[str]) -> str:
    found = [name for name in names if SENSITIVE.search(name.lower().replace("_", " ").replace("-", " ")) and name not in chosen]
    return f"By their names these may be protected: {words.escaped(', '.join(found[:6]))}." if found else ""


def _tests(source: Source, names: list[str], key: str) -> dict[str, Any]:
    """Draw the choice of the test rows, of which one half answers questions and the other is held out."""
    own = [name for name in _splits(canonical(source.stamp), source) if name in names]
    about = "One half of the test rows is asked questions; the other half is the holdout, on which results are measured."
    how = st.segmented_control(
        "Test rows",
        list(TESTS),
        default="split" if len(own) == 1 else "share",
        required=True,
        format_func=TESTS.__getitem__,
        key=f"{key}.tests",
        help=about,
        persist_state="session",
    )
    if own and how != "split":
        st.caption(f"{words.escaped(own[0])} says which rows are train and which test: choose *{TESTS['split']}* to use it.")
    if how == "split":
        names = [*own, *(name for name in names if name not in own)]
        place = 0 if len(own) == 1 else None
        asked: dict[str, Any] = {"placeholder": "Choose a column", "key": f"{key}.split", "persist_state": "session"}
        return {"split": st.selectbox("Column that says train or test", names, index=place, **asked) or ""}
    if how == "eval":
        return {"eval": sources.second(source)}
    return {"test_share": st.slider("Share of test rows", 0.05, 0.5, 0.2, 0.05, key=f"{key}.share", persist_state="session")}


@st.cache_resource(show_spinner=False, max_entries=16)
def _splits(stamp: str, _source: Source) -> list[str]:
    """Return the columns that say train or test."""
    return [column.name for column in _source.columns() if column.distinct <= 3 and tells_roles(_source.table()[column.name])]


def model(source: Source, seen: Dataset | None) -> tuple[str, dict[str, Any]]:
    """Draw the choice of model and recipe; return the model's name and the settings of both that differ from their defaults."""
    left, right = st.columns(2, gap="medium")
    shape, outputs = (seen.train.shape, seen.train.outputs) if seen else ((2,), 2)
    with left:
        key, first = (
            ("load.model.texts", "bag") if source.texts else ("load.model.images", "cnn") if source.images else ("load.model", "mlp")
        )
        misfit = _textless if source.texts else lambda made: _misfit(made, shape, outputs)
        name, given = forms.choose(models, key, "Model", misfit, first=first, hidden=("vocabulary",) if source.texts else ())
    with right:
        st.markdown("**Training**", help="Batch size, epochs and loss fit themselves to the data when they are left open.")
        usual = _usual(name)
        recipe = forms.settings_form(Recipe, f"load.recipe.{name}" if usual else "load.recipe", automatic=AUTOMATIC, given=usual)
    usual = vars(Recipe()) | usual
    return name, given | {key: value for key, value in recipe.items() if key in AUTOMATIC or value != usual[key]}


def _usual(model: str) -> dict[str, Any]:
    """Return what the model's own recipe has instead of the defaults, but for what fits itself to the data."""
    cls = models.classes.get(model)
    return {key: value for key, value in cls.usual(1).items() if key not in AUTOMATIC} if hasattr(cls, "usual") else {}  # type: ignore[union-attr]


def _textless(made: Any) -> str:
    if getattr(made, "brought", False):
        return "It comes with its own weights: bring its folder (Bring a model)."
    return "" if getattr(made, "text", False) else "It does not read texts."


def _misfit(made: Any, shape: tuple[int, ...], outputs: int) -> str:
    import torch

    try:
        with torch.device("meta"):  # shapes and kinds alone: nothing is drawn or computed
            replace(made, inputs=shape, outputs=outputs)()(torch.zeros(1, *shape))
    except BadInput as error:
        return str(error) if len(shape) > 1 else "It does not take the rows of a table."
    return ""


def preview(rows: pd.DataFrame, name: str, seen: Dataset | None = None) -> None:
    """Draw the first rows of a table, or of a bundled set's training rows."""
    if seen:
        state.simulated(seen)
    count = f"{min(PREVIEWED, len(rows))} of {words.count(len(rows), 'row')}" if seen else words.count(min(PREVIEWED, len(rows)), "row")
    with st.expander(f"First {count}", icon=":material/table_rows:"):
        pictures.table(
            texts.readable(rows.head(PREVIEWED)), pictures.of_dataset(seen, PREVIEWED) if seen else None, f"The first rows of {name}"
        )
