"""A model from elsewhere is brought with images: they are seen as on Load, and their classes stand in the order of its outputs."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import influence
from influence import jobs
from influence.actions import perform
from influence.store import Project
from influence.ui import bringing
from influence.ui.source import Source
from tests import drawing
from tests.drawing import Draw, drawn, press, text, work
from tests.imagery import as_folder, as_zip, packed

no_worker, empty, shown = drawing.no_worker, drawing.empty, drawing.shown

NAMES = ("wide", "tall", "dot")
"""Names of classes by their numbers, in no alphabetical order."""
N, TEST, SIDE = 90, 60, 8
PICTURE = "data:image/png;base64,"


def pixels() -> tuple[np.ndarray, np.ndarray]:
    """Bars that lie, bars that stand and dots, (N + TEST, 8, 8) uint8, and which each is."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 40, (N + TEST, SIDE, SIDE)).astype(np.uint8), np.arange(N + TEST) % 3
    for row, kind in zip(x, y, strict=True):
        at = rng.integers(1, SIDE - 1)
        part = (at, slice(1, 7)) if kind == 0 else (slice(1, 7), at) if kind == 1 else (slice(3, 5), slice(3, 5))
        row[part] = 250
    return x, y


def network() -> nn.Sequential:
    layers = (nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(4, 4), nn.GELU(), nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.GroupNorm(4, 8))
    return nn.Sequential(*layers, nn.GELU(), nn.Flatten(), nn.Linear(8 * 16, 3))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """What a person's own program leaves behind: weights, the record of the training, the graph, and images in four forms."""
    folder, (x, y) = tmp_path_factory.mktemp("program"), pixels()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model, ids = network(), np.array([f"train/{i}" for i in range(N)])
    rule = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    recorder = influence.Recorder(model, rule, ids, checkpoints=2)
    rows, target = torch.from_numpy(x[:, None]).float() / 255, torch.from_numpy(y)
    for places in (order for _ in range(12) for order in torch.randperm(N).split(30)):
        with recorder.step(places):
            rule.zero_grad()
            F.cross_entropy(model(rows[places]), target[places]).backward()
            rule.step()
    recorder.save(folder / "model", probe=rows[:4], classes=NAMES)
    shutil.make_archive(str(folder / "model"), "zip", folder, "model")
    model.eval()
    torch.save(model.state_dict(), folder / "weights.pt")
    torch.export.save(torch.export.export(model, (rows[:4],), dynamic_shapes=({0: torch.export.Dim("rows")},)), folder / "graph.pt2")
    right = float((model(rows[N:]).argmax(1) == target[N:]).float().mean())
    assert right > 0.9
    images(folder, x, y)
    influence.save_data(
        folder / "arrays", rows.numpy(), y, np.arange(N + TEST) >= N, ids=np.array([*ids, *range(TEST)], str), classes=NAMES
    )
    shutil.make_archive(str(folder / "arrays"), "zip", folder, "arrays")
    return folder, right


def images(folder, x: np.ndarray, y: np.ndarray) -> None:
    parts = {"x_train": x[:N], "y_train": y[:N], "x_test": x[N:], "y_test": y[N:]}
    np.savez(folder / "named.npz", **parts, class_names=np.array(NAMES))
    part = ["train" if i < N else "test" for i in range(len(x))]
    files = {f"{p}/{kind}/{i:03d}.png": packed(image) for i, (p, kind, image) in enumerate(zip(part, y, x, strict=True))}
    as_zip(folder / "classes.zip", files)
    as_folder(folder / "classes", files)
    listed = pd.DataFrame({"file": [f"classes/{path}" for path in files], "kind": y, "part": part, "hand": ["l", "r"] * (len(x) // 2)})
    listed.to_csv(folder / "listed.csv", index=False)


def chosen(shown: Draw, project: Project, folder, model: str, data: str):
    """The page, with a model uploaded, and images."""
    at = shown(project, "bring", source="Upload")
    at.segmented_control(key="bring.kind").set_value("table")
    drawn(at)
    at.file_uploader(key="bring.model.file").set_value((model, (folder / model).read_bytes(), "application/zip"))
    at.file_uploader(key="load.upload.file").set_value((data, (folder / data).read_bytes(), "application/zip"))
    return drawn(at)


def pick(at, label: str, value):
    next(widget for kind in (at.selectbox, at.multiselect) for widget in kind if widget.label == label).set_value(value)
    return drawn(at)


def found(job: jobs.Job) -> dict[str, str]:
    assert job.state == "done", job.error
    return {check["check"]: check["verdict"] for check in job.result["checks"]}


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("weights.pt", "classes.zip"), ("weights.pt", "named.npz"), ("graph.pt2", "named.npz"), ("model.zip", "named.npz"),
        ("model.zip", "classes.zip"),
    ],
)  # fmt: skip
def test_a_model_of_images_is_brought_with_them(program, empty, shown, model, data):
    """Weights know no names: an archive's numbers are the outputs. A record names them, so that folders of numbers are other classes."""
    folder, right = program
    at = chosen(shown, empty, folder, model, data)
    assert "150 images" in text(at)
    assert "The model sees 8 x 8 pixels, grey" in text(at)
    assert "Test images as the" in text(at).replace("**", "")
    assert at.dataframe[0].value["image"].str.startswith(PICTURE).all()
    assert at.dataframe[1].value["images"].tolist() == [50, 50, 50]
    at.number_input(key="bring.accuracy").set_value(right)
    press(drawn(at), "Check and bring")
    job = work(empty)
    if (model, data) == ("model.zip", "classes.zip"):
        assert job.error.startswith("The model's outputs are wide, tall, dot")
        assert [error.value.replace("\\", "") for error in drawn(at).error] == [job.error]
        return
    told = found(job)
    assert told["Right as often as known"] == "good"
    assert told.get("Order of the outputs") == (None if model == "model.zip" else "none")
    assert told["Its training can be followed"] == ("good" if model == "model.zip" else "none")
    made = empty.dataset(empty.run(job.result["run"]).dataset)
    assert made.train.classes == (NAMES if data == "named.npz" else ("0", "1", "2"))
    assert made.encoding["target"]["classes"] == list(made.train.classes)
    assert made.train.columns["label"].astype(str).tolist() == [made.train.classes[place] for place in made.train.y]
    assert "is in the project" in text(drawn(at))


def test_a_question_is_asked_of_a_recorded_model_of_images(program, tmp_path):
    folder, _ = program
    project = Project(tmp_path / "p")
    run = perform("import_model", project, {"path": str(folder / "model"), "data": str(folder / "named.npz")})["run"]
    result = perform("attribute", project, {"run": run, "query": "loss", "method": "metagradient"})
    assert result["scores"]


def test_a_table_that_names_images_and_a_folder_are_taken_by_path(program, empty, shown, monkeypatch):
    folder, _ = program
    monkeypatch.setenv("INFLUENCE_DATA_ROOTS", str(folder))
    at = shown(empty, "bring", source="Path")
    at.segmented_control(key="bring.kind").set_value("table")
    at.segmented_control(key="bring.model.way").set_value("Path")
    drawn(at).text_input(key="bring.model.path").set_value("weights.pt")
    label = "A table, or a folder, .zip or .npz of images"
    pick(drawn(at), label, "listed.csv")
    assert next(s for s in at.selectbox if s.label == "Images are named by the column").value == "file"
    pick(pick(at, "What the images show", "kind"), "Protected columns", ["hand"])
    next(control for control in at.segmented_control if control.label == "Test images").set_value("split")
    pick(drawn(at), "Column that says train or test", "part")
    press(at, "Check and bring")
    job = work(empty)
    found(job)
    assert (job.args["data_set"], job.args["target"], job.args["split"]) == ({"image": "file"}, "kind", "part")
    assert empty.run(job.result["run"]).body["groups"] == ["hand", "brightness_level"]
    pick(at, label, "classes")
    press(at, "Check and bring")
    job = work(empty)
    found(job)
    assert job.args["data"] == str(folder / "classes")


def test_a_folder_that_save_data_wrote_needs_no_parts_wherever_it_is_chosen(program):
    place = str(program[0] / "arrays")
    assert bringing.parts(Source(place, "arrays")) == (place, {})


BAD = {
    "climbing.zip": ({"../../evil.png": packed(np.zeros((5, 5), np.uint8))}, "leads out of the archive"),
    "one class.zip": ({f"a/{i}.png": packed(np.full((5, 5), i, np.uint8)) for i in range(30)}, "are of one class"),
    "text.zip": ({f"{c}/{i}.png": b"words" for c in "ab" for i in range(30)}, "None of the images"),
    "arrays.zip": ({f"a/{name}": b"x" for name in ("data.json", "data.npz", "columns.parquet")}, "is what influence.save_data wrote"),
}


@pytest.mark.parametrize("name", BAD)
def test_images_that_cannot_be_read_are_one_sentence_in_their_place(program, empty, shown, tmp_path, name):
    files, reason = BAD[name]
    as_zip(tmp_path / name, files)
    shutil.copy(program[0] / "weights.pt", tmp_path)
    at = chosen(shown, empty, tmp_path, "weights.pt", name)
    assert len(at.error) == 1
    assert reason in at.error[0].value.replace("\\", "")
    assert "Check and bring" not in [button.label for button in at.main.button]
    assert "What you know of it" in "".join(head.value for head in at.subheader), "the rest of the page stands"


def test_images_in_the_place_of_arrays_say_where_they_belong_and_are_not_kept(program, empty, shown):
    at = shown(empty, "bring")
    content = (program[0] / "classes.zip").read_bytes()
    at.file_uploader(key="bring.data.file").set_value(("classes.zip", content, "application/zip"))
    assert "choose 'A table or images' above" in drawn(at).error[0].value
    assert not list((empty.path / "uploads").rglob("*.*"))


def test_settings_of_a_bundled_set_are_those_chosen(program, empty, shown):
    at = shown(empty, "bring")
    at.segmented_control(key="bring.kind").set_value("table")
    drawn(at).file_uploader(key="bring.model.file").set_value(("w.pt", (program[0] / "weights.pt").read_bytes(), "application/zip"))
    drawn(at).number_input(key="load.bundled.loans.n").set_value(1500)
    press(drawn(at), "Check and bring")
    assert jobs.listed(empty, 1)[0].args["data_set"]["n"] == 1500
