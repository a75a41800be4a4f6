"""`influence.drop_in` is the formula, one row at a time in float64, where Captum is right and where it is not; and it leaves no trace."""

from __future__ import annotations

import re
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from influence.drop_in import KMostInfluentialResults, TracInCP, TracInCPFast, load_checkpoint, tracin
from influence.errors import BadInput
from influence.grads.matrix import Feature
from influence.grads.parts import Dense
from scripts import captum_suite

RATES = (0.5, 0.2)
ROOT = Path(__file__).parents[1]


class Attention(nn.Module):
    """Table of vectors, attention, LayerNorm, dropout, a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.attention = nn.Embedding(9, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.drop, self.out = nn.LayerNorm(8), nn.Dropout(0.5), nn.Linear(8, 3)
        self.scale = nn.Parameter(torch.rand(3) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.table(x)
        return self.out(self.drop(self.norm(a + self.attention(a, a, a, need_weights=False)[0])).mean(1)) * self.scale


class Pair(nn.Module):
    """Two inputs, or one dictionary of two."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(2, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, x, z=None):
        x, z = (x["x"], x["z"]) if isinstance(x, dict) else (x, z)
        return self.out(torch.tanh(self.a(x) + self.b(z)))


class Sequence(nn.Module):
    """Outputs (B, T, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = nn.Linear(3, 5), nn.Linear(5, 4)

    def forward(self, x):
        return self.out(torch.tanh(self.body(x)))


class Own(nn.Linear):
    """A subclass."""


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2, padding="same"), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3, stride=2), nn.Flatten(), Own(12, 3)
    )


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 3))


N, Q = 13, 5
CASES = {
    "mlp": (mlp, lambda n: (torch.randn(n, 4), torch.arange(n) % 3)),
    "conv": (conv, lambda n: (torch.randn(n, 2, 6, 6), torch.arange(n) % 3)),
    "attention": (Attention, lambda n: (torch.randint(9, (n, 5)), torch.arange(n) % 3)),
    "two inputs": (Pair, lambda n: (torch.randn(n, 4), torch.randn(n, 2), torch.arange(n) % 3)),
    "frozen": (lambda: mlp().requires_grad_(False).append(nn.Linear(3, 3)), lambda n: (torch.randn(n, 4), torch.arange(n) % 3)),
}


class Dictionaries(Dataset):
    def __init__(self, x, z, y):
        self.parts = x, z, y

    def __len__(self):
        return len(self.parts[2])

    def __getitem__(self, i):
        x, z, y = (part[i] for part in self.parts)
        return {"x": x, "z": z}, y


def double(batch):
    return tuple(t.double() if t.is_floating_point() else t for t in batch)


def setting(name: str):
    torch.manual_seed(0)
    build, draw = CASES[name]
    model, rows, test = build().double(), double(draw(N)), double(draw(Q))
    states = []
    for _ in RATES:
        for p in model.parameters():
            p.data += 0.3 * torch.randn_like(p)
        states.append({key: value.clone() for key, value in model.state_dict().items()})
    return model, rows, test, list(zip(states, RATES, strict=True))


def put(model, checkpoint):
    model.load_state_dict(checkpoint[0])
    return checkpoint[1]


def gradient(model, batch, i, loss, params):
    value = loss(model(*(part[i : i + 1] for part in batch[:-1])), batch[-1][i : i + 1]).sum()
    found = torch.autograd.grad(value, params, allow_unused=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(params, found, strict=True)])


def by_hand(model, rows, test, checkpoints, loss, test_loss=None, layers=None):
    """Scores (Q, N) and the training rows' own (N,), from whole gradients of one row at a time."""
    total, own = torch.zeros(len(test[-1]), len(rows[-1]), dtype=torch.float64), torch.zeros(len(rows[-1]), dtype=torch.float64)
    was = {key: value.clone() for key, value in model.state_dict().items()}
    for checkpoint in checkpoints:
        rate = put(model.eval(), checkpoint)
        params = [p for n, p in model.named_parameters() if p.requires_grad and (layers is None or n.split(".")[0] in layers)]
        g = torch.stack([gradient(model, rows, i, loss, params) for i in range(len(rows[-1]))])
        v = torch.stack([gradient(model, test, i, test_loss or loss, params) for i in range(len(test[-1]))])
        total += rate * v @ g.T
        own += rate * g.square().sum(1)
    model.load_state_dict(was)
    model.train()
    return total, own


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("name", CASES)
def test_scores_are_the_formula(name, reduction):
    model, rows, test, checkpoints = setting(name)
    loss = nn.CrossEntropyLoss(reduction=reduction)
    expected, own = by_hand(model, rows, test, checkpoints, loss)
    for data in (TensorDataset(*rows), DataLoader(TensorDataset(*rows), 4)):
        peer = TracInCP(model, data, checkpoints, put, loss_fn=loss)
        close(peer.influence(test), expected)
        close(peer.influence(DataLoader(TensorDataset(*test), 2)), expected)
        close(peer.influence(test, aggregate=True), expected.sum(0, keepdim=True))
        close(peer.self_influence(), own)
        close(peer.self_influence(rows, outer_loop_by_checkpoints=True), own)


@pytest.mark.parametrize(("name", "layer"), [("mlp", "2"), ("conv", "5"), ("attention", "out"), ("two inputs", "out")])
def test_one_layer_is_the_formula_with_its_bias_and_what_follows(name, layer):
    model, rows, test, checkpoints = setting(name)
    loss = nn.CrossEntropyLoss(reduction="sum")
    expected, own = by_hand(model, rows, test, checkpoints, loss, layers=[layer])
    for chosen in (layer, model.get_submodule(layer)):
        peer = TracInCPFast(model, chosen, TensorDataset(*rows), checkpoints, put, loss, batch_size=3)
        close(peer.influence(test), expected)
        close(peer.self_influence(), own)
    close(TracInCP(model, TensorDataset(*rows), checkpoints, put, [layer], loss).influence(test), expected)


def test_captum_alone_drops_the_bias_and_what_follows_the_layer():
    from captum.influence import TracInCPFast as Captums

    model, rows, test, checkpoints = setting("attention")
    expected, _ = by_hand(model, rows, test, checkpoints, loss := nn.CrossEntropyLoss(reduction="sum"), layers=["out"])
    found = Captums(model.eval(), model.out, DataLoader(TensorDataset(*rows), 4), checkpoints, put, loss).influence(test)
    assert (found - expected).abs().max() > 0.1 * expected.abs().max()


def test_sequences_of_outputs():
    torch.manual_seed(0)
    model = Sequence().double()
    rows, test = ((torch.randn(n, 6, 3).double(), torch.randint(4, (n, 6))) for n in (N, Q))
    checkpoints = [({k: v.clone() for k, v in model.state_dict().items()}, 0.5)]

    def loss(z, y):
        return nn.functional.cross_entropy(z.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).sum(1)

    expected, own = by_hand(model, rows, test, checkpoints, loss)
    peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=loss, batch_size=4)
    close(peer.influence(test), expected)
    close(peer.self_influence(), own)
    last, _ = by_hand(model, rows, test, checkpoints, loss, layers=["out"])
    close(TracInCPFast(model, "out", TensorDataset(*rows), checkpoints, put, loss).influence(test), last)


def test_inputs_by_name():
    model, rows, test, checkpoints = setting("two inputs")
    loss = nn.CrossEntropyLoss(reduction="sum")
    expected, own = by_hand(model, rows, test, checkpoints, loss)
    peer = TracInCP(model, DataLoader(Dictionaries(*rows), 4), checkpoints, put, loss_fn=loss)
    close(peer.influence(({"x": test[0], "z": test[1]}, test[2])), expected)
    close(peer.self_influence(), own)


def test_losses_of_their_own_for_test_rows_and_outputs_of_one_dimension():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)).double()
    rows, test = ((torch.randn(n, 4).double(), torch.randn(n).double()) for n in (N, Q))
    checkpoints = [({k: v.clone() for k, v in model.state_dict().items()}, 0.5)]
    losses = nn.MSELoss(reduction="mean"), nn.L1Loss(reduction="sum")
    expected, _ = by_hand(model, rows, test, checkpoints, *losses)
    close(TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=losses[0], test_loss_fn=losses[1]).influence(test), expected)
    none, _ = by_hand(model, rows, test, checkpoints, lambda z, y: z)
    close(TracInCP(model, TensorDataset(*rows), checkpoints, put).influence(test), none)


def test_a_mean_with_class_weights_is_each_rows_own():
    """Captum divides by the weights of whatever rows share the batch."""
    model, rows, test, checkpoints = setting("mlp")
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.1]).double(), reduction="mean")
    expected, _ = by_hand(model, rows, test, checkpoints, loss)
    for batch in (1, 4, 13):
        close(TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=loss, batch_size=batch).influence(test), expected)


class Focal(nn.Module):
    """A mean that does not say so."""

    def forward(self, z, y):
        p = z.softmax(1)[torch.arange(len(y)), y]
        return (-((1 - p) ** 2) * p.log()).mean()


MEANS = {
    "function": nn.functional.cross_entropy,
    "module": Focal(),
    "by output": lambda z, y: z.square().mean(0)[:2],
    "beside others": lambda z, y: nn.functional.cross_entropy(z, y, reduction="none") - z.logsumexp(0).sum(),
    "sum": lambda z, y: nn.functional.cross_entropy(z, y, reduction="sum"),
    "many for a row": lambda z, y: (z - y[:, None]).square().flatten(),
}


@pytest.mark.parametrize("loss", MEANS.values(), ids=MEANS.keys())
def test_a_row_has_its_own_loss_whatever_the_function_does_with_many(loss, monkeypatch):
    monkeypatch.setattr("influence.drop_in.model.TOGETHER", 8)  # blocks of eight rows and of five
    model, rows, test, checkpoints = setting("mlp")
    expected, own = by_hand(model, rows, test, checkpoints, loss)
    for batch in (1, 13):
        peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=loss, batch_size=batch)
        close(peer.influence(test), expected)
        close(peer.influence(test, aggregate=True), expected.sum(0, keepdim=True))
        close(peer.self_influence(), own)


@pytest.mark.parametrize("bag", [False, True])
def test_unpadded_texts_and_operations_that_can_be_differentiated_once_only(bag):
    class Texts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.EmbeddingBag(9, 5, mode="mean", padding_idx=0) if bag else nn.Embedding(9, 5)
            self.a, self.out = nn.Linear(5, 6), nn.Linear(6, 3)

        def forward(self, x):
            if bag:
                return self.out(torch.tanh(self.a(self.table(x))))
            n = (x != 0).sum(1)
            h = torch.tanh(self.a(self.table(x[x != 0])))
            return self.out(h.new_zeros(len(x), 6).index_add(0, torch.arange(len(x)).repeat_interleave(n), h))

    torch.manual_seed(0)
    model, x = Texts().double(), torch.randint(1, 9, (N, 4))
    x[torch.arange(4)[None] >= torch.tensor([2, 2, 2, 1, 3, 1, 2, 3, 1, 2, 3, 2, 2])[:, None]] = 0
    rows, test = (x, torch.arange(N) % 3), (x[:5], torch.arange(5) % 3)
    checkpoints = [({k: v.clone() for k, v in model.state_dict().items()}, 0.5)]
    expected, own = by_hand(model, rows, test, checkpoints, loss := nn.CrossEntropyLoss())
    peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=loss, batch_size=13)
    close(peer.influence(test), expected)
    close(peer.influence(test, aggregate=True), expected.sum(0, keepdim=True))
    close(peer.self_influence(), own)


def test_rows_that_depend_on_each_other_are_refused():
    model = nn.Sequential(nn.TransformerEncoderLayer(4, 2, 8), nn.Flatten(), nn.Linear(12, 3))  # rows second: no batch_first
    rows = torch.randn(N, 3, 4), torch.arange(N) % 3
    peer = TracInCP(model, TensorDataset(*rows), [(model.state_dict(), 0.5)], put, loss_fn=nn.CrossEntropyLoss())
    for call in (peer.self_influence, lambda: peer.influence(rows), lambda: peer.influence(rows, aggregate=True)):
        with pytest.raises(BadInput, match="so no row has a gradient of its own"):
            call()


class Widening(nn.Module):
    """Single precision, then double; one parameter goes through the whole model."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.scale = nn.Linear(4, 6), nn.Linear(6, 3).double(), nn.Parameter(torch.rand(3))

    def forward(self, x):
        return self.b(torch.tanh(self.a(x.float())).double()) * self.scale.exp()


@pytest.mark.parametrize("kind", ["mixed", "bfloat16"])
def test_a_sum_is_that_of_its_rows_in_any_precision(kind, monkeypatch):
    monkeypatch.setattr("influence.drop_in.model.FIRST", N)  # the same rows together in both: what is single is rounded alike
    torch.manual_seed(0)
    model = Widening() if kind == "mixed" else nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3)).bfloat16()
    dtype = next(model.parameters()).dtype
    rows, test = ((torch.randn(n, 4).to(dtype), torch.arange(n) % 3) for n in (N, Q))
    checkpoints = [({k: v.clone() for k, v in model.state_dict().items()}, 0.5)]
    peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=nn.CrossEntropyLoss())
    pairs, summed = peer.influence(test), peer.influence(test, aggregate=True)
    assert summed.dtype == (torch.float64 if kind == "mixed" else torch.float32)
    allowed = {"mixed": 1e-5, "bfloat16": 0.03}[kind] * pairs.abs().max().item()
    torch.testing.assert_close(summed, pairs.sum(0, keepdim=True), rtol=0, atol=allowed, check_dtype=False)
    if kind == "mixed":  # of the layer in double precision nothing is rounded to single
        peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, ["b"], nn.CrossEntropyLoss(), batch_size=N)
        torch.testing.assert_close(peer.influence(test, aggregate=True), peer.influence(test).sum(0, keepdim=True), rtol=1e-11, atol=1e-13)
    double = model.double()
    double.forward = (lambda x: double.b(torch.tanh(double.a(x))) * double.scale.exp()) if kind == "mixed" else double.forward
    expected, _ = by_hand(double, (rows[0].double(), rows[1]), (test[0].double(), test[1]), checkpoints, nn.CrossEntropyLoss())
    torch.testing.assert_close(summed.double(), expected.sum(0, keepdim=True), rtol=0, atol=allowed)


def test_a_mean_that_cannot_be_vectorised():
    class Odd(nn.Module):
        reduction = "mean"

        def forward(self, z, y):
            return (z.square() * (2 if bool(y.sum() > 1) else 1)).mean()

    model, rows, test, checkpoints = setting("mlp")
    expected, _ = by_hand(model, rows, test, checkpoints, Odd())
    close(TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=Odd()).influence(test), expected)


@pytest.mark.parametrize("aggregate", [False, True])
def test_products_of_intermediate_quantities_are_scores(aggregate):
    from captum.influence import TracInCP as Captums

    model, rows, test, checkpoints = setting("mlp")
    loss = nn.CrossEntropyLoss(reduction="none")
    expected, _ = by_hand(model, rows, test, checkpoints, loss)
    peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=loss, batch_size=4)
    found = peer.compute_intermediate_quantities(test, aggregate)
    products = found @ peer.compute_intermediate_quantities(DataLoader(TensorDataset(*rows), 4)).T
    close(products, expected.sum(0, keepdim=True) if aggregate else expected)
    captums = Captums(model.eval(), DataLoader(TensorDataset(*rows), 4), checkpoints, put, loss_fn=loss)
    wrong = captums.compute_intermediate_quantities(test) @ captums.compute_intermediate_quantities(rows).T
    assert (wrong - expected).abs().max() > 0.3 * expected.abs().max(), "Captum: learning rate squared"


def test_the_most_influential_rows():
    model, rows, test, checkpoints = setting("mlp")
    peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=nn.CrossEntropyLoss(reduction="none"))
    scores = peer.influence(test)
    for k in (3, 50):
        for proponents in (True, False):
            found = peer.influence(test, k=k, proponents=proponents)
            assert isinstance(found, KMostInfluentialResults)
            order = scores.argsort(dim=1, descending=proponents)[:, :k]
            torch.testing.assert_close(found.indices, order)
            close(found.influence_scores, scores.gather(1, order))
    both = peer.influence(test, k=2, aggregate=True)
    close(both.influence_scores[0], scores.sum(0).sort(descending=True).values[:2])


def test_equal_to_captum_where_captum_is_right():
    from captum.influence import TracInCP as Captums

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    rows, test = ((torch.randn(n, 2, 6, 6), torch.arange(n) % 3) for n in (40, 6))
    checkpoints = [({k: v.clone() for k, v in model.state_dict().items()}, 0.5)]
    for loss in (nn.CrossEntropyLoss(reduction="sum"), nn.CrossEntropyLoss(reduction="mean")):
        given = (model, DataLoader(TensorDataset(*rows), 16), checkpoints, put)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer = Captums(*given, loss_fn=loss, sample_wise_grads_per_batch=True)
            expected, own = peer.influence(test), peer.self_influence()
        torch.testing.assert_close(TracInCP(*given, loss_fn=loss).influence(test), expected.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(TracInCP(*given, loss_fn=loss).self_influence(), own.detach(), rtol=1e-4, atol=1e-5)


# what it leaves, refuses and loads --------------------------------------------------------------------------------------------------------


def standing(model):
    return (
        {key: value.clone() for key, value in model.state_dict().items()},
        [m.training for m in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [sorted(vars(p)) for p in model.parameters()],
        [p.grad for p in model.parameters()],
        [len(m._forward_hooks) for m in model.modules()],
    )


@pytest.mark.parametrize("name", CASES)
def test_the_model_is_left_as_it_was(name):
    model, rows, test, checkpoints = setting(name)
    model.train()
    list(model.children())[-1].eval()
    before, drawn = standing(model), torch.get_rng_state()
    peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=nn.CrossEntropyLoss(reduction="none"), batch_size=4)
    first = peer.influence(test)
    close(peer.influence(test), first)
    peer.influence(test, aggregate=True)
    peer.self_influence()
    peer.compute_intermediate_quantities(test)
    after = standing(model)
    assert all(torch.equal(before[0][key], after[0][key]) for key in before[0])
    assert before[1:] == after[1:]
    assert torch.equal(torch.get_rng_state(), drawn)


def test_captum_alone_scores_with_dropout_and_leaves_another_checkpoint():
    from captum.influence import TracInCP as Captums

    model, rows, test, checkpoints = setting("attention")
    model.load_state_dict(checkpoints[0][0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = Captums(model.train(), DataLoader(TensorDataset(*rows), 4), checkpoints, put, loss_fn=nn.CrossEntropyLoss(reduction="none"))
        assert not torch.allclose(peer.influence(test), peer.influence(test))
    assert not torch.equal(model.scale, checkpoints[0][0]["scale"])


def test_the_model_is_restored_after_an_error():
    model, rows, test, checkpoints = setting("mlp")

    def fails(z, y):
        raise RuntimeError("no loss")

    before = standing(model.train())
    with pytest.raises(RuntimeError, match="no loss"):
        TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=fails).influence(test)
    after = standing(model)
    assert all(torch.equal(before[0][key], after[0][key]) for key in before[0])
    assert before[1:] == after[1:]


def test_frozen_layers_count_where_they_are_named():
    model, rows, test, checkpoints = setting("frozen")
    loss = nn.CrossEntropyLoss(reduction="none")
    peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, ["0"], loss)
    found = peer.influence(test)
    assert not any(p.requires_grad for p in model[:3].parameters())
    model.requires_grad_(True)
    close(found, by_hand(model, rows, test, checkpoints, loss, layers=["0"])[0])


@pytest.mark.parametrize("batch", [1, 4])
def test_each_checkpoint_is_loaded_once_per_call(batch):
    model, rows, test, checkpoints = setting("mlp")
    loads = []

    def counted(model, checkpoint):
        loads.append(checkpoint[1])
        return put(model, checkpoint)

    peer = TracInCP(model, TensorDataset(*rows), checkpoints, counted, loss_fn=nn.CrossEntropyLoss(reduction="none"), batch_size=batch)
    for call in (
        lambda: peer.influence(test),
        lambda: peer.influence(test, k=2),
        lambda: peer.influence(test, aggregate=True),
        peer.self_influence,
        lambda: peer.compute_intermediate_quantities(test),
    ):
        loads.clear()
        call()
        assert loads == list(RATES)


def test_little_memory_changes_no_score(monkeypatch):
    model, rows, test, checkpoints = setting("conv")
    peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=nn.CrossEntropyLoss(reduction="none"))
    whole, own = peer.influence(test), peer.self_influence()
    monkeypatch.setattr("influence.drop_in.tracin.MEMORY", 0.005)
    monkeypatch.setattr("influence.drop_in.model.TOGETHER", 3)
    close(peer.influence(test), whole)
    close(peer.self_influence(), own)


@pytest.mark.parametrize("how", ["plain", "nested", "module.", "state_dict"])
def test_files_of_checkpoints(how, tmp_path):
    model, rows, test, checkpoints = setting("mlp")
    for k, (state, rate) in zip((9, 10), checkpoints, strict=True):
        named = {f"module.{key}": value for key, value in state.items()} if how == "module." else state
        kept = {
            "learning_rate": rate,
            **({"model_state_dict": named} if how == "nested" else {"state_dict": named} if how == "state_dict" else named),
        }
        torch.save(kept, tmp_path / f"checkpoint-{k}.pt")
    expected, _ = by_hand(model, rows, test, checkpoints, loss := nn.CrossEntropyLoss(reduction="none"))
    peer = TracInCP(model, TensorDataset(*rows), str(tmp_path), loss_fn=loss)
    assert [path[-5:] for path in peer.checkpoints] == ["-9.pt", "10.pt"]
    close(peer.influence(test), expected)
    turned = TracInCP(model, TensorDataset(*rows), peer.checkpoints[::-1], loss_fn=loss)
    assert turned.checkpoints == peer.checkpoints[::-1]
    assert load_checkpoint(model, peer.checkpoints[0]) == RATES[0]


def test_files_of_a_model_with_a_submodule_called_module(tmp_path):
    """Its own names begin as those of nn.DataParallel do."""

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(4, 3)

        def forward(self, x):
            return self.module(x)

    model = Wrapped()
    state = {key: torch.randn_like(value) for key, value in model.state_dict().items()}
    for k, named in enumerate((state, {f"module.{key}": value for key, value in state.items()})):
        model.module.weight.data.zero_()
        torch.save({"learning_rate": 0.5, **named}, tmp_path / f"{k}.pt")
        assert load_checkpoint(model, str(tmp_path / f"{k}.pt")) == 0.5
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_sums_start_where_the_model_is(monkeypatch):
    """On a device without numbers: gradients there are added to nothing that lies elsewhere."""
    model, there = mlp().to("meta"), torch.device("meta")
    monkeypatch.setattr(tracin, "standing", lambda *_: nullcontext())
    found = [(n, {0: Feature([Dense(torch.zeros(n, 6, device=there))])}) for n in (3, 4)]
    monkeypatch.setattr(TracInCP, "_features", lambda *_: iter(found))
    peer = TracInCP(model, TensorDataset(torch.zeros(7, 4)), [0], checkpoints_load_func=lambda *_: 0.5)
    assert peer.influence((torch.zeros(7, 4),)).shape == (7, 7)
    assert peer.influence((torch.zeros(7, 4),)).device == there
    assert peer.self_influence().device == there


def test_refusals():
    model, rows, test, checkpoints = setting("mlp")
    loss = nn.CrossEntropyLoss(reduction="none")
    with pytest.raises(ValueError, match="Invalid checkpoints"):
        TracInCP(model, TensorDataset(*rows), [], put, loss_fn=loss)
    with pytest.raises(ValueError, match="Invalid final_fc_layer"):
        TracInCPFast(model, "head", TensorDataset(*rows), checkpoints, put, loss)
    peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=loss)
    with pytest.raises(AssertionError, match="required"):
        peer.influence(None)
    for batch, said in (
        ((test[0], "labels"), r"\(5, 4\), str"),
        (test[0], r"single tensor, \(5, 4\)"),
        ((test[0],), r"is \(5, 4\)"),
        ((), "is empty"),
        ((test[0], test[1][:4]), r"\(5, 4\), \(4,\)"),
        ((test[0][:, 0], test[1].sum()), r"\(5,\), \(\)"),
    ):
        with pytest.raises(BadInput, match=f"tensors with the rows leading, equally many .* {said}"):
            peer.influence(batch)
    with pytest.raises(BadInput, match="tensors with the rows leading"):
        TracInCP(model, rows[0], checkpoints, put, loss_fn=loss).influence(test)


class Shuffled(Sampler):
    """Batches of places, in another order each time."""

    def __iter__(self):
        yield from (places.tolist() for places in torch.randperm(N).split(4))

    def __len__(self):
        return 4


class Stream(IterableDataset):
    def __init__(self, *parts):
        self.parts = parts

    def __iter__(self):
        yield from zip(*self.parts, strict=True)


LOADERS = {
    "shuffle": {"batch_size": 4, "shuffle": True},
    "subset": {"batch_size": 4, "sampler": SubsetRandomSampler(range(N))},
    "weights": {"batch_size": 4, "sampler": WeightedRandomSampler([1.0] * N, N)},
    "batches": {"batch_sampler": Shuffled()},
    "batches of a shuffled sampler": {"batch_sampler": BatchSampler(RandomSampler(range(N)), 4, drop_last=False)},
    "as they come": {"batch_size": 4, "in_order": False},
}


@pytest.mark.parametrize("given", LOADERS.values(), ids=LOADERS.keys())
def test_loaders_without_one_order_are_refused(given):
    model, rows, _, checkpoints = setting("mlp")
    loss, loader = nn.CrossEntropyLoss(), DataLoader(TensorDataset(*rows), **given)
    with pytest.raises(BadInput, match="training loader shuffles or has a sampler of its own"):
        TracInCP(model, loader, checkpoints, put, loss_fn=loss)
    peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=loss)
    for call in (peer.self_influence, peer.influence, peer.compute_intermediate_quantities):
        with pytest.raises(BadInput, match="loader of inputs shuffles"):
            call(loader)
    once = TracInCP(model, TensorDataset(*rows), checkpoints[:1], put, loss_fn=loss)
    assert once.self_influence(loader).shape == (N,)


def test_loaders_with_one_order_are_taken():
    model, rows, test, checkpoints = setting("mlp")
    expected, own = by_hand(model, rows, test, checkpoints, loss := nn.CrossEntropyLoss())
    data = TensorDataset(*rows)
    for loader in (
        DataLoader(data, batch_sampler=BatchSampler(SequentialSampler(data), 4, drop_last=False)),
        DataLoader(Stream(*rows), 4),
    ):
        peer = TracInCP(model, loader, checkpoints, put, loss_fn=loss)
        close(peer.influence(test), expected)
        close(peer.self_influence(loader), own)
    shuffled = DataLoader(TensorDataset(*test), 2, shuffle=True)  # a sum has no order
    close(peer.influence(shuffled, aggregate=True), expected.sum(0, keepdim=True))


def test_progress_is_shown_if_asked_for(capsys):
    model, rows, test, checkpoints = setting("mlp")
    peer = TracInCP(model, TensorDataset(*rows), checkpoints, put, loss_fn=nn.CrossEntropyLoss(reduction="none"), batch_size=5)
    peer.influence(test)
    assert not capsys.readouterr().err
    peer.influence(test, show_progress=True)
    assert "to compute influence for training batches: 100%" in capsys.readouterr().err
    peer.self_influence(show_progress=True, outer_loop_by_checkpoints=True)
    shown = capsys.readouterr().err
    assert "Processing checkpoint: 100%" in shown
    assert "Processing batch: 100%" in shown


# Captum's own tests, and the page for its users -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_captums_own_tests_pass():
    try:
        found = captum_suite.run()
    except captum_suite.Absent as absent:
        pytest.skip(str(absent))
    assert {name for name, outcome in found.items() if outcome == "failed"} == captum_suite.EXPECTED.keys()
    assert sum(outcome == "passed" for outcome in found.values()) >= 100


def test_the_examples_of_the_page_for_captums_users_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "captum.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    known: dict[str, object] = {}
    for block in blocks:
        exec(block, known)
