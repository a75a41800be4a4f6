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
from influence.ui import compared_decisions


def test_bands_are_as_wide_as_they_have_rows_and_coloured_where_the_decision_changed():
    table = pd.DataFrame({"before": ["<b>", "<b>", "c"], "after": ["<b>", "c", "<b>"], "rows": [50, 7, 3]})
    sankey = flows(table, "Original", "Unlearned", ROLES["unlearned"]).data[0]
    assert list(sankey.node.label) == ["&lt;b&gt;", "c", "&lt;b&gt;", "c"]
    assert list(zip(sankey.link.source, sankey.link.target, sankey.link.value, strict=True)) == [(0, 2, 50), (0, 3, 7), (1, 2, 3)]
    assert [tint == SAME for tint in sankey.link.color] == [True, False, False]


def test_of_many_flows_the_largest_are_drawn_and_the_others_as_one_that_comes_last():
    pairs = zip("0123456789" * 3, "1234567890" * 3, strict=True)
    every = pd.DataFrame([{"before": a, "after": b, "rows": 40 - k} for k, (a, b) in enumerate(pairs)])
    shown, rest = compared_decisions.largest(every)
    assert (len(shown), rest) == (compared_decisions.FLOWS + 1, "22 others")
    assert shown["rows"].sum() == every["rows"].sum()
    figure = flows(shown, "Original", "Unlearned", ROLES["unlearned"], rest)
    sankey = figure.data[0]
    assert SAME not in sankey.link.color, "all of them changed"
    nodes = list(zip(sankey.node.x, sankey.node.y, sankey.node.label, strict=True))
    ends = [max((y, label) for x, y, label in nodes if round(x) == side) for side in (0, 1)]
    assert [label for _, label in ends] == [rest, rest]
    beside = [(note.text, note.y) for note in figure.layout.annotations[1:] if note.hovertext]
    assert sorted(text for text, _ in beside) == sorted(sankey.node.label)
    assert sorted(y for _, y in beside) == pytest.approx(sorted(1 - y for y in sankey.node.y))
    assert compared_decisions.largest(every.head(9))[1] == "", "one more is no clutter"


def test_the_table_of_flows_counts_each_model_with_nothing_where_it_changes_nothing():
    rows = pd.DataFrame(
        {"said_original": list("aabb"), "said_unlearned": list("bbab"), "said_retrained": list("abbb"), "said_random": list("aabb")}
    )
    table = compared_decisions.table(rows, ["unlearned", "retrained", "random"])
    assert table.to_dict("records") == [
        {"original": "a", "now": "b", "Unlearned": 2, "Retrained": 1, "Random removal": 0},
        {"original": "b", "now": "a", "Unlearned": 1, "Retrained": 0, "Random removal": 0},
    ]
    assert compared_decisions.table(rows.head(0), ["unlearned"]).empty


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
