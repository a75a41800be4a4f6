"""Whether a question can be asked of a model's evaluation rows: known from its kept predictions, before any work begins.

No PyTorch at import: pages ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from influence.actions._kept_outputs import kept_outputs
from influence.data.dataset import Dataset
from influence.errors import BadInput
from influence.registry import queries


def refused(query: str, given: Mapping[str, Any], predictions: pd.DataFrame, dataset: Dataset) -> str:
    """Return why a question of this name and settings cannot be asked of these data, "" if it can."""
    import torch

    logits = torch.from_numpy(kept_outputs(predictions, dataset, "evaluation"))
    try:
        queries.make(query, dict(given)).oriented(logits, dataset.evaluation).measured(logits, dataset.evaluation)
    except BadInput as error:
        return str(error)
    return ""
