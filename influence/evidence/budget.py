"""What a budget found, in sentences and in the figures of a table: one way in commands and on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from influence.evidence import words

ROLES = {"evaluation": "evaluation rows", "holdout": "holdout rows"}
Result = Mapping[str, Any]


def finding(result: Result, shown: Callable[[object], str] = str) -> str:
    """Return in one sentence which rows do it, what is predicted, and how sure that is."""
    read, n = shown(_read(result)), len(result["ids"])
    gone = f"Without {words.count(n, 'row')}" if result["mode"] == "remove" else f"With less weight of {words.count(n, 'row')}"
    question, accuracy = (result["predicted"][label] for label in (result["question"], result["spared"]["label"]))
    return f"{gone} of {result['n']:,}, {read} is predicted to be {_level(question)}, and {_name(accuracy)} {_level(accuracy)}."


def fewest(result: Result) -> str:
    """Say how near the answer is to the fewest rows possible, by these scores."""
    least, taken = result["least"], result["taken"]
    if result["mode"] == "reweight":
        return f"In all the weight of {words.number(taken, 2)} rows is taken; by these scores no less would do."
    if taken <= least:
        return "By these scores no fewer rows would do."
    return f"By these scores no fewer than {words.count(int(least), 'row')} can do; the programme's last rows were rounded to whole ones."


def spared(result: Result) -> str:
    """Say how the loss of accuracy is predicted."""
    it, allowed, n = result["spared"], words.number(result["max_accuracy_loss"]), result["retrainings"]
    name = _name(result["predicted"][it["label"]])
    through = "" if name == it["label"] else f" through its smooth version ({it['label']})"
    if not it["borne_out"]:
        return (
            f"{name} may fall by {allowed}, predicted{through}. {n} real retrainings do not bear out how much of it is seen in {name} "
            "itself: trust retraining alone."
        )
    return f"{name} may fall by {allowed}, predicted{through} times {words.number(it['slope'], 2)}, as {n} real retrainings have it."


def retrained(result: Result) -> tuple[list[str], list[list[str]]]:
    """Return head and cells of a table of what was really measured: rows, metric, with all rows, without these, change, 95 %, seeds."""
    head, cells = (
        ["rows", "metric", "with all rows", "without these" if result["mode"] == "remove" else "so", "change", "95 %", "seeds"],
        [],
    )
    for role, found in result["retrained"].items():
        for label, it in found.items():
            change = (words.signed(it["change"], 4), words.interval(it["low"], it["high"], 4))
            name = result["predicted"][label]["measured_label"]
            cells.append([ROLES[role], name, words.number(it["before"]), words.number(it["after"]), *change, str(it["n"])])
    return head, cells


def kept(result: Result, shown: Callable[[object], str] = str) -> str:
    """Say what really retrained models measure, on the holdout rows if those can answer, beside what was asked for."""
    role = "holdout" if "holdout" in result["retrained"] else "evaluation"
    question, accuracy = (result["retrained"][role][label] for label in (result["question"], result["spared"]["label"]))
    asked = result["target"] - result["predicted"][result["question"]]["measured_before"]
    name = result["predicted"][result["spared"]["label"]]["measured_label"]
    return (
        f"Really retrained with {words.count(question['n'], 'new seed')}, on the {ROLES[role]}: {shown(_read(result))} goes from "
        f"{words.number(question['before'])} to {words.number(question['after'])}, a change of {_change(question)}; {words.signed(asked)} "
        f"was asked for. {name} changes by {_change(accuracy)}; a fall of {words.number(result['max_accuracy_loss'], 4)} was allowed."
    )


def _change(entry: Mapping[str, Any]) -> str:
    return f"{words.signed(entry['change'], 4)} (95 % {words.interval(entry['low'], entry['high'], 4)})"


def _read(result: Result) -> str:
    return str(result["predicted"][result["question"]]["measured_label"])


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["measured_label"])


def _level(entry: Mapping[str, Any]) -> str:
    before = entry["measured_before"]
    band = words.interval(before + entry["measured_low"], before + entry["measured_high"])
    return f"{words.number(before + entry['measured_change'])} (95 % band {band}; now {words.number(before)})"
