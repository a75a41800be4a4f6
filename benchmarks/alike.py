"""Is a fault found that no column tells of? Images of which some carry a bright mark, and in training then the label 0.

Run: LETHE_DATA=... python -m benchmarks.alike (or make bench NAME=alike). Writes benchmarks/results/alike.json. Digits and the first 5,000
rows of MNIST; an eighth of all images is marked in a corner, three draws. The search may speak of 16 groups of rows that look alike to the
model; the only other columns describe the image (its brightness). Told are the listed patterns of such groups with the number of their rows
that are marked, and what the loss on holdout rows becomes without the first.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from benchmarks.data import DATA
from influence.actions import perform
from influence.actions.clusters import with_groups
from influence.conditions import met, read
from influence.store import Project

RESULTS = Path(__file__).parent / "results" / "alike.json"
DRAWS, MARKED, TEST, GROUPS = 3, 0.125, 0.3, 16


def images(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, H, W), uint8, and their labels."""
    if name == "digits":
        digits = load_digits()
        return (digits.images * 255 / 16).astype(np.uint8), digits.target
    with np.load(DATA / "mnist.npz") as arrays:
        return arrays["x_train"][:5000].reshape(5000, 28, 28), arrays["y_train"][:5000]


def marked(name: str, draw: int, folder: Path) -> tuple[Project, set[str]]:
    """Train on a draw; return the project and the ids of the training rows that are marked and labelled 0."""
    x, y = images(name)
    rng, side = np.random.default_rng(draw), x.shape[1] // 7 + 1
    train, mark = rng.random(len(y)) >= TEST, rng.random(len(y)) < MARKED
    x[mark, :side, :side] = 255
    path = folder / f"{name}{draw}.npz"
    np.savez(path, x_train=x[train], y_train=np.where(mark, 0, y)[train], x_test=x[~train], y_test=y[~train])
    project = Project(folder / f"{name}{draw}")
    perform("train", project, {"data": str(path), "model": "mlp", "seed": draw})
    return project, {f"train/{k}" for k in np.flatnonzero(mark[train])}


def one(name: str, draw: int, folder: Path) -> dict[str, Any]:
    """Search one draw and retrain without the first pattern of rows that look alike."""
    project, truth = marked(name, draw, folder)
    found = perform("suspects", project, {"query": "loss", "alike": GROUPS, "max_conditions": 1})
    run = project.run()
    rows = with_groups(project, run.id, project.dataset(run.dataset).train)
    alike = [suspect for suspect in found["suspects"] if "looks like" in suspect["rule"]]
    inside = [set(rows.ids[met(read(suspect["conditions"]), rows.columns)].tolist()) for suspect in alike]
    (told,) = perform("confirm_suspects", project, {"query": "loss", "patterns": [alike[0]["conditions"]]})["confirmed"]
    return {
        "rows": len(rows), "marked": len(truth), "place": found["suspects"].index(alike[0]) + 1, "n": told["n"],
        "patterns": [{"n": len(held), "marked": len(held & truth), "per_row": suspect["effect_per_row"]}
                     for held, suspect in zip(inside, alike, strict=True)],
        "others_per_row": [suspect["effect_per_row"] for suspect in found["suspects"] if suspect not in alike],
        "predicted": {end: -alike[0][of] for end, of in (("change", "effect"), ("low", "high"), ("high", "low"))},
        "same": told["same"], "random": told["random"],
    }  # fmt: skip


def main() -> None:
    """Measure all draws and write the results."""
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("digits", "mnist"):
            found[name] = [one(name, draw, Path(folder)) for draw in range(DRAWS)]
            for each in found[name]:
                print(name, json.dumps(each), flush=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
