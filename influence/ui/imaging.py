"""What Load asks of images, and nothing that only tables need: which column holds them, their size and colours, groups, test images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from influence.data.dataset import Dataset
from influence.data.images.found import Images
from influence.data.images.listed import path_columns
from influence.data.images.settings import Reading
from influence.errors import BadInput
from influence.ui import forms, pictures, words
from influence.ui.loading import PREVIEWED, Parts
from influence.ui.source import Source

NONE = "None: train on the other columns"
TESTS = {"share": "A share of the images", "split": "A column"}


def column(source: Source) -> Source:
    """Ask which column of a table names images, if one does, and return the source with it.

    Raises:
        BadInput: the table cannot be read.
    """
    if source.bundled or source.images:
        return source
    names = path_columns(source.first(PREVIEWED))
    if not names:
        return source
    about = "Images lie in the table's folder, or in one that is open for reading by path."
    picked = st.selectbox("Images are named by the column", [*names, NONE], key=f"load.{source.data}.image", help=about)
    return source if picked == NONE else replace(source, data_set={"image": picked})


def preview(source: Source) -> None:
    """Draw what was found: in the words of the source, and the first images with what is told of each.

    Raises:
        BadInput: the images cannot be read.
    """
    found = source.found()
    st.markdown(f"**{words.escaped(source.name)}**: {words.count(len(found), 'image')}. {words.escaped(' '.join(found.remarks))}")
    count = min(PREVIEWED, len(found))
    with st.expander(f"First {count} of {words.count(len(found), 'image')}", icon=":material/table_rows:"):
        drawn = pictures.of_source(source, tuple(range(count)))
        pictures.table(found.table.head(count), drawn, f"The first images of {source.name}")


def parts(source: Source) -> tuple[Source, Parts, Dataset | None]:
    """Draw the settings of reading, the parts of columns that are told of the images, and a few images of each class.

    Returns the source with its settings, the parts, and the data set as it will be, without pixels; None where there can be none: why is
    said then.
    """
    found, key = source.found(), f"load.{source.data}"
    left, right = st.columns([2, 5], gap="large")
    with left:
        given = forms.settings_form(Reading, f"{key}.reading", hidden=("image",), automatic=("size",))
        told = [name for name in found.table if name not in ("path", found.label, found.split)]
        target = _target(found, told, key)
        rest = [name for name in told if name != target]
        protected = _several("Protected columns", rest, key, "They define the groups that are compared.")
        audit = _several("Audit columns", rest, key, "They define groups too. Brightness is one in any case.")
        tests = _tests(found, rest, key)
    with right:
        pictures.classes(source, target)
    usual = {name: value for name, value in given.items() if value != getattr(Reading(), name)}
    read = replace(source, data_set={**source.data_set, **usual})
    chosen = Parts(target if target != found.label else "", tuple(protected), tuple(audit), **tests)
    with left:
        return read, chosen, _seen(read, chosen)


def _seen(source: Source, chosen: Parts) -> Dataset | None:
    try:
        made = source.outline(0, chosen.given())
    except BadInput as error:
        st.error(words.escaped(error), icon=":material/error:")
        return None
    channels, height, width = made.train.shape
    st.caption(f"The model sees {width} x {height} pixels, {'grey' if channels == 1 else 'colour'}.")
    return made


def _target(found: Images, told: list[str], key: str) -> str:
    """The column with the class of each image: that of the folders, unless another is chosen."""
    options = [*([found.label] if found.label else []), *told]
    if len(options) < 2:
        return "".join(options)
    label = "What the images show"
    picked = st.selectbox(
        label, options, index=0 if found.label else None, placeholder="Choose a column", key=f"{key}.target", persist_state="session"
    )
    return picked or ""


def _several(label: str, names: list[str], key: str, help: str) -> list[str]:
    if not names:
        return []
    return st.multiselect(label, names, key=f"{key}.{label}", help=help, placeholder="None", persist_state="session")


def _tests(found: Images, names: list[str], key: str) -> dict[str, Any]:
    """Draw the choice of the test images, of which one half answers questions and the other is held out."""
    about = "One half of the test images is asked questions; the other half is the holdout, on which results are measured."
    if found.split:
        sizes = ", ".join(f"{count:,} {words.escaped(name)}" for name, count in found.table[found.split].value_counts().items())
        st.markdown(f"**Test images** as the {'arrays' if found.kind == 'npz' else 'folders'} say: {sizes}.", help=about)
        return {}
    how = "share"
    if names:
        how = st.segmented_control(
            "Test images", list(TESTS), default="share", required=True, format_func=TESTS.__getitem__, key=f"{key}.tests", help=about,
            persist_state="session",
        )  # fmt: skip
    if how == "split":
        label = "Column that says train or test"
        return {
            "split": st.selectbox(label, names, index=None, placeholder="Choose a column", key=f"{key}.split", persist_state="session")
            or ""
        }
    return {"test_share": st.slider("Share of test images", 0.05, 0.5, 0.2, 0.05, key=f"{key}.share", help=about, persist_state="session")}
