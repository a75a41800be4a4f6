"""One investigation as one HTML page that stands alone: no scripts, nothing fetched, light and dark, fit to be printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from influence.evidence import words
from influence.evidence.figures import Pinned
from influence.evidence.investigation import ROLES, ROWS, Change, Investigation, Measure
from influence.evidence.pairs import of_pair
from influence.evidence.pictures import Mark, Row, forest, histogram
from influence.evidence.sentences import between, bounds, changed, estimate, limits, shown, summary, tiles, verdict, without

IDS_SHOWN = 100
R2 = "R²"
TITLES = {
    "original": "Original", "unlearned": "Unlearned", "retrained": "Retrained", "random": "Random removal",
    "evaluation": "Evaluation rows", "holdout": "Holdout rows",
}  # fmt: skip


def render(investigation: Investigation) -> str:
    """Return the report as HTML.

    Names, ids, notes and settings are escaped wherever they come from; a section of something that was not done says so in a sentence.
    """
    roles = [role for role in (*ROLES, *ROWS) if any(role in measure.found for measure in investigation.comparison)]
    earlier = bool(investigation.selection and investigation.unlearning and investigation.selection.earlier)
    titles = {**TITLES, **({"original": "Before this request"} if earlier else {})}
    return _template().render(
        it=investigation,
        claim=words.claim(investigation.unlearning.claim, investigation.unlearning.requests) if investigation.unlearning else None,
        asked=words.asked(investigation.unlearning.requests if investigation.unlearning else ()),
        summary=summary(investigation),
        tiles=tiles(investigation),
        limits=limits(investigation),
        rows=rows,
        roles=roles,
        titles=titles,
        before="the model before this request" if earlier else "the original",
        columns=by_column(investigation.comparison),
        without=without(investigation),
        verdict=verdict,
        changed=changed,
        of_pair=of_pair,
        smooth_name=smooth_name,
        interval=words.interval,
        ids_shown=IDS_SHOWN,
        checked=[one for one in investigation.retrained if not any(one.figures[:1] == pin.figures[:1] for pin in investigation.pinned)],
        gaps=gaps(investigation.comparison, roles, titles),
        foretold=foretold(investigation.changes),
        apart=any(change.label == R2 for change in investigation.changes),
        picture=picture,
        between=between,
        shown=shown,
    )


@cache
def _template() -> Template:
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pages.filters.update(
        number=words.number,
        signed=words.signed,
        percent=words.percent,
        count=words.count,
        duration=words.duration,
        short=short,
        said=words.settings,
        name=words.title,
        estimate=estimate,
        bounds=bounds,
    )
    return pages.get_template("template.html")


def short(digest: str) -> str:
    """Return the beginning of a digest: enough to compare by eye."""
    return digest[:12] + "…" if len(digest) > 13 else digest


def rows(by_role: Mapping[str, int]) -> str:
    """Return how many rows there are of each role."""
    return ", ".join(f"{words.count(n)} {'training' if role == 'train' else role}" for role, n in by_role.items())


def by_column(measures: Sequence[Measure]) -> dict[str, list[Measure]]:
    """Return the measures by the column whose groups they are of; overall ones under the empty name, first."""
    found: dict[str, list[Measure]] = {}
    for measure in sorted(measures, key=lambda measure: measure.column != ""):
        if measure.found:
            found.setdefault(measure.column, []).append(measure)
    return found


def gaps(measures: Sequence[Measure], roles: Sequence[str], titles: Mapping[str, str] = TITLES) -> Markup:
    """Return the forest of the measures that compare the groups of a column, by model or by rows: of any two, so no pair is named."""
    rows, shown = [], {measure.column for measure in measures if measure.group}
    for measure in measures:
        if measure.column and not measure.group and measure.column in (shown or {measure.column}):
            found = [(place, measure.found[role]) for place, role in enumerate(roles) if role in measure.found]
            rows.append(
                Row(f"{measure.metric} by {measure.column}", tuple(Mark(place, one.value, one.low, one.high) for place, one in found))
            )
    return forest("Gaps between groups", [titles[role] for role in roles], rows)


def foretold(changes: Sequence[Change]) -> Markup:
    """Return the forest of predicted and realised changes, all but of R², which is in no unit and shares no axis with errors."""
    rows = []
    for change in (change for change in changes if change.label != R2):
        realised = [Mark(place, change.realised[role]) for place, role in enumerate(ROLES) if role in change.realised]
        rows.append(Row(change.label, (Mark(0, change.predicted, change.low, change.high), *realised)))
    return forest("Predicted and realised change of each metric", ["Predicted", *(TITLES[role] for role in ROLES[1:])], rows)


def smooth_name(change: Change) -> str:
    """Return what the smooth version of a metric is called: its own name where it is another metric, as the mean margin is to accuracy."""
    own = change.smooth.label.partition(" by ")[0] if change.smooth else ""
    return "smooth" if change.label.startswith(own) else own


def picture(pinned: Pinned) -> Markup:
    """Return the picture of a pin that has one: its figures as a forest, by series where there are several, or its histogram."""
    if pinned.counts:
        return histogram(pinned.axis, pinned.edges, pinned.counts)
    if not pinned.drawn:
        return Markup("")
    series = [role for role in ROLES if any(figure.series == role for figure in pinned.figures)] or [""]
    marks: dict[str, list[Mark]] = {}
    for figure in pinned.figures:
        place = series.index(figure.series) if figure.series in series else 0
        if words.known(figure.found.low):  # too few rows to say: no mark that could be read as a value
            marks.setdefault(figure.label, []).append(Mark(place, figure.found.value, figure.found.low, figure.found.high))
    names = [TITLES.get(role, "Value with its 95\N{NO-BREAK SPACE}% interval") for role in series]
    return forest(pinned.title, names, [Row(label, tuple(found)) for label, found in marks.items()])
