"""The evaluation rows whose predictions are foretold to move most without some rows. No PyTorch."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.data.dataset import Dataset

LISTED = 200
"""Evaluation rows that are kept: those predicted to move most."""


def movers(dataset: Dataset, now: np.ndarray, moved: np.ndarray, seeds: np.ndarray) -> pd.DataFrame:
    """Return the evaluation rows predicted to move most: id, says, says_then, p, p_then, flips, flips_by_chance.

    Of classes `p` is the probability of what the model says now, and `flips` how many of the models from new seeds say another class with
    the predicted change, `flips_by_chance` without it. Of a number `says` is the prediction, in the target's unit; there are no others.
    """
    examples, then = dataset.evaluation, now + moved
    if not examples.classes:
        target = dataset.encoding.get("target", {})
        scale, mean = target.get("sd", 1.0), target.get("mean", 0.0)
        table = pd.DataFrame({"id": examples.ids, "says": now[:, 0] * scale + mean, "says_then": then[:, 0] * scale + mean})
        far = np.abs(moved[:, 0])
    else:
        names, own, at = np.array(examples.classes, dtype=object), now.argmax(1), np.arange(len(now))
        p, p_then = _chances(now)[at, own], _chances(then)[at, own]
        flips, chance = ((z.argmax(2) != own).sum(0) for z in (seeds + moved, seeds))
        table = pd.DataFrame(
            {"id": examples.ids, "says": names[own], "says_then": names[then.argmax(1)], "p": p, "p_then": p_then, "flips": flips,
             "flips_by_chance": chance}
        )  # fmt: skip
        far = np.abs(p_then - p) + (own != then.argmax(1))  # those that flip first
    return table.iloc[np.argsort(-far, kind="stable")[:LISTED]].reset_index(drop=True)


def _chances(logits: np.ndarray) -> np.ndarray:
    z = np.exp(logits - logits.max(1, keepdims=True))
    found: np.ndarray = z / z.sum(1, keepdims=True)
    return found
