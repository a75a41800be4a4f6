"""Rows, outputs and filled-in settings for tests of queries and evaluations; float64, small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from influence.registry import Registry, settings
from influence.types import Examples

KINDS = {"binary": ("no", "yes"), "three": ("bad", "fair", "good"), "number": ()}
"""Classes by kind of target."""
GIVEN = {"id": "107", "which": "b"}
"""Settings without a useful default, by name; a setting that names a column gets "group"."""


def rows(kind: str = "binary", n: int = 150, seed: int = 0, **columns: Any) -> Examples:
    """Rows with groups a, b, c and missing values, an age, and a target of this kind; all arrays read-only, as a store hands them out."""
    rng = np.random.default_rng(seed)
    classes = KINDS[kind]
    y = rng.integers(0, len(classes), n) if classes else rng.normal(size=n).astype(np.float32)
    group = rng.choice(np.array(["a", "b", "c", None], dtype=object), n, p=[0.4, 0.3, 0.2, 0.1])
    table = pd.DataFrame({"group": group, "age": rng.integers(17, 80, n), **columns})
    made = Examples(rng.normal(size=(n, 2)), y, np.arange(100, 100 + n), table, classes)
    for array in (made.x, made.y, made.ids):
        array.setflags(write=False)
    return made


def outputs(examples: Examples, seed: int = 0, pull: float = 1.0) -> torch.Tensor:
    """Logits (M, C) that know something of the target."""
    noise = np.random.default_rng(seed + 1000).normal(size=(len(examples), examples.outputs))
    truth = np.eye(examples.outputs)[examples.y] if examples.classes else examples.y[:, None]
    return torch.from_numpy(noise + pull * truth)


def filled(registry: Registry, name: str, **given: Any) -> Any:
    """One registered class with all that it needs to be asked of `rows`."""
    known = settings(registry.classes[name])
    needed = {s.name: "group" if s.column else GIVEN[s.name] for s in known if s.column or s.name in GIVEN}
    return registry.make(name, {**needed, **{key: value for key, value in given.items() if key in {s.name for s in known}}})
