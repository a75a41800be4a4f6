"""Trainings from elsewhere: recorded in a plain PyTorch loop, followed to the same weights, believed only where they agree."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

import influence
from influence.actions import perform
from influence.errors import BadInput
from influence.exchange.course import write_course
from influence.exchange.matching import Probe, matched
from influence.exchange.record import read_record
from influence.grads import outputs
from influence.loop import batches, begun
from influence.replay.walk import walk
from influence.store import Project
from influence.training import load, train, train_many
from influence.types import Question
from tests import tiny

N, TEST = 240, 160


def table(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N + TEST, 5)).astype(np.float32)
    group = rng.choice(["a", "b"], N + TEST)
    y = (x[:, 0] + 0.5 * x[:, 1] * x[:, 2] + 0.4 * (group == "a") + rng.normal(size=N + TEST) * 0.5 > 0).astype(np.int64)
    return x, y, group, np.arange(N + TEST) >= N


def network(dropout: float = 0.2) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 12), nn.GELU(), nn.Dropout(dropout), nn.Linear(12, 2))


SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-3)
ADAM = partial(torch.optim.AdamW, lr=0.01)


def outside(folder, optimizer=SGD, clip: float = 0.0, told: float | None = None, dropout: float = 0.2, epochs: int = 3):
    """What a person's own program does: data, a model, a loop, and the record of it. Returns the model and its answers to all rows."""
    x, y, group, test = table()
    influence.save_data(
        folder / "data", x, y, test, ids=np.array([f"row {i}" for i in range(len(x))]), columns=pd.DataFrame({"group": group}),
        classes=("no", "yes"), protected=("group",), target="outcome",
    )  # fmt: skip
    torch.manual_seed(7)
    model, ids = network(dropout), np.array([f"row {i}" for i in range(N)])
    rule = optimizer(model.parameters())
    recorder = influence.Recorder(model, rule, ids, max_norm=clip if told is None else told, checkpoints=2)
    schedule = torch.optim.lr_scheduler.LambdaLR(rule, lambda t: 1 - t / (epochs * 6))
    rows, target = torch.from_numpy(x[:N]), torch.from_numpy(y[:N])
    for _ in range(epochs):
        for places in torch.randperm(N).split(40):
            with recorder.step(places):
                rule.zero_grad()
                F.cross_entropy(model(rows[places]), target[places]).backward()
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                rule.step()
            schedule.step()
    recorder.save(folder / "model", probe=rows[:8], classes=("no", "yes"))
    model.eval()
    with torch.no_grad():
        return model, model(torch.from_numpy(x)).numpy()


@pytest.fixture(scope="module")
def came(tmp_path_factory):
    """A recorded training, its program's own answers, and what importing it gave."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("outside")
    _, said = outside(folder)
    project = Project(folder / "project")
    result = perform("import_model", project, {"path": str(folder / "model"), "data": str(folder / "data")})
    return folder, project, result, said


def verdicts(result) -> dict[str, str]:
    return {check["check"]: check["verdict"] for check in result["checks"]}


def test_a_model_from_elsewhere_answers_as_it_did_there(came):
    _, _, result, said = came
    table = pd.read_parquet(result["predictions"])
    places = table["id"].str.removeprefix("row ").astype(int)
    expected = torch.from_numpy(said).softmax(1).numpy()[places, 1]
    np.testing.assert_allclose(table["p_yes"], expected, atol=1e-6)
    assert set(table["split"]) == {"train", "evaluation", "holdout"}
    assert verdicts(result)["Answers as where it was trained"] == "good"


def test_its_training_is_followed_to_the_same_weights(came):
    folder, project, result, _ = came
    assert verdicts(result)["Its training can be followed"] == "good"
    trained, rows = project.trained(result["run"]), project.dataset(project.run(result["run"]).dataset).train
    again = train(trained.model, rows, trained.recipe)
    for name, value in again.final.load().items():
        torch.testing.assert_close(value, trained.final.load()[name], rtol=1e-4, atol=1e-6)
    assert trained.recipe.schedule == "linear"
    assert [c.step for c in trained.checkpoints] == [8, 16, 18]
    first = read_record(folder / "model").checkpoints[0][0].state
    torch.testing.assert_close(trained.checkpoints[0].load()["1.weight"], first["0.weight"])


@pytest.mark.parametrize("rule", [SGD, ADAM], ids=["sgd", "adamw"])
def test_its_metagradient_is_the_derivative_of_its_own_loop(tmp_path, rule):
    """Against central differences of the recorded loop, run again with one row's weight a little more and a little less."""
    outside(tmp_path, rule, clip=0.5)
    project = Project(tmp_path / "p")
    result = perform("import_model", project, {"path": str(tmp_path / "model"), "data": str(tmp_path / "data")})
    trained, data = project.trained(result["run"]), project.dataset(project.run(result["run"]).dataset)
    question = Question((tiny.Mean(),), data.evaluation)
    slope = walk(trained, data.train, question).slope[:, 0]
    step, rows = 0.05, [0, 17, 101]
    weights = np.ones((2 * len(rows), len(data.train)))
    for k, row in enumerate(rows):
        weights[2 * k, row], weights[2 * k + 1, row] = 1 + step, 1 - step
    ends = train_many(trained.model, data.train, trained.recipe, weights)
    values = [float(question.value(outputs(load(trained).put(end), data.evaluation))[0]) for end in ends]
    differences = [(values[2 * k] - values[2 * k + 1]) / (2 * step) for k in range(len(rows))]
    np.testing.assert_allclose(slope[rows], differences, rtol=0.05, atol=2e-6)


def test_without_a_row_its_places_stay_empty_and_another_seed_is_another_training(came):
    _, project, result, _ = came
    trained, rows = project.trained(result["run"]), project.dataset(project.run(result["run"]).dataset).train
    gone = (rows.ids[3],)
    left = rows.take(~rows.mask(gone))
    weights = np.ones(len(rows))
    weights[3] = 0
    with_zero, without = train(trained.model, rows, trained.recipe, weights), train(trained.model, left, trained.recipe, removed=gone)
    for name, value in with_zero.final.load().items():
        assert torch.equal(value, without.final.load()[name])
    other = batches(trained.recipe, rows, seed=5)
    assert [len(part) for part in other.places] == [len(part) for part in batches(trained.recipe, rows).places]
    assert not torch.equal(torch.cat(other.places), torch.cat(batches(trained.recipe, rows).places))
    fresh = train_many(trained.model, rows, trained.recipe, np.ones((2, len(rows))), seeds=[5, 6])
    assert (fresh[0] - fresh[1]).norm() > 0.1


def test_it_is_investigated_and_forgotten_like_any_other(came):
    _, project, result, _ = came
    asked = {"run": result["run"], "query": "loss"}
    found = perform("fidelity", project, {**asked, "method": "metagradient", "fraction": 0.02, "subsets": 24})
    assert found["lds"] > 0.9
    assert perform("attribute", project, {**asked, "method": "tracin"})["n"] == N
    ids = project.dataset(project.run(result["run"]).dataset).train.ids[:5].tolist()
    made = perform("unlearn", project, {"run": result["run"], "ids": ids, "method": "retrain"})
    assert made["claim"] == "L2"
    assert project.run(None).id == result["run"], "one that was brought is a model to work on"


def test_a_loop_that_does_more_than_was_recorded_is_seen(tmp_path):
    outside(tmp_path, clip=0.05, told=0.0)
    project = Project(tmp_path / "p")
    result = perform("import_model", project, {"path": str(tmp_path / "model"), "data": str(tmp_path / "data")})
    assert verdicts(result)["Its training can be followed"] == "doubtful"
    assert project.trained(result["run"]).recipe is None, "what cannot be followed is not offered"
    with pytest.raises(BadInput, match="recipe"):
        perform("attribute", project, {"query": "loss", "method": "metagradient"})
    assert perform("attribute", project, {"query": "loss", "method": "influence_function"})["n"] == N


def test_weights_alone_are_ranked_by_tracin(came, tmp_path):
    folder, *_ = came
    (tmp_path / "weights").mkdir()
    for k, (kept, _, _) in enumerate(read_record(folder / "model").checkpoints):
        torch.save({"state_dict": {f"module.{n}": v for n, v in kept.state.items()}, "lr": 0.1}, tmp_path / "weights" / f"{k}.pt")
    project = Project(tmp_path / "p")
    given = {"path": str(tmp_path / "weights"), "data": str(folder / "data"), "set": {"dropout": 0.2}}
    result = perform("import_model", project, given)
    trained = project.trained(result["run"])
    assert [c.lr for c in trained.checkpoints] == [0.1] * 3
    assert trained.recipe is None
    own = ("Answers as where it was trained", "Its training can be followed", "Right as often as known")
    assert [verdicts(result)[name] for name in own] == ["doubtful", "none", "none"], "an activation was guessed"
    closed = next(check for check in result["checks"] if check["check"] == "Closed without a recipe")
    assert "Metagradient" in closed["found"]
    assert "influence.Recorder(model, optimizer, ids)" in closed["code"]
    assert perform("attribute", project, {"query": "loss", "method": "tracin"})["n"] == N
    assert perform("import_model", project, {**given, "rates": [0.1, 0.05, 0.01]})["run"]
    with pytest.raises(BadInput, match="2 step sizes were given for 3 checkpoints"):
        perform("import_model", project, {**given, "rates": [0.1, 0.05]})


def test_what_it_is_known_to_reach_is_compared(came):
    folder, project, _, said = came
    _x, y, _, test = table()
    real = float((said.argmax(1) == y)[test].mean())
    given = {"path": str(folder / "model"), "data": str(folder / "data")}
    assert verdicts(perform("import_model", project, {**given, "accuracy": real}))["Right as often as known"] == "good"
    assert verdicts(perform("import_model", project, {**given, "accuracy": real - 0.2}))["Right as often as known"] == "doubtful"


def test_what_is_no_data_is_said(came, tmp_path):
    folder, project, *_ = came
    with pytest.raises(BadInput, match="'model' is a model, not data"):
        perform("import_model", project, {"path": str(folder / "model"), "data": str(folder / "model")})
    with pytest.raises(BadInput, match="nope"):
        perform("import_model", project, {"path": str(folder / "model"), "data": str(tmp_path / "nope")})


def test_a_record_with_the_table_it_came_from_says_what_it_saw(came, tmp_path):
    """A table is prepared anew, and need not give the inputs that the recorded model saw."""
    folder, *_ = came
    x, y, group, _ = table()
    rows = pd.DataFrame(x[:, :4], columns=list("abcd")).assign(group=group, outcome=np.where(y, "yes", "no"))
    rows.to_csv(tmp_path / "table.csv", index=False)
    said = r"inputs of shape \(5,\), and these data make \(6,\)\. Bring the data as it saw them: the folder that influence\.save_data wrote"
    with pytest.raises(BadInput, match=said):
        perform(
            "import_model",
            Project(tmp_path / "p"),
            {"path": str(folder / "model"), "data": str(tmp_path / "table.csv"), "target": "outcome"},
        )


@pytest.mark.parametrize(("stated", "said"), [(84, "give 0.84"), (-0.1, "from 0 to 1"), (float("nan"), "from 0 to 1")])
def test_a_known_accuracy_is_a_share(tmp_path, stated, said):
    with pytest.raises(BadInput, match=said):
        perform("import_model", Project(tmp_path / "p"), {"path": "m", "data": "d", "accuracy": stated})


def test_a_guessed_activation_is_doubtful_and_no_accuracy_confirms_another(came, tmp_path, monkeypatch):
    folder, *_ = came
    x, y, _group, test = table()
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 2))
    rule, rows, target = torch.optim.Adam(model.parameters(), 0.02), torch.from_numpy(x[:N]), torch.from_numpy(y[:N])
    for _ in range(60):
        rule.zero_grad()
        F.cross_entropy(model(rows), target).backward()
        rule.step()
    save_file(model.state_dict(), tmp_path / "m.safetensors")
    with torch.no_grad():
        real = float((model(torch.from_numpy(x)).argmax(1).numpy() == y)[test].mean())
    given = {"path": str(tmp_path / "m.safetensors"), "data": str(folder / "data"), "accuracy": real, "check_only": True}
    result = perform("import_model", Project(tmp_path / "p"), given)
    checks = {check["check"]: check for check in result["checks"]}
    answers, right = checks["Answers as where it was trained"], checks["Right as often as known"]
    assert result["model"]["given"]["activation"] == "gelu"
    assert answers["verdict"] == right["verdict"] == "doubtful"
    assert "--set activation=relu if it was" in answers["mend"]
    assert f"activation=relu {real:.1%}" in right["found"]
    assert "--set activation=relu" in right["mend"]
    own = float(right["found"].partition("%")[0]) / 100
    again = perform("import_model", Project(tmp_path / "p"), {**given, "accuracy": own})["checks"]
    assert verdicts({"checks": again})["Right as often as known"] == "doubtful", "ReLU fits it as well"
    assert "This does not tell it from activation=relu" in next(c["mend"] for c in again if c["check"] == "Right as often as known")
    monkeypatch.setattr("influence.actions._accuracy.MEASURED", 40)
    again = perform("import_model", Project(tmp_path / "p"), given)["checks"]
    assert "% on 40 of them" in next(c["found"] for c in again if c["check"] == "Right as often as known")
    checks = verdicts(perform("import_model", Project(tmp_path / "p"), {**given, "set": {"activation": "relu"}}))
    assert checks["Answers as where it was trained"] == "none"
    assert checks["Right as often as known"] == "good"


def test_classes_in_another_order_are_seen(came, tmp_path):
    folder, *_ = came
    x, y, _group, test = table()
    ids = np.array([f"row {i}" for i in range(len(x))])
    influence.save_data(tmp_path / "data", x, 1 - y, test, ids=ids, classes=("yes", "no"))
    project = Project(tmp_path / "p")
    with pytest.raises(BadInput, match="no, yes, in this order"):
        perform("import_model", project, {"path": str(folder / "model"), "data": str(tmp_path / "data")})
    save_file(read_record(folder / "model").checkpoints[-1][0].state, tmp_path / "m.safetensors")
    result = perform("import_model", project, {"path": str(tmp_path / "m.safetensors"), "data": str(tmp_path / "data")})
    assert verdicts(result)["Classes in the model's order"] == "doubtful"


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_an_activation_is_told_by_the_probe_and_a_wrong_model_refused(activation):
    torch.manual_seed(0)
    layer = {"gelu": nn.GELU, "relu": nn.ReLU}[activation]
    model = nn.Sequential(nn.Linear(4, 8), layer(), nn.Linear(8, 3))
    x = torch.randn(6, 4)
    with torch.no_grad():
        probe = Probe(x.numpy(), model(x).numpy())
        other = Probe(x.numpy(), model(x).tanh().numpy())
    found = matched(model.state_dict(), (4,), 3, probe=probe)
    assert (found.model.activation, found.model.hidden) == (activation, (8,))
    with pytest.raises(BadInput, match="answers otherwise than where it was trained"):
        matched(model.state_dict(), (4,), 3, probe=other)
    assert matched(model.state_dict(), (4,), 3).guessed == ("activation",)


@pytest.mark.parametrize(
    ("kind", "shape", "given"),
    [
        ("logistic", (4,), {}), ("mlp", (4,), {"hidden": (9, 5)}), ("cnn", (1, 12, 12), {"channels": (8, 12)}),
        ("cnn", (1, 12, 12), {"channels": (8, 12), "head": "mean"}), ("cnn", (1, 12, 12), {"channels": (8, 8), "head": "flatten"}),
        ("cnn", (1, 9, 9), {"head": "mean"}), ("resnet9", (3, 8, 8), {"width": 8}),
        ("resnet9", (3, 8, 8), {"width": 8, "norm": "batch"}), ("resnet18", (3, 8, 8), {"width": 8, "stem": "small"}),
        ("resnet18", (3, 32, 32), {"width": 8, "norm": "batch", "activation": "relu", "stem": "large", "pooling": "max"}),
        ("transformer", (6,), {"vocabulary": 30, "width": 8, "heads": 2, "layers": 3, "ratio": 2}),
    ],
)  # fmt: skip
def test_every_architecture_is_known_by_its_weights(kind, shape, given):
    from dataclasses import replace

    from influence.registry import models

    made = replace(models.make(kind, given), inputs=shape, outputs=3)
    module = made()
    renamed = {f"body.{n}": v for n, v in module.state_dict().items()}
    x = torch.randint(0, 30, (5, *shape)) if kind == "transformer" else torch.randn(5, *shape)
    module.eval()
    with torch.no_grad():
        probe = Probe(x.numpy(), module(x).numpy())
    found = matched(renamed, shape, 3, probe=probe)
    assert found.model == made


def test_a_model_that_fits_nothing_says_what_it_holds():
    state = nn.Sequential(nn.Linear(7, 8), nn.Linear(8, 2)).state_dict()
    with pytest.raises(BadInput, match=r"fit no model of inputs \(5,\) and 2 outputs.*0.weight \(8, 7\)"):
        matched(state, (5,), 2)
    with pytest.raises(BadInput, match=r"needs a weight of shape \(8, 5\)"):
        matched(state, (5,), 2, "mlp")


@pytest.mark.parametrize("told", [True, False])
def test_texts_padded_batch_by_batch_draw_the_same_dropout_if_their_width_is_told(tmp_path, told):
    from dataclasses import replace

    from influence.registry import models

    rng = np.random.default_rng(0)
    ends = rng.integers(2, 9, 80)
    x = np.where(np.arange(8) < ends[:, None], rng.integers(1, 30, (80, 8)), 0)
    y = (x == 3).any(1).astype(np.int64)
    influence.save_data(tmp_path / "data", x, y, np.arange(80) >= 60, classes=("without", "with"))
    torch.manual_seed(0)
    model = replace(models.make("transformer", {"vocabulary": 30, "width": 8, "heads": 2, "dropout": 0.3}), inputs=(8,), outputs=2)()
    rule = SGD(model.parameters())
    recorder = influence.Recorder(model, rule, np.arange(60))
    rows, target = torch.from_numpy(x), torch.from_numpy(y)
    for places in torch.randperm(60).split(6):
        width = int(ends[places].max())
        with recorder.step(places, width=width if told else 0):
            rule.zero_grad()
            F.cross_entropy(model(rows[places, :width]), target[places]).backward()
            rule.step()
    recorder.save(tmp_path / "model", probe=rows[:5], classes=("without", "with"))
    project = Project(tmp_path / "p")
    given = {"path": str(tmp_path / "model"), "data": str(tmp_path / "data"), "set": {"heads": 2, "dropout": 0.3}}
    result = perform("import_model", project, given)
    assert verdicts(result)["Its training can be followed"] == ("good" if told else "doubtful")
    if not told:
        return
    trained, train_rows = project.trained(result["run"]), project.dataset(project.run().dataset).train
    longest = int(np.argmax((train_rows.x > 0).sum(1)))
    gone = (train_rows.ids[longest],)
    weights = np.ones(60)
    weights[longest] = 0
    left = train_rows.take(~train_rows.mask(gone))
    by_weight, in_fact = train(trained.model, train_rows, trained.recipe, weights), train(trained.model, left, trained.recipe, removed=gone)
    assert by_weight.final.digest == in_fact.final.digest, "a batch stays as wide as it was without its longest text"


# ---- What the recorder refuses, and when it says that a training cannot be followed


def test_the_recorder_says_why_a_training_cannot_be_followed(tmp_path):
    model = network()
    two = torch.optim.SGD([{"params": model[0].parameters()}, {"params": model[3].parameters(), "lr": 0.2}], lr=0.1)
    for rule, said in (
        (torch.optim.RMSprop(model.parameters()), "SGD, Adam and AdamW"), (two, "groups differ in lr"),
        (torch.optim.SGD(model.parameters(), lr=0.1, dampening=0.5, momentum=0.9), "dampening"),
        (torch.optim.Adam(model.parameters(), amsgrad=True), "amsgrad"),
    ):  # fmt: skip
        recorder = influence.Recorder(model, rule, np.arange(4))
        with recorder.step([0, 1]):
            F.cross_entropy(model(torch.zeros(2, 5)), torch.tensor([0, 1])).backward()
            rule.step()
        recipe, reason = recorder.recipe()
        assert recipe is None
        assert said in reason
        folder = recorder.save(tmp_path / type(rule).__name__ / said.split()[0])
        assert said in read_record(folder).no_recipe


def test_the_recorder_leaves_the_programs_own_draws_alone():
    model, rule = network(), None
    rule = SGD(model.parameters())
    recorder = influence.Recorder(model, rule, np.arange(4))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with recorder.step([0, 1]):
        first = model(torch.ones(2, 5))
    assert torch.equal(before, torch.get_rng_state())
    recorder.lr, recorder.places = [], []
    with recorder.step([0, 1]):
        assert torch.equal(first, model(torch.ones(2, 5))), "the draws of a step are its own"


def test_the_recorder_refuses_what_cannot_be():
    model = network()
    with pytest.raises(BadInput, match="distinct"):
        influence.Recorder(model, SGD(model.parameters()), [1, 1])
    recorder = influence.Recorder(model, SGD(model.parameters()), [5, 6])
    with pytest.raises(BadInput, match="row 6; there are 2 ids"), recorder.step([6]):
        pass
    with pytest.raises(BadInput, match="No step was recorded"):
        recorder.save("anywhere")


def test_checkpoints_stay_few_however_long_it_takes():
    model = network()
    recorder = influence.Recorder(model, SGD(model.parameters()), np.arange(4), checkpoints=3)
    for _ in range(1000):
        with recorder.step([0]):
            pass
    steps = [t for t, _ in recorder.kept]
    assert 3 <= len(steps) < 6
    assert len(set(np.diff(steps))) == 1


# ---- Damaged and hostile records


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "course.npz").unlink(), "no file beside it"),
        (lambda f: (f / "start.safetensors").write_bytes(b"nonsense"), "of another kind"),
        (lambda f: (f / "record.json").write_text("{"), "JSON"),
        (lambda f: (f / "record.json").write_text('{"format": 2}'), "format 1"),
        (lambda f: edit(f, checkpoints=[]), "names no checkpoint"),
        (lambda f: edit(f, checkpoints=[{"file": "../../etc/passwd", "step": 1, "lr": 0.1}]), "no file beside it"),
        (lambda f: edit(f, recipe={"lr": "fast"}), "lr must be a number"),
        (lambda f: np.savez(f / "course.npz", ids=np.array([{}], dtype=object)), "holds Python objects"),
        (lambda f: swollen(f), "at most 2 times"),
        (lambda f: course(f, places=lambda p: p + 10**6), "does not fit together"),
        (lambda f: course(f, sizes=lambda s: s[:-1]), "does not fit together"),
        (lambda f: course(f, lr=lambda r: r * np.nan), "does not fit together"),
        (lambda f: course(f, ids=lambda i: np.array([f"other {k}" for k in range(len(i))])), None),
        (lambda f: np.savez(f / "probe.npz", x=np.zeros((2, 5))), "x and y of one length"),
    ],
)  # fmt: skip
def test_a_damaged_record_is_refused_and_nothing_is_written(came, tmp_path, change, said):
    import shutil

    folder, *_ = came
    shutil.copytree(folder / "model", tmp_path / "model")
    change(tmp_path / "model")
    project = Project(tmp_path / "p")
    args = {"path": str(tmp_path / "model"), "data": str(folder / "data")}
    if said is None:  # rows that are not here: the weights are good, the training cannot be followed
        checks = perform("import_model", project, args)["checks"]
        assert any("rows that are not among these" in check["found"] for check in checks)
        return
    with pytest.raises(BadInput, match=said):
        perform("import_model", project, args)
    assert not project.runs()
    assert not project.records()


def edit(folder, **told):
    path = folder / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **told}))


@pytest.mark.parametrize("name", ["0001.safetensors", "model.pt2", "config.json"])
def test_a_link_that_leads_out_of_a_folder_of_checkpoints_is_not_followed(came, tmp_path, name):
    folder, *_ = came
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "0002.safetensors").write_bytes((folder / "model" / "start.safetensors").read_bytes())
    (tmp_path / "mine" / name).symlink_to(folder / "model" / "start.safetensors")
    with pytest.raises(BadInput, match=f"'{name}' in 'mine' is a link that leads out of the folder"):
        read_record(tmp_path / "mine")


def swollen(folder):
    """A course of 112 MB in 112 kB."""
    np.savez_compressed(folder / "course.npz", ids=np.zeros(14_000_000, dtype=np.int64))


def course(folder, **how):
    with np.load(folder / "course.npz") as file:
        parts = {name: file[name] for name in file.files}
    np.savez(folder / "course.npz", **{name: how.get(name, lambda a: a)(part) for name, part in parts.items()})


def test_a_record_begins_only_a_model_of_its_size(came):
    _folder, project, result, _ = came
    trained = project.trained(result["run"])
    with pytest.raises(BadInput, match="began with"):
        begun(tiny.bind("mlp", project.dataset(project.run(result["run"]).dataset).train, hidden=(3,)), trained.recipe)


# ---- The command


def test_the_command_says_what_was_checked(came, tmp_path, capsys):
    from influence.__main__ import app

    folder, *_ = came
    where = ["import-model", str(folder / "model"), str(folder / "data"), "--project", str(tmp_path / "p")]
    with pytest.raises(SystemExit, match="0"):
        app([*where, "--accuracy", "0.2"])
    said = capsys.readouterr().out
    assert "mlp (" in said
    assert "brought with 3 checkpoints" in said
    assert "good  Its training can be followed: run again, it ends at the model's weights" in said
    assert "LOOK  Right as often as known" in said
    assert "stated was 20.0%" in said
    with pytest.raises(SystemExit, match="2"):
        app([*where, "--model", "cnn"])
    assert "The CNN needs images" in capsys.readouterr().err


def test_another_seed_of_a_fine_tuning_begins_with_what_had_been_learnt(came):
    """Drawn at random instead, a few small steps would leave a model that knows nothing."""
    _, project, result, _ = came
    trained = project.trained(result["run"])
    rows = project.dataset(project.run(result["run"]).dataset).train
    start = torch.from_numpy(np.array(trained.recipe.course.load()["start"]))
    ends = train_many(trained.model, rows, replace(trained.recipe, lr=1e-6), np.ones((2, len(rows))), seeds=[11, 12])
    assert float((ends - start).abs().max()) < 1e-3
    assert not torch.equal(ends[0], ends[1])


def test_another_seed_of_a_brought_training_says_when_exported_that_it_cannot_be_followed(came, tmp_path):
    _, project, result, _ = came
    trained = project.trained(result["run"])
    rows = project.dataset(project.run(result["run"]).dataset).train
    again = train(trained.model, rows, replace(trained.recipe, seed=5))
    write_course(tmp_path, again, again.final.load())
    told = json.loads((tmp_path / "record.json").read_text())
    assert told["recipe"] is None
    assert not told["by_seed"]
    assert "another training from the first weights" in told["no_recipe"]


def test_a_training_that_magnifies_rounding_is_not_blamed_on_its_record(tmp_path, monkeypatch):
    """Large steps of a deep ReLU network: it ends elsewhere whenever sums are taken in another order, as on another machine."""
    from influence.actions import import_model as action

    outside(tmp_path)
    project = Project(tmp_path / "p")
    given = {"path": str(tmp_path / "model"), "data": str(tmp_path / "data"), "check_only": True}
    whole = action._end

    def apart(by: float, shaken: float):
        """As if the training ended so far from the model, and so far from itself when it is shaken."""

        def end(trained, dataset, report, shake=False):
            flat, names = whole(trained, dataset, report)
            return flat * (1 + by + shake * shaken), names

        return end

    for shaken, said in ((0.05, "magnifies rounding"), (1e-6, "something that was not recorded")):
        monkeypatch.setattr(action, "_end", apart(0.05, shaken))
        told = next(c for c in perform("import_model", project, given)["checks"] if c["check"] == "Its training can be followed")
        assert told["verdict"] == "doubtful"
        assert "ends 5.0% of the weights' size away" in told["found"]
        assert said in told["mend"]


def test_shaking_a_training_moves_its_start_by_rounding_alone(came):
    from influence.actions.import_model import _end
    from influence.types import ignore

    _, project, result, _ = came
    trained, data = project.trained(result["run"]), project.dataset(project.run(result["run"]).dataset)
    still, shaken = (_end(trained, data, ignore, shake)[0] for shake in (False, True))
    off = float((shaken - still).norm() / still.norm())
    assert 0 < off < 1e-4
