"""The figures of Compare: bands as wide as their rows, curves whose area is the attack's, lines that join a row's two places."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from influence.charts.colours import ROLES
from influence.charts.displaced import displaced
from influence.charts.flows import SAME, flows
from influence.charts.overlaid import POINTS, edges_of, losses, points, roc, shares
from influence.evaluation.utility import area


def test_bands_are_as_wide_as_they_have_rows_and_coloured_where_the_decision_changed():
    table = pd.DataFrame({"before": ["<b>", "<b>", "c"], "after": ["<b>", "c", "<b>"], "rows": [50, 7, 3]})
    sankey = flows(table, "Original", "Unlearned", ROLES["unlearned"]).data[0]
    assert list(sankey.node.label) == ["&lt;b&gt;", "c", "&lt;b&gt;", "c"]
    assert list(zip(sankey.link.source, sankey.link.target, sankey.link.value, strict=True)) == [(0, 2, 50), (0, 3, 7), (1, 2, 3)]
    assert [tint == SAME for tint in sankey.link.color] == [True, False, False]


@pytest.mark.parametrize("n", [30, 3000])
def test_the_area_under_the_curve_is_that_of_the_attack(n):
    rng = np.random.default_rng(n)
    members, others = rng.exponential(0.5, n), rng.exponential(1.0, 2 * n)
    at, found, wrong = points(members, others)
    assert (found[0], wrong[0], found[-1], wrong[-1]) == (0, 0, 1, 1)
    assert len(at) <= POINTS + 1
    assert np.trapezoid(found, wrong) == pytest.approx(area(-members, -others)[0], abs=0.005)
    figure = roc({"Unlearned": (members, others)}, {"Unlearned": ROLES["unlearned"]})
    assert figure.data[1].line.color == ROLES["unlearned"]


def test_losses_are_all_in_some_bin_also_where_they_are_nothing_or_all_alike():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.exponential(1.0, 200), [0.0, 0.0, 1e-12, 40.0]])
    assert shares(values, edges_of(values)).sum() == pytest.approx(1)
    for flat in (np.zeros(5), np.full(5, 0.3)):
        assert shares(flat, edges_of(flat)).sum() == pytest.approx(1)
    figure = losses({"forgotten": values, "holdout": values[:9]}, {}, edges_of(values), "loss")
    assert [trace.name for trace in figure.data] == ["forgotten (n = 204)", "holdout (n = 9)"]


def test_lines_join_the_two_places_of_the_rows_shown_and_of_no_others():
    table = pd.DataFrame({"id": ["a", "<i>", "c"], "part": ["forgotten", "forgotten", "retained"]})
    for k, column in enumerate(("x_original", "y_original", "x_unlearned", "y_unlearned", "moved_unlearned")):
        table[column] = np.arange(3) + 10.0 * k
    figure = displaced(table, np.array([True, True, False]), "unlearned", "Unlearned")
    behind, ways, before, after = figure.data
    assert list(behind.x) == [2]
    assert list(np.nan_to_num(np.asarray(ways.x, dtype=float), nan=-1)) == [0, 20, -1, 1, 21, -1]
    assert list(np.nan_to_num(np.asarray(ways.y, dtype=float), nan=-1)) == [10, 30, -1, 11, 31, -1]
    assert (list(before.x), list(after.x)) == ([0, 1], [20, 21])
    assert "&lt;i&gt;" in after.customdata[1]
    assert after.marker.color == ROLES["unlearned"]
