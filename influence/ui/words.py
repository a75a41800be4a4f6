"""How the pages speak: figures with their intervals and n, names of things, times. Numbers are said as in `influence.evidence.words`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from influence.evidence.words import (
    MINUS,
    TOO_FEW,
    about,
    apart,
    asked,
    band,
    became,
    called,
    claim,
    count,
    duration,
    escaped,
    interval,
    known,
    named,
    number,
    numbers,
    percent,
    settings,
    signed,
    title,
)

__all__ = [
    "MINUS", "SIMULATED", "TOO_FEW", "about", "ago", "apart", "asked", "band", "became", "called", "claim", "count", "distinct",
    "duration", "escaped", "figure", "interval", "known", "lasting", "named", "number", "numbers", "percent", "run_name",
    "run_names", "settings", "signed", "size", "title", "verb",
]  # fmt: skip

SIMULATED = "Simulated data"

VERBS = {
    "demo": "Training the demo model",
    "train": "Training",
    "import_model": "Bringing a model",
    "check": "Checking",
    "attribute": "Scoring training rows",
    "mislabelled": "Looking for wrong labels",
    "trace": "Tracing a prediction",
    "explain": "Explaining rows",
    "swayed": "Looking for predictions that a row sways",
    "removal_curve": "Retraining along the removal curve",
    "clusters": "Grouping rows that look alike",
    "suspects": "Searching for patterns",
    "confirm_suspects": "Retraining without patterns",
    "sources": "Weighing whole sources",
    "duplicates": "Looking for copies",
    "outliers": "Looking for outliers",
    "helps_nobody": "Looking for rows that help nobody",
    "prepare": "Preparing previews",
    "budget": "Looking for the fewest rows",
    "preview": "Previewing a removal",
    "who_changes": "Predicting who else changes",
    "confirm": "Retraining to confirm",
    "fidelity": "Checking predictions by retraining",
    "smoothness": "Measuring smoothness",
    "coordinates": "Laying out the map",
    "unlearn": "Unlearning",
    "race": "Racing methods",
    "roll_back": "Taking a step",
    "drop_steps": "Deleting steps",
    "agreement": "Comparing methods",
    "compare": "Comparing models",
    "verify": "Verifying",
    "report": "Writing the report",
    "pins": "Reading pins",
    "pin": "Pinning",
    "export_model": "Writing the model",
    "export_run": "Writing to MLflow",
    "export_scores": "Writing scores",
    "export_data": "Writing data",
}


def verb(action: str) -> str:
    """Return what a job does, as the tray says it."""
    return VERBS.get(action, title(action))


def figure(found: Mapping[str, Any] | None, digits: int = 3, of: str = "") -> str:
    """Return a measured figure with its 95 % interval and n: 0.885 (0.863 to 0.904), n = 924; `of`: which rows these are."""
    if not found or not known(found.get("value")):
        return "not measured"
    between = interval(found.get("low"), found.get("high"), digits)
    return f"{number(found['value'], digits)} ({between}), n = {int(found['n']):,}{f' {of} rows' if of else ''}"


def run_name(run: Any) -> str:
    """Return a run as lists show it: what it is called, its model, and when it was made.

    Of those made to forget the time comes first: where a list is narrow, it is what tells one request from the next.
    """
    when = f"{local(run.created):%d %b %H:%M:%S}"
    if run.kind == "unlearn":
        return " · ".join(filter(None, [when, called(run), "for comparison" if run.body.get("yardstick") else ""]))
    return " · ".join(filter(None, [called(run), title(run.body.get("model", {}).get("name", "")), when]))


def run_names(runs: Iterable[Any]) -> dict[str, str]:
    """Return runs' names by their ids, no two alike."""
    return distinct({run.id: run_name(run) for run in runs})


def distinct(names: Mapping[str, str]) -> dict[str, str]:
    """Return names by their keys, those that are alike with the end of the key: a list finds what was chosen again by its text alone."""
    often = Counter(names.values())
    return {key: name if often[name] == 1 else f"{name} ({key[-6:]})" for key, name in names.items()}


def local(created: str) -> datetime:
    """Return a run's or record's time in the server's time zone."""
    return datetime.fromisoformat(created).astimezone()


def ago(created: str | float) -> str:
    """Return how long ago something was, from ISO 8601 text or seconds since 1970."""
    then = datetime.fromtimestamp(created, UTC) if isinstance(created, float) else datetime.fromisoformat(created)
    seconds = max(0, int((datetime.now(UTC) - then).total_seconds()))
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{count(seconds // size, unit)} ago"
    return "just now"


def lasting(seconds: float | None) -> str:
    """Return the time left in round figures, or nothing if it is not known."""
    return "" if seconds is None else f"{about(seconds)} left"


def size(n: int) -> str:
    """Return a number of bytes as people say it."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if n >= 1000**power:
            return f"{n / 1000**power:,.1f} {unit}"
    return count(n, "byte")
