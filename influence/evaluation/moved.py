"""Where rows lie for one model and where for another: both on one plane, turned so that nothing but what really moved is seen to move.

Two models that agree on everything may have turned their hidden layers. The second is turned onto the first by the orthogonal matrix that
brings the rows nearest together (Schönemann, Psychometrika 1966), found on rows that neither model was to forget.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import orthogonal_procrustes

from influence.plane import axes

MOST = 256
"""Principal components that are turned: wider layers are cut to as many."""


def turned(first: np.ndarray, second: np.ndarray, steady: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both models' features (n, D), (n, E) on shared axes, (n, K) each, centred on the steady rows (n,) bool of each.

    K: the first model's principal components, of which the first two are the plane to draw. No scaling: a layer that shrank is seen to.
    """
    wide = [_components(part.reshape(len(part), -1).astype(np.float64), steady) for part in (first, second)]
    width = max(part.shape[1] for part in wide)
    one, other = (np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in wide)
    rotation, _ = orthogonal_procrustes(other[steady], one[steady])
    return one, other @ rotation


def distances(one: np.ndarray, other: np.ndarray, steady: np.ndarray) -> np.ndarray:
    """Return how far each row lies from itself, (n,), in the spread of the steady rows under the first model (root mean square)."""
    spread = float(np.sqrt(np.square(one[steady]).sum(1).mean()))
    return np.linalg.norm(other - one, axis=1) / spread if spread > 0 else np.zeros(len(one))


def _components(features: np.ndarray, steady: np.ndarray) -> np.ndarray:
    """Return features along the principal components of the steady rows, (n, K)."""
    return axes(lambda: [features[steady]], min(MOST, features.shape[1])).places(features)
