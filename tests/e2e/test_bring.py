"""A model trained by a plain PyTorch program, brought in the browser as two zip files, and asked where its gap comes from."""

from __future__ import annotations

import shutil

from influence.store import Project
from tests.test_exchange import outside


def test_a_recorded_model_is_uploaded_checked_and_asked(server, opened, tmp_path):
    outside(tmp_path / "program")
    for name in ("model", "data"):
        shutil.make_archive(str(tmp_path / name), "zip", tmp_path / "program", name)
    w = opened(server).open("bring")
    for place, name in enumerate(("model", "data")):
        w.page.locator("input[type=file]").nth(place).set_input_files(tmp_path / f"{name}.zip")
        w.settle()
    w.press("Check and bring").sees("is in the project").sees("Nothing to worry about").settle()
    w.follow("See its groups on Audit", "audit").sees("How does it treat groups?")
    w.follow("Why?", "influence").sees("Rows behind").settle()
    w.sees("in the metric's own unit")
    run = Project(server.project).run(None)
    assert (run.kind, run.body["recipe"]["course"] is not None) == ("import", True)
