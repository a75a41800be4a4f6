"""Graphs that may harm: what is no plain graph, takes too much memory, hides a pickle or changes what it should not is refused."""

from __future__ import annotations

import io
import json
import os
import pickle
import warnings
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import influence
from influence.actions import perform
from influence.errors import BadInput
from influence.exchange.pt2 import read_graph
from influence.models._operations import PURE, operation
from influence.models._program import Program, _needed, refuse_growth, tried
from influence.registry import models
from influence.store import Project
from tests import test_graphs
from tests.test_exchange_weights import Canary
from tests.test_graphs import exported

good = test_graphs.good


def rewritten(good: Path, path: Path, change=lambda name, data: data, more=(), pack=zipfile.ZIP_STORED) -> Path:
    """A good file with parts changed, left out (None) or added."""
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w", pack) as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in old.namelist():
            data = change(name.partition("/")[2], old.read(name))
            if data is not None:
                new.writestr(name, data)
        for name, data in more:
            new.writestr(name, data)
    return path


def told(name: str, change):
    """Change one JSON part by a function."""

    def apply(part: str, data: bytes) -> bytes:
        if part != name:
            return data
        found = json.loads(data)
        return json.dumps(change(found) or found).encode()

    return apply


def node(found, k: int = 0):
    return found["graph_module"]["graph"]["nodes"][k]


def retarget(target: str, *inputs):
    def change(found):
        node(found, 1)["target"] = target
        node(found, 1)["inputs"] += [{"name": name, "arg": arg, "kind": 1} for name, arg in inputs]

    return told("models/model.json", change)


def meta(change):
    def apply(found):
        change(found["config"]["0.weight"])

    return told("data/weights/model_weights_config.json", apply)


def pickled(path: Path) -> bytes:
    held = io.BytesIO()
    torch.save(Canary(path), held)
    return held.getvalue()


# ruff: noqa: E501
HOSTILE = {
    "an operation that opens files": (retarget("torch.ops.aten.from_file.default", ("filename", {"as_string": "/etc/passwd"})), "from_file"),
    "an operation of somebody's": (retarget("torch.ops.mine.run.default"), "mine.run"),
    "a higher-order operation": (retarget("torch.ops.higher_order.cond"), "higher_order.cond"),
    "a function of Python": (retarget("builtins.eval"), "builtins.eval"),
    "a function of the operator module": (retarget("_operator.attrgetter"), "attrgetter"),
    "an operation with an out argument": (retarget("torch.ops.aten.relu.out"), "relu.out"),
    "a graph within": (retarget("torch.ops.aten.relu.default", ("f", {"as_graph": {"name": "f", "graph": {}}})), "as_graph"),
    "an argument nobody knows": (retarget("torch.ops.aten.relu.default", ("f", {"as_int": 3})), "cannot be run"),
    "random numbers": (retarget("torch.ops.aten.rand_like.default"), "rand_like"),
    "an answer as large as a country": (
        retarget("torch.ops.aten.repeat.default", ("repeats", {"as_ints": [2**20, 2**10]})), r"makes 10,737,418,240 numbers of two rows",
    ),
    "zeros as large as a country": (
        told("models/model.json", lambda f: node(f, 1).update(
            target="torch.ops.aten.zeros.default", inputs=[{"name": "size", "arg": {"as_ints": [2**40]}, "kind": 1}])), "numbers of two rows",
    ),
    "a static batch": (
        told("models/model.json", lambda f: f["graph_module"]["graph"]["tensor_values"]["input"]["sizes"].__setitem__(0, {"as_int": 3})),
        r"takes 3 rows and no other number. Export it for any: .*dynamic_shapes",
    ),
    "an expression that runs code": (
        told("models/model.json", lambda f: f["graph_module"]["graph"]["tensor_values"]["input"]["sizes"].__setitem__(
            0, {"as_expr": {"expr_str": "__import__('pathlib').Path('CANARY').write_text('ran')", "hint": None}})), "takes some rows",
    ),
    "a tensor used before it is made": (told("models/model.json", lambda f: f["graph_module"]["graph"]["nodes"].reverse()), "damaged|KeyError"),
    "no nodes": (told("models/model.json", lambda f: f["graph_module"]["graph"].update(nodes=[])), "KeyError"),
    "another version": (told("models/model.json", lambda f: f["schema_version"].update(major=9)), "another version"),
    "JSON that is a list": (told("models/model.json", lambda f: [1]), "no graph as torch.export"),
    "JSON without an end": (lambda name, data: b"[" * 200_000 if name == "models/model.json" else data, "no graph as torch.export"),
    "softmax at the end": (
        told("models/model.json", lambda f: node(f, 2).update(
            target="torch.ops.aten.softmax.int", inputs=[
                {"name": "self", "arg": {"as_tensor": {"name": "relu"}}, "kind": 1}, {"name": "dim", "arg": {"as_int": 1}, "kind": 1}])),
        "answers are probabilities",
    ),
    "more numbers than there are": (meta(lambda m: m["tensor_meta"].update(sizes=[{"as_int": 5}, {"as_int": 400}])), "claims other numbers"),
    "numbers spread out of a few": (
        meta(lambda m: m["tensor_meta"].update(sizes=[{"as_int": 2**20}, {"as_int": 2**20}], strides=[{"as_int": 0}, {"as_int": 0}])),
        "claims other numbers",
    ),
    "numbers behind the file": (meta(lambda m: m["tensor_meta"].update(strides=[{"as_int": 400}, {"as_int": 1}])), "claims other numbers"),
    "numbers before the file": (meta(lambda m: m["tensor_meta"].update(storage_offset={"as_int": -8})), "claims other numbers"),
    "half precision": (meta(lambda m: m["tensor_meta"].update(dtype=6)), "float32"),
    "a path that climbs": (meta(lambda m: m.update(path_name="../../models/model.json")), "no graph as torch.export"),
    "a weight of another shape": (
        meta(lambda m: m["tensor_meta"].update(sizes=[{"as_int": 4}, {"as_int": 5}], strides=[{"as_int": 5}, {"as_int": 1}])), "cannot be run",
    ),
    "a parameter that is no name": (
        told("data/weights/model_weights_config.json", lambda f: f["config"].update({"__class__.x": f["config"]["0.weight"]})), "",
    ),
    "weights that are not numbers": (
        lambda name, data: np.full(20, np.nan, "<f4").tobytes() if name == "data/weights/weight_0" else data, "not finite",
    ),
    "no weights": (lambda name, data: None if name == "data/weights/weight_0" else data, "no graph as torch.export"),
    "another byte order": (lambda name, data: b"big" if name == "byteorder" else data, "byte order"),
}  # fmt: skip


def refused(path: Path, folder: Path, match: str) -> None:
    rng = np.random.default_rng(0)
    data, project = folder / f"data {path.name}", Project(folder / f"project {path.name}")
    influence.save_data(
        data, rng.normal(size=(40, 4)).astype(np.float32), np.arange(40) % 3, np.arange(40) % 4 == 0, classes=("a", "b", "c")
    )
    with pytest.raises(BadInput, match=match) as error:
        perform("import_model", project, {"path": str(path), "data": str(data)})
    assert not project.runs()
    assert len(str(error.value)) < 500


def text(nodes: list, y: str = "y") -> str:
    """A graph of inputs (4,) whose answer is a linear layer's of 2 outputs, with these nodes before it."""
    last = ["aten.linear.default", {"input": {"of": "x"}, "weight": {"of": "w"}}, [y]]
    tensors = {"w": ["m.w", "parameter", [2, 4], "float32"]}
    return json.dumps({"x": ["x", "float32", [4]], "y": y, "tensors": tensors, "nodes": [*nodes, last]})


def ref(name: str) -> dict[str, str]:
    return {"of": name}


ROWS = ["aten.sym_size.int", {"self": ref("x"), "dim": 0}, ["n"]]
GROWING = {
    "rows times rows": [ROWS, ["_operator.mul", {"a": ref("n"), "b": ref("n")}, ["n2"]], ["aten.ones.default", {"size": [ref("n2")]}, ["big"]]],
    "a tensor of rows by rows": [ROWS, ["aten.ones.default", {"size": [ref("n"), ref("n")]}, ["big"]]],
    "each row against each": [["aten.unsqueeze.default", {"self": ref("x"), "dim": 1}, ["u"]], ["aten.sub.Tensor", {"self": ref("u"), "other": ref("x")}, ["big"]]],
    "rows attending to rows": [["aten.unsqueeze.default", {"self": ref("x"), "dim": 0}, ["q"]],
        ["aten.scaled_dot_product_attention.default", {"query": ref("q"), "key": ref("q"), "value": ref("q")}, ["big"]]],
    "only of many rows": [ROWS, ["_operator.floordiv", {"a": ref("n"), "b": 100}, ["h"]], ["aten.ones.default", {"size": [ref("h"), ref("h"), ref("h")]}, ["big"]]],
}  # fmt: skip


@pytest.mark.parametrize("how", GROWING)
def test_a_step_that_takes_more_for_each_row_the_more_there_are_is_refused(how):
    with pytest.raises(BadInput, match=r"numbers of two rows and [\d,]+ of [\d,]+: more for each row"):
        tried(text(GROWING[how]), (4,), 2)


@pytest.mark.parametrize(
    "value",
    [{"of": ["x"]}, {"of": {"of": "x"}}, {"dtype": "nn"}, {"dtype": ["float32"]}, {"number": []}, {"number": "many"}, {"what": "x"}, {},
     {"of": "x", "dtype": "float32"}, [[{"dtype": "_dynamo"}]]],
)  # fmt: skip
def test_a_value_that_no_graph_has_is_refused(value):
    with pytest.raises(BadInput, match="The graph is damaged"):
        tried(text([["aten.relu.default", {"self": value}, ["r"]]]), (4,), 2)


def at_only(hit: list, rows: str = "hit") -> list:
    """Nodes that make ten million numbers where a size, made by `hit`, is 1, and one number elsewhere."""
    return [ROWS, *hit, ["_operator.mul", {"a": ref(rows), "b": 10**7}, ["k"]], ["_operator.add", {"a": ref("k"), "b": 1}, ["s"]],
            ["aten.ones.default", {"size": [ref("s")]}, ["big"]]]  # fmt: skip


LATE = {
    "at one number": (at_only([["_operator.eq", {"a": ref("n"), "b": 400}, ["hit"]]]), 400),
    "at some, by a remainder": (at_only([["_operator.mod", {"a": ref("n"), "b": 1009}, ["r"]], ["_operator.eq", {"a": ref("r"), "b": 7}, ["hit"]]]), 7),
    "at a single row": (at_only([["_operator.lt", {"a": ref("n"), "b": 2}, ["hit"]]]), 1),
    "at none": (at_only([["_operator.lt", {"a": ref("n"), "b": 1}, ["hit"]]]), 0),
    "beyond a number, without arithmetic": (
        [["aten.slice.Tensor", {"self": ref("x"), "dim": 0, "start": 5000}, ["late"]], ["aten.unsqueeze.default", {"self": ref("late"), "dim": 1}, ["u"]],
         ["aten.sub.Tensor", {"self": ref("u"), "other": ref("late")}, ["big"]]], 9000,
    ),
}  # fmt: skip


@pytest.mark.parametrize("when", LATE)
def test_memory_that_explodes_at_some_number_of_rows_alone_is_refused_there(when, monkeypatch):
    """Two, three and 4,096 rows show nothing of it; it is refused before a tensor of real numbers is made, each time."""
    nodes, rows = LATE[when]
    module = replace(models.make("graph", {"graph": text(nodes)}), inputs=(4,), outputs=2)()
    assert module(torch.zeros(12, 4)).shape == (12, 2)
    made = []
    whole = type(module).walk
    monkeypatch.setattr(type(module), "walk", lambda self, x, look: made.append(x.device.type) or whole(self, x, look))
    for _ in range(2):
        with pytest.raises(BadInput, match=r"numbers of two rows and [\d,]+ of [\d,]+: more for each row"):
            module(torch.zeros(rows, 4))
    assert set(made) == {"meta"}


def test_a_file_whose_memory_explodes_at_the_number_of_training_rows_is_refused(good, tmp_path):
    """The 30 training rows of `refused` are answered at once when a model is measured."""
    size = lambda name: {"as_sym_int": {"as_name": name}}  # noqa: E731

    def call(target: str, to: str, *inputs, kind: str = "as_sym_int"):
        given = [{"name": name, "arg": arg, "kind": 1} for name, arg in inputs]
        return {
            "target": target,
            "inputs": given,
            "outputs": [size(to) if kind == "as_sym_int" else {"as_tensor": {"name": to}}],
            "metadata": {},
        }

    def change(found):
        found["graph_module"]["graph"]["nodes"][:0] = [
            call("torch.ops.aten.sym_size.int", "n", ("self", {"as_tensor": {"name": "input"}}), ("dim", {"as_int": 0})),
            call("_operator.eq", "hit", ("a", size("n")), ("b", size("n") | {"as_sym_int": {"as_int": 30}})),
            call("_operator.mul", "k", ("a", size("hit")), ("b", {"as_int": 10**8})),
            call("_operator.add", "s", ("a", size("k")), ("b", {"as_int": 1})),
            call("torch.ops.aten.ones.default", "big", ("size", {"as_sym_ints": [{"as_name": "s"}]}), kind="as_tensor"),
        ]

    refused(rewritten(good, tmp_path / "model.pt2", told("models/model.json", change)), tmp_path, "of 30: more for each row")


def test_each_number_of_rows_is_looked_at_once(good, monkeypatch):
    found = read_graph(good)
    for cached in (tried, refuse_growth, _needed):
        cached.cache_clear()
    runs = []
    whole = Program.walk
    monkeypatch.setattr(Program, "walk", lambda self, x, look: runs.append(x.device.type) or whole(self, x, look))
    for _ in range(3):
        module = replace(models.make("graph", {"graph": found.text}), inputs=(4,), outputs=3)()
        for rows in (17, 18):
            module(torch.zeros(rows, 4))
    assert runs.count("cpu") == 6
    assert runs.count("meta") == 5, "2, 3 and 4,096 rows before, then 17 and 18"


def test_sizes_in_proportion_to_rows_are_not():
    proportional = [ROWS, ["_operator.mul", {"a": ref("n"), "b": 3}, ["m"]], ["aten.ones.default", {"size": [ref("m"), 4]}, ["some"]],
                    ["aten.ones.default", {"size": [50, 50]}, ["fixed"]]]  # fmt: skip
    assert len(tried(text(proportional), (4,), 2).nodes) == 5


def test_rows_that_are_wider_may_take_more_in_proportion():
    """Texts can be longer than those that a graph was first tried with; what each needs is told of such rows."""
    nodes = [
        ["aten.tanh.default", {"self": ref("x")}, ["wide"]],
        ["aten.sum.dim_IntList", {"self": ref("wide"), "dim": [1], "keepdim": True}, ["h"]],
        ["aten.linear.default", {"input": ref("h"), "weight": ref("w")}, ["y"]],
    ]
    tensors = {"w": ["m.w", "parameter", [2, 1], "float32"]}
    same = json.dumps({"x": ["x", "float32", [4]], "y": "y", "tensors": tensors, "nodes": nodes})
    refuse_growth(same, (4,), 2, (3, 64))


def test_numbers_squared_again_and_again_stop_at_a_bound():
    """Forty squarings of a size have a million million digits."""
    nodes = [
        ROWS,
        *(["_operator.mul", {"a": ref(f"n{k}" if k else "n"), "b": ref(f"n{k}" if k else "n")}, [f"n{k + 1}"]] for k in range(40)),
    ]
    with pytest.raises(BadInput, match=r"mul' in the graph makes a size of [\d,]+ of two rows"):
        tried(text(nodes), (4,), 2)


@pytest.mark.parametrize("how", [how for how, (_, match) in HOSTILE.items() if match])
def test_what_is_no_plain_graph_is_refused_in_a_sentence(good, tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    change, match = HOSTILE[how]
    refused(rewritten(good, tmp_path / "model.pt2", change), tmp_path, match)
    assert not Path("CANARY").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_under_the_name_of_a_graph_is_told_as_one(good, tmp_path, protocol):
    path = tmp_path / "model.pt2"
    path.write_bytes(pickle.dumps(Canary(tmp_path / "ran"), protocol=protocol))
    refused(path, tmp_path, r"'model\.pt2' is a Python pickle, which can run programs when opened and never is here\. Write it by")
    assert not (tmp_path / "ran").exists()


def test_a_folder_of_several_graphs_names_them(good, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("b.pt2", "a.pt2", "c.pt2"):
        (folder / name).write_bytes(good.read_bytes())
    refused(folder, tmp_path, r"'models' holds 3 \.pt2 files: a\.pt2, b\.pt2, c\.pt2\. Name one of them")


def test_nothing_pickled_is_opened(good, tmp_path):
    """PyTorch's own reader opens the inputs that a model was shown, and tensors that are said to be pickled: each writes the canary."""
    canary = tmp_path / "canary"
    shown = rewritten(good, tmp_path / "shown.pt2", lambda name, data: pickled(canary) if name == "data/sample_inputs/model.pt" else data)
    with suppress(Exception):  # whatever it raises, the canary tells
        torch.export.load(shown)
    assert canary.exists(), "a reader that opens it would be seen here"
    canary.unlink()
    assert read_graph(shown).weights.state.keys() == read_graph(good).weights.state.keys()

    def change(name: str, data: bytes) -> bytes:
        if name == "data/weights/weight_0":
            return pickled(canary)
        return meta(lambda m: m.update(use_pickle=True))(name, data)

    refused(rewritten(good, tmp_path / "weights.pt2", change), tmp_path, "is a pickled tensor, which could run code")
    for name in ("constants/custom_obj_0", "constants/opaque_obj_0", "aotinductor/model/model.so"):
        made = rewritten(good, tmp_path / f"{Path(name).name}.pt2", more=[(f"model/data/{name}", pickle.dumps(Canary(canary)))])
        refused(made, tmp_path, "could run code when opened")
    assert not canary.exists()


def link(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = 0o120777 << 16
    return made


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ([("model/../../../out.txt", b"x")], "no part of one exported model"), ([("model/models/other.json", b"{}")], "no part"),
        ([("model/run.py", b"x")], "no part"), ([("model/models/model.json", b"{}")], "no part"), ([(link("model/version"), b"/etc")], "no part"),
    ],
)  # fmt: skip
def test_an_archive_with_more_than_a_graph_is_refused(good, tmp_path, more, match):
    refused(rewritten(good, tmp_path / "model.pt2", more=more), tmp_path, match)


def test_packed_and_overlapping_archives_are_refused(good, tmp_path):
    bomb = rewritten(
        good,
        tmp_path / "bomb.pt2",
        lambda name, data: bytes(200_000_000) if name == "data/weights/weight_0" else data,
        pack=zipfile.ZIP_DEFLATED,
    )
    assert bomb.stat().st_size < 1_000_000
    refused(bomb, tmp_path, "packed as PyTorch never packs")
    swollen = bytearray(good.read_bytes())
    entry = swollen.rindex(b"/data/weights/weight_0") - len("model") - 46  # its line in the archive's directory
    assert swollen[entry : entry + 4] == b"PK\x01\x02"
    swollen[entry + 20 : entry + 28] = (2**31 - 1).to_bytes(4, "little") * 2
    (tmp_path / "swollen.pt2").write_bytes(swollen)
    refused(tmp_path / "swollen.pt2", tmp_path, "packed as PyTorch never packs")
    (tmp_path / "cut.pt2").write_bytes(good.read_bytes()[:-60])
    refused(tmp_path / "cut.pt2", tmp_path, "damaged|no part of one exported model")
    (tmp_path / "text.pt2").write_bytes(b"hello")
    refused(tmp_path / "text.pt2", tmp_path, "damaged")


def test_other_classes_and_other_inputs_are_refused(good, tmp_path):
    rng = np.random.default_rng(0)
    for name, width, classes, match in (
        ("two", 4, 2, r"answers \(3,\) to a row; the target needs 2"),
        ("wide", 6, 3, r"takes inputs \(4,\)"),
    ):
        x, y = rng.normal(size=(40, width)).astype(np.float32), np.arange(40) % classes
        influence.save_data(tmp_path / name, x, y, np.arange(40) % 4 == 0, classes=("a", "b", "c")[:classes])
        with pytest.raises(BadInput, match=match):
            perform("import_model", Project(tmp_path / f"p{name}"), {"path": str(good), "data": str(tmp_path / name)})


def test_a_model_that_learns_while_it_answers_is_refused(tmp_path):
    torch.manual_seed(0)
    dropped = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.Linear(5, 3)).train()
    made = models.make("graph", {"graph": read_graph(exported(dropped, torch.randn(3, 4), tmp_path / "a.pt2")).text})
    with pytest.raises(BadInput, match="training mode"):
        replace(made, inputs=(4,), outputs=3)()
    normed = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).train()
    with pytest.raises(BadInput, match=r"model\.eval\(\)"):
        read_graph(exported(normed, torch.randn(3, 4), tmp_path / "b.pt2"))


def test_what_changes_a_tensor_that_others_share_is_refused(tmp_path):
    class Sharing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.out = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            h = self.first(x)
            h.view(-1, 2, 2).mul_(2.0)
            return self.out(h)

    with pytest.raises(BadInput, match="in place that others share"):
        read_graph(exported(Sharing().eval(), torch.randn(3, 4), tmp_path / "a.pt2"))


def test_listed_operations_are_pytorchs_own_and_none_is_of_files_or_chance():
    for name in PURE:
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads():
            schema = getattr(packet, overload)._schema
            assert not any("filename" in a.name or "generator" in a.name for a in schema.arguments) or "out" in overload, (name, overload)
            tags = getattr(packet, overload).tags
            assert torch.Tag.nondeterministic_seeded not in tags or name in ("dropout", "feature_dropout", "alpha_dropout"), name
    assert operation("aten.relu.default")(self=torch.tensor([-1.0, 2.0])).tolist() == [0, 2]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.integers(0, 10**6),
    byte=st.integers(0, 255),
    part=st.sampled_from(["models/model.json", "data/weights/model_weights_config.json", ""]),
)
def test_a_damaged_file_is_refused_or_read_and_nothing_else(good, tmp_path, cut, byte, part):
    path = tmp_path / "model.pt2"
    data = bytearray(good.read_bytes())
    if part:
        rewritten(good, path, lambda name, raw: raw[: cut % len(raw)] + bytes([byte]) + raw[cut % len(raw) + 1 :] if name == part else raw)
    else:
        data[cut % len(data)] = byte
        path.write_bytes(data)
    try:
        found = read_graph(path)
        replace(models.make("graph", {"graph": found.text}), inputs=(4,), outputs=3)()
    except BadInput:
        pass
    assert os.listdir(tmp_path) == ["model.pt2"]
