"""Requests one after another: how far a method drifts from retraining when each request begins at the last one's result.

    python -m benchmarks.sequences [--requests 10] [--rows 10] [--method NAME ...]

Digits with 100 wrong labels; each request removes ten of these. After every request, and after one removal of all rows at once: the mean
distance of the margins of all rows removed so far from those of the model retrained without them, and accuracy on unseen rows.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

from influence import grads, training
from influence.actions._monitor import margins_of
from influence.registry import models, unlearning
from influence.types import Examples, Recipe, Selection, Trained
from influence.workspace import Workspace

METHODS = ("influence_step", "neggrad_plus", "finetune", "l1_sparse", "scrub", "newton_head", "last_layers", "retrain")
"""Those that fit these rows; of models in shards SISA is exact, request after request (tests/test_sisa.py)."""


def digits(wrong: int) -> tuple[Examples, Examples, tuple[int, ...]]:
    """Return training rows with so many wrong labels, test rows, and the wrong ids."""
    bunch, ids = load_digits(), np.arange(1797)
    x, y, here = (bunch.images[:, None] / 16).astype(np.float32), bunch.target.astype(np.int64), ids % 3 > 0
    flipped = np.random.default_rng(0).choice(ids[here], wrong, replace=False)
    y[flipped] = (y[flipped] + 3) % 10
    every = Examples(x, y, ids, pd.DataFrame({"row": ids}), tuple("0123456789"))
    return every.take(here), every.take(~here), tuple(flipped.tolist())


def begun(train: Examples, epochs: int = 25) -> Trained:
    """Return the model that saw all rows."""
    model = replace(models.make("mlp"), inputs=train.shape, outputs=train.outputs)
    return training.train(model, train, Recipe(batch_size=64, epochs=epochs))


def apart(one: Trained, other: Trained, rows: Examples) -> float:
    """Return the mean distance of two models' margins on rows."""
    margins = [margins_of(grads.outputs(training.load(it), rows).numpy(), rows) for it in (one, other)]
    return float(np.abs(margins[0] - margins[1]).mean())


def accuracy(it: Trained, rows: Examples) -> float:
    """Return the share of rows that are told right."""
    return float((grads.outputs(training.load(it), rows).argmax(1).numpy() == rows.y).mean())


def truths(before: Trained, train: Examples, requests: list[tuple[int, ...]]) -> list[Trained]:
    """Return the models retrained without the rows of the first request, of the first two, and so on."""
    retrain, gone = unlearning.make("retrain"), [sum(requests[: k + 1], ()) for k in range(len(requests))]
    return [retrain(before, train, Selection(ids)) for ids in gone]


def drift(
    name: str, before: Trained, train: Examples, requests: list[tuple[int, ...]], known: list[Trained]
) -> tuple[list[float], float, Trained]:
    """Return the distance from retraining after every request, that of one removal of all rows, and the sequence's last model."""
    method, at, found = unlearning.make(name), before, list[float]()
    for k, ids in enumerate(requests):
        at = method(at, train, Selection(ids), workspace=Workspace())
        found.append(apart(at, known[k], train.take(train.mask(at.removed))))
    every = sum(requests, ())
    once = method(before, train, Selection(every), workspace=Workspace())
    return found, apart(once, known[-1], train.take(train.mask(every))), at


def main() -> None:
    """Print a line per method."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--method", nargs="*", default=METHODS)
    asked = parser.parse_args()
    train, test, wrong = digits(asked.requests * asked.rows)
    requests = [wrong[k : k + asked.rows] for k in range(0, len(wrong), asked.rows)]
    before = begun(train)
    known = truths(before, train, requests)
    still = [apart(before, truth, train.take(train.mask(truth.removed))) for truth in known]
    unseen = f"unseen {accuracy(before, test):.3f}, retrained {accuracy(known[-1], test):.3f}"
    print(f"nothing done: {' '.join(f'{v:.2f}' for v in still)}; {unseen}")
    for name in asked.method:
        found, once, last = drift(name, before, train, requests, known)
        print(f"{name:15s} {' '.join(f'{v:.2f}' for v in found)} | at once {once:.2f} | unseen {accuracy(last, test):.3f}", flush=True)


if __name__ == "__main__":
    main()
