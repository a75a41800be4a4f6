"""How well does each unlearning method forget, and at what cost? Writes benchmarks/results/unlearning.json; goes on where it was stopped.

    python -m benchmarks.unlearning [adult digits ...] [--kinds random,mislabelled] [--methods finetune,influence_step] [--again] [--draw 1]

Every method with its default settings, on originals of several seeds, beside as many oracles: models of other
seeds that never saw the rows. "Do nothing" and "retrain" are rows of the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import torch

from benchmarks.unlearning import drawn, strata
from benchmarks.unlearning.cells import Cell, Data
from benchmarks.unlearning.measures import figures
from influence.errors import BadInput
from influence.registry import unlearning

COUNT = {"adult": 50, "digits": 50, "mnist_cnn": 20, "sst2": 20, "cifar": 5, "cifar_full": 5}
"""Originals, and oracles, of each data set."""
SHARES = {"cifar": {"random": 0.1, "mislabelled": strata.SHARE}, "cifar_full": {"random": 0.1}}
"""Kinds that are measured on data sets of long trainings, and the share of the rows that is forgotten: a tenth, as papers do."""
USUAL = [name for name in COUNT if name != "cifar_full"]


def main() -> int:
    """Measure the cells asked for that are not yet there, and draw what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", nargs="*", default=USUAL, help=f"of {', '.join(COUNT)}")
    parser.add_argument("--kinds", default=",".join(strata.KINDS))
    parser.add_argument("--methods", default="")
    parser.add_argument("--share", type=float, default=None, help="share of the rows that is forgotten")
    parser.add_argument("--again", action="store_true", help="measure anew what is there")
    parser.add_argument("--draw", type=int, default=0, help="other wrong labels, rows and seeds, on which no setting was chosen")
    given = parser.parse_args()
    if unknown := set(given.data) - set(COUNT):
        parser.error(f"there is no data set {', '.join(sorted(unknown))}; choose of {', '.join(COUNT)}")
    torch.set_num_threads(1)
    methods = given.methods.split(",") if given.methods else ["nothing", "retrain", *(m for m in unlearning.classes if m != "retrain")]
    for name in given.data:
        data, shares = Data(name, COUNT[name], given.draw), SHARES.get(name, dict.fromkeys(strata.KINDS, strata.SHARE))
        for kind in [kind for kind in given.kinds.split(",") if kind in shares]:
            _measure(Cell(data, kind, given.share or shares[kind]), methods, given.again)
    drawn.draw()
    return 0


def _measure(cell: Cell, methods: list[str], again: bool) -> None:
    for method in methods:
        key = f"{cell.data.title}/{cell.kind}/{cell.share:g}/{method}"
        if key in drawn.read() and not again:
            continue
        refused = method in unlearning.classes and unlearning.make(method).unavailable(cell.data.originals[0])
        try:
            found = {"refused": refused} if refused else _row(cell, method)
        except BadInput as error:
            found = {"refused": str(error)}
        drawn.keep(key, found)
        print(key, json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}), flush=True)


def _row(cell: Cell, method: str) -> dict[str, Any]:
    said, cost = cell.judged(method)
    about = {"rows": len(cell.data.parts[1]), "forgotten": len(cell.gone)}
    shares = {"cost": cost["seconds"] / cost["train_seconds"], "prepare_cost": cost["prepare_seconds"] / cost["train_seconds"]}
    return {**about, **cost, **shares, **figures(cell, said)}


if __name__ == "__main__":
    sys.exit(main())
