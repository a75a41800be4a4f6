"""Our methods and dattri's on the same retrainings.

    python -m benchmarks.truth.compared mnist_lr mnist_mlp same/digits same/mnist_mlp same/adult

`mnist_lr`, `mnist_mlp`: the published setting (`published.py`), 100 halves of the rows, each model with a seed of its own; asked is the
cross-entropy of each of 500 test rows. `same/...`: a setting of `settings.py` without 1 % of its rows; asked are the margins of its first
test rows. Per method the linear datamodeling score, mean over test rows, with a 95 % interval over sets of rows, and seconds. dattri's
dampings are chosen as in dattri's benchmark, by the truth on which they are judged: that favours dattri, and ours never are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.truth import peers
from benchmarks.truth.banks import bank, full_models, other_models, same
from benchmarks.truth.lds import mean_lds
from benchmarks.truth.published import PUBLISHED, M, N, Published, module_of
from benchmarks.truth.settings import SAME, examples, mnist
from influence.evaluation.fidelity import rank_correlation
from influence.registry import attribution, models
from influence.training import load, train
from influence.types import Examples, Question, Recipe, Trained
from influence.workspace import Workspace

RESULTS = Path(__file__).resolve().parents[1] / "results" / "published.json"
RECORDED = 4096.0
"""MiB that a recorded training may take."""
LIMIT = 600.0
"""Seconds of computing that a method of dattri's may take, over all its dampings."""
FEW = 16
"""Test rows of which the slow methods are asked on a network."""
SLOW = ("influence function", "metagradient, 3 seeds")
"""Methods whose cost grows with every question."""
OURS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("gradient similarity", "gradient_similarity", {}),
    ("gradient similarity, cosine", "gradient_similarity", {"normalise": "cosine"}),
    ("TracIn", "tracin", {}),
    ("TRAK, 1 model", "trak", {}),
    ("TRAK, 10 models", "trak", {"models": 10}),
    ("Newton, last layer", "newton", {}),
    ("influence function, EK-FAC", "influence_function", {"solver": "ekfac"}),
    ("influence function", "influence_function", {}),
    ("metagradient, 3 seeds", "metagradient", {"seeds": 3}),
)


@dataclass(frozen=True)
class Losses:
    """The cross-entropy of each of the question's first rows."""

    asked: int = M
    better: ClassVar[Literal["lower", "higher", "neither"]] = "lower"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the values."""
        return tuple(f"loss of row {i}" for i in range(self.asked))

    @property
    def measured_label(self) -> str:
        """The same."""
        return "loss"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Losses:
        """Nothing depends on the model."""
        return self

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Losses, (asked,)."""
        return F.cross_entropy(logits, torch.from_numpy(np.array(examples.y)), reduction="none")[: self.asked]

    measured = value


@dataclass(frozen=True)
class Case:
    """What is compared. `out`: rows left out (S, N); `real`: what the values (S, Q) were; `ours`: scores (N, Q) by name."""

    out: np.ndarray
    real: np.ndarray
    ours: Mapping[str, peers.Method]
    peers: Mapping[str, Mapping[float, peers.Method]]
    ceiling: float | None = None

    def lds(self, scores: np.ndarray) -> dict[str, float]:
        """Judge scores of the first values."""
        return mean_lds(self.out @ scores, self.real[:, : scores.shape[1]])


def main() -> int:
    """Measure the settings asked for, print each figure and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    choices = [*PUBLISHED, *(f"same/{name}" for name in SAME)]
    parser.add_argument("settings", nargs="+", choices=choices, metavar="setting", help=", ".join(choices))
    parser.add_argument("--only", default="", help="methods whose name contains this")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.settings:
        case = _same(name.removeprefix("same/")) if name.startswith("same/") else _published(name)
        about = {"setting": name, "n": len(case.out), "ceiling": case.ceiling}
        for method, ask in case.ours.items():
            if given.only in method:
                began = time.perf_counter()
                scores = ask()
                _keep({**about, "method": method, "rows": scores.shape[1], "seconds": time.perf_counter() - began, **case.lds(scores)})
        for method, by_damping in case.peers.items():
            if given.only in method:
                _keep({**about, "method": method, **_best(case, by_damping)})
    return 0


def _best(case: Case, by_damping: Mapping[float, peers.Method]) -> dict[str, Any]:
    """Return the figures of a peer at the damping that the truth likes best, or why there are none. Seconds: of that damping alone."""
    left, tried, best, note = LIMIT, {}, None, ""
    for damping, ask in by_damping.items():
        began, spent = time.perf_counter(), time.process_time()
        try:
            with peers.quiet(), peers.at_most(left):
                scores = ask()
        except TimeoutError as error:
            note = str(error)
            break
        except Exception as error:  # a peer fails in its own way, and that is a result too
            note = f"it fails: {type(error).__name__}: {error}"
            break
        seconds = time.perf_counter() - began
        left = max(1.0, left - (time.process_time() - spent))
        scores = scores[:, : case.real.shape[1]]
        tried[f"{damping:g}"] = float(np.nanmean(rank_correlation((case.out @ scores).T, case.real.T)))
        if best is None or tried[f"{damping:g}"] > tried[f"{best[0]:g}"]:
            best = damping, scores, seconds
    if best is None:
        return {"skipped": note}
    found = {"rows": best[1].shape[1], "seconds": best[2], **case.lds(best[1]), **({"note": note} if note else {})}
    return found if len(by_damping) == 1 else {**found, "damping": best[0], "dampings": tried}


def _ask(method: str, given: dict[str, Any], make: Callable[[], Trained], rows: Examples, question: Question) -> np.ndarray:
    return attribution.make(method, given)(make(), rows, question, workspace=Workspace()).values


def _published(name: str) -> Case:
    """Ours are trained as the models of the setting are, on all rows.

    For the metagradient in batches of twice the size: without half of its rows such a training takes the very steps of a retraining.
    """
    setting = PUBLISHED[name]
    x, y, test_x, test_y = mnist(N, M, setting.data)
    rows, test = examples(x, y, 10), examples(test_x, test_y, 10)
    inner = ",".join(map(str, setting.widths[1:-1]))
    built = (
        models.make("mlp", {"hidden": inner, "activation": "relu", "dropout": setting.dropout}) if inner else models.make("logistic", {})
    )
    model = replace(built, inputs=rows.shape, outputs=rows.outputs)
    recipe = Recipe(
        lr=setting.lr, momentum=setting.momentum, weight_decay=0.0, schedule="constant", batch_size=setting.batch, epochs=setting.epochs
    )
    halves, losses, again = bank(name)
    trained = train(model, rows, recipe)
    ours: dict[str, peers.Method] = {}
    for label, method, given in OURS:
        walked = method == "metagradient"
        question = Question((Losses(FEW if inner and label in SLOW else M),), test)
        doubled = replace(recipe, batch_size=2 * setting.batch)
        make = partial(train, model, rows, doubled, record=RECORDED) if walked else lambda: trained
        ours[label] = partial(_ask, method, given, make, rows, question)
    out = np.ones((len(halves), N))
    np.put_along_axis(out, halves, 0, axis=1)
    ceiling = float(np.sqrt(np.nanmean(rank_correlation(losses.T, again.T))))
    theirs = peers.methods(
        peers.Problem(
            setting.module(0).eval(),
            *(torch.from_numpy(part) for part in (x, y, test_x, test_y)),
            full=_states(setting, full_models(name, 10)[0], 1),
            half=_states(setting, other_models(name, 10)[0], 10),
        )
    )
    along = peers.methods(_problem(trained, rows, test))  # checkpoints of one training are kept of ours only
    return Case(out, losses, ours, {**theirs, "dattri TracIn": along["dattri TracIn"]}, ceiling)


def _states(setting: Published, part: Mapping[str, np.ndarray], count: int) -> list[peers.State]:
    """Return the first models of a part of a bank as dattri takes them."""
    numbers = [torch.from_numpy(part[f"p{place}"]) for place in range(len(part) - 1)]
    return [module_of(setting, numbers, r).state_dict() for r in range(count)]


def _problem(trained: Trained, rows: Examples, test: Examples) -> peers.Problem:
    """Return one of our models as dattri takes it."""
    x, y, test_x, test_y = (torch.from_numpy(np.array(part)) for part in (rows.x, rows.y, test.x, test.y))
    path, eta = [kept.load() for kept in trained.checkpoints], [kept.lr for kept in trained.checkpoints]
    return peers.Problem(load(trained).module, x, y, test_x, test_y, full=[trained.final.load()], path=path, eta=eta)


def _same(name: str, fraction: float = 0.01) -> Case:
    """One fixed model: dattri is handed the very model that ours are asked of."""
    model, rows, test, recipe, question = SAME[name].parts()
    asked = SAME[name].asked
    trained = train(model, rows, recipe, record=RECORDED)
    out, real = same(name, fraction)

    def margins() -> np.ndarray:
        return -_ask("influence_function", {}, lambda: trained, rows, question)[:, :asked]

    found = peers.methods(_problem(trained, rows, test.take(np.arange(asked))))
    theirs = {method: found[method] for method in ("dattri EK-FAC", "dattri TRAK-1", "dattri TracIn")}
    # a margin falls where the cross-entropy of its row rises, and only ranks count
    return Case(out.astype(np.float64), -real[:, :asked], {"influence function": margins}, theirs)


def _keep(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    kept = [k for k in kept if (k["setting"], k["method"]) != (found["setting"], found["method"])] + [found]
    RESULTS.write_text(json.dumps(sorted(kept, key=lambda k: (k["setting"], k["method"])), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
