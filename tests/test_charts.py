"""Figures say what the tables say; the geometry behind them is held against other ways to compute it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import pytest

from influence.charts import spread
from influence.charts.agreement import agreement
from influence.charts.bars import bars
from influence.charts.colours import DIVERGING, GREY, GROUPS, LOWERS, RAISES, ROLES, SEQUENTIAL, of_groups
from influence.charts.curves import curve
from influence.charts.density import density
from influence.charts.forest import ROOMY, forest
from influence.charts.lines import lines
from influence.charts.matrix import matrix
from influence.charts.reliability import reliability

CONFIG = Path(__file__).parents[1] / ".streamlit" / "config.toml"
TABLE = pd.DataFrame(
    {
        "group": ["a", "b", "<i>c</i>"],
        "value": [0.5, 0.7, 0.2],
        "low": [0.4, 0.65, np.nan],
        "high": [0.65, 0.72, np.nan],
        "n": [120, 1500, 4],
    }
)


def test_forest_has_one_trace_per_group_with_its_value_and_interval():
    figure = forest(TABLE, of_groups(TABLE["group"]))
    assert [t.name for t in figure.data] == ["a", "b", "&lt;i&gt;c&lt;/i&gt;"]
    for place, (trace, row) in enumerate(zip(figure.data, TABLE.itertuples(), strict=True)):
        assert np.array_equal(trace.x, [row.value if row.n > 10 else np.nan], equal_nan=True)
        assert list(trace.y) == [place]
        high, low = trace.error_x.array[0], trace.error_x.arrayminus[0]
        assert (high, low) == pytest.approx((row.high - row.value, row.value - row.low) if row.n > 10 else (0, 0))
    assert list(figure.layout.yaxis.ticktext) == [
        "a (n = 120)",
        "b (n = 1,500)",
        f'<span style="color:{GREY}">&lt;i&gt;c&lt;/i&gt; (n = 4, too few to say)</span>',
    ]
    assert figure.data[1].customdata[0] == "b: 0.700 (95 % 0.650 to 0.720, n = 1,500)"


def test_rows_without_an_interval_have_no_mark_that_reads_as_a_value_and_say_so():
    figure = forest(TABLE, of_groups(TABLE["group"]))
    assert [bool(np.isfinite(t.x[0])) for t in figure.data] == [True, True, False]
    assert "too few" in figure.layout.yaxis.ticktext[2]
    assert "too few" in figure.data[2].customdata[0]


def test_a_forest_shows_what_to_compare_with_and_many_lines_stand_closer():
    figure = forest(TABLE, of_groups(TABLE["group"]), line=0.55)
    assert [(s.x0, s.x1) for s in figure.layout.shapes] == [(0.55, 0.55)]
    assert not forest(TABLE, of_groups(TABLE["group"])).layout.shapes
    heights = [forest(pd.concat([TABLE.assign(group=TABLE["group"] + str(i)) for i in range(k)]), {}).layout.height for k in (1, 4)]
    assert 12 > ROOMY
    assert heights[1] < 4 * heights[0] - 300


def test_an_axis_of_rates_ends_where_rates_end_also_where_there_is_nothing_to_draw():
    colours = of_groups(TABLE["group"])
    within = (0.0, 1.0)
    nothing = forest(TABLE.assign(low=np.nan), colours, line=1.0, within=within).layout.xaxis
    assert nothing.range == within
    table = TABLE.assign(along="p", bin=0, predicted=0.9)
    axes = [forest(TABLE, colours, within=within).layout.xaxis, lines(table, colours, ["p"], within=within).layout.yaxis]
    axes += [reliability(table, colours, within=within).layout[f"{name}axis"] for name in "xy"]
    assert [(axis.minallowed, axis.maxallowed) for axis in axes] == [within] * 4
    assert forest(TABLE, colours).layout.xaxis.maxallowed is None


def test_lines_go_through_the_parts_in_their_order_and_break_where_there_are_too_few_rows():
    parts = ["2019", "2020", "2021", "2022"]
    table = pd.DataFrame(
        {
            "group": ["a", "a", "a", "<b>"],
            "along": ["2022", "2019", "2020", "2021"],
            "value": [0.4, 0.1, 0.2, 0.9],
            "low": [0.3, 0.05, np.nan, 0.8],
            "high": [0.6, 0.3, np.nan, 0.95],
            "n": [40, 30, 4, 1000],
        }
    )
    first, second = lines(table, of_groups(["a", "<b>"]), parts, x="<year>").data
    assert np.array_equal(first.y, [0.1, np.nan, np.nan, 0.4], equal_nan=True)
    assert first.error_y.array[3] == pytest.approx(0.2)
    assert first.error_y.arrayminus[3] == pytest.approx(0.1)
    assert second.name == "&lt;b&gt;"
    assert second.customdata[2] == "&lt;b&gt;, 2021: 0.900 (95 % 0.800 to 0.950, n = 1,000)"
    assert "n = 4" in first.customdata[1]
    assert first.mode == "lines+markers"
    assert lines(table, {}, parts, joined=False).data[0].mode == "markers"


def test_reliability_draws_the_diagonal_and_each_bin_but_those_with_too_few_rows():
    table = pd.DataFrame({"group": ["a", "a", "b"], "predicted": [0.2, 0.8, 0.5], "value": [0.1, 0.9, 1.0]})
    table = table.assign(low=[0.05, 0.8, np.nan], high=[0.3, 0.95, np.nan], n=[50, 50, 3])
    diagonal, bins = reliability(table, of_groups(["a", "b"])).data
    assert list(diagonal.x) == list(diagonal.y) == [0.05, 0.95]
    assert (list(bins.x), list(bins.y)) == ([0.2, 0.8], [0.1, 0.9])
    assert bins.customdata[0] == "a: predicted 0.200, observed 0.100 (95 % 0.050 to 0.300, n = 50)"
    assert not reliability(table.iloc[2:], {}).data


def test_a_matrix_writes_its_figures_and_white_stands_for_none():
    figure = matrix(["a", "<b>"], [[1.0, -0.5], [-0.5, None]], [["aa", "ab"], ["ba", "bb"]])
    square = figure.data[0]
    assert [list(row) for row in square.text] == [["1.00", "-0.50"], ["-0.50", ""]]
    assert list(square.x) == list(square.y) == ["a", "&lt;b&gt;"]
    assert (square.zmin, square.zmax) == (-1, 1)
    assert dict(square.colorscale)[0.5] == "#F2F2F2"
    share = matrix(["a"], [[1.0]], [["aa"]], low=0.0).data[0]
    assert (share.zmin, share.colorscale[0][1]) == (0, "#F2F2F2")


def test_forest_by_role_draws_lines_side_by_side():
    table = pd.concat([TABLE.assign(role=role) for role in ROLES])
    figure = forest(table, ROLES, colour="role")
    assert [t.name for t in figure.data] == list(ROLES)
    heights = np.array([t.y for t in figure.data], dtype=float)
    assert (np.diff(heights, axis=0) > 0).all()
    assert np.allclose(heights.mean(0), [0, 1, 2])
    assert (heights.max(0) - heights.min(0) < 1).all()


def test_agreement_puts_predicted_against_realised():
    table = pd.DataFrame(
        {
            "role": ["unlearned", "retrained", "retrained"],
            "label": ["gap", "gap", "loss"],
            "predicted_change": [-0.1, -0.1, np.nan],
            "predicted_low": [-0.3, -0.3, np.nan],
            "predicted_high": [0.0, 0.0, np.nan],
            "value": [-0.05, -0.12, 0.4],
        }
    )
    diagonal, *points = agreement(table).data
    assert list(diagonal.x) == list(diagonal.y) == [-0.12, -0.05]
    assert [(p.name, list(p.x), list(p.y)) for p in points] == [("unlearned", [-0.1], [-0.05]), ("retrained", [-0.1], [-0.12])]
    assert points[0].error_x.array[0] == pytest.approx(0.1)
    assert points[0].error_x.arrayminus[0] == pytest.approx(0.2)
    assert len(agreement(table.assign(predicted_change=np.nan)).data) == 1


def test_curve_has_band_line_and_really_retrained_points():
    band = pd.DataFrame({"k": [0, 10], "level": [0.2, 0.1], "low": [0.2, 0.05], "high": [0.2, 0.15]})
    points = pd.DataFrame({"k": [10, 10], "truth": ["same", "fresh"], "level": [0.12, 0.11], "low": [0.12, 0.1], "high": [0.12, 0.12]})
    plain, checked = (curve(band, 5, shown, "Gap") for shown in (None, points))
    for spec in (plain, checked):
        alt.LayerChart.from_dict(spec, validate=True)  # Altair knows what is Vega-Lite
    kinds = [[layer["mark"]["type"] for layer in spec["layer"]] for spec in (plain, checked)]
    assert kinds == [["area", "line", "rule"], ["area", "line", "rule", "point", "rule", "point"]]
    data = [layer["data"]["values"] for layer in checked["layer"]]
    assert data[:3] == [band.to_dict("records"), band.to_dict("records"), [{"k": 5}]]
    assert [[row["truth"] for row in rows] for rows in data[3:]] == [["same"], ["fresh"], ["fresh"]]
    assert checked["title"]["text"] == "Gap"
    titles = {layer["encoding"]["x"]["title"] for layer in checked["layer"]} | {
        layer["encoding"].get("y", {}).get("title") for layer in checked["layer"]
    }
    assert titles == {"training rows removed", None}


def test_histogram_counts_every_row_once():
    values = np.r_[np.random.default_rng(0).normal(size=500), 0.0, 0.0]
    below, above = spread.histogram(values, "change").data
    assert sum(below.y) == (values < 0).sum()
    assert sum(above.y) == (values >= 0).sum()
    assert sum(spread.histogram(np.zeros(7), "change").data[1].y) == 7
    assert spread.histogram(values, "in <b>x</b>").layout.xaxis.title.text == "in &lt;b&gt;x&lt;/b&gt;", "names of the data are no markup"


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_ramps_stand_out_from_their_ground_where_values_are_strong_and_go_back_to_it_at_nothing(ground):
    own = luminance(tomllib.loads(CONFIG.read_text(encoding="utf-8"))["theme"][ground]["backgroundColor"])

    def contrast(colour: str) -> float:
        light, dark = sorted((luminance(colour), own), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    both = DIVERGING[ground]
    assert min(contrast(both[0]), contrast(both[-1])) > 7
    assert contrast(both[len(both) // 2]) == min(map(contrast, both))
    assert 2 < contrast(both[len(both) // 2]) < 3, "still seen"
    assert contrast(SEQUENTIAL[ground][-1]) > 7
    assert min(map(contrast, SEQUENTIAL[ground])) > 3, "a low loss is a value, and is seen"
    assert [contrast(c) for c in SEQUENTIAL[ground]] == sorted(contrast(c) for c in SEQUENTIAL[ground])


def test_a_colour_means_the_same_on_every_picture():
    low, high = bars(["a", "b", "c"], [(-0.2, -0.3, -0.1), (0.1, 0.05, 0.2), (-0.1, -0.2, 0.1)], {}, "change").data
    assert (list(low.x), list(low.y), list(high.x), list(high.y)) == ([-0.2, -0.1], [0, 2], [0.1], [1])
    assert low.error_x.array[0] == pytest.approx(0.1)
    below, above = spread.histogram(np.array([-1.0, 1.0]), "change").data
    assert (below.marker.color, above.marker.color) == (low.marker.color, high.marker.color) == (LOWERS, RAISES)
    assert low.name[0] == below.name[0] == "▼"
    fall = bars(["a", "b"], [(0.2, 0.1, 0.3), (0.1, 0.05, 0.2)], {}, "how far it falls", falls=True).data
    assert [(of.name[0], of.marker.color) for of in fall] == [("▼", LOWERS)], "what falls is lowered, however the fall is drawn"


def test_names_that_begin_alike_are_told_apart():
    names = [f"branch_of_the_first_contact = North and year_of_the_application ≤ {year}" for year in (2018, 2019)]
    shown = bars(names, [(0.2, 0.1, 0.3)] * 2, {}, "change").layout.yaxis.ticktext
    assert [text.replace("<br>", " ") for text in shown] == names
    endless = bars(["<b>" * 200], [(0.2, 0.1, 0.3)], {}, "change").layout.yaxis.ticktext[0]
    assert endless.count("<") == 1
    assert endless.endswith("…")
    assert len(endless) < 1000


def test_density_counts_every_row_once():
    xy = np.random.default_rng(0).normal(size=(500, 2))
    figure = density(xy, "first", "second").data[0]
    assert figure.customdata.sum() == 500
    seen = ~np.isnan(np.asarray(figure.z, dtype=float))
    np.testing.assert_allclose(10 ** np.asarray(figure.z, dtype=float)[seen], figure.customdata[seen])
    counts = figure.customdata[np.argmin(np.abs(figure.y - xy[0, 1])), np.argmin(np.abs(figure.x - xy[0, 0]))]
    assert counts >= 1, "x lies along, y up"


def test_colours_belong_to_names_in_sorted_order():
    assert of_groups(["b", "a", "b"]) == of_groups(["a", "b"]) == {"a": GROUPS[0], "b": GROUPS[1]}
    many = of_groups([f"{i:02d}" for i in range(9)])
    assert len(set(list(many.values())[:6])) == 6
    assert set(list(many.values())[6:]) == {GREY}
    assert len(set(ROLES.values())) == len(ROLES) == 4


def luminance(colour: str) -> float:
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("colour", GROUPS[:2])
def test_the_first_colours_stand_out_from_both_grounds(theme, colour):
    ground = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["theme"][theme]["backgroundColor"]
    light, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3
