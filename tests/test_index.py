"""The index: built once, resumed after a kill, appended to, refused for others; what it returns against the exact sweep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from influence.attribution.gradient_similarity import GradientSimilarity
from influence.attribution.indexed import Indexed
from influence.errors import BadInput, Cancelled
from influence.grads import row_gradients
from influence.index import FIRST, Index, Settings, build
from influence.loop import Bound, tensors
from influence.training import train
from influence.types import Event, Examples, Report
from influence.workspace import Workspace
from tests.tiny import MODULES, OTHERS, Built, Frozen, bind, examples, question, recipe

FILES = ("basis.safetensors", "codes.bin", "index.json", "ranks.npy")
building = sys.modules["influence.index.build"]


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(building, "PART", 16)


def rows_for(kind: str, n: int = 40) -> Examples:
    rows = examples(n, MODULES[kind][0] if kind in MODULES else (4,))
    return replace(rows, x=np.random.default_rng(1).integers(0, 7, (n, 4))) if kind == "embedding" else rows


def made(folder: Path, kind: str = "layer norm", size: int = 12, n: int = 40) -> tuple[Bound, Examples]:
    bound, rows = Bound(Built(kind), 3, "float64"), rows_for(kind, n)
    build(folder, "model", bound, rows, "cross_entropy", Settings(size))
    return bound, rows


def into(seen: list[int]) -> Report:
    """Hear how many rows are indexed."""
    return lambda event: seen.append(event.done) if event.stage == "index" else None


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("kind", [*MODULES, *OTHERS])
def test_directions_are_orthonormal_and_codes_are_coordinates(tmp_path, kind):
    bound, rows = made(tmp_path, kind)
    found = Index(tmp_path, "model", bound, rows)
    directions = found.basis.of_vectors(bound, torch.eye(len(bound.flat), dtype=torch.float64))  # (P, k)
    torch.testing.assert_close(directions.T @ directions, torch.eye(12, dtype=torch.float64), atol=1e-9, rtol=0)
    g = row_gradients(bound, *tensors(rows, "float64"), "cross_entropy")
    kept = g @ directions
    torch.testing.assert_close(found.codes.values.double(), kept, rtol=2**-8, atol=1e-8)
    assert found.basis.captured == pytest.approx(float(kept.square().sum() / g.square().sum()), rel=1e-6)


def test_no_other_directions_of_a_layer_hold_more_energy(tmp_path):
    """With one layer and all directions kept, energies are those of the rows' gradients; with few, more is held than by chance."""
    bound, rows = made(tmp_path / "all", "bare layer", size=15)
    assert Index(tmp_path / "all", "model", bound, rows).basis.captured == pytest.approx(1)
    made(tmp_path / "few", "bare layer", size=3)
    assert Index(tmp_path / "few", "model", bound, rows).basis.captured > 2 * 3 / 15


def test_the_screen_is_the_product_of_codes_and_question(tmp_path):
    bound, rows = made(tmp_path)
    found = Index(tmp_path, "model", bound, rows)
    along = torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = found.codes.values.double() @ along.T
    np.testing.assert_allclose(found.codes.screen(along), expected.numpy(), rtol=0, atol=2**-21 * float(expected.abs().max()))


def test_the_screen_goes_through_many_blocks(tmp_path, monkeypatch):
    bound, rows = made(tmp_path)
    found = Index(tmp_path, "model", bound, rows)
    along = torch.randn(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = found.codes.screen(along)
    monkeypatch.setattr("influence.index.screen.NUMBERS", 7 * 12 + 5)
    np.testing.assert_allclose(found.codes.screen(along), whole, rtol=0, atol=2**-21 * float(np.abs(whole).max()))


def test_an_interrupted_build_goes_on_and_ends_the_same(tmp_path, small_parts):
    bound, rows = made(tmp_path / "once")
    done = []

    def stop(event: Event) -> None:
        done.append(event.done)
        if event.done == 32:
            raise Cancelled

    with pytest.raises(Cancelled):
        build(tmp_path / "twice", "model", bound, rows, "cross_entropy", Settings(12), report=stop)
    with (tmp_path / "twice" / "codes.bin").open("ab") as file:
        file.write(b"half a part that was never committed")
    resumed: list[int] = []
    build(
        tmp_path / "twice",
        "model",
        bound,
        rows,
        "cross_entropy",
        Settings(12),
        report=into(resumed),
    )
    assert resumed == [32, 40]
    assert contents(tmp_path / "twice") == contents(tmp_path / "once")


KILLED = """
import sys, os, signal
sys.path.insert(0, os.getcwd())
import torch
torch.set_num_threads(1)
from pathlib import Path
import influence.index.build
sys.modules["influence.index.build"].PART = 16
from tests.test_index import Bound, Built, Settings, build, rows_for
def report(event):
    if event.done == 16:
        os.kill(os.getpid(), signal.SIGKILL)
bound = Bound(Built("layer norm"), 3, "float64")
build(Path(sys.argv[1]), "model", bound, rows_for("layer norm"), "cross_entropy", Settings(12), report=report)
"""


@pytest.mark.slow
def test_a_killed_build_goes_on(tmp_path, small_parts):
    bound, rows = made(tmp_path / "once")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed")], cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == -signal.SIGKILL
    assert json.loads((tmp_path / "killed" / "index.json").read_text())["rows"] == 16
    with pytest.raises(BadInput, match="16 rows"):
        Index(tmp_path / "killed", "model", bound, rows)
    resumed: list[int] = []
    build(
        tmp_path / "killed",
        "model",
        bound,
        rows,
        "cross_entropy",
        Settings(12),
        report=into(resumed),
    )
    assert resumed == [16, 32, 40]
    assert contents(tmp_path / "killed") == contents(tmp_path / "once")


def test_new_rows_are_appended(tmp_path, small_parts):
    bound, rows = made(tmp_path / "old")
    more = examples(57)
    more = replace(more, x=np.concatenate([rows.x, more.x[40:]]), y=np.concatenate([rows.y, more.y[40:]]))
    seen: list[int] = []
    build(
        tmp_path / "new",
        "model",
        bound,
        more,
        "cross_entropy",
        Settings(12),
        tmp_path / "old",
        report=into(seen),
    )
    assert seen[0] == 32  # whole parts are taken over
    old, new = Index(tmp_path / "old", "model", bound, rows), Index(tmp_path / "new", "model", bound, more)
    np.testing.assert_array_equal(new.codes.values[:40].view(torch.int16).numpy(), old.codes.values.view(torch.int16).numpy())
    g = row_gradients(bound, *tensors(more, "float64"), "cross_entropy")
    torch.testing.assert_close(new.codes.values.double(), new.basis.of_vectors(bound, g), rtol=2**-8, atol=1e-8)


def test_it_is_refused_for_others(tmp_path):
    bound, rows = made(tmp_path)
    with pytest.raises(BadInput, match="another model"):
        Index(tmp_path, "other", bound, rows)
    for other in (
        replace(rows, x=rows.x + (np.arange(40) == 39)[:, None]),
        replace(rows, y=(rows.y + 1) % 3),
        replace(rows, ids=rows.ids + 1),
        rows.take(np.arange(39)),
        examples(41),
    ):
        with pytest.raises(BadInput, match="are not the"):
            Index(tmp_path, "model", bound, other)
    with pytest.raises(BadInput, match="no index"):
        Index(tmp_path / "nothing", "model", bound, rows)
    with pytest.raises(BadInput, match="other settings"):
        build(tmp_path, "model", bound, rows, "cross_entropy", Settings(13))


def test_a_finished_index_takes_no_other_rows(tmp_path):
    """Neither more rows nor the same ones changed: it stays as it is, and serves as a base elsewhere."""
    bound, rows = made(tmp_path / "old")
    more, before = examples(57), contents(tmp_path / "old")
    more = replace(more, x=np.concatenate([rows.x, more.x[40:]]), y=np.concatenate([rows.y, more.y[40:]]))
    for other in (more, replace(rows, y=(rows.y + 1) % 3)):
        with pytest.raises(BadInput, match=r"of the 57 rows given\. Build into another folder|are not the 40 rows"):
            build(tmp_path / "old", "model", bound, other, "cross_entropy", Settings(12))
        assert contents(tmp_path / "old") == before
    Index(tmp_path / "old", "model", bound, rows)
    build(tmp_path / "old", "model", bound, rows, "cross_entropy", Settings(12))
    build(tmp_path / "new", "model", bound, more, "cross_entropy", Settings(12), tmp_path / "old")
    Index(tmp_path / "new", "model", bound, more)


def test_a_model_that_cannot_learn_is_refused(larger):
    trained, rows, asked = larger
    with pytest.raises(BadInput, match="All parameters of the model are frozen"):
        Indexed(size=8)(replace(trained, model=Frozen(trained.model)), rows, asked)


@pytest.fixture(scope="module")
def larger():
    """A trained model with many more rows than are scored exactly."""
    rows, ask = examples(3000, (12,), 4), examples(60, (12,), 4, seed=1)
    trained = train(bind("mlp", rows, hidden="24"), rows, recipe(batch_size=64, epochs=2))
    return trained, rows, question(ask)


def found_of(scores: np.ndarray, exact: np.ndarray) -> list[float]:
    """Share of the true first rows at each end of each list whose score is exact."""
    lists = [(q, np.argsort(sign * exact[:, q])[:FIRST]) for q in range(exact.shape[1]) for sign in (1, -1)]
    return [float(np.isclose(scores[true, q], exact[true, q], rtol=1e-4, atol=0).mean()) for q, true in lists]


def test_first_rows_are_exact_and_recall_is_true(larger, tmp_path):
    trained, rows, asked = larger
    events: list[Event] = []
    scores = Indexed(size=64, scored=250)(trained, rows, asked, events.append, Workspace(tmp_path)).values
    exact = GradientSimilarity()(trained, rows, asked).values
    assert all(np.corrcoef(scores[:, q], exact[:, q])[0, 1] > 0.98 for q in range(3))
    told, real = events[-1].metrics, found_of(scores, exact)
    assert told["exact"] == 500
    assert told["lists"] == 16
    assert min(real) > 0.95
    assert told["recall"] == pytest.approx(np.mean(real), abs=0.05)


def test_a_bad_screen_is_told(larger, tmp_path):
    """Eight directions and few rows scored exactly: the recall of held questions says how much is missed."""
    trained, rows, asked = larger
    events: list[Event] = []
    scores = Indexed(size=8, scored=100)(trained, rows, asked, events.append, Workspace(tmp_path)).values
    told, real = events[-1].metrics, found_of(scores, GradientSimilarity()(trained, rows, asked).values)
    assert np.mean(real) < 0.95
    assert told["recall"] == pytest.approx(np.mean(real), abs=0.1)
    assert told["recall lowest"] < told["recall"] < 0.98


def test_ranks_are_where_the_screen_puts_the_true_first_rows(tmp_path):
    bound, rows = made(tmp_path, n=200)
    index = Index(tmp_path, "model", bound, rows)
    assert index.ranks.shape == (8, 2, 100)
    assert all(len(np.unique(ends)) == 100 for ends in index.ranks.reshape(-1, 100))
    shares = [index.recall(scored).mean for scored in (10, 50, 100, 200)]
    assert shares == sorted(shares)
    assert shares[0] <= 0.1
    assert shares[-1] == 1


def test_all_rows_within_reach_are_exact(larger, tmp_path):
    trained, rows, asked = larger
    few = rows.take(np.arange(150))
    events: list[Event] = []
    scores = Indexed(size=8)(trained, few, asked, events.append, Workspace(tmp_path)).values
    np.testing.assert_allclose(scores, GradientSimilarity()(trained, few, asked).values, rtol=1e-4, atol=1e-7)
    assert events[-1].metrics["recall lowest"] == 1


def test_memory_maps_are_read_where_they_lie(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "f4", (50, 4))
    x[:] = examples(50).x
    x.flush()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    rows = Examples(mapped, examples(50).y, np.arange(50), pd.DataFrame(index=range(50)), ("a", "b", "c"))
    tensor, _ = tensors(rows, "float32")
    before = (tmp_path / "x.npy").read_bytes()
    tensor[0] = 7  # in place: its own copy of that page
    assert (tmp_path / "x.npy").read_bytes() == before
    assert mapped[0, 0] != 7
    x[1] = 5  # in the file: seen, as nothing was copied
    x.flush()
    del x
    assert float(tensors(rows, "float32")[0][1, 0]) == 5
    assert tensors(rows.take(np.arange(3)), "float32")[0].shape == (3, 4)
    assert os.path.getsize(tmp_path / "x.npy") > 0
