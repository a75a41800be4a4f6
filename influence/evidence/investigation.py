"""What a report tells, as plain values: no arrays, no handles, nothing that has to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from influence.types import SIGN

Better: TypeAlias = Literal["lower", "higher", "neither"]
ROLES = ("original", "unlearned", "retrained")
"""The models that are compared, in the order in which they are shown."""


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95 % interval (None: too few rows for one) and the rows it was measured on."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True)
class Data:
    """The data set: `rows` by role (train, evaluation, holdout)."""

    name: str
    rows: Mapping[str, int]
    target: str
    source: str = ""
    protected: tuple[str, ...] = ()
    audit: tuple[str, ...] = ()
    simulated: bool = False
    notes: str = ""
    digest: str = ""
    favourable: str = ""


@dataclass(frozen=True)
class Model:
    """The model asked about: architecture and recipe as settings by name; no recipe, an empty one."""

    name: str
    run: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True)
class Asked:
    """The question: `value` differentiable, `measured` the metric that people read, on the evaluation rows."""

    label: str
    better: Better
    measured: Estimate
    value: Estimate | None = None
    measured_label: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class Method:
    """How rows were scored; `sign` says how to read a score."""

    name: str
    meaning: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    calibrated: bool = False
    sign: str = SIGN


@dataclass(frozen=True)
class Part:
    """How many of the selected rows, and of all training rows, have one value in one column."""

    column: str
    value: str
    selected: int
    of: int


@dataclass(frozen=True)
class Chosen:
    """The rows that were removed: `reason` is the rule in words."""

    n: int
    reason: str
    digest: str
    ids: tuple[Any, ...] = ()
    composition: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Change:
    """A predicted change of a metric with its band, and what it turned out to be: `realised` by model (unlearned, retrained)."""

    label: str
    better: Better
    predicted: float | None
    low: float | None = None
    high: float | None = None
    before: float | None = None
    realised: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Preview:
    """What was predicted before anything was done. `calibration` says how far to trust it, in words."""

    changes: tuple[Change, ...]
    calibration: str
    rows: str = "evaluation"


@dataclass(frozen=True)
class Unlearned:
    """How the model was made to forget, what may be claimed, and what it cost. `retrain_seconds` is None where the method is retraining."""

    method: str
    claim: str
    seconds: float
    meaning: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    claim_note: str = ""
    retrain_seconds: float | None = None
    run: str = ""


@dataclass(frozen=True)
class Measure:
    """One metric by model: of all rows, between the groups of `column` (`group` empty), or of one. `headline`: it stands in the summary."""

    metric: str
    better: Better
    found: Mapping[str, Estimate]
    column: str = ""
    group: str = ""
    headline: bool = False


@dataclass(frozen=True)
class Flips:
    """How many of n holdout predictions differ from the original model's; for a known label, how many became right and wrong."""

    role: str
    n: int
    changed: int
    righted: int | None = None
    wronged: int | None = None


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval and the rows n that it rests on. `lacks`: why there is no interval, where that is not too few rows.

    `series`: which of several models or kinds it is of, in a picture.
    """

    label: str
    found: Estimate
    lacks: str = ""
    series: str = ""


@dataclass(frozen=True)
class Pinned:
    """A finding that somebody pinned, read again from what it was computed from.

    `model`: the name of its run. `said`: what it says in words. `columns`, `rows`: the first of `n` rows, as text. `drawn`: its figures
    make a picture. `counts` by bins between `edges`: it is a histogram of `axis`. `missing`: why it cannot be shown.
    """

    kind: str
    title: str
    model: str
    created: str
    note: str = ""
    said: str = ""
    figures: tuple[Figure, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    n: int = 0
    drawn: bool = False
    axis: str = ""
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Entry:
    """One record of the project's chain."""

    seq: int
    kind: str
    created: str
    hash: str
    previous: str


@dataclass(frozen=True)
class Investigation:
    """One investigation from question to proof. What was not done is None or empty, and the report says so.

    `pinned`: the first of `pins` findings that were pinned.
    """

    title: str
    project: str
    created: str
    data: Data
    model: Model
    question: Asked | None = None
    method: Method | None = None
    selection: Chosen | None = None
    preview: Preview | None = None
    unlearning: Unlearned | None = None
    comparison: tuple[Measure, ...] = ()
    flips: tuple[Flips, ...] = ()
    pinned: tuple[Pinned, ...] = ()
    pins: int = 0
    changes: tuple[Change, ...] = ()
    records: tuple[Entry, ...] = ()
    findings: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
