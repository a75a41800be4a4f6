"""What `verify` found, in words. No PyTorch at import: pages look here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from influence.evidence import words
from influence.evidence.figures import Judged
from influence.verification._low_rates import ALARMS

RELEARN = "Loss while learning removed rows again"
RELEARNT = (
    "Mean loss on the removed rows while the model takes the same few, small steps on these rows alone as every oracle. Below the band: it "
    "learns them faster than models that never saw them, so something of them is left in its weights."
)
RELABELLED = words.asked(("relabel",))
SAID = {"inside": "as the oracles", "outside": "not as the oracles", "too few": "too few oracles"}
STILL, PAST = "still knows the rows", "driven past forgetting, which shows which rows were removed"


def as_unusual(chance: float, oracles: int) -> str:
    """Return how many of the oracles are as unusual as the model judged: the chance value counts the model itself, too."""
    count = round(chance * (oracles + 1)) - 1
    return f"{count:,}" if count else "none"


def blind(result: Mapping[str, Any]) -> bool:
    """Whether a model that passes has shown nothing: not even the original, which saw the rows, can be told from the oracles."""
    return result["overall"]["verdict"] == result["original"].get("verdict") == "inside"


def in_words(result: Mapping[str, Any]) -> str:
    """Return the verdict of all measures together in a sentence."""
    of, count = result["overall"], words.count(result["oracles"], "model")
    what = asked(result).gone
    if of["verdict"] == "too few":
        return f"Too few to say: {count} trained without the {what}; a verdict at 5 % takes 19."
    unusual = _unusual(of, result["oracles"])
    if blind(result):
        seen = "their old labels" if asked(result) == RELABELLED else "them"
        return (
            f"On these rows the measures can't even tell the original, which saw {seen}: "
            f"{_unusual(result['original'], result['oracles'], ' models that never did')}. This model can't be told, either ({unusual}), "
            "but that shows nothing. Ask for more oracles, or rely on a method that is exact by construction."
        )
    if of["verdict"] == "inside":
        return f"This model can't be told from {count} that never saw the {what}: {unusual}."
    apart = [
        said_of(each["label"][0].lower() + each["label"][1:], result) + (f" ({meaning})" if (meaning := meant(name, each)) else "")
        for name, each in result["measures"].items() if each["verdict"] == "outside"
    ]  # fmt: skip
    where = f" It differs in: {', '.join(apart)}." if apart else ""
    return f"This model can be told from {count} that never saw the {what}: {unusual}.{where}"


def asked(result: Mapping[str, Any]) -> words.Asked:
    """Return how what was to be forgotten is spoken of: of rows that stay these are the old labels, whichever request gave new ones."""
    forgot = result.get("forgot", 0)
    removed = result.get("removed", forgot - result.get("relabelled", 0))
    kinds = {"remove": removed, "relabel": forgot - removed}
    return words.asked([kind for kind, rows in kinds.items() if rows])


def said_of(text: str, result: Mapping[str, Any]) -> str:
    """Return what is said of removed rows, where rows were relabelled, of these, too."""
    return text.replace("removed rows", f"{asked(result).done} rows")


def _unusual(of: Mapping[str, Any], oracles: int, which: str = "") -> str:
    count = as_unusual(of["chance"], oracles)
    return f"{count} of {oracles:,}{which} {'is' if count in ('none', '1') else 'are'} as unusual"


def original_in_words(result: Mapping[str, Any]) -> str:
    """Return in a sentence whether the measures tell the original, which saw the rows, from the oracles; "" if the verdict says it."""
    of = result["original"]
    if not of:
        return "The original could not be judged beside it: its target is in another unit."
    if of["verdict"] == "too few" or blind(result):
        return ""
    can = "can" if of["verdict"] == "outside" else "can't"
    return f"The original, which saw the {asked(result).gone}, {can} be told from the oracles: {_unusual(of, result['oracles'])}."


def told(result: Mapping[str, Any]) -> str:
    """Return all sentences of a report: the verdict, what changed of figures and groups, and how fast the rows are learnt again."""
    return " ".join(filter(None, (in_words(result), original_in_words(result), fairness_in_words(result), relearned_in_words(result))))


def meant(name: str, each: Mapping[str, Any]) -> str:
    """Return what it means that a measure lies outside the oracles' band, where its side tells; else ""."""
    if each["verdict"] != "outside":
        return ""
    if name == "relearn":
        return "it learns them faster: something of them is left"
    if each["side"] != "both":
        return ""
    return STILL if each["value"] > each["middle"] else PAST


def said(name: str, each: Mapping[str, Any]) -> str:
    """Return in a few words how a measure lies to the oracles' band, and what it means; the verdict says it in full."""
    meaning = re.split("[,:]", meant(name, each))[0]
    return SAID[each["verdict"]] + (f": {meaning}" if meaning else "")


def measured_on(result: Mapping[str, Any]) -> str:
    """Return on how many rows of each part the measures rest."""
    n, of = result["n"], asked(result)
    kinds = (("forget", f"{of.done} row"), ("retained", "retained row"), ("unseen", "holdout row"))
    former = {"forget": " by their old labels"} if of == RELABELLED else {}
    rows = ", ".join(words.count(n[part], name) + former.get(part, "") for part, name in kinds)
    rows += "" if of in (words.REMOVED, RELABELLED) else " (relabelled ones by their old labels)"
    return rows + (f" (of {result['forgot']:,} {of.done})" if result["forgot"] > n["forget"] else "")


def judged(result: Mapping[str, Any], which: str = "measures") -> tuple[Judged, ...]:
    """Return every measure of a verdict beside the oracles, or every test of the method beside chance (`which`: "method")."""
    return tuple(
        Judged(
            said_of(each["label"], result) + (f", {each['unit']}" if each["unit"] else ""),
            *words.band(each["value"], each["null_low"], each["null_high"], each["side"]),
            len(each["oracles"]),
            each.get("original"),
            as_unusual(each["chance"], len(each["oracles"])),
            each["verdict"] == "outside",
            said(name, each),
        )
        for name, each in result[which].items()
    )


def tested(result: Mapping[str, Any]) -> str:
    """Return what the tests of the method are of, and what chance is."""
    return (
        f"{words.count(result['runs'], 'original')}, each trained from its own seed, forgot the same {asked(result).gone} by the same "
        "method. By chance: the same figure where it is drawn by lot which models are called oracles. Few models alone make it differ "
        "from 0, and that of U-LiRA from one half."
    )


def method_in_words(result: Mapping[str, Any]) -> list[str]:
    """Return what the tests of the method find at each low rate of false alarms, a sentence each."""
    tests = result["method"].values()
    return [_picked_out(each["label"].split(",")[0], one) for each in tests for one in each.get("rates", [])]


def _picked_out(attack: str, one: Mapping[str, Any]) -> str:
    rate = f"{attack} at {words.percent(one['rate'], int(one['rate'] < 0.01))} false alarms"
    if one["value"] is None:
        return f"{rate}: too few to say."
    band = f"{words.percent(one['null_low'], 1)} to {words.percent(one['null_high'], 1)}"
    return f"{rate}: it finds {words.percent(one['value'], 1)}; by chance {band}."


def attack_in_words(result: Mapping[str, Any]) -> list[str]:
    """Return what the likelihood-ratio attack finds at each low rate of false alarms, a sentence each."""
    return [said_of(_found_at(each), result) for each in result["attack"]]


def _found_at(each: Mapping[str, Any]) -> str:
    rate = f"At {words.percent(each['rate'], int(each['rate'] < 0.01))} false alarms"
    if each["value"] is None:
        fewest = round(ALARMS / each["rate"])
        return f"{rate}: too few to say; it takes {words.count(fewest, 'holdout row')}, there are {each['n']:,}."
    meaning = {"inside": "as oracles", "too few": "too few oracles"}.get(each["verdict"])
    meaning = meaning or (STILL if each["value"] > each["middle"] else PAST)
    band = f"{words.percent(each['null_low'], 1)} to {words.percent(each['null_high'], 1)}"
    return f"{rate} the likelihood-ratio attack finds {words.percent(each['value'], 1)} of the removed rows; of oracles {band}: {meaning}."


def fairness_in_words(result: Mapping[str, Any]) -> str:
    """Return how many figures of all rows and of groups changed otherwise than by removing the rows, in a sentence or two."""
    rows, of = result["fairness"]["rows"], result["fairness"]["overall"]
    count, oracles = words.count(len(rows), "figure"), words.count(of["oracles"], "oracle")
    by = asked(result).doing
    if not rows or of["verdict"] == "too few":
        return f"Utility and groups: too few to say; {count}, {oracles}."
    if of["verdict"] == "inside":
        return f"Utility and groups: all of {count} lie where {by} the rows puts them ({oracles}); no harm by the method shows."
    names = [f"{words.title(each['metric'])} {each['group']}".strip() for each in rows if each["verdict"] == "outside"]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"Utility and groups: {len(names)} of {count} lie where {by} the rows alone does not put them ({oracles}): "
        f"{', '.join(names[:3])}{more}."
    )


def relearned_in_words(result: Mapping[str, Any]) -> str:
    """Return how many steps the model needs to know the rows again, beside the oracles; "" if it was not asked."""
    found = result["relearned"]
    if not found or found["goal"] is None:
        return ""
    own, typical = found["needed"]["judged"], found["needed"]["oracles"]
    steps = len(found["judged"]) - 1
    if own is None or typical is None:
        return f"Within {steps} steps this model or most oracles are not back at the original's loss."
    if typical == 0:
        return "Oracles are at the original's loss from the start; this test shows nothing of these rows."
    return (
        f"Back at the original's loss after {own:.1f} steps, oracles after {typical:.1f} (Anamnesis index {found['index']:.2f}, "
        "these steps over theirs: ideal 1, below it the model learns them faster)."
    )
