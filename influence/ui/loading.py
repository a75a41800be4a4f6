"""Load's middle part: which column plays which part, which model, the check of it all, and what a data set or a new run holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.data.choices import Choices
from influence.data.dataset import ROLES, Dataset
from influence.data.tabular import prepare
from influence.data.text.prepare import prepare_texts
from influence.data.text.settings import Reading
from influence.errors import BadInput
from influence.groups import edges_of, groups_of
from influence.jobs import Job
from influence.registry import build, models
from influence.store.formats import canonical
from influence.types import Recipe
from influence.ui import columns, forms, jobs, pictures, sources, standing, state, texts, words
from influence.ui.source import Source

SENSITIVE = re.compile(r"\b(sex|gender|race|ethnic\w*|nationalit\w*|religion|disab\w*|marital\w*|age|age cat)\b")
TESTS = {"share": "A share of the rows", "split": "A column", "eval": "A second file"}
AUTOMATIC = ("batch_size", "epochs", "loss")
"""Settings of a recipe that fit themselves to the data when they are left open."""
PREVIEWED = 20
BINS = 4
ASKED = "load.asked"


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

    def given(self) -> dict[str, Any]:
        """Return what differs from the defaults, as arguments of an action."""
        return {name: value for name, value in vars(self).items() if value != getattr(Parts(), name)}

    def choices(self) -> Choices:
        """Return the parts of columns alone."""
        return Choices(*(getattr(self, f.name) for f in fields(Choices)))


@dataclass(frozen=True)
class Plan:
    """All that was chosen on the page: the arguments of the action `train`."""

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
        return args | settings | ({} if self.source.bundled else chosen)


def parts(source: Source) -> Parts:
    """Draw the columns of a table and the choice of their parts."""
    found, text = source.columns(), str(source.data_set.get("text", ""))
    names, key = [c.name for c in found if c.name != text], f"load.{source.stamp[0]}"
    left, right = st.columns([2, 3], gap="medium")
    with left:
        target = st.selectbox(
            "Target", names, index=None, placeholder="Choose the column to predict", key=f"{key}.target", persist_state="session"
        )
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
            height=560,
            alt="Columns of the table: part, kind, missing cells, distinct values, example and note",
        )
    return chosen


def _several(label: str, names: list[str], key: str, help: str) -> list[str]:
    return st.multiselect(label, names, key=key, help=help, placeholder="None", persist_state="session")


def _hint(names: list[str], chosen: list[str]) -> str:
    found = [name for name in names if SENSITIVE.search(name.lower().replace("_", " ").replace("-", " ")) and name not in chosen]
    return f"By their names these may be protected: {words.escaped(', '.join(found[:6]))}." if found else ""


def _tests(source: Source, names: list[str], key: str) -> dict[str, Any]:
    """Draw the choice of the test rows, of which one half answers questions and the other is held out."""
    about = "One half of the test rows is asked questions; the other half is the holdout, on which results are measured."
    how = st.segmented_control(
        "Test rows",
        list(TESTS),
        default="share",
        required=True,
        format_func=TESTS.__getitem__,
        key=f"{key}.tests",
        help=about,
        persist_state="session",
    )
    if how == "split":
        label = "Column that says train or test"
        return {
            "split": st.selectbox(label, names, index=None, placeholder="Choose a column", key=f"{key}.split", persist_state="session")
            or ""
        }
    if how == "eval":
        return {"eval": sources.second(source)}
    return {"test_share": st.slider("Share of test rows", 0.05, 0.5, 0.2, 0.05, key=f"{key}.share", persist_state="session")}


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


def check(plan: Plan) -> Dataset:
    """Return the data set that training will use, after every check that comes before training.

    Raises:
        BadInput: something chosen cannot be used.
    """
    from influence.actions.train import configured, vocabulary_of

    if plan.source.bundled:
        made = plan.source.dataset()
    elif plan.source.images:
        made = plan.source.outline(int(plan.settings.get("seed", 0)), plan.parts.given())
    else:
        made = _prepared(canonical(plan.source.stamp), canonical([vars(plan.parts), dict(plan.source.data_set)]), plan)
    configured(made.train, plan.model, plan.settings, vocabulary_of(made))
    return made


@st.cache_resource(show_spinner="Checking the data", max_entries=2)
def _prepared(stamp: str, parts: str, _plan: Plan) -> Dataset:
    source, chosen = _plan.source, _plan.parts
    if not chosen.target:
        raise BadInput("No target is chosen; one column must be what the model predicts. Choose it.")
    given = {f.name: getattr(chosen, f.name) for f in fields(Parts) if f.name != "eval"}
    other = Source(chosen.eval, "").table() if chosen.eval else None
    given |= {"evaluation_frame": other, "seed": int(_plan.settings.get("seed", 0)), "name": source.name}
    if source.texts:
        return prepare_texts(source.table(), reading=build(Reading, source.data_set), **given)
    return prepare(source.table(), **given)


def preview(rows: pd.DataFrame, name: str, seen: Dataset | None = None) -> None:
    """Draw the first rows of a table, or of a bundled set's training rows."""
    if seen:
        state.simulated(seen)
    count = f"{min(PREVIEWED, len(rows))} of {words.count(len(rows), 'row')}" if seen else words.count(min(PREVIEWED, len(rows)), "row")
    with st.expander(f"First {count}", icon=":material/table_rows:"):
        pictures.table(
            texts.readable(rows.head(PREVIEWED)), pictures.of_dataset(seen, PREVIEWED) if seen else None, f"The first rows of {name}"
        )


def contents(made: Dataset) -> None:
    """Draw what a data set holds: rows by role, and the sizes of classes and groups."""
    sizes = ", ".join(f"{len(made.split(role)):,} {word}" for role, word in zip(ROLES, ("training", "evaluation", "holdout"), strict=True))
    state.simulated(made)
    st.markdown(f"**{words.escaped(made.name)}**: {sizes} rows. {words.escaped(made.notes)}")
    table = sizes_of(made)
    percent = st.column_config.NumberColumn(format="percent")
    shape = {name: percent for name in table if str(name).startswith("Share")}
    st.dataframe(table, hide_index=True, column_config=shape, alt="Sizes of classes and groups among training, evaluation and holdout rows")


def sizes_of(made: Dataset) -> pd.DataFrame:
    """Return the number of rows per class and per group and role, and the last class's share of the training rows of a group."""
    parts = [_classes(made)] if made.train.classes else []
    parts += [_groups(made, name) for name in dict.fromkeys((*made.protected, *made.audit))]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _classes(made: Dataset) -> pd.DataFrame:
    counts = {role.capitalize(): np.bincount(made.split(role).y, minlength=len(made.train.classes)) for role in ROLES}
    return pd.DataFrame({"Column": made.target, "Value": made.train.classes, **counts})


def _groups(made: Dataset, name: str) -> pd.DataFrame:
    edges = edges_of(made.evaluation, name, BINS)
    by_role = {role: groups_of(made.split(role), name, BINS, edges) for role in ROLES}
    counts = {role.capitalize(): dict(zip(found.names, found.counts(), strict=True)) for role, found in by_role.items()}
    table = pd.DataFrame(counts).fillna(0).astype(int).rename_axis("Value").reset_index()
    table.insert(0, "Column", name)
    if len(made.train.classes) == 2 and name != made.target:
        own, train = made.train.y == len(made.train.classes) - 1, by_role["train"]
        shares = dict(zip(train.names, train.counts(own) / train.counts().clip(min=1), strict=True))
        table[f"Share {made.train.classes[-1]} in training"] = table["Value"].map(shares)
    return table


def trained(job: Job) -> None:
    """Draw what training made: its figures on holdout rows, the sizes of groups and classes, and the way on."""
    run = state.project().run(str((job.result or {})["run"]))
    if st.session_state.pop(ASKED, "") == job.id:  # whoever asked for it goes on with it
        state.show(run=run.id, group="")
        st.rerun()
    st.success(
        f"Trained in {words.duration(run.body['seconds'])}. On holdout rows: {standing.headline(run)}.", icon=":material/check_circle:"
    )
    contents(state.dataset(run))
    state.link("audit", "See its groups on Audit", run=run.id, group="")


def train(plan: Plan) -> None:
    """Ask for the training, and put its job into the address."""
    id = jobs.submit("train", plan.args())
    st.session_state[ASKED] = id
    state.show(job=id)
