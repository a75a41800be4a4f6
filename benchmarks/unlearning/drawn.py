"""Figures kept, as tables (docs/unlearning.md) and as a picture of quality against cost (docs/images/unlearning.svg)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.unlearning.strata import SHARE
from influence.evaluation._tables import wilson

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "unlearning.json"
PAGE, PICTURE = ROOT / "docs" / "unlearning.md", ROOT / "docs" / "images" / "unlearning.svg"
MARK = "<!-- tables -->\n"
HEAD = (
    "| method | KLOM | told | shift | forgotten | retained | unseen | average gap | cost | once |",
    "|---|---|---|---|---|---|---|---|---|---|",
)
FIRST = ("nothing", "retrain")

Table = dict[str, dict[str, Any]]
"""The rows of one cell, by method."""


def read() -> dict[str, Any]:
    """Return what was measured, by data set, kind, share and method."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(key: str, found: dict[str, Any]) -> None:
    """Add a row; the file is whole at any time."""
    temporary = RESULTS.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(dict(sorted({**read(), key: found}.items())), indent=1) + "\n")
    os.replace(temporary, RESULTS)


def cells() -> Iterator[tuple[str, Table]]:
    """Yield what a table is of, and its rows: nothing and retrain first, the others by KLOM."""
    for name, group in groupby(read().items(), lambda item: item[0].rsplit("/", 1)[0]):
        rows = {key.rsplit("/", 1)[1]: found for key, found in group}
        order = sorted(rows, key=lambda m: (m not in FIRST, FIRST.index(m) if m in FIRST else 0, rows[m].get("klom", float("inf"))))
        yield name, {method: rows[method] for method in order}


def draw() -> None:
    """Write the tables below the page's mark, and the picture."""
    head = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    PAGE.write_text(head + MARK + "\n".join(_table(name, rows) for name, rows in cells()), encoding="utf-8")
    _picture({name: rows for name, rows in cells() if "nothing" in rows and "retrain" in rows})


def _table(name: str, rows: Table) -> str:
    data, kind, share = name.split("/")
    title = f"### {data}, {kind}" + (f" {float(share):.0%}" if float(share) != SHARE else "")
    one = next(found for found in rows.values() if "klom" in found)
    many = f"{one['forgotten']:,} of {one['rows']:,} rows, {one['models']} models and as many oracles"
    took = [f"{ends(found['train_seconds'] for found in rows.values() if 'klom' in found):.2g}" for ends in (min, max)]
    about = f"{many}; a training took {' to '.join(dict.fromkeys(took))} s."
    return "\n".join(["", title, "", about, "", *HEAD, *(_line(method, found) for method, found in rows.items()), ""])


def _line(method: str, found: dict[str, Any]) -> str:
    if "refused" in found:
        return f"| {method} | {found['refused']} |" + " |" * 8
    bold = "**" if found["klom"] <= 2 * found["klom_null"] else ""
    klom = f"{bold}{found['klom']:.2f}{bold} (null {found['klom_null']:.2f})"
    changes = (
        f"{found[part + '_change']:+.2f} ± {(found[part + '_high'] - found[part + '_low']) / 2:.2f}"
        for part in ("forget", "retained", "unseen")
    )
    gap = found["average_gap"]
    gaps = f"{gap['mean']:.2f} ± {(gap['high'] - gap['low']) / 2:.2f}"
    return (
        f"| {method} | {klom} | {_told(found)} | {found['margin_shift']:+.2f} | {' | '.join(changes)} | {gaps} "
        f"| {found['cost']:.1%} | {found['prepare_cost']:.0%} |"
    )


def _told(found: dict[str, Any]) -> str:
    low, high = wilson(found["told"] * found["models"], found["models"])
    return f"{found['told']:.0%}" + (f" ({low:.0%} to {high:.0%})" if low <= high else "")


def _picture(shown: dict[str, Table]) -> None:
    """Draw KLOM over its null band against the share of a training that a request costs, one panel per cell."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "lethe"
    from matplotlib import pyplot as plt

    if not shown:
        return
    across, methods = min(3, len(shown)), sorted({method for rows in shown.values() for method in rows})
    figure, axes = plt.subplots(
        -(-len(shown) // across), across, figsize=(3.6 * across, 3 * -(-len(shown) // across)), squeeze=False, layout="constrained"
    )
    for axis, (name, rows) in zip(axes.flat, shown.items(), strict=False):
        axis.axhspan(0, 2, color="0.92")
        for method, found in rows.items():
            if "klom" in found:
                at = (max(found["cost"], 0.01), found["klom"] / found["klom_null"])
                style = {"marker": "X" if method in FIRST else "o", "color": plt.get_cmap("tab20")(methods.index(method) % 20)}
                axis.plot(*at, linestyle="", label=method.replace("_", " "), **style)
        axis.set(xscale="log", xlim=(0.008, 3), ylim=0)
        axis.set_title(", ".join(name.split("/")[:2]), fontsize=9)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    named = {text: line for axis in axes.flat for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside right upper", fontsize=8)
    figure.supxlabel("cost of a request, share of a training (at least 1 % is drawn)", fontsize=9)
    figure.supylabel("KLOM / null band (grey: within twice)", fontsize=9)
    figure.savefig(PICTURE, metadata={"Date": None})
    plt.close(figure)
