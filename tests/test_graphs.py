"""Models that come as a graph (.pt2): they answer as they did, rows are traced through them as ever, and nothing in a file is executed."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

import influence
from influence.actions import perform
from influence.errors import BadInput
from influence.exchange import snippets
from influence.exchange.packed import is_packed
from influence.exchange.pt2 import read_graph
from influence.exchange.record import read_record
from influence.grads import sweep
from influence.loop import Bound
from influence.registry import models
from influence.store import Project
from influence.ui.modelfiles import keep

N = 600


class Attending(nn.Module):
    """Tokens, positions, PyTorch's own encoder, the mean over what is no padding: a model that Lethe has no architecture for."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(20, 8, padding_idx=0)
        self.places = nn.Parameter(torch.randn(1, 6, 8))
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 1, enable_nested_tensor=False)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        seen = (x != 0).unsqueeze(-1).float()
        h = self.layers(self.tokens(x) + self.places, src_key_padding_mask=x == 0)
        return self.out((h * (seen + 0.5)).sum(1) / seen.sum(1).clamp(min=1))  # the vector of padding moves answers and does not learn


class Residual(nn.Module):
    """In-place layers, running statistics, a constant, tied weights and a product of sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.out = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4 * 9, 3)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.tied = nn.Conv2d(4, 4, 3, padding=1)
        self.tied.weight = self.again.weight
        self.register_buffer("scale", torch.tensor([0.5, 1.5, 2.0, -1.0]).view(4, 1, 1), persistent=False)

    def forward(self, x):
        h = F.relu(self.norm(self.first(x)), inplace=True)
        g = self.again(h)
        g += self.tied(h) * self.scale
        return self.out(F.avg_pool2d(g, 2).reshape(x.shape[0], -1))


def exported(model: nn.Module, x: torch.Tensor, path: Path, dynamic: bool = True) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("rows")},) if dynamic else None)
        torch.export.save(made, path)
    return path


def bundled(kind: str, shape: tuple[int, ...], **setting):
    return replace(models.make(kind, setting), inputs=shape, outputs=3)()


def kinds():
    torch.manual_seed(0)
    images, tokens = torch.randn(5, 1, 6, 6), torch.randint(1, 20, (5, 6)) * (torch.arange(6) < torch.tensor([[6], [2], [4], [1], [5]]))
    wide = torch.randn(5, 3, 8, 8)
    return {
        "encoder": (Attending(), tokens),
        "residual": (Residual(), images),
        "resnet9": (bundled("resnet9", (3, 8, 8), width=8), wide),
        "transformer": (bundled("transformer", (6,), vocabulary=20, width=8, heads=2, layers=1), tokens),
    }


@pytest.fixture(scope="module", params=["encoder", "residual", "resnet9", "transformer"])
def both(request, tmp_path_factory):
    """A module with moved statistics, its rows, and what its .pt2 file gives."""
    torch.set_num_threads(1)
    model, x = kinds()[request.param]
    if request.param == "residual":
        model.train()(x)
    found = read_graph(exported(model.eval(), x, tmp_path_factory.mktemp("graphs") / "model.pt2"))
    made = replace(models.make("graph", {"graph": found.text}), inputs=tuple(x.shape[1:]), outputs=3)
    return model, x, found, made


def test_it_answers_any_number_of_rows_as_the_module_does(both):
    model, x, found, made = both
    bound = Bound(made).load(found.weights.state)
    bound.module.eval()
    for n in (1, 2, 5, 11):
        rows = torch.cat([x, x, x])[:n]
        torch.testing.assert_close(bound.module(rows), model(rows), rtol=1e-6, atol=1e-6)
    assert dict(bound.module.named_parameters()).keys() == dict(model.named_parameters()).keys()


def test_each_row_has_the_gradient_that_it_has_in_the_module(both):
    """The sweep through the graph, against autograd through the module that was exported, one row at a time."""
    model, x, found, made = both
    bound = Bound(made).load(found.weights.state)
    bound.module.eval()
    v = torch.randn(2, len(bound.flat), generator=torch.Generator().manual_seed(3))
    y = torch.arange(len(x)) % 3
    swept = sweep(bound, x, y, "cross_entropy", v, 3)
    directions = [dict(zip(bound.names, views, strict=True)) for views in map(bound.views, v)]
    params = dict(model.named_parameters())
    for i in range(len(x)):
        found = torch.autograd.grad(F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]), list(params.values()))
        for q, direction in enumerate(directions):
            one = sum(float((g * direction[name]).sum()) for g, name in zip(found, params, strict=True))
            assert swept[i, q] == pytest.approx(one, rel=1e-4, abs=1e-5)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Digits by a plain PyTorch program: data, the model as weights with a checkpoint, and as a graph; both brought."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("digits")
    x, y = load_digits(return_X_y=True)
    x, y = (x[:N] / 16).astype(np.float32), y[:N].astype(np.int64)
    test = np.arange(N) % 3 == 0
    influence.save_data(
        folder / "data", x, y, test, columns=pd.DataFrame({"even": np.where(y % 2, "no", "yes")}), classes=list("0123456789")
    )
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(64, 16), nn.GELU(), nn.Linear(16, 10))
    rule = torch.optim.SGD(model.parameters(), 0.5)
    rows, target = torch.from_numpy(x[~test]), torch.from_numpy(y[~test])
    (folder / "weights").mkdir()
    (folder / "graph").mkdir()
    for step in range(60):
        rule.zero_grad()
        F.cross_entropy(model(rows), target).backward()
        rule.step()
        if step in (20, 59):
            for name in ("weights", "graph"):
                save_file(model.state_dict(), folder / name / f"{step:04d}.safetensors")
    exported(model.eval(), rows[:3], folder / "graph" / "model.pt2")
    project = Project(folder / "project")
    brought = {
        name: perform("import_model", project, {"path": str(folder / path), "data": str(folder / "data"), "rates": [0.5]})
        for name, path in (("weights", "weights"), ("graph", "graph"), ("alone", "graph/model.pt2"))
    }
    with torch.no_grad():
        said = model(torch.from_numpy(x)).softmax(1).numpy()
    return folder, project, brought, said


def test_it_is_brought_and_answers_as_it_did_there(digits):
    _, project, brought, said = digits
    assert {name: result["model"]["name"] for name, result in brought.items()} == {"weights": "mlp", "graph": "graph", "alone": "graph"}
    for result in brought.values():
        table = pd.read_parquet(result["predictions"])
        np.testing.assert_allclose(table[[f"p_{c}" for c in range(10)]], said[table["id"].astype(int)], atol=1e-6)
    assert [len(project.run(brought[name]["run"]).body["checkpoints"]) for name in ("weights", "graph", "alone")] == [2, 2, 1]


@pytest.mark.parametrize("method", ["tracin", "influence_function", "activation_similarity", "trak"])
def test_rows_are_scored_as_with_the_same_weights_in_an_architecture_of_ours(digits, method):
    _, project, brought, _ = digits
    found = [
        project.scores(perform("attribute", project, {"run": brought[name]["run"], "query": "loss", "method": method})["scores"]).values
        for name in ("weights", "graph")
    ]
    assert np.abs(found[0]).max() > 0
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-5 * np.abs(found[0]).max())


def test_it_opens_again_unlearns_and_goes_out_and_in(digits, tmp_path):
    folder, project, brought, said = digits
    again = Project(project.path)
    result = perform("unlearn", again, {"run": brought["graph"]["run"], "method": "finetune", "ids": _ids(again, brought)})
    assert result["claim"] == "L1"
    perform("export_model", again, {"run": brought["graph"]["run"], "out": str(tmp_path / "out"), "format": "pt2"})
    for path in (tmp_path / "out", tmp_path / "out" / "model.pt2"):
        back = perform("import_model", Project(tmp_path / f"p{path.name}"), {"path": str(path), "data": str(folder / "data")})
        table = pd.read_parquet(back["predictions"])
        np.testing.assert_allclose(table[[f"p_{c}" for c in range(10)]], said[table["id"].astype(int)], atol=1e-6)


def _ids(project: Project, brought) -> list:
    return project.dataset(project.run(brought["graph"]["run"]).dataset).train.ids[:3].tolist()


def test_what_is_open_to_it_is_said(digits):
    _, _, brought, _ = digits
    told = {check["check"]: check["found"] for check in brought["graph"]["checks"]}
    assert "nothing of it was guessed" in told["Answers as where it was trained"]
    assert all(name in told["Attribution methods"] for name in ("TracIn", "Influence function"))
    assert "Metagradient" in told["Closed without a recipe"]


def test_a_record_beside_a_graph_is_followed_whatever_the_architecture(tmp_path):
    """A module that Lethe has no architecture for, recorded: with its graph in the folder, every method is open."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 5)).astype(np.float32), rng.integers(0, 3, 120)
    influence.save_data(tmp_path / "data", x, y, np.arange(120) >= 80, classes=("a", "b", "c"))

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.value, self.out = nn.Linear(5, 6), nn.Linear(5, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.out(self.gate(x).sigmoid() * self.value(x))

    model = Gated()
    rule = torch.optim.SGD(model.parameters(), 0.2, momentum=0.9)
    recorder = influence.Recorder(model, rule, list(range(80)))
    rows, target = torch.from_numpy(x[:80]), torch.from_numpy(y[:80])
    for _ in range(4):
        for places in torch.randperm(80).split(20):
            with recorder.step(places):
                rule.zero_grad()
                F.cross_entropy(model(rows[places]), target[places]).backward()
                rule.step()
    recorder.save(tmp_path / "model", probe=rows[:4], classes=("a", "b", "c"))
    exported(model.eval(), rows[:3], tmp_path / "model" / "model.pt2")
    project = Project(tmp_path / "p")
    result = perform("import_model", project, {"path": str(tmp_path / "model"), "data": str(tmp_path / "data")})
    told = {check["check"]: check["verdict"] for check in result["checks"]}
    assert told["Its training can be followed"] == told["Answers as where it was trained"] == "good"
    assert perform("attribute", project, {"run": result["run"], "query": "loss", "method": "metagradient"})["scores"]


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    return exported(model, torch.randn(3, 4), tmp_path_factory.mktemp("good") / "model.pt2")


def test_the_last_checkpoint_beside_a_graph_is_its_model(good, tmp_path):
    state = dict(read_graph(good).weights.state)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.pt2").write_bytes(good.read_bytes())
    save_file({**state, "0.bias": state["0.bias"] + 1}, tmp_path / "model" / "0001.safetensors")
    with pytest.raises(BadInput, match=r"different models or moments: '0\.bias'"):
        read_record(tmp_path / "model")
    save_file(state, tmp_path / "model" / "0002.safetensors")
    assert len(read_record(tmp_path / "model").checkpoints) == 2


def test_what_people_are_told_to_write_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {"model": nn.Sequential(nn.Linear(4, 3)), "x": torch.randn(2, 4)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(snippets.GRAPH, scope)
    assert read_graph("model.pt2").weights.state.keys() == {"0.weight", "0.bias"}
    assert snippets.GRAPH in (Path(__file__).parents[1] / "docs" / "bring-your-model.md").read_text()


def test_an_uploaded_graph_stays_one_file(good, tmp_path):
    assert not is_packed(good)
    assert keep(tmp_path, "model.pt2", good.read_bytes()).read_bytes() == good.read_bytes()
