"""From measures to a verdict on one model: each measure's place among the oracles', and one test of all of them together.

The measures of every model of the pool are put on one scale, their distance from the pool's median in median absolute deviations; a model's
extremity is its largest over the measures. The verdict compares the judged model's extremity with the oracles', each of which is judged
as it is: with K oracles its chance value is (1 + how many are as extreme) / (K + 1), valid whatever the measures have in common and
corrected for how many they are (max-T: Westfall and Young, Resampling-Based Multiple Testing, 1993, section 2.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from influence.verification._low_rates import RATES

LEVEL = 0.05
RELABELLED = 199
FEWEST = 19
"""Oracles from which on a model can be told from them at this level: 1 / (K + 1) is no more than it."""
_FIGURES = ("value", "null_low", "null_high", "middle", "chance")


@dataclass(frozen=True)
class Verdict:
    """`value`, the oracles' band from `null_low` to `null_high` and their `middle`, `n` removed rows, `chance` that one is as extreme.

    What is "outside" lies outside the band: both go by the distance from the pool's median.
    """

    value: float
    null_low: float
    null_high: float
    middle: float
    n: int
    chance: float
    verdict: str


def judged(values: np.ndarray, side: str, n: int, within: tuple[float, float] = (-np.inf, np.inf)) -> Verdict:
    """Judge the first of (J,) values beside the others; `side`: which values are suspicious, "high", "low" or "both".

    `within`: between which values all lie; the band goes no further.
    """
    distance, middle = extremity(values, side), float(np.median(values[1:]))
    chance = max(float((distance >= distance[0]).mean()), 1 / len(values))
    low, high = (float(np.clip(end, *within)) for end in _band(values, distance, side))
    return Verdict(float(values[0]), low, high, middle, n, chance, word(chance, len(values) - 1))


def _band(values: np.ndarray, distance: np.ndarray, side: str) -> tuple[float, float]:
    """Return between which values a model is not told apart: as far out as the first oracle that one told apart must lie beyond."""
    oracles, middle = values[1:], float(np.median(values))
    beside = max(1, int(LEVEL * len(values) + 1e-9)) - 1  # so many oracles may be as extreme as a model that is told apart
    edge = float(oracles[np.argsort(-distance[1:], kind="stable")[beside]])
    if side == "both":
        return middle - abs(edge - middle), middle + abs(edge - middle)
    return (edge, float(oracles.max())) if side == "low" else (float(oracles.min()), edge)


def extremity(values: np.ndarray, side: str, grain: float = 0.0) -> np.ndarray:
    """Return how far each of (J,) values lies from the median towards what is suspicious, in median absolute deviations.

    `grain`: the least difference that means anything. Counts of few rows tie, and most may lie on the median: one row more would seem
    far away, and hide what other measures see.
    """
    away = values - np.median(values)
    scale = max(float(np.median(np.abs(away))), grain) or max(float(np.abs(away).mean()), 1e-300)
    away = away / scale
    return np.asarray(np.abs(away) if side == "both" else away if side == "high" else -away)


def overall(values: Mapping[str, np.ndarray], sides: Mapping[str, str], grains: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Return `verdict`, `chance` and the number of `oracles` of all measures together."""
    if not values:
        return {"verdict": "too few", "chance": 1.0, "oracles": 0}
    most = np.max([extremity(found, sides[name], (grains or {}).get(name, 0.0)) for name, found in values.items()], axis=0)
    chance = max(float((most >= most[0]).mean()), 1 / len(most))
    return {"verdict": word(chance, len(most) - 1), "chance": chance, "oracles": len(most) - 1}


def relabelled(test: Any, judged: np.ndarray, oracles: np.ndarray, draws: int = RELABELLED) -> np.ndarray:
    """Return a test's value for margins (n, M) of models that forgot and (K, M) of oracles, then for `draws` random relabellings of them.

    If the method forgets, its models and the oracles are alike, and which are called which makes no difference: the first value's place
    among all is uniform (a permutation test). Whatever few models do to the test, they do to all relabellings.
    """
    both, n, rng = np.concatenate([judged, oracles]), len(judged), np.random.default_rng(0)
    found = [test(judged, oracles)]
    for _ in range(draws):
        order = rng.permutation(len(both))
        found.append(test(both[order[:n]], both[order[n:]]))
    return np.array(found)


def at_rates(values: np.ndarray, side: str, others: int) -> list[dict[str, Any]]:
    """Judge what an attack finds at each of `RATES`, (J, rates), the first beside the rest; `others`: rows that are no members.

    `value`, `null_low`, `null_high`, `chance` are None and the verdict is "too few" where these say too little of a rate.
    """
    told = []
    for rate, found in zip(RATES, values.T, strict=True):
        known = bool(np.isfinite(found).all())
        one = asdict(judged(found, side, others, (0.0, 1.0))) if known else {**dict.fromkeys(_FIGURES), "n": others, "verdict": "too few"}
        told.append({"rate": rate, **one})
    return told


def adjusted(values: Mapping[str, np.ndarray], sides: Mapping[str, str], grains: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return each measure's chance value, corrected for how many there are: the smallest is that of all together."""
    each = {name: extremity(found, sides[name], (grains or {}).get(name, 0.0)) for name, found in values.items()}
    if not each:
        return {}
    most = np.max(list(each.values()), axis=0)
    return {name: max(float((most >= found[0]).mean()), 1 / len(most)) for name, found in each.items()}


def word(chance: float, oracles: int) -> str:
    """Return the verdict at `LEVEL` for a chance value that rests on so many oracles."""
    if oracles < FEWEST:
        return "too few"
    return "outside" if chance <= LEVEL else "inside"


def grains(measures: Sequence[Any], pool: Any) -> dict[str, float]:
    """Return the least difference that means anything, of the measures that have one."""
    return {type(measure).id: measure.grain(pool) for measure in measures if hasattr(measure, "grain")}


def measured(measures: Sequence[Any], pool: Any) -> dict[str, np.ndarray]:
    """Return each measure's values of all models, (J,), by its id."""
    return {type(measure).id: measure(pool) for measure in measures}
