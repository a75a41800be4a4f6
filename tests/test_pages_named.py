"""Load with data that are had by name: read, told and trained as a file is; what cannot be had is one sentence."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from influence import jobs
from influence.ui import sources
from tests import drawing
from tests.drawing import address, drawn, press, work
from tests.test_data_named import films, openml, parts
from tests.test_pages_load import fill

no_worker, empty, shown = drawing.no_worker, drawing.empty, drawing.shown


@pytest.fixture
def typed(empty, shown, monkeypatch):
    """Draws Load with a typed name. AppTest picks what is listed alone, so the name is listed."""

    def draw(name: str) -> AppTest:
        monkeypatch.setattr(sources, "NAMES", (*sources.NAMES, name))
        return fill(shown(empty, "load", source="By name"), "A data set by name", name)

    return draw


def test_a_set_is_chosen_by_name_and_trained(empty, shown):
    at = fill(shown(empty, "load", source="By name"), "A data set by name", "sklearn:iris")
    assert len(at.dataframe[0].value) == 20
    fill(at, "Target", "target")
    fill(at, "Epochs", 2)
    press(at, "Train")
    job = jobs.get(empty, address(at, "job"))
    assert (job.args["data"], job.args["name"]) == ("sklearn:iris", "iris")
    assert work(empty).state == "done"
    drawn(at)
    assert empty.dataset(empty.run().dataset).train.classes == ("setosa", "versicolor", "virginica")


def test_what_is_no_name_or_cannot_be_had_is_said(empty, typed, monkeypatch):
    def offline(request):
        raise OSError("Name or service not known")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", offline)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(empty.path / "none"))
    for name, said in (("adult <b>", "names no data"), ("openml:adult", "could not be had from OpenML"), ("hub:a/b", "names no data")):
        at = typed(name)
        assert said in at.error[0].value
        assert "<b>" not in at.error[0].value
        assert "Target" not in [box.label for box in at.selectbox]


def test_a_set_that_is_fetched_is_shown_with_its_columns(typed, monkeypatch, tmp_path):
    openml(monkeypatch, tmp_path / "openml")
    at = typed("openml:people")
    assert "pay class" in next(box.options for box in at.selectbox if box.label == "Target")
    assert at.dataframe[0].value["age"].tolist() == list(range(20, 40))


def test_a_folder_of_parts_is_read_by_path(empty, shown, monkeypatch, tmp_path):
    parts(tmp_path / "films", data__train_DOT_csv=films(), data__test_DOT_parquet=films(20, 1))
    monkeypatch.setenv("INFLUENCE_DATA_ROOTS", str(tmp_path))
    monkeypatch.setattr(sources, "listed", lambda roots, images=False: ["films"])  # a folder of tables is typed, not listed
    at = fill(shown(empty, "load", source="Path"), "A table, or a folder, .zip or .npz of images", "films")
    assert [box.label for box in at.selectbox if "text" in box.options or "label" in box.options]
    assert "split" in next(box.options for box in at.selectbox if box.label == "Target")
