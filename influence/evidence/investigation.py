"""What a report tells, as plain values: no arrays, no handles, nothing that has to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from influence.evidence import words
from influence.evidence.figures import Estimate, Judged, Pinned, Retrained
from influence.types import SIGN

Better: TypeAlias = Literal["lower", "higher", "neither"]
ROLES = ("original", "unlearned", "retrained", "random")
"""The models that are compared, in the order in which they are shown; random: retrained without as many random rows."""
ROWS: tuple[Literal["evaluation", "holdout"], ...] = ("evaluation", "holdout")
"""The rows on which one model is measured."""


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
    """The question that a report is about: `measured` on the evaluation rows, as people read it.

    `smooth`, `value`: name and value of the smooth version that scores predict, where that is another.
    """

    label: str
    better: Better
    measured: Estimate
    meaning: str = ""
    smooth: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Question:
    """One of all questions that were asked: what was measured (None: nothing that has one figure), and the ways it was asked, in words."""

    label: str
    measured: Estimate | None
    ways: tuple[str, ...]


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
    """The rows that were removed, or relabelled: `reason` is the rule in words. `in_all`: how many the model is without, of any request."""

    n: int
    reason: str
    digest: str
    ids: tuple[Any, ...] = ()
    composition: tuple[Part, ...] = ()
    relabelled: bool = False
    in_all: int = 0

    @property
    def earlier(self) -> str:
        """How many rows are removed in all, in words, if earlier requests removed some; else ""."""
        return words.in_all_of(self.in_all, self.n)


@dataclass(frozen=True)
class Change:
    """A predicted change of a metric with its 95 % band, and what it turned out to be by model (unlearned, retrained).

    `before`: on the evaluation rows, `n` of them. `realised`: on these; `holdout`: on the holdout rows. `smooth`: the same of its smooth
    version, where that is another.
    """

    label: str
    better: Better
    predicted: float | None
    low: float | None = None
    high: float | None = None
    before: float | None = None
    realised: Mapping[str, float | None] = field(default_factory=dict)
    holdout: Mapping[str, float | None] = field(default_factory=dict)
    smooth: Change | None = None
    n: int = 0


@dataclass(frozen=True)
class Preview:
    """What was predicted before anything was done, on n evaluation rows. `calibration` says how far to trust it, in words."""

    changes: tuple[Change, ...]
    calibration: str
    n: int = 0


@dataclass(frozen=True)
class Beside:
    """A figure of all holdout rows (no `column`), of one group or of all (`group` empty), beside models that never saw the removed rows.

    Where 95 % of these lie is `low` to `high`; `verdict`: "inside", "outside", "too few".
    """

    metric: str
    column: str
    group: str
    n: int
    original: float | None
    value: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class Unlearned:
    """How the model was made to forget, what may be claimed, and what it cost. `retrain_seconds` is None where the method is retraining.

    `verified`: the verdict beside models that never saw the rows, in sentences; "" if there is none. `measures`: those that it
    rests on, measured on the rows `judged_on`, in words. `beside`: every figure beside these models. `tests`: those of the method, of
    what is `tested`, in words, and what they find at few false alarms (`found_at`, a sentence each).
    `step`: at which of its steps it was taken; `touched`: why holdout figures can flatter it, in a sentence; "" of a result.
    `requests`: the kinds of requests that this one and those before it were.
    """

    method: str
    claim: str
    seconds: float
    meaning: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    claim_note: str = ""
    retrain_seconds: float | None = None
    run: str = ""
    verified: str = ""
    measures: tuple[Judged, ...] = ()
    judged_on: str = ""
    beside: tuple[Beside, ...] = ()
    tests: tuple[Judged, ...] = ()
    tested: str = ""
    found_at: tuple[str, ...] = ()
    step: str = ""
    touched: str = ""
    requests: tuple[str, ...] = ("remove",)


@dataclass(frozen=True)
class Measure:
    """One metric by model (`ROLES`), or of one model by rows (`ROWS`).

    Of all rows, between the groups of `column` (`group` empty), or of one.

    `changes`: by model, how it changed from the original's on the same rows, with the interval of the change; of a gap that of the `pair`
    of groups that is furthest apart under the original. `headline`: it stands at the top.
    """

    metric: str
    better: Better
    found: Mapping[str, Estimate]
    column: str = ""
    group: str = ""
    headline: bool = False
    changes: Mapping[str, Estimate] = field(default_factory=dict)
    pair: str = ""


@dataclass(frozen=True)
class Flips:
    """How many of n holdout predictions differ from the original model's; for a known label, how many became right and wrong."""

    role: str
    n: int
    changed: int
    righted: int | None = None
    wronged: int | None = None


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

    `questions`: the first of `asked`. `pinned`: the first of `pins` findings that were pinned. `retrained`: patterns that models were
    retrained without. `smooth`: what smooth versions are, if any is told of.
    """

    title: str
    project: str
    created: str
    data: Data
    model: Model
    question: Asked | None = None
    questions: tuple[Question, ...] = ()
    asked: int = 0
    method: Method | None = None
    selection: Chosen | None = None
    preview: Preview | None = None
    unlearning: Unlearned | None = None
    comparison: tuple[Measure, ...] = ()
    flips: tuple[Flips, ...] = ()
    pinned: tuple[Pinned, ...] = ()
    pins: int = 0
    changes: tuple[Change, ...] = ()
    retrained: tuple[Retrained, ...] = ()
    smooth: str = ""
    records: tuple[Entry, ...] = ()
    findings: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def seen(self) -> int:
        """How many training rows the model was made with before this request: all but those that earlier ones removed; 0 if unknown."""
        chosen, total = self.selection, self.data.rows.get("train", 0)
        return total - max(0, chosen.in_all - chosen.n) if chosen and total else total
