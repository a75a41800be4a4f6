"""Pages as strangers meet them: by their address on a fresh server, and with files that are no tables."""

from __future__ import annotations

import pickle

import pytest

from influence.ui.site import Place, places
from scripts.drive import Window, serve

NO_TABLE = {
    "pickled.csv": pickle.dumps({"weights": list(range(100))}, protocol=5),
    "empty.csv": b"",
    "broken.parquet": b"PAR1 and nothing more",
}


def some(*names: str) -> list:
    """Every page; all but those named are slow."""
    return [pytest.param(place, id=name, marks=() if name in names else pytest.mark.slow) for name, place in places().items()]


FIRST, OFTEN = some("start", "plan"), some("load", "influence", "verify")


def is_open(w: Window, place: Place) -> None:
    """The page's heading is seen, and every page can be gone to."""
    assert w.page.get_by_role("heading", name=place.title, exact=True).first.is_visible()
    names = w.page.get_by_test_id("stSidebarNavLink").all_inner_texts()
    assert [name.split(maxsplit=1)[-1] for name in names] == [p.title for p in places().values()]


@pytest.mark.parametrize("place", FIRST)
def test_the_first_request_to_a_server_may_be_any_page(place, server, opened):
    """Slow for all pages but two: that a page opens by its link is seen below, and that a server needs no other page first by these two."""
    is_open(opened(server).open("" if place.name == "start" else place.name), place)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """One server on an empty project."""
    with serve(tmp_path_factory.mktemp("empty") / "project") as running:
        yield running


@pytest.mark.parametrize("place", OFTEN)
def test_a_new_window_may_begin_with_any_page(place, empty, opened):
    is_open(opened(empty).open("" if place.name == "start" else place.name), place)


def test_a_link_opens_the_tab_in_which_it_was_copied(trained, opened):
    w = opened(trained).open("audit", "?audit.view=Another threshold&audit.threshold=0.7")
    tabs = w.page.get_by_role("tab", selected=True)
    assert "Another threshold" in tabs.all_inner_texts()
    w.page.get_by_role("tab", name="All gaps").click()
    w.page.wait_for_url("**audit.view=All+gaps**")


def test_a_file_that_is_no_table_is_refused_in_a_sentence_and_the_form_survives(server, opened):
    w = opened(server).open("load", "?source=Upload")
    for name, content in NO_TABLE.items():
        w.page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})
        w.page.get_by_test_id("stMain").get_by_test_id("stAlert").wait_for()
        w.settle()
        told = w.page.get_by_test_id("stMain").get_by_test_id("stAlert").all_inner_texts()
        assert len(told) == 1, told
        assert told[0].rstrip().endswith("."), told
        assert "Error" not in told[0], told
        assert w.page.locator("input[type=file]").count() == 1
        w.page.get_by_role("button", name="Remove").first.click()
        w.settle()
    good = b"x,y\n" + b"".join(b"%d,%d\n" % (i, i % 2) for i in range(60))
    w.page.locator("input[type=file]").set_input_files({"name": "good.csv", "mimeType": "text/csv", "buffer": good})
    w.sees("2 Columns").settle()
