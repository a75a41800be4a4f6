"""Figures of a comparison say what its table of rows says, for classes and for numbers; so does the command."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from influence.__main__ import app
from influence.actions import _comparison, perform
from influence.charts.bubbles import bubbles
from influence.charts.flows import PAD, flows
from influence.charts.pairs import pairs
from influence.evaluation._tables import of_mean, wilson
from influence.evidence import words
from tests import investigation
from tests.investigation import by_key, opened, ran, said, shown

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker

COUNTS = pd.DataFrame(
    {"before": ["a", "a", "b", "<c>"], "after": ["a", "b", "a", "b"], "rows": [90, 4, 16, 10]},
)


@pytest.fixture(scope="module")
def compared(made):
    """Runs of a numeric target and of four classes without their first 40 rows, compared by side."""
    project, runs = made
    found = {}
    for kind in ("numeric", "classes"):
        ids = project.dataset(project.run(runs[kind]).dataset).train.ids[:40].tolist()
        run = perform("unlearn", project, {"run": runs[kind], "ids": ids, "method": "finetune", "set": {"epochs": 4}})["run"]
        found[kind] = (run, perform("compare", project, {"run": run, "group": "side"}))
    return project, found


def test_circles_have_an_area_by_their_rows_and_what_stayed_is_apart():
    same, moved = bubbles(COUNTS, ["<c>", "a", "b"], ("Original", "Unlearned"), "#D55E00").data
    assert (list(same.x), list(same.y)) == ([1], [1])
    assert (list(moved.x), list(moved.y)) == ([1, 2, 0], [2, 1, 2])
    assert moved.marker.size[1] / same.marker.size[0] == pytest.approx(np.sqrt(16 / 90))
    assert moved.customdata[2] == "&lt;c&gt; → b: 10 rows"


def test_classes_lie_within_the_figure_and_apart():
    figure = flows(COUNTS, "Original", "Unlearned", "#D55E00")
    node, inner = figure.data[0].node, figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    sizes = {0: [10, 94, 16], 1: [106, 14]}
    unit = (inner - 2 * PAD) / 120
    for side, own in sizes.items():
        middles = [y * inner for x, y in zip(node.x, node.y, strict=True) if round(x) == side]
        tops, ends = ([y + sign * unit * n / 2 for y, n in zip(middles, own, strict=True)] for sign in (-1, 1))
        assert [b - a for a, b in zip(ends, tops[1:], strict=False)] == pytest.approx([PAD] * (len(own) - 1), abs=0.5)
        assert min(tops) >= -0.5
        assert max(ends) <= inner + 0.5


def test_predictions_of_numbers_lie_on_the_line_where_models_agree():
    rows = pd.DataFrame({"id": [1, 2], "target": [3.0, 4.0], "said_original": [-1.0, 5.0], "said_retrained": [2.0, 5.0]})
    line, dots = pairs(rows, "said_original", "said_retrained", ("Original", "Retrained"), "#009E73").data
    assert list(line.x) == list(line.y) == [-1.0, 5.0]
    assert (list(dots.x), list(dots.y)) == ([-1.0, 5.0], [2.0, 5.0])
    assert dots.customdata[0] == f"1: {words.number(-1.0)} → 2.000, true value 3.000"


def test_decisions_are_counted_with_their_interval_and_a_flow_lists_its_rows(compared):
    project, found = compared
    run, result = found["classes"]
    at = opened("compare", run=run, group="side", **{"compare.part": "Decisions"})
    every = project.table(result["tables"]["rows"])
    rows = every[every["part"] == "holdout"]
    for role in ("unlearned", "retrained"):
        changed = rows[rows["said_original"] != rows[f"said_{role}"]]
        between = words.interval(*wilson(len(changed), len(rows)))
        assert f"{words.count(len(changed), 'prediction')} of {len(rows)} differ from the original's" in said(at)
        assert f"({words.number(len(changed) / len(rows))}; 95 %: {between})" in said(at)
    way = by_key(at.selectbox, "compare.flow").value
    role, before, after = way.split(": ")[0].lower(), *way.split(": ")[1].split(" (")[0].split(" → ")
    own = rows[(rows["said_original"] == before) & (rows[f"said_{role}"] == after)]
    assert before != after
    assert set(shown(at, "id", "Original")["id"]) == set(own["id"])
    ran(at.segmented_control(key="compare.figure").set_value("Bubbles").run())
    drawn = [json.loads(chart.proto.spec)["data"] for chart in at.get("plotly_chart")]
    assert [len(part["x"]) for part in drawn[0]] == [
        sum(1 for b, a in {*zip(rows["said_original"], rows["said_unlearned"], strict=True)} if (b == a) is stayed)
        for stayed in (True, False)
    ]


def test_numbers_are_drawn_before_and_after_with_how_far_they_moved(compared):
    project, found = compared
    run, result = found["numeric"]
    at = opened("compare", run=run, group="side", **{"compare.part": "Decisions", "compare.rows": "Forgotten"})
    every = project.table(result["tables"]["rows"])
    rows = every[every["part"] == "forgotten"]
    for role in ("unlearned", "retrained"):
        moved = (rows[f"said_{role}"] - rows["said_original"]).abs().to_numpy()
        assert f"moved by {words.number(moved.mean())} on average (95 %: {words.interval(*of_mean(moved, 0.0))})" in said(at)
    assert "n = 40 rows" in said(at)
    first = shown(at, "true value")
    at = opened("compare", run=run, group="side", **{"compare.part": "Forgotten rows"})
    assert "Errors are in the unit of goal." in said(at)
    assert "standard deviations" not in said(at)
    far = np.maximum(*((rows[f"said_{role}"] - rows["said_original"]).abs() for role in ("unlearned", "retrained")))
    assert first["id"].iloc[0] == rows["id"].iloc[int(far.argmax())]


@pytest.mark.parametrize("which", ["Decisions", "Representations", "Forgotten rows"])
@pytest.mark.parametrize("kind", ["numeric", "classes"])
def test_no_unlearned_model_is_spoken_of_where_the_method_was_retraining(compared, kind, which):
    project, found = compared
    run, result = found[kind]
    own = result["runs"]["retrained"]
    if _comparison.kept(project, own, "side") is None:
        perform("compare", project, {"run": own, "group": "side"})
    asked = {"group": "side", "compare.part": which}
    assert "If forgetting went well" in said(opened("compare", run=run, **asked))
    at = opened("compare", run=own, **asked)
    text = said(at)
    assert at.get("plotly_chart")
    assert "went well" not in text
    assert "unlearned model" not in text


def test_the_command_tells_the_same_numbers_to_people_and_machines(compared):
    project, found = compared
    run, result = found["classes"]
    asked = ["compare", "--run", run, "--group", "side", "--project", str(project.path)]
    text, told = (CliRunner().invoke(app, [*asked, *more]).output for more in ([], ["--json"]))
    figures = json.loads(told)["figures"]
    for name in ("metrics", "attack", "layers", "flips"):
        assert len(figures[name]) == len(project.table(result["tables"][name]))
    for one in figures["attack"]:
        if one["metric"] == "attack_auc":
            between = re.escape(words.interval(one["low"], one["high"]))
            assert re.search(rf"^  {one['role']} +{re.escape(words.number(one['value']))} +{between} ", text, re.M)
    accuracy = next(one for one in figures["metrics"] if one["metric"] == "accuracy" and not one["group"] and one["role"] == "unlearned")
    line = next(line for line in text.splitlines() if line.split()[:2] == ["accuracy", "unlearned"])
    assert words.number(accuracy["value"]) in line
    assert words.interval(accuracy["change_low"], accuracy["change_high"]) in line
    newest = json.loads(CliRunner().invoke(app, ["compare", "--project", str(project.path), "--json"]).output)
    assert newest["runs"]["original"] == project.run(next(r.id for r in project.runs() if r.kind == "unlearn")).parent
    refused = CliRunner().invoke(app, ["compare", "--run", result["runs"]["original"], "--project", str(project.path)])
    assert refused.exit_code == 2
