"""What a report says in words: the sentences with the numbers in them, the figures at the top, and what is not proven."""

from __future__ import annotations

from influence.evidence import words
from influence.evidence.figures import Estimate, Figure, Retrained
from influence.evidence.investigation import ROWS, Investigation, Measure, Unlearned
from influence.evidence.pairs import of_pair

NO_CHANGE = "no clear change"


def shown(figure: Figure) -> str:
    """Return a figure's value: a change with its sign, or what it was and became."""
    if figure.change:
        return words.signed(figure.found.value)
    now = words.number(figure.found.value)
    return f"{words.number(figure.before.value)}{words.NARROW}→{words.NARROW}{now}" if figure.before else now


def between(figure: Figure) -> str:
    """Return a figure's interval, or why it has none; of one that was another before, that of both."""
    found = figure.found
    own = figure.lacks if figure.lacks and not words.known(found.low) else words.interval(found.low, found.high)
    if figure.before is None or not words.known(figure.before.low):
        return own
    return f"before {words.interval(figure.before.low, figure.before.high)}; after: {own}"


def name(measure: Measure) -> str:
    """Return a measure's name with its group or column, and the groups that a gap is between."""
    pair = f" ({measure.pair})" if measure.pair else ""
    return measure.metric + (f", {measure.group}" if measure.group else f" by {measure.column}{pair}" if measure.column else "")


def result(measure: Measure) -> str:
    """Return the model that came out of it: the unlearned one, or where unlearning was retraining, the retrained one; "" if neither."""
    return next((role for role in ("unlearned", "retrained") if role in measure.found), "")


def after(measure: Measure) -> Estimate | None:
    """Return the value of the model that came out of it."""
    return measure.found.get(result(measure))


def level(measure: Measure, role: str) -> str:
    """Return a model's value with its interval in words; where that is the interval of another gap than is named, that gap beside it."""
    now, beside = of_pair(measure, role)
    found = estimate(measure.found[role])
    return f"{words.number(now)}, {beside} {found}" if beside else found


def changed(measure: Measure) -> Estimate | None:
    """Return how the measure changed from the original model to the one that came out of it, on the same rows."""
    return measure.changes.get("unlearned") or measure.changes.get("retrained")


def verdict(measure: Measure) -> str:
    """Return in a word how a measure changed, by the interval of the change; "" if it was not measured."""
    old, moved = measure.found.get("original"), changed(measure)
    if old is None or moved is None or not words.known(old.value) or not words.known(moved.value):
        return ""
    return judged(old.value, moved, measure.better, bool(measure.pair) and not measure.group)


def judged(before: float, moved: Estimate, better: str, gap: bool = False) -> str:
    """Return better, worse, changed (where neither is), no clear change, or too few to say: a clear change has no 0 in its 95 % interval.

    `gap`: it is between two groups, so that below 0 the other one is ahead. Then it is better only if it is clearly not as large that way
    around as it was, and worse if it is larger; between these it is reversed.
    """
    if not words.known(moved.value) or not words.known(moved.low) or not words.known(moved.high):
        return words.TOO_FEW
    if moved.low <= 0 <= moved.high:
        return NO_CHANGE
    if better == "neither":
        return "changed"
    if gap and moved.low <= -2 * before:
        return "worse" if moved.high < -2 * before else "reversed" if moved.high < -before else NO_CHANGE
    return "better" if (moved.value < 0) == (better == "lower") else "worse"


def estimate(found: Estimate, signed: bool = False) -> str:
    """Return a value, or a change with its sign, with its interval in words."""
    if words.known(found.low):
        return f"{(words.signed if signed else words.number)(found.value)} (95{words.NARROW}% {bounds(found)})"
    return f"{words.number(found.value)} ({found.lacks or f'{words.TOO_FEW} for an interval'})"


def bounds(found: Estimate) -> str:
    """Return an interval, or why there is none."""
    return found.lacks if found.lacks and not words.known(found.low) else words.interval(found.low, found.high)


def summary(it: Investigation) -> list[tuple[str, str]]:
    """Return what was found and what was done: a heading and sentences each."""
    return [("Found", _found(it)), ("Done", _done(it))] if it.question or it.comparison else [("Done", _done(it))]


def _found(it: Investigation) -> str:
    changed = [measure for measure in _headlines(it) if "original" in measure.found and after(measure)][:3]
    if it.unlearning and changed:
        said = [changed[k - 1].found["original"].n if k else 0 for k in range(len(changed))]
        return " ".join(_changed(it, measure, measure.found["original"].n != n) for measure, n in zip(changed, said, strict=True))
    if it.question is None:
        return " ".join(_says(measure) for measure in _headlines(it)[:2])
    asked = it.question
    on = "" if asked.measured.n == 1 else f"On {words.count(asked.measured.n, 'evaluation row')}, "
    other = [one for one in it.comparison[:1] if one.headline and "holdout" in one.found and len(one.found) == len(ROWS)]
    also = [f"; on {words.count(one.found['holdout'].n, 'holdout row')}, {estimate(one.found['holdout'])}" for one in other]
    better = f". {asked.better.capitalize()} is better." if asked.better != "neither" else "."
    return " ".join([f"{on}{asked.label} is {estimate(asked.measured)}{''.join(also)}{better}", *_retrained(it)])


def _headlines(it: Investigation) -> list[Measure]:
    return [measure for measure in it.comparison if measure.headline]


def _says(measure: Measure) -> str:
    role, found = next(iter(measure.found.items()))
    return f"On {words.count(found.n, f'{role} row')}, {name(measure)} is {estimate(found)}."


def _retrained(it: Investigation) -> list[str]:
    """Return what retraining without the selected rows, or else without the pattern that was checked last, did to the question."""
    told = [one for one in it.retrained if it.question and one.figures and one.figures[0].label.startswith(it.question.label)]
    own = [one for one in told if it.selection and one.n == it.selection.n and one.rule in it.selection.reason]
    return [_levels(one) for one in (own or told)[-1:]]


def _levels(one: Retrained) -> str:
    figures = [figure for figure in one.figures if figure.before][: len(ROWS)]
    levels = " and ".join(f"{shown(figure)} on the {figure.label.split(', ')[-2]}" for figure in figures)
    said = f"Retrained without the {words.count(one.n, 'row')} where {one.rule}, it goes {levels} (one retraining"
    fresh = [figure for figure in one.figures if figure.change]
    return said + (f"; {_over(fresh[-1])})." if fresh else ").")


def _over(figure: Figure) -> str:
    bounds = f" (95{words.NARROW}% {between(figure)})" if words.known(figure.found.low) else ""
    return f"over new seeds it changes by {shown(figure)}{bounds} on the {figure.label.split(', ')[-3]}"


def _done(it: Investigation) -> str:
    if it.selection is None:
        return "Nothing was removed."
    chosen, total = it.selection, it.seen
    told = [f"{words.percent(chosen.n / total)} of {words.count(total)}" if total else "", chosen.earlier if it.unlearning else ""]
    share = f" ({'; '.join(filter(None, told))})" if any(told) else ""
    rows, one = f"{words.count(chosen.n, 'training row')}{share}", chosen.n == 1
    if it.unlearning is None:
        return f"Nothing was removed. {rows} {'is' if one else 'are'} selected: {chosen.reason.rstrip('.')}."
    level = words.claim(it.unlearning.claim, it.unlearning.requests)
    done = f"{'was' if one else 'were'} {'relabelled' if chosen.relabelled else 'removed'}"
    what = ("its old label" if one else "their old labels") if chosen.relabelled else "it" if one else "them"
    taken = f", taken at {it.unlearning.step}" if it.unlearning.step else ""
    return (
        f"{rows} {done}: {chosen.reason.rstrip('.')}. The model was made to forget {what} by {it.unlearning.method}{taken} "
        f"(claim {it.unlearning.claim}: {level.name.lower()}). {_cost(it.unlearning)}"
        f"{it.unlearning.verified and ' ' + it.unlearning.verified}"
    )


def _changed(it: Investigation, measure: Measure, rows: bool) -> str:
    role, moved = result(measure), changed(measure)
    where = f"On {words.count(measure.found[role].n, 'holdout row')}, " if rows else ""
    by = f"; the change is {estimate(moved, signed=True)}" if moved and words.known(moved.low) else ""
    said = f"{verdict(measure) or words.NOT_MEASURED}{by}"
    text = f"{where}{name(measure)} went from {level(measure, 'original')} to {level(measure, role)}: {said}."
    truth = role != "retrained" and "retrained" in measure.found
    return f"{text} A model retrained {without(it)} has {level(measure, 'retrained')}." if truth else text


def without(it: Investigation) -> str:
    """Return how the retrained model was trained otherwise than the original, in words."""
    return words.asked(("relabel",) if it.selection and it.selection.relabelled else ()).anew


def _cost(done: Unlearned) -> str:
    whole = done.retrain_seconds
    text = f"It took {words.duration(done.seconds)}"
    return text + (f", {words.percent(done.seconds / whole, 0)} of the {words.duration(whole)} that retraining took." if whole else ".")


def tiles(it: Investigation) -> list[tuple[str, str, str]]:
    """Return the figures at the top: a label, a figure and a line below it."""
    found = []
    for measure in it.comparison:
        old, role = measure.found.get("original"), result(measure)
        if measure.headline and old is not None and role:
            found.append((name(measure), f"{words.number(old.value)} → {words.number(of_pair(measure, role)[0])}", verdict(measure)))
        elif measure.headline and measure.found and not it.unlearning:
            role, one = next(iter(measure.found.items()))
            found.append((name(measure), words.number(one.value), f"{words.count(one.n)} {role} rows"))
    if it.selection is not None:
        total = it.seen
        below = f"{words.percent(it.selection.n / total)} of {words.count(total)}" if total else ""
        below = "; ".join(filter(None, [below, it.selection.earlier if it.unlearning else ""]))
        found.append(
            (
                f"training rows {'relabelled' if it.selection.relabelled else 'removed'}" if it.unlearning else "training rows selected",
                words.count(it.selection.n),
                below,
            )
        )
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
        if not it.retrained and (it.preview or it.method):
            found.append("What is predicted was not verified against retraining.")
    else:
        gone = words.asked(it.unlearning.requests).gone
        found += _limits_of_claim(it.unlearning.claim, gone)
        found += [it.unlearning.touched] if it.unlearning.touched else []
        if not it.unlearning.verified:
            found.append(f"Whether the model forgot was not verified beside models that never saw the {gone}.")
        found.append(f"The original model still exists, and so do copies of the {gone} elsewhere: sources, backups, caches, other models.")
    if it.preview:
        found.append("Predicted changes hold to first order for this training run; a training with another seed can turn out otherwise.")
    if any("retrained" in measure.found for measure in it.comparison):
        found.append(
            "The retrained model keeps the initial weights and the order of the other rows: one retraining with the same seed, not all."
        )
    return [
        *found,
        "Intervals are 95\N{NO-BREAK SPACE}% for the rows measured; they leave out how figures vary from one training to the next.",
        "A gap between groups is a figure about these rows; by itself it is neither a cause nor a legal finding.",
        "The chain of records shows changes inside it; whether the newest records were cut off it cannot show by itself.",
    ]


def _limits_of_claim(level: str, gone: str) -> list[str]:
    if level == "L2":
        return []
    if level == "L3":
        return ["What is proven of the removed rows holds up to ε and δ, under the assumptions that the claim names."]
    return [
        f"It is not proven that the model holds no trace of the {gone}. The measures show outputs on the rows measured; "
        "someone with the weights may be able to learn more."
    ]
