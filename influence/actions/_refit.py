"""Data and model for a training whose preprocessing is fitted again without the rows that go."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from influence.actions.export_model import origin
from influence.data.dataset import Dataset
from influence.data.refit import is_fitted, misread, refitted, refusal
from influence.data.text.settings import Reading
from influence.errors import BadInput
from influence.models.ensemble import Ensemble
from influence.registry import build
from influence.types import Architecture, Claim, Selection, Trained

REFITTED = "refitted"
NOTE = "Preprocessing refitted: scaling, categories and vocabulary were fitted again without the removed rows."
MISREAD = (
    "Preprocessing refitted, but without the removed rows {names} would be taken for another kind of column, so the claim is L1. State "
    "kinds when the data are loaded."
)


@dataclass(frozen=True)
class Refit:
    """What a model is made from. `claim`, `note`: what may be said of its preprocessing; "" if it was kept."""

    dataset: Dataset
    trained: Trained
    claim: Claim = "L2"
    note: str = ""


def refit(it: Any, rows: Selection) -> Refit:
    """Return the run's data with preprocessing fitted without these rows and those that are gone already, and its model for such inputs.

    Raises:
        BadInput: the preprocessing cannot be fitted again.
    """
    encoding = it.dataset.encoding
    if not is_fitted(encoding):
        return Refit(it.dataset, it.trained)
    gone = {*it.trained.removed, *rows.ids}
    dataset = refitted(it.dataset, gone, _reading(it) if encoding["kind"] == "text" else None)
    return replace(_told(it, gone), dataset=dataset, trained=replace(it.trained, model=_fitting(it.trained.model, dataset)))


def promised(it: Any, rows: Selection) -> Refit:
    """Return what `refit` will say, on the run's data and model as they are: nothing is fitted yet.

    Raises:
        BadInput: the preprocessing cannot be fitted again.
    """
    if not is_fitted(it.dataset.encoding):
        return Refit(it.dataset, it.trained)
    if reason := refusal(it.dataset.encoding):
        raise BadInput(reason)
    return _told(it, {*it.trained.removed, *rows.ids})


def _told(it: Any, gone: set[Any]) -> Refit:
    odd = misread(it.dataset, gone)
    note = MISREAD.format(names=", ".join(odd)) if odd else NOTE
    return Refit(it.dataset, it.trained, "L1" if odd else "L2", note)


def _reading(it: Any) -> Reading:
    """Return what was chosen of how texts are read, as the first record says."""
    return build(Reading, origin(it.project, it.run.id).body["settings"]["data_set"])


def _fitting(model: Architecture, dataset: Dataset) -> Architecture:
    """Return the architecture for the inputs of these data."""
    if isinstance(model, Ensemble):
        return Ensemble.of(_fitting(model.one, dataset), model.members)
    words = {"vocabulary": dataset.encoding["vocabulary"]} if dataset.encoding["kind"] == "text" else {}
    own = {field.name for field in fields(model)}  # type: ignore[arg-type]
    return replace(model, inputs=dataset.train.shape, **{k: v for k, v in words.items() if k in own})  # type: ignore[type-var]
