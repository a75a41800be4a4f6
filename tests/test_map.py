"""The map: coordinates that are kept, outlines that replay, what is sent to the browser, and the page around it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from influence import jobs, plane
from influence.actions import coordinates, perform
from influence.actions._opened import opened as opened_run
from influence.errors import BadInput
from influence.finders.polygon import Polygon, corners, written
from influence.types import Scores, Selection
from influence.ui import colouring, mapping, units, words
from influence.ui.map import names, packed
from tests import investigation
from tests.investigation import asked, by_key, choose, opened, ran, said
from tests.questions import rows

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker


# ---- Coordinates


def hidden_by_hand(project, run: str) -> np.ndarray:
    """What the MLP's last layer is given, computed layer by layer."""
    it = opened_run(project, run)
    net = it.bound.module.eval()
    with torch.no_grad():
        return net[:-1](torch.from_numpy(np.array(it.dataset.train.x))).numpy()


def test_rows_are_laid_out_by_the_last_hidden_layer_and_found_again(made, monkeypatch):
    project, runs = made
    monkeypatch.setattr(coordinates, "ROWS", 100)  # several blocks
    found = perform("coordinates", project, {"run": runs["loans"], "again": True})
    kept = project.scores(found["coordinates"])
    h = hidden_by_hand(project, runs["loans"])
    truth = PCA(2, svd_solver="full").fit(h.astype(np.float64))
    places = truth.transform(h.astype(np.float64))
    np.testing.assert_allclose(kept.values * np.sign((kept.values * places).sum(0)), places, atol=1e-4)
    assert found["shares"] == pytest.approx(truth.explained_variance_ratio_.tolist(), rel=1e-5)
    assert (found["of"], found["width"]) == (coordinates.HIDDEN, h.shape[1])
    assert kept.ids.tolist() == project.dataset(project.run(runs["loans"]).dataset).train.ids.tolist()
    again = perform("coordinates", project, {"run": runs["loans"]})
    assert again["found"] is True
    assert again["coordinates"] == found["coordinates"]
    record = project.records()[-1]
    assert record.kind == "coordinates"
    assert project.check() == []


def test_a_model_that_does_not_end_in_a_linear_layer_is_laid_out_by_its_inputs(made, monkeypatch):
    project, runs = made
    monkeypatch.setattr("influence.grads.hidden.ends_linear", lambda module: False)
    found = perform("coordinates", project, {"run": runs["groupless"], "again": True})
    x = np.asarray(project.dataset(project.run(runs["groupless"]).dataset).train.x)
    assert (found["of"], found["width"]) == (coordinates.INPUTS, x[0].size)
    truth = PCA(2, svd_solver="full").fit_transform(x.reshape(len(x), -1).astype(np.float64))
    np.testing.assert_allclose(np.abs(project.scores(found["coordinates"]).values), np.abs(truth), atol=1e-3)
    monkeypatch.undo()
    perform("coordinates", project, {"run": runs["groupless"], "again": True})


def test_what_cannot_be_laid_out_is_refused(made, monkeypatch):
    project, runs = made
    with pytest.raises(BadInput, match=r"no way 'tsne' to lay out rows; there are: pca, umap"):
        perform("coordinates", project, {"run": runs["loans"], "method": "tsne"})
    monkeypatch.setattr(plane, "umap_library", lambda: None)
    with pytest.raises(BadInput, match=r"requirements-map\.txt"):
        perform("coordinates", project, {"run": runs["loans"], "method": "umap"})


# ---- Outlines


def test_an_outline_finds_the_rows_inside_and_replays_from_its_reason():
    examples = rows()
    xy = np.random.default_rng(0).normal(size=(len(examples), 2)).astype(np.float32)
    scores = Scores(xy, examples.ids, ("x", "y"), "pca of something", False)
    outline = written(np.array([[-0.5, -0.25], [1, -0.3], [0.1, 1.7]]))
    found = Polygon(outline, "a digest")(scores, examples)
    assert list(found.ids) == examples.ids[plane.inside(xy, corners(outline))].tolist()
    assert 0 < len(found) < len(examples)
    assert found.reason["coordinates"] == "a digest"
    assert Polygon(found.reason["outline"])(scores, examples).ids == found.ids
    assert "inside an outline on the map by pca of something" in found.reason["words"]


@pytest.mark.parametrize(
    "outline", ["", "0 0, 1 1", "0 0, 1 1, 2", "a b, c d, e f", "0 0, 1 1, nan 2", "9 9, 10 9, 10 10", "0 0 0, 1 1 1, 2 2 2"]
)
def test_what_is_no_outline_or_empty_is_refused(outline):
    examples = rows()
    scores = Scores(np.zeros((len(examples), 2)), examples.ids, ("x", "y"), "pca", False)
    with pytest.raises(BadInput, match=r"^(An outline has three corners|No row lies inside)"):
        Polygon(outline)(scores, examples)
    for wrong in (None, Scores(np.zeros((len(examples), 1)), examples.ids, ("gap",), "random", False)):
        with pytest.raises(BadInput, match="needs two coordinates of each row"):
            Polygon("0 0, 1 0, 1 1")(wrong, examples)


def test_what_a_browser_tells_is_rounded_once_and_nothing_else_is_taken_for_an_outline():
    told = [[0.123456789, 1e-9], [1, 0], [1 / 3, 2]]
    text = mapping.rounded(told)
    assert corners(text).tolist() == [[0.1234568, 1e-9], [1.0, 0.0], [0.3333333, 2.0]]
    assert mapping.rounded(corners(text).tolist()) == text
    for nonsense in (None, [], [[1, 2]], "abc", [["a", "b"]] * 3, [[1, float("inf")]] * 3, 7, {"a": 1}, [[1, 2, 3]] * 4):
        assert mapping.rounded(nonsense) == ""


# ---- What is sent


def read(data: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    length = int(np.frombuffer(data[:4], np.uint32)[0])
    header = json.loads(data[4 : 4 + length])
    assert length % 4 == 0
    arrays = {}
    for name, (kind, start, size) in header["parts"].items():
        assert start % 4 == 0, "a typed array begins at a multiple of its size"
        arrays[name] = np.frombuffer(data[4 + length + start : 4 + length + start + size], np.dtype(kind))
    return header, arrays


def test_arrays_come_back_as_they_were_packed():
    given = {"a": np.arange(3, dtype=np.uint8), "b": np.linspace(0, 1, 6, dtype=np.float32).reshape(3, 2), "c": np.zeros(0, np.int32)}
    header, found = read(packed({"title": "“x” ▲"}, given))
    assert header["title"] == "“x” ▲"
    for name, array in given.items():
        assert found[name].tolist() == array.reshape(-1).tolist()


def test_ids_are_numbers_or_one_line_of_text_each():
    assert names(np.array([3, -1])).tolist() == [3, -1]
    for ids in (np.array(["a", "b\nc", "ü"], dtype=object), np.array([2**40, 1]), np.array([], dtype=np.int64)):
        text = bytes(names(ids)).decode()
        assert text.split("\n") == ([" ".join(str(i).split("\n")) for i in ids] or [""])


# ---- The page


def test_the_map_comes_by_itself_and_says_what_is_on_it(made):
    project, runs = made
    project.note(coordinates._name(runs["classes"], "pca"), None)
    at, _ = asked(project, runs["classes"], "loss")
    assert "Each point is a training row" not in said(at)
    waiting = [job for job in jobs.listed(project) if job.action == "coordinates" and not job.over]
    assert [job.args for job in waiting] == [{"run": runs["classes"], "method": "pca"}]
    ran(at.run())
    assert len([job for job in jobs.listed(project) if job.action == "coordinates" and not job.over]) == 1
    import influence.actions
    from influence.jobs import worker

    worker.Worker(project, influence.actions, None)._work(worker.claim(project))
    at = choose(opened("influence", run=runs["classes"], query="loss"), "random")
    found = coordinates.kept(project, runs["classes"])
    share = words.percent(sum(found["shares"]), 0)
    text = said(at)
    assert "Each point is a training row, placed by the model's last hidden layer (64 numbers a row)" in text
    assert f"the two axes show {share} of how rows differ" in text
    assert "as a rank, in no unit" in text
    assert "Nothing is outlined yet" in text
    assert by_key(at.selectbox, "map.colour").options[0] == colouring.INFLUENCE
    assert "▼ Orange" in text
    ran(by_key(at.selectbox, "map.colour").set_value("Loss of the row").run())
    assert "range" not in said(at), "colours are told that are on the map, and no others"


def mapped(project, run: str, query: str = "equal_opportunity_gap"):
    """The page with its map, and the scores and coordinates that stand behind it."""
    perform("coordinates", project, {"run": run})
    at, digest = asked(project, run, query)
    return at, project.scores(digest), project.scores(coordinates.kept(project, run)["coordinates"])


def boxed(at, left: float, right: float, low: float, high: float):
    for label, value in (("Left", left), ("Right", right), ("Bottom", low), ("Top", high)):
        next(n for n in at.number_input if n.label == label).set_value(value)
    return ran(next(b for b in at.button if b.label == "Count the rows inside").click().run())


def test_a_box_by_numbers_becomes_the_selection(made):
    project, runs = made
    at, scores, places = mapped(project, runs["loans"])
    xy = places.values
    left, middle = float(xy[:, 0].min()) - 1, float(np.sort(xy[:, 0])[[400, 401]].mean())  # between two rows
    low, high = float(xy[:, 1].min()) - 1, float(xy[:, 1].max()) + 1
    boxed(at, left, middle, low, high)
    inside = xy[:, 0] < middle
    assert inside.sum() == 401
    text = said(at)
    assert f"**{words.count(int(inside.sum()), 'training row')} inside**" in text
    below, ever = (scores.column()[inside] < 0).mean(), (scores.column() < 0).mean()
    assert f"Removing {words.percent(below, 0)} of them is predicted to lower" in text
    assert f"of all rows it is {words.percent(ever, 0)}" in text
    ran(next(b for b in at.button if b.label.startswith("Use these")).click().run())
    chosen = project.current()
    assert set(chosen.ids) == set(places.ids[inside].tolist())
    assert chosen.reason["rule"] == "polygon"
    again = Polygon(chosen.reason["outline"])(project.scores(chosen.reason["coordinates"]), project.dataset(chosen.reason["dataset"]).train)
    assert again.ids == chosen.ids
    boxed(at, middle, float(xy[:, 0].max()) + 1, low, high)
    ran(next(b for b in at.button if b.label.startswith("Add these")).click().run())
    assert len(project.current()) == len(xy)
    ran(next(b for b in at.button if b.label.startswith("Take out these")).click().run())
    assert set(project.current().ids) == set(chosen.ids)
    boxed(at, left - 9, left - 8, low, high)
    assert "**No row** lies inside the outline" in said(at)


def test_calibrated_scores_add_up():
    scores = Scores(np.array([[0.5], [-0.25], [-1.0]]), np.arange(3), ("gap",), "metagradient", True)
    text = mapping.told(scores, np.array([True, True, False]), {"labels": ["gap_x"]})
    assert f"predicted to change by {words.signed(0.25)}:" in text
    told = mapping.told(scores, np.array([True, True, False]), {"labels": ["loss"]}, units.Shown(100.0, "price squared"))
    assert f"predicted to change by {words.signed(25.0)} price squared:" in told
    assert "no interval" in text


def test_colours_are_those_of_the_rows(made):
    project, runs = made
    run = project.run(runs["loans"])
    train = project.dataset(run.dataset).train
    _, digest = asked(project, run.id)
    offered = colouring.offered(run, {"scores": digest})
    score = offered[colouring.INFLUENCE]()
    assert score.values.tolist() == project.scores(digest).column().tolist()
    assert score.low == -score.high < 0
    label = offered["Label: decision"]()
    assert [label.names[int(v)] for v in label.values[:50]] == [train.classes[y] for y in train.y[:50]]
    group = offered["Group: group"]()
    assert [group.names[int(v)] for v in group.values] == train.columns["group"].tolist()
    loss = offered["Loss of the row"]()
    it = opened_run(project, run.id)
    truth = torch.nn.functional.cross_entropy(it.outputs("train"), torch.from_numpy(np.array(train.y)), reduction="none")
    np.testing.assert_allclose(loss.values, truth.numpy(), rtol=1e-4, atol=1e-5)
    numeric = project.run(runs["numeric"])
    data, it = project.dataset(numeric.dataset), opened_run(project, numeric.id)
    error = colouring.by_loss(numeric, data)
    off = np.abs(it.outputs("train").numpy()[:, 0] - data.train.y) * data.encoding["target"]["sd"]
    np.testing.assert_allclose(error.values, off, rtol=1e-3, atol=1e-2)


def test_own_influence_is_offered_once_it_is_there(made):
    project, runs = made
    run = project.run(runs["classes"])
    _, digest = asked(project, run.id, "loss")
    assert "The row's own influence" not in colouring.offered(run, {"scores": digest})
    found = perform("mislabelled", project, {"run": run.id, "method": "own_influence"})
    own = colouring.offered(run, {"scores": digest})["The row's own influence"]()
    scores = project.scores(found["scores"])
    assert dict(zip(project.dataset(run.dataset).train.ids.tolist(), own.values.tolist(), strict=True)) == pytest.approx(
        dict(zip(scores.ids.tolist(), scores.column().tolist(), strict=True))
    )


def test_values_go_with_their_rows_whatever_the_order(made):
    project, runs = made
    data = project.dataset(project.run(runs["loans"]).dataset)
    some = data.train.ids[::-2]
    found = colouring._placed(np.arange(len(some), dtype=float), some, data)
    assert found[-1] == 0
    assert np.isnan(found).sum() == len(data.train) - len(some)


def test_points_on_one_spot_still_have_a_box_round_them():
    for xy in (np.zeros((0, 2)), np.full((3, 2), 5.0), np.array([[0.0, 1.0], [2.0, 1.0]])):
        for left, low, right, high in (mapping.extent(xy), mapping.first(xy)):
            assert left < right
            assert low < high


def test_a_few_points_far_outside_do_not_press_the_rest_together():
    xy = np.random.default_rng(0).uniform(-1, 1, (1000, 2))
    np.testing.assert_allclose(mapping.first(xy), mapping.extent(xy))
    xy[0] = (500, -20)
    left, low, right, high = mapping.first(xy)
    assert -2.1 < left < right < 2.1
    assert -2.1 < low < high < 2.1
    assert mapping.extent(xy)[2] == 500


def test_without_umap_the_page_says_how_to_have_it(made, monkeypatch):
    project, runs = made
    at, _, _ = mapped(project, runs["loans"])
    monkeypatch.setattr(plane, "umap_library", lambda: None)
    ran(at.segmented_control(key="map.layout").set_value("umap").run())
    assert plane.INSTALL in said(at)
    monkeypatch.setattr(plane, "umap_library", lambda: object())
    ran(at.run())
    assert by_key(at.button, "map.umap").label == "Lay out by UMAP"


def test_where_points_hide_each_other_their_number_is_shown_on_request(made):
    project, runs = made
    at, _, places = mapped(project, runs["loans"])
    assert not [n for n in at.get("plotly_chart") if n.proto.id.endswith("map.density")]
    ran(by_key(at.toggle, "map.density.shown").set_value(True).run())
    (chart,) = [n for n in at.get("plotly_chart") if n.proto.id.endswith("map.density")]
    assert f"How many of {len(places.ids):,} training rows lie where" in str(chart.proto)


def test_another_colour_sends_no_point_again(made):
    project, runs = made
    run = project.run(runs["loans"])
    _, _, places = mapped(project, run.id)
    train, laid = project.dataset(run.dataset).train, coordinates.kept(project, run.id)
    header, arrays = read(mapping._points(run.dataset, laid["coordinates"]))
    np.testing.assert_array_equal(arrays["places"].reshape(-1, 2), places.values.astype(np.float32))
    assert arrays["ids"].tolist() == places.ids.tolist()
    assert [header["classes"][label] for label in arrays["labels"]] == list(map(str, train.columns["decision"]))
    found = {"scores": asked(project, run.id)[1]}
    for name, offered in colouring.offered(run, found).items():
        colours, sent = read(mapping._colours(run.id, laid["coordinates"], found["scores"], name, "none", run, found, laid))
        assert list(sent) == ["values"]
        assert sent["values"].itemsize == (1 if colours["kind"] == "categories" else 4)
        np.testing.assert_allclose(sent["values"], offered().values.astype(np.float32))
        assert colours["placed"] == header["placed"]
    project.choose(Selection(tuple(train.ids[[3, 7]].tolist()), reason={"dataset": run.dataset}))
    _, sent = read(mapping._colours(run.id, laid["coordinates"], found["scores"], colouring.INFLUENCE, "two", run, found, laid))
    assert np.flatnonzero(sent["marks"]).tolist() == [3, 7]
    project.undo()
