"""What would each whole source, period or other block of rows change, if it were withdrawn? No PyTorch at import: pages ask `kept`.

A block's predicted change is the sum of its rows' scores; its interval is that of patterns (decision 012): of N rows drawn anew. Beside it
stands what a random block of as many rows is predicted to change, and within what range: a large block changes much for its size alone. Few
rows have such outliers among their scores that no normal distribution says where their sums lie: for small blocks random ones are drawn.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from influence.actions._measures import unit_of
from influence.actions._scored import Described, best, place, scored, short
from influence.conditions import written
from influence.data.dataset import Dataset
from influence.errors import BadInput
from influence.registry import attribution
from influence.store import Project
from influence.store.catalogue import now
from influence.types import Report, ignore

if TYPE_CHECKING:
    from influence.actions._opened import Opened

VERSION = 3
"""Of what is kept: older results are not found again."""
LARGE = 0.1
"""Share of the rows from which on a block moves the model so far that a sum of single rows' scores stretches."""
SMALL, DRAWN = 1_000, 10_000
"""Rows up to which random blocks are drawn, and how many; sums of more rows are normal."""
COLUMNS = ["block", "conditions", "n", "share", "change", "low", "high", "per_row", "random", "random_low", "random_high", "label", "loss"]


def sources(
    project: Project,
    column: str,
    query: str,
    method: str = "",
    run: str | None = None,
    query_set: Mapping[str, Any] | None = None,
    set: Mapping[str, Any] | None = None,
    by: str = "",
    bins: int = 8,
    check: int = 0,
    seeds: int = 0,
    again: bool = False,
    report: Report = ignore,
) -> dict[str, Any]:
    """Cut the training rows into blocks by a column, and predict what the question would change by if each block were removed.

    `blocks`: name, conditions (JSON, for the finder `pattern`), n, share of the rows, change (in the question's unit if `calibrated`) with
    its 95 % interval low and high, change per row; random, random_low and random_high, of random blocks of so many rows (95 % for all
    blocks together); label, the share of the favourable class among its rows, or their mean target; and loss, their mean loss now.
    `by`: decade, year, quarter, month or week. `bins`: ranges of numbers. `check`: retrain without each of the so many that are predicted
    to improve the question most (`influence.actions.confirm_suspects`), with `seeds` also for fresh seeds; each then says what is
    `realised`.

    Raises:
        BadInput: the column cannot be cut so, the question does not fit the data, or the method is not open to this model.
    """
    from influence.actions._opened import asked, opened

    began = time.perf_counter()
    it = opened(project, run)
    wanted = asked(query, query_set, it.run)
    scorer = attribution.make(method or best(it.trained), set)
    if check < 0 or seeds < 0:
        raise BadInput(f"So many blocks and seeds cannot be retrained: {check} and {seeds}. Give 0 or more.")
    settings = {"column": column, "by": by, "bins": bins}
    blocks = _cut(it, settings)  # a wrong column is refused before rows are scored
    question, told = scored(it, wanted, scorer, report)
    name = key(project, it.run.id, told["query"], told["method"], settings)
    found = None if again else _whole(project, name)
    if found is None:
        found = _weighed(it, blocks, told, settings)
        with project.transaction():
            project.note(name, found)
            project.record(
                "sources",
                inputs={"run": it.run.id, "dataset": it.run.dataset, "question": question.digest},
                settings={"query": told["query"], "method": told["method"], **settings},
                outputs={"blocks": found["table"]},
                measures={"blocks": found["found"]},
                seconds=time.perf_counter() - began,
            )
    listed = project.table(found["table"]).to_dict("records")
    if check:
        from influence.actions.confirm_suspects import confirm_suspects

        first = sorted(listed, key=lambda block: -improvement(block["change"], found["better"]))[:check]
        patterns = [block["conditions"] for block in first]
        confirmed = confirm_suspects(project, query, patterns, it.run.id, query_set, seeds=seeds, report=report)["confirmed"]
        for block, realised in zip(first, confirmed, strict=True):
            block["realised"] = realised
    return {**found, "blocks": listed, "seconds": time.perf_counter() - began}


def together(table: pd.DataFrame, rows: int) -> tuple[float, float, float]:
    """Return what blocks that exclude each other are predicted to change as one, with its 95 % interval, from their rows of `table`.

    `rows`: how many training rows there are, N. Sums and sums of squares add up, and each interval tells its block's.
    """
    from influence.patterns.search import Z

    change, half = table["change"].to_numpy(), (table["high"] - table["change"]).to_numpy()
    total = float(change.sum())
    squares = float(((half / Z) ** 2 + change**2 / rows).sum())
    reach = Z * max(0.0, squares - total**2 / rows) ** 0.5
    return total, total - reach, total + reach


def improvement(change: float, better: str) -> float:
    """Return a change turned so that positive is better; of a question of which neither is, its size."""
    return {"higher": change, "lower": -change}.get(better, abs(change))


def key(project: Project, run: str, query: Described, method: Described, settings: Mapping[str, Any]) -> str:
    """Return the name of the note under which blocks are kept."""
    return f"sources/{place(project, run, query)}/{short(method)}/{short(settings)}/{VERSION}"


def kept(project: Project, run: str, query: Described, method: Described, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what was found with these settings, or None; whoever deleted the table gets it made again."""
    return _whole(project, key(project, run, query, method, settings))


def _whole(project: Project, name: str) -> dict[str, Any] | None:
    found = project.noted(name)
    return found if found and project.objects.find(found["table"]) else None


def kinds_of(dataset: Dataset) -> dict[str, str]:
    """Return what the columns are, by name."""
    return {str(column["name"]): str(column.get("kind", "")) for column in dataset.columns}


def _cut(it: Opened, settings: Mapping[str, Any]) -> Any:
    from influence.patterns import blocks_of

    table = it.dataset.train.columns[it.seen].reset_index(drop=True)
    return blocks_of(table, settings["column"], kinds_of(it.dataset), settings["by"], settings["bins"])


def _weighed(it: Opened, blocks: Any, told: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    scores = it.project.scores(told["scores"])
    unit = unit_of(it.dataset, told["query"]["name"])
    values = scores.column()[it.seen].astype(np.float64) * (unit.value if scores.calibrated else 1.0)
    losses, labels = _losses(it)[it.seen] * unit_of(it.dataset, "loss").value, _labels(it)[it.seen]
    rows = [
        [block.name, written(block.pattern), *_figures(values, block.rows, len(blocks.blocks)), labels[block.rows].mean(),
         losses[block.rows].mean()]
        for block in blocks.blocks
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS)
    if not blocks.ordered:
        order = table["change"].map(lambda change: -improvement(change, told["better"])).argsort(kind="stable")
        table = table.iloc[order].reset_index(drop=True)
    return {
        "table": it.project.put_table(table),
        "found": len(table),
        "ordered": blocks.ordered,
        "cut": blocks.cut,
        "rest": blocks.rest,
        "n": len(values),
        "label": told["labels"][0],
        "measured_label": told["measured_label"],
        "value": {kind: value * getattr(unit, kind) + unit.start for kind, value in told["value"].items()},
        "better": told["better"],
        "calibrated": scores.calibrated,
        "share_of": it.dataset.train.favourable,
        "overall": {"label": float(labels.mean()), "loss": float(losses.mean())},
        "run": it.run.id,
        "query": told["query"],
        "method": told["method"],
        "settings": dict(settings),
        "computed": now(),
    }


def _figures(values: np.ndarray, inside: np.ndarray, blocks: int) -> list[float]:
    """Return n, share, change with interval, change per row, and what random blocks of so many rows change, with their range."""
    from influence.patterns import Sums

    rows, own = len(values), values[inside]
    n, total = len(own), float(own.sum())
    half = Sums(n, total, float(own @ own)).half(rows)
    return [n, n / rows, total, total - half, total + half, total / n, n * float(values.mean()), *random_range(values, n, blocks)]


def random_range(values: np.ndarray, n: int, blocks: int = 1) -> tuple[float, float]:
    """Return between what 95 % of the sums lie of n of the values (N,), drawn without replacement, for so many blocks together.

    Bonferroni over the blocks. From moments (Cochran, Sampling Techniques, ch. 2) where n and N - n are large, else of drawn blocks.
    """
    rows, tail, few = len(values), 0.025 / blocks, min(n, len(values) - n)
    if few > SMALL:
        spread = float(stats.norm.ppf(1 - tail)) * float(values.std(ddof=1)) * (n * (1 - n / rows)) ** 0.5
        return n * float(values.mean()) - spread, n * float(values.mean()) + spread
    rng, each = np.random.default_rng(0), rows // max(few, 1)  # of one order of the rows so many blocks, one after the other
    orders = (rng.permutation(values)[: each * few] for _ in range(-(-DRAWN // each)))
    drawn = np.concatenate([order.reshape(each, few).sum(1) for order in orders])
    low, high = np.quantile(drawn, [tail, 1 - tail], method="weibull")  # so that a new block lies outside as often as is said
    return (float(low), float(high)) if few == n else (float(values.sum() - high), float(values.sum() - low))


def _labels(it: Opened) -> np.ndarray:
    """Return 1.0 for rows of the favourable class, or the targets as people read them, (N,)."""
    train = it.dataset.train
    if train.classes:
        return np.asarray(train.y == train.classes.index(train.favourable), dtype=float)
    return np.asarray(pd.to_numeric(train.columns[it.dataset.target], errors="coerce"), dtype=float)


def _losses(it: Opened) -> np.ndarray:
    from influence.queries._groups import losses

    return losses(it.outputs("train"), it.dataset.train).numpy().astype(np.float64)
