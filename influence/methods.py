"""Everything that is chosen by name, with its settings; and which of it is open to a run, and why the rest is not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from influence.errors import BadInput
from influence.readable._shared import table
from influence.registry import (
    Registry,
    Setting,
    attribution,
    build,
    datasets,
    evaluation,
    finders,
    method_verification,
    mislabelled,
    models,
    queries,
    settings,
    unlearning,
    verification,
)

if TYPE_CHECKING:
    from influence.actions._opened import Opened

KINDS: tuple[tuple[str, str, Registry], ...] = (
    ("Bundled data sets", "`train bundled:ID --data-set KEY=VALUE`", datasets),
    ("Models", "`train --model ID --set KEY=VALUE`", models),
    ("Queries", "`attribute --query ID --query-set KEY=VALUE`", queries),
    ("Attribution methods", "`attribute --method ID --set KEY=VALUE`", attribution),
    ("Scores of labels", "`mislabelled --method ID --set KEY=VALUE`", mislabelled),
    ("Finders", "from scores to a selection of rows", finders),
    ("Unlearning methods", "`unlearn --method ID --set KEY=VALUE`", unlearning),
    ("Evaluations", "what is measured of a model's outputs", evaluation),
    ("Tests of forgetting", "what `verify` measures of a model that forgot rows", verification),
    ("Tests of methods", "what `verify --runs N` measures of a method, from several originals", method_verification),
)
"""What each kind is called, how one is chosen, and where they are registered."""


def listed(name: str = "", it: Opened | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return what commands can choose (all, or what has this name), by kind: explanation, needs, cost, settings.

    With a run each also says why it is `closed` to it, or "".

    Raises:
        BadInput: nothing has this name.
    """
    found = {
        title: [_told(kind, id, cls, it) for id, cls in kind.classes.items() if name in ("", id)]
        for title, use, kind in KINDS
        if use.startswith("`")
    }
    if not any(found.values()):
        raise BadInput(f"Nothing that can be chosen is called {name!r}. Leave the name out to see all names.")
    return {title: every for title, every in found.items() if every}


def _told(kind: Registry, id: str, cls: type, it: Opened | None) -> dict[str, Any]:
    facts = {word: str(getattr(cls, word, "")) for word in ("needs", "cost", "reservation")}
    options = [{"name": s.name, "default": s.default, "allowed": allowed(s), "help": s.help} for s in settings(cls)]
    return {"name": id, "explanation": kind.explain(id), **facts, "settings": options, **({"closed": closed(it, kind, cls)} if it else {})}


def allowed(setting: Setting, shown: Callable[[Any], str] = str) -> str:
    """Return what a setting allows: choices, each as `shown`, or a type with its limits."""
    if setting.choices:
        return ", ".join(map(shown, setting.choices))
    low, high = setting.min, setting.max
    limits = {(False, False): f" {low} to {high}", (False, True): f" ≥ {low}", (True, False): f" ≤ {high}", (True, True): ""}
    name = "whole numbers" if setting.type is tuple else setting.type.__name__
    return name + limits[low is None, high is None]


def closed(it: Opened, kind: Registry, cls: type) -> str:
    """Return why one of a kind, with its usual settings, is not open to a run, or ""."""
    if kind is queries:
        return _unanswered(it, cls)
    if kind is mislabelled:
        from influence.mislabelled._shared import no_classes

        return no_classes(it.dataset.train) or str(cls().unavailable(it.trained))
    return str(cls().unavailable(it.trained)) if hasattr(cls, "unavailable") else ""


def _unanswered(it: Opened, cls: type) -> str:
    """Return why these data cannot answer a query, by the run's first group column; what is still to be chosen is no reason."""
    groups = it.run.body.get("groups") or []
    try:
        it.question([build(cls, {s.name: groups[0] for s in settings(cls) if s.column and groups})]).measured(it.outputs("evaluation"))
    except BadInput as error:
        return "" if error.missing else str(error)
    return ""


def readable(found: dict[str, list[dict[str, Any]]], run: str = "") -> str:
    """Return what `listed` found in words: a line for each, or everything that is to be known if it is one name."""
    uses = {title: use.replace("`", "") for title, use, _ in KINDS}
    one = all(len(every) == 1 for every in found.values())
    parts = []
    for title, every in found.items():
        rows = [row for each in every for row in ((each["name"], _sentence(each)), *(("", told) for told in _closed(each, run)))]
        parts.append([f"{title}: {uses[title].replace('ID', every[0]['name']) if one else uses[title]}"])
        parts[-1] += _known(every[0], run) if one else table("<<", ("", ""), rows)[1:]
    return "\n\n".join("\n".join(lines) for lines in parts)


def _sentence(each: dict[str, Any]) -> str:
    return " ".join(each["explanation"].split("\n\n")[0].split())


def _closed(each: dict[str, Any], run: str) -> list[str]:
    return [f"Not open to {run}: {each['closed']}"] if each.get("closed") else []


def _known(each: dict[str, Any], run: str) -> list[str]:
    facts = [f"{word.capitalize()}: {each[word]}" for word in ("needs", "cost", "reservation") if each[word]]
    rows = [(s["name"], _text(s["default"]), s["allowed"], s["help"]) for s in each["settings"]]
    return [
        inspect.cleandoc(each["explanation"]),
        *facts,
        *_closed(each, run),
        *(table("<<<<", ("setting", "default", "allowed", ""), rows) if rows else []),
    ]


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
