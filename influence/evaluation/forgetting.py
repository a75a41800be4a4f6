"""What a model still shows of removed rows: its loss and accuracy there, and how far its outputs are from the retrained model's.

Distance is the Jensen-Shannon divergence (Lin, IEEE Transactions on Information Theory 37, 1991).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import rel_entr

from influence.evaluation._tables import of_mean, refuse_unfit, row, row_losses, softmax, wilson
from influence.registry import evaluation
from influence.types import Examples


@evaluation
@dataclass(frozen=True)
class Forgetting:
    """Loss and accuracy on removed rows; with the retrained model's outputs also the divergence and the share of equal predictions.

    The divergence is Jensen and Shannon's, in nats: 0 for equal probabilities, log 2 at most. Of a numeric target: the mean distance.
    """

    def __call__(self, logits: np.ndarray, examples: Examples, reference: np.ndarray | None = None) -> pd.DataFrame:
        """Return the table for logits (M, C); `reference`: the retrained model's logits on the same rows.

        Raises:
            BadInput: there are no rows, or outputs that do not fit them.
        """
        refuse_unfit(logits, examples, reference)
        n, classes = len(examples), bool(examples.classes)
        losses = row_losses(logits, examples.y, classes)
        rows = [row("loss" if classes else "mae", "", losses.mean(), of_mean(losses, 0.0), n, "neither")]
        if classes:
            hit = logits.argmax(1) == examples.y
            rows.append(row("accuracy", "", hit.mean(), wilson(hit.sum(), n), n, "neither"))
        if reference is not None:
            apart = divergence(logits, reference) if classes else np.abs(logits[:, 0].astype(np.float64) - reference[:, 0])
            name = "divergence_from_retrained" if classes else "distance_from_retrained"
            rows.append(row(name, "", apart.mean(), of_mean(apart, 0.0), n, "lower"))
            if classes:
                same = logits.argmax(1) == reference.argmax(1)
                rows.append(row("agreement_with_retrained", "", same.mean(), wilson(same.sum(), n), n, "higher"))
        return pd.DataFrame(rows)


def divergence(logits: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the Jensen-Shannon divergence of each row's class probabilities, (M,), in nats: 0 for equal, log 2 at most."""
    p, q = softmax(logits), softmax(reference)
    m = (p + q) / 2
    return np.maximum(0.0, (rel_entr(p, m).sum(1) + rel_entr(q, m).sum(1)) / 2)
