"""The plane of the map: principal components block by block against scikit-learn's, outlines against brute force, UMAP's neighbours."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from influence import plane
from influence.errors import BadInput


def blocks(x: np.ndarray, size: int = 7) -> plane.Blocks:
    return lambda: iter([x[i : i + size] for i in range(0, len(x), size)])


def laid(x: np.ndarray, size: int = 7) -> np.ndarray:
    return plane.places(blocks(x, size), plane.axes(blocks(x, size)))


@pytest.mark.parametrize("shape", [(300, 6), (40, 90), (50, 2)])
@pytest.mark.parametrize("far", [0.0, 1e4])
def test_axes_are_the_principal_components_however_the_rows_are_cut(shape, far):
    x = np.random.default_rng(0).normal(size=shape) * np.linspace(1, 3, shape[-1]) + far
    truth = PCA(2, svd_solver="full").fit(x)
    found = plane.axes(blocks(x))
    np.testing.assert_allclose(found.shares, truth.explained_variance_ratio_, rtol=1e-6)
    for size in (1, 7, 1000):
        mine, theirs = laid(x, size), truth.transform(x)
        np.testing.assert_allclose(mine * np.sign((mine * theirs).sum(0)), theirs, atol=1e-5)


def test_wide_rows_lie_where_their_components_put_them():
    rng = np.random.default_rng(0)
    wide = plane.EXACT + 50
    x = (rng.normal(size=(120, 2)) * [6, 3]) @ rng.normal(size=(2, wide)) + rng.normal(size=(120, wide)) + 5
    truth = PCA(2, svd_solver="full").fit(x)
    found, again = laid(x, 50), laid(x, 50)
    assert (found == again).all()
    np.testing.assert_allclose(np.abs(found), np.abs(truth.transform(x)), atol=0.05 * np.abs(found).max())
    np.testing.assert_allclose(plane.axes(blocks(x, 50)).shares, truth.explained_variance_ratio_, rtol=1e-3)


@pytest.mark.parametrize("x", [np.arange(5.0)[:, None], np.ones((6, 3)), np.ones((1, 4)), np.zeros((0, 3)), np.eye(2, 7)])
def test_rows_without_a_plane_have_places_all_the_same(x):
    found = laid(x)
    assert found.shape == (len(x), 2)
    assert np.isfinite(found).all()
    assert np.linalg.matrix_rank(found) == min(2, np.linalg.matrix_rank(x - x.mean(0)) if len(x) else 0)


def test_the_sign_of_an_axis_does_not_hang_on_the_order_of_rows():
    x = np.random.default_rng(3).normal(size=(60, 5)) * [5, 3, 1, 1, 1]
    np.testing.assert_allclose(laid(x)[::-1], laid(x[::-1]), atol=1e-9)
    turned = plane.axes(blocks(x)).directions
    assert (turned[np.abs(turned).argmax(0), [0, 1]] > 0).all()


def brute(point: np.ndarray, outline: np.ndarray) -> bool:
    """Even-odd by a ray to the right, edge by edge, in plain Python."""
    crossed = 0
    for (x0, y0), (x1, y1) in itertools.pairwise([*outline.tolist(), outline[0].tolist()]):
        if (y0 > point[1]) != (y1 > point[1]):
            crossed += point[0] < (x1 - x0) * (point[1] - y0) / (y1 - y0) + x0
    return crossed % 2 == 1


def winding(point: np.ndarray, corners: np.ndarray) -> int:
    """How often the outline goes round a point, from the angles under which its edges are seen."""
    seen = np.arctan2(*(corners - point).T[::-1])
    turned = np.diff(np.r_[seen, seen[0]])
    return round(float(((turned + np.pi) % (2 * np.pi) - np.pi).sum() / (2 * np.pi)))


@given(st.integers(0, 10_000), st.integers(3, 40), st.booleans())
def test_inside_is_where_the_outline_goes_round_an_odd_number_of_times(seed, corners, whole):
    rng = np.random.default_rng(seed)
    outline, points = rng.normal(size=(corners, 2)), rng.normal(size=(60, 2))
    if whole:  # corners at one height, and points on corners and edges: where an edge is counted twice or not at all
        outline, points = np.round(outline * 2), np.round(points * 2)
    found = plane.inside(points, outline).tolist()
    assert found == [brute(p, outline) for p in points]
    if not whole:
        assert found == [winding(p, outline) % 2 == 1 for p in points]
        assert found == plane.inside(points, outline[::-1]).tolist()


def test_neighbouring_outlines_share_every_point_and_none_twice():
    points = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), -1).reshape(-1, 2)
    left, right = ([[x, 0], [x + 4, 0], [x + 4, 8], [x, 8]] for x in (0, 4))
    parts = [plane.inside(points, np.array(outline, dtype=float)) for outline in (left, right)]
    whole = plane.inside(points, np.array([[0, 0], [8, 0], [8, 8], [0, 8]], dtype=float))
    assert (parts[0] ^ parts[1]).tolist() == whole.tolist()
    assert whole.sum() == 64


def test_less_than_three_corners_hold_nothing():
    assert not plane.inside(np.ones((2, 2)), np.zeros((0, 2))).any()
    assert not plane.inside(np.ones((2, 2)), np.array([[0, 0], [2, 2.0]])).any()


@pytest.mark.slow
def test_umap_keeps_clusters_together_and_places_rows_that_it_did_not_learn_of():
    pytest.importorskip("umap")
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 3, 240)
    x = rng.normal(size=(240, 5)) + 12 * rng.normal(size=(3, 5))[cluster]
    known = np.arange(240) % 2 == 0
    found = plane.umap(x, known)
    centres = np.stack([found[(cluster == c) & known].mean(0) for c in range(3)])
    nearest = np.linalg.norm(found[:, None] - centres, axis=2).argmin(1)
    assert (nearest == cluster)[~known].mean() > 0.97
    assert (nearest == cluster)[known].mean() > 0.97


def test_umap_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(plane, "umap_library", lambda: None)
    with pytest.raises(BadInput, match=r"^UMAP needs umap-learn, .*pip install -r requirements-map.txt"):
        plane.umap(np.ones((40, 2)), np.ones(40, dtype=bool))
    monkeypatch.setattr(plane, "umap_library", lambda: object())
    with pytest.raises(BadInput, match=r"more than 15 rows; there are 3\."):
        plane.umap(np.ones((3, 2)), np.ones(3, dtype=bool))
