"""A model taken out of the browser and into another project, and tables that cannot be saved with their formulas."""

from __future__ import annotations

from pathlib import Path

from influence.actions import perform
from influence.exchange.packed import unpacked
from influence.store import Project


def test_a_model_is_downloaded_and_brought_to_another_project(trained, opened, tmp_path):
    w = opened(trained).open("report").press("Write the model").sees("in the project's folder").settle()
    with w.page.expect_download() as download:
        w.press("Download")
    download.value.save_as(tmp_path / "model.zip")
    given = {"path": str(unpacked(Path(tmp_path / "model.zip"), tmp_path / "m")), "data": "bundled:loans"}
    result = perform("import_model", Project(tmp_path / "other"), given)
    assert result["metrics"] == Project(trained.project).run(None).body["metrics"]


def test_tables_are_not_saved_by_streamlit_which_keeps_formulas(trained, opened):
    w = opened(trained).open("report")
    table = w.page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    table.hover()
    w.page.get_by_role("button", name="Search").first.wait_for()
    assert w.page.locator('[aria-label^="Download as CSV"]').count() == 1, "Streamlit offers it; see influence/ui/style.css"
    assert not w.page.locator('[aria-label^="Download as CSV"]').first.is_visible()
