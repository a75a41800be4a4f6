"""What a metagradient costs: the walk back through a training, in plain trainings, and its memory against the budget given.

Run: python -m benchmarks.metagradient [--only mlp cnn] (`make bench-metagradient`). Writes benchmarks/results/metagradient.json; exit code
1 if something asked for is missed. One thread; seconds are those of the processor, medians of interleaved runs; the load is written down.

- *Plain training*: PyTorch's own loop, as many steps of the same batch size.
- *Recorded*: the walk over states that were kept during training; *replayed*: all of them are computed again, within the budget.
- *Memory*: how much higher the peak of a process that trains and walks is than that of one that trains only. A walk holds a segment of
  states, which the budget bounds, and the graph of one step, which does not depend on how many steps there are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from benchmarks.memory import peak
from benchmarks.truth.settings import Margins
from influence.loop import Bound
from influence.registry import models
from influence.replay import walk
from influence.training import train
from influence.types import Architecture, Examples, Question, Recipe, Trained

RESULTS = Path(__file__).parent / "results" / "metagradient.json"
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...], int, dict[str, Any]]] = {
    "mlp": ({"hidden": "128,64"}, (784,), 5000, {"batch_size": 64}),
    "mlp for a table": ({"hidden": "64"}, (104,), 8000, {"batch_size": 256}),
    "cnn": ({"channels": "8,16", "head": "flatten"}, (1, 28, 28), 1000, {"batch_size": 64}),
    "resnet9": ({"width": 16}, (3, 32, 32), 128, {"batch_size": 64}),
    "transformer": ({"vocabulary": 3000, "width": 32}, (32,), 1000, {"batch_size": 64, "optimizer": "adamw", "eps_root": 1e-8}),
}
"""Settings, shape of an input, rows, recipe."""
EPOCHS, RUNS, CLASSES, SIXTEEN = 2, 3, 10, 16
ASKED = {"one": 3.0, "sixteen": 12.0}
BUDGETS = (16, 64, 256)
"""MiB."""


def parts(name: str) -> tuple[Architecture, Examples, Recipe]:
    """Return a model, random rows (what they are changes no time) and a recipe."""
    given, shape, n, recipe = CASES[name]
    rng = np.random.default_rng(0)
    x = rng.integers(1, 3000, (n, *shape)) if name == "transformer" else rng.standard_normal((n, *shape), dtype=np.float32)
    rows = Examples(x, rng.integers(0, CLASSES, n), np.arange(n), pd.DataFrame(index=range(n)), tuple(map(str, range(CLASSES))))
    model = replace(models.make(name.split()[0], given), inputs=shape, outputs=CLASSES)
    return model, rows, Recipe(lr=1e-3, epochs=EPOCHS, checkpoints=1, **recipe)


def asked(rows: Examples, count: int) -> Question:
    """Ask for the margins of `count` - 1 rows and a mean loss: `count` questions."""
    return Question((Margins(count - 1),), rows.take(np.arange(100)))


def plain(model: Architecture, rows: Examples, recipe: Recipe) -> None:
    """Train as anybody would."""
    net = Bound(model).module.train()
    if recipe.optimizer == "sgd":
        rule: torch.optim.Optimizer = torch.optim.SGD(net.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
    else:
        rule = torch.optim.AdamW(net.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    x, y = torch.from_numpy(np.asarray(rows.x)), torch.from_numpy(rows.y)
    for _ in range(recipe.epochs):
        for at in torch.randperm(len(y)).split(recipe.batch_size):
            rule.zero_grad()
            F.cross_entropy(net(x[at]), y[at]).backward()
            rule.step()


def timed(name: str) -> dict[str, Any]:
    """Return the seconds of each way and their ratios to plain training."""
    model, rows, recipe = parts(name)
    recorded = train(model, rows, recipe, record=8192)
    one, sixteen = asked(rows, 1), asked(rows, SIXTEEN)
    works: dict[str, Callable[[], Any]] = {
        "plain": lambda: plain(model, rows, recipe),
        "one": lambda: walk(recorded, rows, one),
        "one, replayed": lambda: walk(recorded, rows, one, recompute=True),
        "sixteen": lambda: walk(recorded, rows, sixteen),
        "sixteen, replayed": lambda: walk(recorded, rows, sixteen, recompute=True),
    }
    taken: dict[str, list[float]] = {way: [] for way in works}
    for round_ in range(RUNS + 1):
        for way, work in works.items():
            began = time.process_time()
            work()
            if round_:
                taken[way].append(time.process_time() - began)
    seconds = {way: statistics.median(times) for way, times in taken.items()}
    ratios = {way: value / seconds["plain"] for way, value in seconds.items() if way != "plain"}
    return {
        "seconds": seconds,
        "plain trainings": ratios,
        "parameters": len(Bound(model).flat),
        "steps": -(-len(rows) // recipe.batch_size) * EPOCHS,
    }


def remembered(name: str) -> dict[str, Any]:
    """Return the MiB that a replayed walk takes for each budget, beyond a process that only trains."""
    base = _peak(name, 0)
    return {str(budget): _peak(name, budget) - base for budget in BUDGETS}


def _peak(name: str, budget: int) -> float:
    command = [sys.executable, "-m", "benchmarks.metagradient", "--child", name, str(budget)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return float(done.stdout.splitlines()[-1])


def child(name: str, budget: int) -> None:
    """Train for longer, walk within the budget (0: do not), and print the peak memory of this process in MiB."""
    model, rows, recipe = parts(name)
    trained: Trained = train(model, rows, replace(recipe, epochs=2 * EPOCHS))
    if budget:
        walk(trained, rows, asked(rows, 1), memory=budget, recompute=True)
    print(peak())


def main() -> int:
    """Measure, write down, say what was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--child", nargs=2, metavar=("CASE", "BUDGET"), help="measure the memory of one walk and print it")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.child:
        child(given.child[0], int(given.child[1]))
        return 0
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    wrong = []
    for name in given.only:
        found[name] = {**timed(name), "MiB by budget": remembered(name), "load": os.getloadavg()[0]}
        print(name, json.dumps(found[name]), flush=True)
        ratios = found[name]["plain trainings"]
        wrong += [f"{name}, {way}: {ratios[way]:.2f}, asked for {most}" for way, most in ASKED.items() if ratios[way] > most]
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n".join(wrong) or "all that was asked for is reached")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
