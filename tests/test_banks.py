"""Banks of retrained models are found again for the same protocol, and for no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.truth import banks, published


@pytest.fixture
def trainings(monkeypatch, tmp_path):
    """Settings that were trained, in order; two models each."""
    seen = []

    def trained(how, rows, seeds):
        seen.append(how)
        return {"losses": np.full((len(seeds), 1), how.epochs)}

    monkeypatch.setattr(banks, "CACHE", tmp_path)
    monkeypatch.setattr(banks, "_trained", trained)
    return seen


def test_a_bank_is_trained_once(trainings):
    for _ in range(2):
        banks.half_models("mnist_lr", 2)
    assert trainings == [published.PUBLISHED["mnist_lr"]]


@pytest.mark.parametrize("change", [{"epochs": 3}, {"lr": 0.02}, {"batch": 7}, {"widths": (784, 5, 10)}])
def test_another_protocol_is_another_bank(trainings, monkeypatch, change):
    banks.half_models("mnist_lr", 2)
    other = replace(published.PUBLISHED["mnist_lr"], **change)
    monkeypatch.setitem(banks.PUBLISHED, "mnist_lr", other)
    found = banks.half_models("mnist_lr", 2)
    assert trainings[1:] == [other]
    assert (found[0]["losses"] == other.epochs).all()


@pytest.mark.parametrize("count", ["N", "M"])
def test_other_rows_are_another_bank(trainings, monkeypatch, count):
    banks.half_models("mnist_lr", 2)
    monkeypatch.setattr(published, count, 40)
    banks.half_models("mnist_lr", 2)
    assert len(trainings) == 2
