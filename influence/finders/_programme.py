"""The fewest rows that bring a question as far as is wanted, while a second one is made worse by no more than is allowed.

Scores add up, so that this is a linear programme: minimise the sum of x, 0 <= x <= 1, subject to the predicted change of the one question,
of the other and the number of rows (Li and Liu, ICML 2022, who maximise the change instead). HiGHS solves it over the few rows that can
matter: all others are priced by its multipliers and join until none would be better in (sifting; Bixby et al., Operations Research 40,
1992), so that the solution is exact and a million rows take seconds. An optimal corner has no more fractions than constraints. Removal
needs whole rows: those at the margin are chosen anew by branch and bound, and the corner's sum, rounded up, says how few could do at best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import LinearConstraint, linprog, milp

NEAR = 1e-7
"""How near to 0 or 1 a part is taken for it, and by how much of a constraint's size the constraint may be missed: HiGHS's own tolerance."""
JOINING, SMALL = 20_000, 1_000
STEPS, HIGHEST = 200, 1e12
MARGIN, NODES = 200, 5_000
"""Rows among which whole ones are chosen, and how long: by nodes, not by seconds, so that the answer is the same everywhere."""


@dataclass(frozen=True)
class Programme:
    """What is wanted of N rows: `gain` (N,) to sum up to at least `wanted`, `cost` (N,) to at most `allowed`, over at most `most` rows.

    `part`: the largest part of one row that may be taken, 1 for all of it.
    """

    gain: np.ndarray
    cost: np.ndarray
    wanted: float
    allowed: float
    most: float
    part: float = 1.0

    def met(self, x: np.ndarray) -> bool:
        """Whether parts x (N,) meet all constraints."""
        sizes = float(abs(self.gain) @ x), float(abs(self.cost) @ x)
        short, over = self.wanted - float(self.gain @ x), float(self.cost @ x) - self.allowed
        return short <= NEAR * sizes[0] and over <= NEAR * sizes[1] and float(x.sum()) <= self.most + NEAR


def furthest(gain: np.ndarray, cost: np.ndarray, allowed: float, most: float, part: float = 1.0) -> np.ndarray | None:
    """Return parts x (N,) of at most `most` rows in all with the largest gain at a cost of at most `allowed`; None if none costs so little.

    Exact: the multiplier of the cost is moved (by secants) until two sets of rows are both best at it, one of which costs too much.
    """

    def best(price: float) -> np.ndarray:
        return _first(gain - price * cost, most, part)

    over = best(0.0)
    if cost @ over <= allowed:
        return over
    high = _scale(gain) / _scale(cost)
    while cost @ best(high) > allowed and high < HIGHEST * _scale(gain) / _scale(cost):
        high *= 4
    # at the highest no gain counts any more: the lowest cost that there is
    under = min((best(high), _first(-cost, most, part)), key=lambda x: float(cost @ x) > allowed)
    if cost @ under > allowed:
        return None
    for _ in range(STEPS):
        price = float(gain @ over - gain @ under) / float(cost @ over - cost @ under)
        found, value = best(price), gain - price * cost
        if value @ found <= value @ over + 1e-12 * abs(value @ over):
            break  # both are best at this price: the optimum lies on the line between them
        if cost @ found <= allowed:
            under = found
        else:
            over = found
    dear, cheap = float(cost @ over), float(cost @ under)
    share = (allowed - cheap) / (dear - cheap)
    mixed: np.ndarray = share * over + (1 - share) * under
    return mixed if gain @ mixed >= gain @ under else under


def _first(value: np.ndarray, most: float, part: float) -> np.ndarray:
    """Return `part` of each of the rows with the largest positive values, `most` in all."""
    x, count = np.zeros(len(value)), min(len(value), int(np.ceil(most / part - NEAR)))
    at = np.argpartition(-value, count - 1)[:count] if count < len(value) else np.arange(len(value))
    at = at[value[at] > 0]
    x[at] = part
    if len(at) and x.sum() > most:
        x[at[value[at].argmin()]] -= x.sum() - most
    return x


def frontier(gain: np.ndarray, cost: np.ndarray, ks: np.ndarray, allowances: np.ndarray, part: float = 1.0, prices: int = 48) -> np.ndarray:
    """Return gain and cost (A, K, 2) of the best of some sets of at most k rows' weight within each allowance; NaN where none of them is.

    The sets are those that are first by gain less a multiple of the cost, `part` of each, for `prices` multiples: each can be had.
    """
    best, most = np.full((len(allowances), len(ks), 2), np.nan), int(np.ceil(ks.max(initial=1) / part - NEAR))
    for multiple in (0.0, *(np.geomspace(1e-2, 1e2, prices) * _scale(gain) / _scale(cost))):
        value = gain - multiple * cost
        at = np.flatnonzero(value > 0)
        if len(at) > most:
            at = at[np.argpartition(-value[at], most - 1)[:most]]
        at = at[np.argsort(-value[at], kind="stable")]
        sums = _within(np.stack([gain[at], cost[at]], 1), ks, part)
        for place, allowed in enumerate(allowances):
            better = (sums[:, 1] <= allowed) & ~(sums[:, 0] <= best[place, :, 0])
            best[place, better] = sums[better]
    return best


def _within(each: np.ndarray, ks: np.ndarray, part: float) -> np.ndarray:
    """Return the sums (K, 2) of `part` of each of the first rows (M, 2), and less of the last: their weight is k, or all there is."""
    total = np.concatenate([np.zeros((1, 2)), np.cumsum(each, 0)])
    whole = np.minimum(np.floor(ks / part + NEAR).astype(int), len(each))
    rest = np.maximum(ks - whole * part, 0.0) * (whole < len(each))
    return np.asarray(part * total[whole] + rest[:, None] * (total[np.minimum(whole + 1, len(each))] - total[whole]))


def _scale(values: np.ndarray) -> float:
    return float(abs(values).mean()) or 1.0


def smallest(programme: Programme) -> np.ndarray | None:
    """Return the parts x (N,) with the smallest sum that meet the programme, or None if nothing does."""
    found = _corner(programme)
    return None if found is None else found[0]


def _corner(it: Programme) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the optimal parts x (N,) and what each row would add to the sum if it were taken, its reduced cost (N,)."""
    start = _start(it)
    if start is None:
        return None
    rows, limits = _constraints(it)
    inside = start > 0
    while True:
        at = np.flatnonzero(inside)
        found = linprog(np.ones(len(at)), A_ub=rows[:, at], b_ub=limits, bounds=(0, it.part), method="highs-ds")
        if found.status != 0:  # met by a hair alone: within the solver's tolerance nothing better than the start is known
            return start, np.where(inside, 0.0, 1.0)
        price = 1 - found.ineqlin.marginals @ rows
        better = np.flatnonzero((price < -1e-9) & ~inside)
        if not len(better):
            x = np.zeros(len(inside))
            x[at] = found.x
            return x, price
        inside[better[np.argsort(price[better])[:JOINING]]] = True


def _start(it: Programme) -> np.ndarray | None:
    """Return some x that meets the programme, of few rows: the fewer to begin with, the faster."""
    start, most = furthest(it.gain, it.cost, it.allowed, it.most, it.part), it.most
    if start is None or it.gain @ start < it.wanted:
        return None
    while most > SMALL:
        most /= 8
        fewer = furthest(it.gain, it.cost, it.allowed, most, it.part)
        if fewer is None or it.gain @ fewer < it.wanted:
            break
        start = fewer
    return start


def _constraints(it: Programme) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (3, N) and limits (3,) of the constraints, in sizes that a solver's tolerances are made for."""
    allowed = min(it.allowed, float(abs(it.cost).sum()))  # more than all rows can cost is no limit, and no number for a solver
    rows = np.stack([-it.gain / _scale(it.gain), it.cost / _scale(it.cost), np.ones(len(it.gain))])
    return rows, np.array([-it.wanted / _scale(it.gain), allowed / _scale(it.cost), it.most])


def whole(programme: Programme) -> tuple[np.ndarray, float] | None:
    """Return the fewest rows (N,) of 0 and 1 that meet the programme, and a bound that no solution goes below; None if there is none.

    The rows that the corner is sure of stay as they are; those nearest to the margin are chosen by branch and bound.
    """
    found = _corner(programme)
    if found is None:
        return None
    x, price = found
    near = np.argsort(abs(price) * (abs(x - np.round(x)) < NEAR), kind="stable")[:MARGIN]
    fixed = np.round(x)
    fixed[near] = 0
    rows, limits = _constraints(programme)
    left = LinearConstraint(rows[:, near], ub=limits - rows @ fixed)
    chosen = milp(np.ones(len(near)), constraints=left, integrality=np.ones(len(near)), bounds=(0, 1), options={"node_limit": NODES})
    if chosen.x is None:
        return None
    fixed[near] = np.round(chosen.x)
    return (fixed, float(np.ceil(x.sum() - 1e-6))) if programme.met(fixed) else None
