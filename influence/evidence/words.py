"""How numbers and claims are said: one way in every report, table and sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

TOO_FEW = "too few to say"
NOT_MEASURED = "not measured"
MINUS = "\N{MINUS SIGN}"
LONG = 60
"""Characters of a setting that are shown."""
NARROW = "\N{NO-BREAK SPACE}"
MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$<>:^&])")
LINES = re.compile(r"[\r\n]+")


class Claim(NamedTuple):
    """A claim level: its short name, and what it says and does not say."""

    name: str
    meaning: str


CLAIMS: dict[str, Claim] = {
    "trained": Claim("Trained", "The model was trained by its recipe; nothing was unlearned."),
    "L0": Claim(
        "Rows filtered only", "The rows were left out of the data. The model was not changed and still holds what it learned from them."
    ),
    "L1": Claim(
        "Approximate",
        "The model is meant to behave as if it had not seen the rows. Nothing proves that every trace of them is gone: what can be said "
        "is how near it comes to a model retrained without them, in the tests shown here and in no others.",
    ),
    "L2": Claim(
        "Exact by construction",
        "The model was trained from the beginning without the rows, and so was all that is fitted to data before it. They had no part.",
    ),
    "L3": Claim(
        "Certified (ε, δ)",
        "It is proven that no outcome is more than e^ε times as likely as without the rows, up to a probability δ, under the assumptions "
        "that are named.",
    ),
}
RELABELLED: dict[str, Claim] = {
    "L0": Claim(
        "Labels corrected in the data only",
        "The rows have their new labels in the data. The model was not changed and still holds what it learned from the old ones.",
    ),
    "L1": Claim(
        "Approximate",
        "The model is meant to behave as if it had learned the new labels and never the old ones. Nothing proves that every trace of the "
        "old ones is gone: what can be said is how near it comes to a model retrained with the new ones, in the tests shown here and in no "
        "others.",
    ),
    "L2": Claim(
        "Exact by construction",
        "The model was trained from the beginning with the new labels, and nothing that is fitted to data before it looks at labels. The "
        "old ones had no part.",
    ),
}
"""Where rows were not left out but given other labels, what a level says instead."""
BOTH: dict[str, Claim] = {
    "L0": Claim(
        "Data changed only",
        "Rows were left out of the data, and others have new labels there. The model was not changed and still holds what it learned from "
        "the rows and from the old labels.",
    ),
    "L1": Claim(
        "Approximate",
        "The model is meant to behave as if it had seen neither the removed rows nor the old labels. Nothing proves that every trace of "
        "them is gone: what can be said is how near it comes to a model retrained so, in the tests shown here and in no others.",
    ),
    "L2": Claim(
        "Exact by construction",
        "The model was trained from the beginning without the removed rows and with the new labels, and so was all that is fitted to data "
        "before it. Neither these rows nor the old labels had a part.",
    ),
}
"""Where some requests removed rows and others gave new labels."""


class Asked(NamedTuple):
    """How requests of some kinds are spoken of: what a model was to forget, what became of rows, and what was done to them.

    `anew`: how a model is trained anew that has met them.
    """

    gone: str
    done: str
    doing: str
    anew: str


ASKED = {
    ("relabel",): Asked("old labels", "relabelled", "relabelling", "with the new labels"),
    ("relabel", "remove"): Asked(
        "rows and old labels", "removed or relabelled", "removing and relabelling", "without the rows and with the new labels"
    ),
}
REMOVED = Asked("rows", "removed", "removing", "without the rows")
JOINED = ("equal opportunity", "equalized odds", "demographic parity", "predictive equality")
"""What a gap is of, which questions write with a hyphen."""
SMALL = {
    "auc": "AUC",
    "k": "Number of rows",
    "captum": "Captum",
    "neggrad": "NegGrad",
    "salun": "SalUn",
    "scrub": "SCRUB",
    "sisa": "SISA",
    "ssd": "SSD",
    "msg": "MSG",
    "tracin": "TracIn",
    "trak": "TRAK",
    "resnet9": "ResNet-9",
    "resnet18": "ResNet-18",
    "huggingface": "Hugging Face",
    "arnoldi": "Arnoldi",
    "rand": "random",
    "proj": "projection",
    "r2": "R²",
    "mae": "MAE",
    "rmse": "RMSE",
    "mlp": "MLP",
    "cnn": "CNN",
    "id": "ID",
    "ids": "IDs",
    "lr": "learning rate",
    "n": "rows",
    "sgd": "SGD",
    "adamw": "AdamW",
}


def claim(level: str, requests: Sequence[str] = ("remove",)) -> Claim:
    """Return what a claim level means after all `requests`, to remove rows or to relabel them; an unknown level says so."""
    kinds = set(requests)
    known = {**CLAIMS, **(RELABELLED if kinds == {"relabel"} else BOTH if "relabel" in kinds else {})}
    return known.get(level, Claim(level, "This claim level is not known to this version; nothing can be read from it."))


def escaped(text: object) -> str:
    """Return text from data so that Markdown shows it letter by letter, in one line."""
    return MARKDOWN.sub(r"\\\1", LINES.sub(" ", str(text)))


def known(x: float | None) -> TypeGuard[float]:
    """Whether there is a finite number to show."""
    return x is not None and math.isfinite(x)


def number(x: float | None, digits: int = 3) -> str:
    """Return a value for people: three decimals, two figures where they would all be zero, thousands apart."""
    if not known(x):
        return NOT_MEASURED
    small = x != 0 and abs(x) < 0.5 * 10**-digits
    text = f"{abs(x):.2g}" if small else f"{abs(x):,.{digits}f}"
    return (MINUS if x < 0 else "") + text


def apart(now: float, others: Iterable[float], digits: int = 3, most: int = 9) -> int:
    """Return how many decimals it takes to see of each other value on which side of `now` it lies: at least `digits`, at most `most`."""
    moved = [other for other in others if known(other) and known(now) and other != now]
    return next((d for d in range(digits, most) if all(f"{other:.{d}f}" != f"{now:.{d}f}" for other in moved)), most)


def numbers(*values: float, digits: int = 3) -> list[str]:
    """Return values that stand beside the first: which is larger is seen, as far as `apart` goes."""
    shown = apart(values[0], values[1:], digits)
    return [number(value, shown) for value in values]


def signed(x: float | None, digits: int = 3) -> str:
    """Return a change, with its sign even when it is positive."""
    if not known(x):
        return NOT_MEASURED
    return number(x, digits) if x <= 0 else f"+{number(x, digits)}"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return a 95 % interval, or that there were too few rows for one."""
    if not known(low) or not known(high):
        return TOO_FEW
    return f"{number(low, digits)} to {number(high, digits)}"


def band(value: float, low: float, high: float, side: str = "both") -> tuple[str, str]:
    """Return a value and the band that it is held beside, with as many decimals as show on which side of an end it lies.

    `side`: which values are suspicious, "high", "low" or "both"; towards the others there is no end.
    """
    digits = apart(value, {"high": (high,), "low": (low,)}.get(side, (low, high)))
    one_end = {"high": f"up to {number(high, digits)}", "low": f"{number(low, digits)} or more"}
    return number(value, digits), one_end.get(side, interval(low, high, digits))


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in per cent; what is not nothing never reads as 0."""
    if not known(share):
        return NOT_MEASURED
    least = 10.0**-digits
    if 0 < 100 * share < least:
        return f"under {least:g}{NARROW}%"
    return f"{100 * share:,.{digits}f}{NARROW}%".replace("-", MINUS)


def count(n: int, noun: str = "") -> str:
    """Return a count with its noun: 1 row, 1,234 rows."""
    return f"{n:,} {noun if n == 1 else noun + 's'}".strip() if noun else f"{n:,}"


def became(body: Mapping[str, Any], noun: str = "row") -> str:
    """Return what a run did to training rows: without 12 rows (90 with earlier requests), or with 12 rows relabelled."""
    if body.get("n_relabelled"):
        return f"with {count(int(body['n_relabelled']), noun)} relabelled"
    n, in_all = int(body.get("n_removed", 0)), in_all_of(len(body.get("removed", ())), int(body.get("n_removed", 0)))
    return f"without {count(n, noun)}" + (f" ({in_all})" if in_all else "")


def asked(requests: Sequence[str]) -> Asked:
    """Return how requests of these kinds, to "remove" rows or to "relabel" them, are spoken of."""
    return ASKED.get(tuple(sorted(requests)), REMOVED)


def in_all_of(every: int, n: int) -> str:
    """Return how many rows a model is without in all, if earlier requests than the one of n rows removed some; else ""."""
    return f"{count(every)} with earlier requests" if every > n else ""


def called(run: Any) -> str:
    """Return what a run is called: one that was made to forget by its method and by what became of rows, others as they were named."""
    body = run.body
    if run.kind != "unlearn" or "method" not in body:
        return str(run.name or run.id)
    step = f", step {body['step']['at']:,}" if "step" in body else ""
    return f"{title(body['method']['name'])} {became(body)}{step}"


def duration(seconds: float | None) -> str:
    """Return a time as people say it."""
    if not known(seconds):
        return NOT_MEASURED
    if seconds < 59.5:
        return f"{seconds:.2f}{NARROW}s" if seconds < 10 else f"{seconds:.0f}{NARROW}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}{NARROW}min {rest}{NARROW}s" if minutes < 60 else f"{minutes // 60}{NARROW}h {minutes % 60}{NARROW}min"


def title(name: str) -> str:
    """Return the name of a metric, method or stage as people read it: equal_opportunity_gap becomes Equal-opportunity gap."""
    parts = [SMALL.get(part, part) for part in name.replace("_", " ").split()]
    text = " ".join(parts)
    for pair in JOINED:
        text = text.replace(f"{pair} gap", pair.replace(" ", "-") + " gap")
    return text[:1].upper() + text[1:]


def settings(given: Mapping[str, Any]) -> str:
    """Return settings in one line; a long text, such as a whole config.json, by its beginning."""
    return ", ".join(f"{key} {_setting(value)}" for key, value in given.items() if value != "")


def named(model: Mapping[str, Any]) -> str:
    """Return the name of a model with its settings, but for those that are whole files: "mlp (hidden 16)"."""
    told = settings({key: value for key, value in model["given"].items() if not str(value).startswith("{")})
    return f"{model['name']} ({told})" if told else str(model["name"])


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " by ".join(map(_setting, value)) or "none"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONG else text[:LONG] + "…"


def about(seconds: float) -> str:
    """Return a time that is only estimated, in round figures."""
    if seconds < 1.5:
        return "about a second"
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.0f}\N{NO-BREAK SPACE}{unit}"
    return f"about {seconds:.0f}\N{NO-BREAK SPACE}s"
