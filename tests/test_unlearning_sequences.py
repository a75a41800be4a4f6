"""Requests one after another: each begins at the last one's result, and how far they drift from retraining."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from benchmarks import sequences
from influence.registry import unlearning
from influence.types import Examples, Selection, Trained

FACTOR = 1.5
"""By how much a sequence may end further from retraining than one removal of the same rows: measured 0.8 to 1.25 (docs/measurements.md)."""


@cache
def asked() -> tuple[Examples, Trained, list[tuple[int, ...]], list[Trained]]:
    torch.set_num_threads(1)
    train, _, wrong = sequences.digits(45)
    before, requests = sequences.begun(train), [wrong[:15], wrong[15:30], wrong[30:]]
    return train, before, requests, sequences.truths(before, train, requests)


USUAL = ("influence_step", "finetune", "newton_head")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in USUAL)) for name in sequences.METHODS])
def test_a_sequence_of_requests_stays_as_near_to_retraining_as_one_removal(name):
    train, before, requests, known = asked()
    found, once, last = sequences.drift(name, before, train, requests, known)
    assert last.removed == sum(requests, ())
    if name == "retrain":
        assert last.final.digest == known[-1].final.digest
        return
    still = sequences.apart(before, known[-1], train.take(train.mask(last.removed)))
    assert found[-1] < FACTOR * once
    assert found[-1] < 0.8 * still


def test_the_drift_is_measured_on_all_rows_removed_so_far():
    train, before, requests, known = asked()
    assert [it.removed for it in known] == [requests[0], requests[0] + requests[1], sum(requests, ())]
    method, first = unlearning.make("newton_head"), Selection(requests[0])
    found, _, _ = sequences.drift("newton_head", before, train, requests[:1], known)
    rows = train.take(train.mask(requests[0]))
    assert found == [pytest.approx(sequences.apart(method(before, train, first), known[0], rows))]
