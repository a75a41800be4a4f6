"""A model card in Markdown: what a model is, what it was trained on, what was measured, and what may be claimed of it.

Mitchell et al., Model Cards for Model Reporting, arXiv:1810.03993.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from influence.evidence import words
from influence.evidence.investigation import Data, Entry, Model

Figures = Mapping[str, Mapping[str, Any]]
"""By metric: value, low, high (None: too few rows) and n."""
LIMITS = (
    "Figures were measured on held-out rows of the same source; on other data the model can do otherwise.",
    "Intervals are 95 % for the rows measured; they leave out how figures vary from one training to the next.",
    "A gap between groups is a figure about these rows; by itself it is neither a cause nor a legal finding.",
)
SIMULATED = "Rows or labels of this data set were made by us: no figure here says anything about real people or decisions."
TRACE_OF = {"remove": "removed rows", "relabel": "old labels"}
TRACES = "It is not proven that the model holds no trace of the {gone}; someone with the weights may be able to learn more."
COPIES = "The model before the removal still exists where it was kept, and so do copies of the rows elsewhere."


@dataclass(frozen=True)
class Card:
    """What a card tells. `predicts`: the target with its classes or unit, in words.

    `overall`, `gaps`, `groups`: figures on the holdout rows: of all, between the groups of a column, of one group of a column. `removed`:
    rows that the model was made to forget or trained without; `relabelled`: rows given another label by the last request; `requests`:
    the kinds of all requests, to "remove" or to "relabel".
    `touched`: why holdout figures can flatter it, in a sentence. `files`: what lies beside the card, and how to use it.
    """

    title: str
    created: str
    predicts: str
    data: Data
    model: Model
    claim: str
    claim_note: str = ""
    method: str = ""
    removed: int = 0
    relabelled: int = 0
    requests: tuple[str, ...] = ()
    touched: str = ""
    overall: Figures = field(default_factory=dict)
    gaps: Mapping[str, Figures] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Figures]] = field(default_factory=dict)
    record: Entry | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    use: str = ""


def render(it: Card) -> str:
    """Return the card; names and notes stand there letter by letter, wherever they come from."""
    made = f"Run `{it.model.run}`, exported by Lethe on {it.created[:10]}." if it.model.run else f"Written by Lethe on {it.created[:10]}."
    parts = [
        f"# {_text(it.title)}",
        f"Architecture `{it.model.name}`; it predicts {it.predicts}. {made}",
        "## How it came to be", _origin(it),
        "## Data", _data(it.data),
        "## Training", _training(it.model),
        "## Measured on holdout rows, of which no question was asked", it.touched, *_measured(it),
        "## Limits", _listed(_limits(it)),
        "## Files", _listed(f"`{name}`: {what}" for name, what in it.files.items()), it.use,
    ]  # fmt: skip
    return "\n\n".join(filter(None, parts)) + "\n"


def _text(value: object) -> str:
    return words.escaped(" ".join(str(value).split()))


def _became(it: Card) -> str:
    """Say what became of training rows."""
    how, parts = f" by `{it.method}`" if it.method else "", []
    if it.removed:
        parts.append(f"It does without {words.count(it.removed, 'training row')}{how}. ")
    if it.relabelled:
        parts.append(f"{words.count(it.relabelled, 'training row')} {'was' if it.relabelled == 1 else 'were'} given another label{how}. ")
    elif "relabel" in it.requests:
        parts.append("Earlier requests gave training rows other labels. ")
    return "".join(parts) or "Nothing was removed from it. "


def _origin(it: Card) -> str:
    level = words.claim(it.claim, it.requests)
    gone = _became(it)
    named = it.claim if level.name.lower() == it.claim else f"{it.claim}, {level.name.lower()}"
    lines = [f"{gone}Claim **{named}**: {level.meaning} {_text(it.claim_note)}".strip()]
    if it.record:
        lines.append(
            f"Record {it.record.seq} of the project's chain ({it.record.kind}, {it.record.created[:19]} UTC) has the hash "
            f"`{it.record.hash}`; `influence.verify` looks whether the chain holds."
        )
    return "\n\n".join(lines)


def _data(data: Data) -> str:
    rows = ", ".join(f"{words.count(n)} {'training' if role == 'train' else role}" for role, n in data.rows.items())
    facts = {
        "data set": _text(data.name), "source": _text(data.source), "rows": rows, "target": _text(data.target),
        "class of rates and gaps": _text(data.favourable),
        "protected columns": _text(", ".join(data.protected)), "audit columns": _text(", ".join(data.audit)),
        "notes": _text(data.notes), "digest": f"`{data.digest}`" if data.digest else "",
    }  # fmt: skip
    return _table(("", ""), [(name, value) for name, value in facts.items() if value])


def _training(model: Model) -> str:
    given = f"Architecture: `{model.name}`{f' with {words.settings(model.settings)}' if model.settings else ''}."
    recipe = f"Recipe: {words.settings(model.recipe)}." if model.recipe else "Its recipe is not known here."
    return "\n\n".join(filter(None, [given, recipe, f"Weights: SHA-256 `{model.digest}`." if model.digest else ""]))


def _measured(it: Card) -> list[str]:
    if not it.overall:
        return ["Nothing was measured here."]
    head = ("metric", "value", "95 %", "n")
    parts = [_table(head, [_row(name, figure) for name, figure in it.overall.items()])]
    for column, gaps in it.gaps.items():
        parts.append(f"### Groups of {_text(column)}")
        parts.append(_table(head, [_row(name, figure) for name, figure in gaps.items()]))
        by_group = [(group, *_row(name, f)) for group, figures in it.groups.get(column, {}).items() for name, f in figures.items()]
        parts.append(_table(("group", *head), [(_text(group), *rest) for group, *rest in by_group]))
    return parts


def _row(name: str, figure: Mapping[str, Any]) -> tuple[str, ...]:
    between = words.interval(figure.get("low"), figure.get("high"))
    return name.replace("_", " "), words.number(figure.get("value")), between, f"{figure.get('n', 0):,}"


def _limits(it: Card) -> list[str]:
    found = [SIMULATED] if it.data.simulated else []
    gone = " and of the ".join(named for kind, named in TRACE_OF.items() if kind in it.requests)
    found += [TRACES.format(gone=gone)] if gone and it.claim in ("L0", "L1") else []
    found += [COPIES] if it.removed else []
    return [*found, *LIMITS]


def _listed(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) if rows else ""
