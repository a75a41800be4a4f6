"""An archive of images in a real browser: it is uploaded, its classes are seen, a model is trained, and the rows it names have pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from influence.store import Project
from tests.imagery import as_zip, packed

MAGENTA, GREEN = (250, 0, 250), (0, 250, 0)
"""Colours that no page has: where they are seen, pictures are."""


def archive(folder) -> str:
    rng = np.random.default_rng(0)
    files = {}
    for name, colour in (("magenta", MAGENTA), ("green", GREEN)):
        for i in range(60):
            noise = rng.integers(0, 30, (12, 12, 3)) * (np.array(colour) < 128)
            files[f"colours/{name}/{i}.png"] = packed((np.array(colour) + noise).astype(np.uint8))
    return str(as_zip(folder / "colours.zip", files))


def pictured(w) -> dict[str, int]:
    """How many pixels of each colour are seen on the first table of the page."""
    table = w.page.get_by_test_id("stMain").get_by_test_id("stDataFrame").filter(visible=True).first
    table.scroll_into_view_if_needed()
    w.page.wait_for_timeout(500)  # it paints its pictures after it is there
    shot = table.screenshot()
    seen = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)
    return {name: int((np.abs(seen - colour).max(axis=2) < 40).sum()) for name, colour in (("magenta", MAGENTA), ("green", GREEN))}


@pytest.mark.slow
def test_an_archive_of_images_from_upload_to_pictures_of_rows(server, opened, tmp_path):
    w = opened(server).open("load", "?source=Upload")
    w.page.locator("input[type=file]").set_input_files(archive(tmp_path))
    w.sees("Is each image what its label says?").sees("The model sees 12 x 12 pixels, colour").settle()
    assert min(pictured(w).values()) > 5_000
    w.enter("Epochs", "3").press("Train").sees("Trained in")
    run = Project(server.project).run()
    assert (run.body["model"]["name"], run.body["model"]["inputs"]) == ("cnn", [3, 12, 12])
    w.open("influence").choose("Ask about", "Loss")
    w.press("Score training rows").sees("Rows behind").sees("Each point is a training row").settle()  # the page is drawn anew with the map
    assert max(pictured(w).values()) > 5_000
