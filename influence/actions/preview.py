"""Predict what removing rows would do to every standard metric, at once, from the walk that `prepare` kept. No PyTorch at import."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from influence.actions._calibration import band, folded, of_way, reach
from influence.actions._measures import SQUARED, unit_of
from influence.actions._scored import short
from influence.actions._standard import RATES
from influence.data.dataset import Dataset
from influence.errors import BadInput
from influence.groups import other_than
from influence.registry import attribution
from influence.store import Project
from influence.types import Report, Scores, Selection, Trained, ignore

OLDER = "An older version prepared this preview by other removals: it has no bands. Prepare it anew."


def scorer(trained: Trained) -> Any:
    """Return what scores a model's rows for its preview: the metagradient, else TracIn, which only ranks, and may be closed, too."""
    first = attribution.make("metagradient")
    return attribution.make("tracin") if first.unavailable(trained) else first


def key(run: str, group: str, positive: str = "", label: str = "") -> str:
    """Return the name under which a run's preview is kept, or with `label` what confirmed it.

    `positive`: the class that is favourable in it, "" for the one of the run's own data (`influence.groups.other_than`).
    """
    asked = short({"group": group, "positive": positive}) if positive else group
    return f"confirm/{run}/{asked}/{label}" if label else f"preview/{run}/{asked}"


def kept(project: Project, run: str, group: str, positive: str = "") -> dict[str, Any] | None:
    """Return what `prepare` kept for a run, a group and a favourable class, or None."""
    found = project.noted(key(run, group, positive))
    if found is None:
        return None
    note = {"most": 0, **found}  # older ones were calibrated by removals that better a metric: their bands hold for no others
    if "positive" in note:
        return note
    # Older ones do not say of which class they speak, and could be of any: their questions tell.
    given = {query["given"].get("positive", "") for query in note["queries"].values()} - {""}
    return note if given <= {positive or project.dataset(project.run(run).dataset).evaluation.favourable} else None


def in_units(note: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Return a note that speaks of a numeric target in its own unit: levels and bands, from the same scores; of classes the note as it is.

    Scores stay as they are: sums of them reach as far, and the slopes of the calibration turn them into the target's unit.
    """
    if dataset.train.classes:
        return note
    units = {label: unit_of(dataset, query["name"]) for label, query in note["queries"].items()}
    before = {
        label: {kind: value * getattr(units[label], kind) + units[label].start for kind, value in told.items()}
        for label, told in note["before"].items()
    }
    fits = {
        label: {
            "value": _scaled(fit["value"], unit.value, unit.value),
            "measured": _scaled(fit["measured"], unit.measured / unit.value, unit.measured),
        }
        for label, fit in note["calibration"].items()
        for unit in (units[label],)
    }
    pairs = {
        label: {"before": it["before"] * units[label].measured, "fit": _scaled(it["fit"], units[label].measured, units[label].measured)}
        for label, it in note.get("pairs", {}).items()
    }
    return {**note, "before": before, "calibration": fits, "pairs": pairs}


def _scaled(fit: dict[str, Any], slope: float, sigma: float) -> dict[str, Any]:
    found = {**fit, "slope": fit["slope"] * slope, "slope_sd": fit["slope_sd"] * slope, "sigma": fit["sigma"] * sigma}
    return {**found, "rises": _scaled(fit["rises"], slope, sigma)} if "rises" in fit else found


def older(note: Mapping[str, Any]) -> bool:
    """Whether an older version prepared a calibrated preview, in a way that bears out no bands."""
    return bool(note["calibration"]) and note.get("most") == 0


def unbanded(note: Mapping[str, Any], k: int) -> str:
    """Say why there is no band for k rows; "" where there is one, or nothing was calibrated."""
    if not note["calibration"] or k <= note.get("most", k):
        return ""
    return OLDER if older(note) else f"No 95 % bands beyond {note['most']:,} rows, the most that retraining was tried without."


def retrainings(note: Mapping[str, Any]) -> int:
    """Return how many real retrainings calibrated a preview."""
    fits = next((fit["value"] for fit in note["calibration"].values()), None)
    return note.get("retrainings", fits["n"]) if fits else 0


def curves(note: dict[str, Any], scores: Scores, order: np.ndarray, ks: Sequence[int], kind: str = "value") -> pd.DataFrame:
    """Return the predicted change of every metric when the first k rows of `order` are removed.

    Columns: label, k, change, low, high (95 %; NaN where nothing was calibrated, and where `unbanded`). `kind`: the differentiable "value"
    or the "measured".
    Uncalibrated scores are good for ranking only: no change is given.

    Raises:
        BadInput: a size lies outside 0 to the number of rows.
    """
    sizes = np.asarray(ks, dtype=int)
    if len(sizes) and not (0 <= sizes.min() and sizes.max() <= len(order)):
        raise BadInput(f"Sizes must lie between 0 and {len(order):,} rows; got {sizes.min():,} to {sizes.max():,}.")
    sums = np.vstack([np.zeros(len(scores.labels)), np.cumsum(scores.values[order[: sizes.max(initial=0)]], axis=0)])[sizes]
    return pd.concat([_curve(note, i, sizes, sums, kind) for i in range(len(scores.labels))], ignore_index=True)


def _curve(note: dict[str, Any], place: int, sizes: np.ndarray, sums: np.ndarray, kind: str) -> pd.DataFrame:
    """Return one metric's change for sets of `sizes` whose scores add up to `sums`, (S, Q)."""
    label = note["labels"][place]
    if not note["calibration"]:
        nothing = np.full(len(sizes), np.nan)
        return pd.DataFrame({"label": label, "k": sizes, "change": nothing, "low": nothing, "high": nothing})
    fitted, scored = note["calibration"][label], sums[:, place]
    expected = scored if kind == "value" else hard(label, note["before"][label]["value"], fitted["value"], scored)
    change, low, high = band(of_way(fitted[kind], scored), expected, reached(note, sums, sizes))
    if kind == "measured":
        least, most = (limit - note["before"][label]["measured"] for limit in limits(note, label))
        change, low, high = (np.clip(values, least, most) for values in (change, low, high))
    low, high = (np.where(sizes <= note.get("most", np.inf), end, np.nan) for end in (low, high))
    return pd.DataFrame({"label": label, "k": sizes, "change": change, "low": low, "high": high})


def reached(note: Mapping[str, Any], sums: np.ndarray, k: np.ndarray | int) -> np.ndarray:
    """Return how far sets of k rows whose scores add up to `sums` move the model, (..., Q) -> (...)."""
    most = note.get("most", 0)
    return reach(sums, np.array(note["units"]), np.asarray(k) / most if most else 0.0)


def hard(label: str, before: float, soft: Mapping[str, Any], scored: np.ndarray) -> np.ndarray:
    """Return what the hard metric is expected to follow where scores add up to `scored`, with the fit `soft` of its smooth twin."""
    return twin(label, before, of_way(soft, scored)["slope"] * scored)


def twin(label: str, before: float, change: np.ndarray) -> np.ndarray:
    """Return what the hard metric is expected to follow: its smooth twin's change, and for a gap that of its size."""
    return folded(before, change) if is_gap(label) else change


def is_gap(label: str) -> bool:
    """Whether a label is that of a gap between groups; columns and groups can have any name, "gap" too."""
    return re.match(r"(\S+ ){1,2}gap by ", label) is not None


def limits(note: Mapping[str, Any], label: str) -> tuple[float, float]:
    """Return between which values the metric lies that people read: shares in [0, 1], gaps and errors from 0 on.

    A numeric target has no shares.
    """
    share = note["queries"][label]["name"] in (*RATES, "group_rate", "accuracy_margin", "accuracy") and "R²" not in note["labels"]
    error = note["queries"][label]["name"] in SQUARED
    return (0.0 if share or error or is_gap(label) else -np.inf, 1.0 if share else np.inf)


def predicted(note: dict[str, Any], scores: Scores, ids: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Return {metric: {change, low, high, calibrated, ...}} for removing these rows; low and high are None where there is no band.

    A gap has `pair` as well: of the two groups that its label names `before`, change, low and high of what people read, with its sign.

    Raises:
        BadInput: an id is not among the scored rows.
    """
    at = pd.Index(scores.ids).get_indexer(pd.Index(ids))
    if (at < 0).any():
        raise BadInput(f"{int((at < 0).sum())} of {len(at)} ids are not among the {len(scores.ids)} training rows of this run.")
    found: dict[str, dict[str, Any]] = {}
    total = scores.values[at].sum(0, keepdims=True)
    for i, label in enumerate(scores.labels):
        entry: dict[str, Any] = {"before": note["before"][label]["value"], "measured_before": note["before"][label]["measured"]}
        for kind, prefix in (("value", ""), ("measured", "measured_")):
            row = _curve(note, i, np.array([len(at)]), total, kind).iloc[0]
            entry |= {prefix + name: None if np.isnan(row[name]) else float(row[name]) for name in ("change", "low", "high")}
        found[label] = {**entry, "calibrated": bool(note["calibration"]), "measured_label": note["measured_labels"][label]}
        if own := note.get("pairs", {}).get(label):  # those that an older version prepared have none
            ends = (float(part[0]) for part in band(of_way(own["fit"], total[:, i]), total[:, i], reached(note, total, len(at))))
            found[label]["pair"] = {"before": own["before"], **dict(zip(("change", "low", "high"), ends, strict=True))}
            if unbanded(note, len(at)):
                found[label]["pair"] |= {"low": None, "high": None}
    return found


def preview(
    project: Project,
    run: str | None = None,
    group: str | None = None,
    ids: Sequence[Any] | None = None,
    scores: str | None = None,
    label: str | int = 0,
    better: str = "lower",
    top: int = 0,
    positive: str = "",
    report: Report = ignore,
) -> dict[str, Any]:
    """Predict the change of every standard metric without some rows: `ids`, the `top` of kept `scores`, or the current selection.

    The first call for a run, a group and a class `positive` prepares it (some twenty retrainings). "": the class that is favourable in
    the run's data. Errors of a numeric target are in its own unit, their smooth versions in its square. `unbanded` says why there are no
    bands, where there are none. `n`: how many of the rows the model has; those that it was made without change nothing.

    Raises:
        BadInput: no rows that the model has, unknown ones or more than there are, an unknown question, or a group column or class that does
            not exist.
    """
    from influence.actions._opened import as_ids, chosen, opened, ranking
    from influence.unlearning._rows import ALREADY

    it = opened(project, run)
    by = (it.run.body.get("groups") or [""])[0] if group is None else group
    positive = other_than(it.dataset.evaluation, positive)
    if scores is not None:
        if top < 1:
            raise BadInput(f"--top must be at least 1 with scores; got {top}.")
        ranked = project.scores(scores)
        if isinstance(label, str) and label not in ranked.labels:
            raise BadInput(f"There is no question {label!r} among these scores; there are: {', '.join(ranked.labels)}.")
        if top > len(ranked.ids):
            raise BadInput(f"There are {len(ranked.ids):,} rows; the first {top:,} cannot be taken. Take fewer.")
        selected = Selection(as_ids(it.dataset.train.ids, ranked.ids[ranking(ranked, label, better)[:top]]))
    else:
        selected = chosen(project, it, ids)
    rows = selected.without(it.trained.removed).ids
    if not rows:
        raise BadInput(ALREADY.format(n=len(selected)))
    note = kept(project, it.run.id, by, positive)
    if note is None or older(note):
        from influence.actions.prepare import prepare

        note = prepare(project, it.run.id, by, positive, report)
    note = in_units(note, it.dataset)
    found = predicted(note, project.scores(note["scores"]), rows)
    asked = {"n": len(rows), "run": it.run.id, "group": by, "positive": positive}
    return {"predicted": found, "unbanded": unbanded(note, len(rows)), **asked}
