"""Make a data set of images: which image plays which role, what its class is, and what the model sees of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from influence.data.choices import Choices
from influence.data.dataset import ROLES, Dataset
from influence.data.groups import refuse_groupless
from influence.data.images import notes
from influence.data.images.fill import FACTS, Filled, fill
from influence.data.images.found import Images
from influence.data.images.settings import Reading
from influence.data.images.size import Size, chosen
from influence.data.rows import Rows, gather
from influence.data.schema import Column, infer, plain
from influence.data.split import TRAIN, refuse_empty
from influence.data.target import Target, fit_target
from influence.errors import BadInput
from influence.types import Examples, Report, ignore

MOST_BYTES = 8_000_000_000
LEVEL = "brightness_level"


@dataclass(frozen=True)
class Wish:
    """What is asked of images: the parts of the columns, the share of test rows and the seed of the split, and how images are read."""

    choices: Choices
    test_share: float
    seed: int
    reading: Reading
    name: str


@dataclass(frozen=True)
class _Sorted:
    """Images that have a label: their rows, places among all, roles (N,), target and choices, and how many others have none."""

    rows: Rows
    places: np.ndarray
    roles: np.ndarray
    goal: Target
    choices: Choices
    columns: Mapping[str, Column]
    unlabelled: int


def wished(
    images: Images,
    *,
    target: str = "",
    protected: Iterable[str] = (),
    audit: Iterable[str] = (),
    drop: Iterable[str] = (),
    id: str = "",
    split: str = "",
    kinds: Mapping[str, str] | None = None,
    test_share: float = 0.2,
    seed: int = 0,
    reading: Reading | None = None,
    name: str = "",
) -> Wish:
    """Return what is asked of images; target and split are what their source says where nothing else is chosen.

    Raises:
        BadInput: nothing says the class of an image.
    """
    target = target or images.label
    if not target:
        raise BadInput(
            f"Nothing says what the images of {images.name!r} show: no class folders, and no column 'label'. "
            f"Put the images of each class into a folder, or choose a target among: {', '.join(images.table.columns)}."
        )
    split = split or (images.split if images.split != target else "")
    choices = Choices(target, tuple(protected), tuple(audit), tuple(drop), id, split, dict(kinds or {}))
    return Wish(choices, test_share, seed, reading or Reading(), name or Path(images.name).stem)


def outline(images: Images, wish: Wish) -> Dataset:
    """Return the data set as it will be, but for the pixels, which are all black, and what is known from them: nothing is decoded.

    Raises:
        BadInput: something chosen cannot be used.
    """
    found, size = _sorted(images, wish), chosen(images, wish.reading)
    _refuse_large(found, size, None)
    black = [np.broadcast_to(np.float32(0), (int((found.roles == role).sum()), size.channels, *size.sides)) for role in range(len(ROLES))]
    return _dataset(images, wish, found, black, found.rows.table, "")


def prepare_images(
    images: Images, wish: Wish, *, source: Mapping[str, Any] | None = None, folder: Path | None = None, report: Report = ignore
) -> Dataset:
    """Return the data set of images: x is (N, C, H, W) float32 from 0 to 1, mapped from files in `folder` that go when x does.

    Of every image one sees beside its label where it was, its size, mode and digest (of the file, SHA-256, 16 digits), its mean brightness
    and, as an audit column, whether that is above the median.

    Raises:
        BadInput: something chosen cannot be used, or more than one in a hundred images cannot be read.
    """
    folder = folder or Path(tempfile.gettempdir())
    found, size = _sorted(images, wish), chosen(images, wish.reading)
    _refuse_large(found, size, folder)
    filled = fill(images, found.places, found.roles, size, wish.reading.channels, folder, report)
    if filled.unreadable:
        found = _sorted(images, wish, filled.unreadable)
    facts = filled.facts.loc[found.places].reset_index(drop=True)
    told = notes.shape(facts, filled.x[0].shape[1:]), notes.done(facts), _unreadable(images, filled)
    train = found.roles == TRAIN
    copies = notes.copies(facts["digest"].to_numpy(), found.rows.table[found.goal.name].to_numpy(), train)
    table, level = _with_facts(found.rows.table, facts)
    found = _grouped(replace(found, rows=replace(found.rows, table=table)), level)
    made = _dataset(images, wish, found, filled.x, table, " ".join(filter(None, (*told, copies))))
    encoding = {**made.encoding, **({"fitted": True} if _fitted(wish.reading, facts) else {})}
    return replace(made, encoding=encoding, source=dict(source or {"name": images.name}))


def _fitted(reading: Reading, facts: pd.DataFrame) -> bool:
    """Whether what the model sees of an image depends on the others: on their median size, or on one of them having colours."""
    mixed = facts[["width", "height"]].drop_duplicates()
    return (not reading.size and len(mixed) > 1) or (reading.channels == "auto" and facts["channels"].nunique() > 1)


def _sorted(images: Images, wish: Wish, without: Collection[int] = ()) -> _Sorted:
    """Say who plays which role; images at the places `without` play none.

    Raises:
        BadInput: a choice does not fit, there is one class, or a role is left without rows.
    """
    choices, table = wish.choices, plain(images.table)
    choices.check(table)
    columns = {column.name: column for column in infer(table)}
    ids = gather(table, None, choices, columns).ids if choices.id else images.ids
    readable = np.ones(len(table), dtype=bool)
    readable[[*without]] = False
    labelled = table[choices.target].notna().to_numpy()
    if not labelled.any():
        raise BadInput(f"The target {choices.target!r} has no value for any image of {images.name!r}. Fill it, or choose another target.")
    places = np.flatnonzero(readable & labelled)
    rows = Rows(table, ids, None).take(readable & labelled)
    _refuse_one_class(images, choices, rows.table)
    split = choices.split if choices.split and rows.table[choices.split].nunique() > 1 else ""
    roles = rows.roles(split, wish.test_share, wish.seed)
    task = images.task if choices.target == images.label else "auto"
    goal = fit_target(rows.table[choices.target], roles == TRAIN, columns[choices.target], task)
    refuse_empty(roles)
    refuse_groupless(rows.table, roles, choices, columns)
    return _Sorted(rows, places, roles, goal, choices, columns, int((~labelled & readable).sum()))


def _refuse_one_class(images: Images, choices: Choices, table: pd.DataFrame) -> None:
    if choices.target == images.label and table[choices.target].nunique() == 1:
        only = table[choices.target].iloc[0]
        raise BadInput(
            f"All {len(table):,} labelled images of {images.name!r} are of one class, {str(only)!r}; at least two are needed. "
            "Put the images of each class into a folder of its own."
        )


def _refuse_large(found: _Sorted, size: Size, folder: Path | None) -> None:
    need = 4 * len(found.places) * size.channels * size.height * size.width
    if need > MOST_BYTES:
        raise BadInput(
            f"{len(found.places):,} images of {size.width} x {size.height} would take {need / 1e9:,.0f} GB; at most "
            f"{MOST_BYTES / 1e9:.0f} GB fit. Choose a smaller size, or take fewer images."
        )
    free = shutil.disk_usage(folder).free if folder and folder.is_dir() else 2 * need
    if 2 * need > free:
        raise BadInput(
            f"{len(found.places):,} images of {size.width} x {size.height} need {2 * need / 1e9:,.1f} GB of disk; {free / 1e9:,.1f} GB are "
            "free. Choose a smaller size, or make room."
        )


def _unreadable(images: Images, filled: Filled) -> str:
    reasons = {str(images.table["path"][place]): reason for place, reason in filled.unreadable.items()}
    return notes.unreadable(reasons, len(filled.facts) + len(reasons))


def _with_facts(table: pd.DataFrame, facts: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The table with what was seen of each image, and the name of the column of brightness levels."""
    bright = facts["brightness"]
    own = facts[list(FACTS)].assign(**{LEVEL: pd.Series(np.where(bright > bright.median(), "high", "low"), dtype="str")})
    names = {name: name if name not in table else f"{name} (image)" for name in own}
    return plain(pd.concat([table, own.rename(columns=names)], axis=1)), names[LEVEL]


def _grouped(found: _Sorted, level: str) -> _Sorted:
    """With what each column is, and the brightness level among the audit columns if it divides the rows of every role."""
    columns = {column.name: column for column in infer(found.rows.table)}
    choices = replace(found.choices, audit=tuple(dict.fromkeys((*found.choices.audit, level))))
    try:
        refuse_groupless(found.rows.table, found.roles, choices, columns)
    except BadInput:
        choices = found.choices
    return replace(found, choices=choices, columns=columns)


def _dataset(images: Images, wish: Wish, found: _Sorted, x: list[np.ndarray], table: pd.DataFrame, told: str) -> Dataset:
    choices, goal = found.choices, found.goal
    shown = choices.shown(table)

    def examples(role: int) -> Examples:
        mask = found.roles == role
        rows = table.loc[mask, shown].reset_index(drop=True)
        return Examples(x[role], goal.y(rows[goal.name]), found.rows.ids[mask], rows, goal.classes)

    return Dataset(
        wish.name,
        examples(0),
        examples(1),
        examples(2),
        target=goal.name,
        protected=choices.protected,
        audit=choices.audits,
        encoding={"kind": "image", "shape": list(x[0].shape[1:]), **asdict(wish.reading), "target": goal.described()},
        columns=[column.described() | {"part": _part(name, choices), "input": False} for name, column in found.columns.items()],
        source={"name": images.name},
        notes=" ".join(filter(None, (told, _unlabelled(found), *images.remarks))),
    )


def _part(name: str, choices: Choices) -> str:
    part = choices.part(name)
    return "shown" if part == "input" else part


def _unlabelled(found: _Sorted) -> str:
    return f"{found.unlabelled:,} images without a value of {found.goal.name} were left out." if found.unlabelled else ""
