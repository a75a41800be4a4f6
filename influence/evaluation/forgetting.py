"""What a model still shows of removed rows: its loss and accuracy there, and how far its outputs are from the retrained model's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import rel_entr

from influence.evaluation._tables import of_mean, row, row_losses, softmax, wilson
from influence.registry import evaluation
from influence.types import Examples


@evaluation
@dataclass(frozen=True)
class Forgetting:
    """Loss and accuracy on these rows; with a reference, the Jensen-Shannon divergence to it (nats) and the share of equal predictions."""

    def __call__(self, logits: np.ndarray, examples: Examples, reference: np.ndarray | None = None) -> pd.DataFrame:
        """Return the table for logits (M, C); `reference`: the retrained model's logits on the same rows."""
        n, classes = len(examples), bool(examples.classes)
        losses = row_losses(logits, examples.y, classes)
        rows = [row("loss" if classes else "mae", "", losses.mean(), of_mean(losses), n, "neither")]
        if classes:
            hit = logits.argmax(1) == examples.y
            rows.append(row("accuracy", "", hit.mean(), wilson(hit.sum(), n), n, "neither"))
        if reference is not None:
            apart = divergence(logits, reference) if classes else np.abs(logits[:, 0] - reference[:, 0]).astype(np.float64)
            name = "divergence_from_retrained" if classes else "distance_from_retrained"
            rows.append(row(name, "", apart.mean(), of_mean(apart), n, "lower"))
            if classes:
                same = logits.argmax(1) == reference.argmax(1)
                rows.append(row("agreement_with_retrained", "", same.mean(), wilson(same.sum(), n), n, "higher"))
        return pd.DataFrame(rows)


def divergence(logits: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the Jensen-Shannon divergence of each row's class probabilities, (M,), in nats: 0 for equal, log 2 at most (Lin 1991)."""
    p, q = softmax(logits), softmax(reference)
    m = (p + q) / 2
    return (rel_entr(p, m).sum(1) + rel_entr(q, m).sum(1)) / 2
