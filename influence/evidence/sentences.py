"""What a report says in words: the sentences with the numbers in them, the figures at the top, and what is not proven."""

from __future__ import annotations

from influence.evidence import words
from influence.evidence.investigation import Estimate, Investigation, Measure


def name(measure: Measure) -> str:
    """Return a measure's name with its group or column."""
    return measure.metric + (f", {measure.group}" if measure.group else f" by {measure.column}" if measure.column else "")


def after(measure: Measure) -> Estimate | None:
    """Return the value of the model that came out of it: the unlearned one, or where unlearning was retraining, the retrained one."""
    return measure.found.get("unlearned") or measure.found.get("retrained")


def verdict(measure: Measure) -> str:
    """Return better, worse, or no clear change: the new value lies within the original's interval, or there is none."""
    old, new = measure.found.get("original"), after(measure)
    if old is None or new is None or not words.known(old.value) or not words.known(new.value):
        return ""
    if not words.known(old.low) or not words.known(old.high):
        return words.TOO_FEW
    if old.low <= new.value <= old.high:
        return "no clear change"
    if measure.better == "neither":
        return "changed"
    return "better" if (new.value < old.value) == (measure.better == "lower") else "worse"


def estimate(found: Estimate) -> str:
    """Return a value with its interval in words."""
    bounds = words.interval(found.low, found.high)
    return words.number(found.value) + (f" ({bounds} for an interval)" if bounds == words.TOO_FEW else f" (95{words.NARROW}% {bounds})")


def summary(it: Investigation) -> list[tuple[str, str]]:
    """Return what was found, done, changed and what it cost: a heading and sentences each."""
    return [part for part in (_found(it), _done(it), _changed(it), _cost(it)) if part[1]]


def _found(it: Investigation) -> tuple[str, str]:
    if it.question is None:
        return "What was found", ""
    asked = it.question
    text = f"On {words.count(asked.measured.n, 'evaluation row')}, the {asked.measured_label or asked.label} is {estimate(asked.measured)}"
    text += f"; {asked.better} is better." if asked.better != "neither" else "."
    if it.method:
        text += f" {it.method.name} scored all {words.count(it.data.rows.get('train', 0), 'training row')} for their part in it."
    return "What was found", text


def _done(it: Investigation) -> tuple[str, str]:
    if it.selection is None:
        return "What was done", "No rows were selected, and nothing was removed."
    chosen, total = it.selection, it.data.rows.get("train", 0)
    share = f" ({words.percent(chosen.n / total)} of {words.count(total)})" if total else ""
    text = f"{words.count(chosen.n, 'training row')}{share} were selected: {chosen.reason.rstrip('.')}."
    if it.unlearning is None:
        return "What was done", text + " The model was not changed."
    level = words.claim(it.unlearning.claim)
    return (
        "What was done",
        f"{text} The model was made to forget them by {it.unlearning.method} (claim {it.unlearning.claim}: {level.name.lower()}).",
    )


def _changed(it: Investigation) -> tuple[str, str]:
    parts, rows = [], 0
    for measure in it.comparison:
        old, new, truth = measure.found.get("original"), after(measure), measure.found.get("retrained")
        if not measure.headline or old is None or new is None:
            continue
        where = "The " if new.n == rows else f"On {words.count(new.n, 'holdout row')}, the "
        rows = new.n
        text = f"{where}{name(measure)} went from {words.number(old.value)} to {estimate(new)}: {verdict(measure) or words.NOT_MEASURED}."
        if truth is not None and truth is not new:
            text += f" A model retrained without the rows has {words.number(truth.value)}."
        parts.append(text)
    return "What it changed", " ".join(parts)


def _cost(it: Investigation) -> tuple[str, str]:
    if it.unlearning is None:
        return "What it cost", ""
    spent, whole = it.unlearning.seconds, it.unlearning.retrain_seconds
    text = f"Unlearning took {words.duration(spent)}"
    return "What it cost", text + (
        f", {words.percent(spent / whole, 0)} of the {words.duration(whole)} that retraining took." if whole else "."
    )


def tiles(it: Investigation) -> list[tuple[str, str, str]]:
    """Return the figures at the top: a label, a figure and a line below it."""
    found = []
    for measure in it.comparison:
        old, new = measure.found.get("original"), after(measure)
        if measure.headline and old is not None and new is not None:
            found.append((name(measure), f"{words.number(old.value)} → {words.number(new.value)}", verdict(measure)))
    if it.selection is not None:
        total = it.data.rows.get("train", 0)
        below = f"{words.percent(it.selection.n / total)} of {words.count(total)}" if total else ""
        found.append(("training rows removed" if it.unlearning else "training rows selected", words.count(it.selection.n), below))
    if it.unlearning is not None:
        whole = it.unlearning.retrain_seconds
        share = f"{words.percent(it.unlearning.seconds / whole, 0)} of retraining" if whole else ""
        found.append(("time to unlearn", words.duration(it.unlearning.seconds), share))
    return found


def limits(it: Investigation) -> list[str]:
    """Return what is not proven, each as one sentence or two."""
    found = []
    if it.data.simulated:
        found.append("Rows or labels of this data set were made by us: no figure here says anything about real people or decisions.")
    if it.unlearning is None:
        found.append("Nothing was unlearned: predictions are not results.")
    else:
        found += _limits_of_claim(it.unlearning.claim)
        found.append("The original model still exists, and so do copies of the rows elsewhere: sources, backups, caches, other models.")
    if it.preview:
        found.append("Predicted changes hold to first order for this training run; a training with another seed can turn out otherwise.")
    if any("retrained" in measure.found for measure in it.comparison):
        found.append(
            "The retrained model keeps the initial weights and the order of the other rows (truth same): it is one retraining, not all."
        )
    return [
        *found,
        "Intervals are 95\N{NO-BREAK SPACE}% for the rows measured; they leave out how figures vary from one training to the next.",
        "A gap between groups is a figure about these rows; by itself it is neither a cause nor a legal finding.",
        "The chain of records shows changes inside it; whether the newest records were cut off it cannot show by itself.",
    ]


def _limits_of_claim(level: str) -> list[str]:
    if level == "L2":
        return []
    return [
        "It is not proven that the model holds no trace of the removed rows. The comparison below shows outputs on the rows measured; "
        "someone with the weights may be able to learn more."
    ]
