"""What models draw and share while they train: dropout keyed by (seed, step, place), and batch statistics weighted by the rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from influence.batchnorm import weighted
from influence.errors import BadInput
from influence.loop import Bound, Loop, batches, own_draws, step_seeds, tensors
from influence.losses import per_example
from influence.training import load, train, train_many
from tests.test_replay_layers import NETS, Net
from tests.test_training import digests
from tests.tiny import examples, recipe

MIXED = {"batch norm": {}, "batch norm, images": {}, "batch norm, cumulative": {}, "batch norm, dropout": {}, "batch norm, no memory": {}}
DRAWN = ["dropout", "alpha dropout", "channel dropout", "attention, dropout", "encoder layer", "lstm"]


def rows_for(what: str, n: int = 14):
    return Net(what, NETS[what][0]), examples(n, NETS[what][0])


@pytest.mark.parametrize("what", [*DRAWN, *MIXED])
def test_a_second_run_is_bit_equal_and_the_callers_generator_stays(what):
    model, rows = rows_for(what)
    how = recipe(dtype="float32")
    first = train(model, rows, how)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert digests(train(model, rows, how)) == digests(first)
    assert torch.equal(torch.get_rng_state(), before)
    assert digests(train(model, rows, replace(how, seed=1))) != digests(first)


@pytest.mark.parametrize("what", [*DRAWN, *MIXED])
def test_removed_by_weight_equals_removed_in_fact_to_the_bit(what):
    model, rows = rows_for(what)
    how = recipe(dtype="float32", epochs=4)
    out = np.isin(np.arange(14), [0, 3, 4, 13])
    by_weight = train(model, rows, how, weights=1.0 - out)
    in_fact = train(model, rows.take(~out), how, removed=tuple(rows.ids[out]))
    assert digests(by_weight) == digests(in_fact) != digests(train(model, rows, how))


@pytest.mark.parametrize("what", MIXED)
def test_a_removed_row_has_no_part_in_the_statistics(what):
    model, rows = rows_for(what)
    how, out = recipe(epochs=4), np.isin(np.arange(14), [0, 3, 4, 13])
    moved = replace(rows, x=np.where(out.reshape(-1, *[1] * (rows.x.ndim - 1)), 100.0, rows.x))
    ends = [load(train(model, given, how, weights=1.0 - out)) for given in (rows, moved)]
    for first, second in zip(ends[0].state().values(), ends[1].state().values(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("what", [what for what in MIXED if "dropout" not in what])
@pytest.mark.parametrize("weights", [None, np.ones(14)], ids=["unweighted", "weights of one"])
def test_batch_statistics_are_those_of_torch(what, weights):
    model, rows = rows_for(what)
    how = recipe(momentum=0.5)
    trained = train(model, rows, how, weights=weights)
    (x, y), net = tensors(rows, how.dtype), Bound(model, how.seed, how.dtype).module.train()
    rule = torch.optim.SGD(net.parameters(), how.lr, how.momentum, weight_decay=how.weight_decay)
    plan = batches(how, rows)
    for places, lr in zip(plan.places, plan.lr, strict=True):
        rule.param_groups[0]["lr"] = lr
        rule.zero_grad()
        per_example(how.loss, net(x[places]), y[places]).mean().backward()
        rule.step()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(trained.final.load()[name], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("what", ["batch norm", "batch norm, no memory"])
def test_a_whole_batch_may_be_removed(what):
    model, rows = rows_for(what, 6)
    how = recipe(batch_size=2, epochs=2)
    left = np.arange(6) < 3
    assert any(not left[places].any() for places in batches(how, rows).places), "some batch is empty"
    in_fact = train(model, rows.take(left), how, removed=tuple(rows.ids[~left]))
    assert digests(in_fact) == digests(train(model, rows, how, weights=left.astype(float)))


def test_a_single_row_over_is_refused_with_what_to_do():
    model, rows = rows_for("batch norm", 11)
    with pytest.raises(BadInput, match="leaves no single row over"):
        train(model, rows, recipe(batch_size=5))
    assert train(*rows_for("batch norm, images", 11), recipe(batch_size=5)).checkpoints


def test_other_batch_statistics_are_refused():
    with pytest.raises(BadInput, match="SyncBatchNorm is not known"):
        weighted(nn.Sequential(nn.Linear(4, 4), nn.SyncBatchNorm(4)))


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4), (6, 3, 4, 2), (6, 3, 2, 2, 2)])
def test_weights_of_a_row_count_as_copies_of_it(shape):
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    x = torch.randn(shape, dtype=torch.float64)
    ours, truth = (kinds[len(shape)](3).double().train() for _ in range(2))
    (layer,) = weighted(ours)
    layer.weights = torch.tensor([0.0, 1.0, 2.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    copies = torch.tensor([1, 2, 2, 3, 5])
    expected = truth(x[copies])
    torch.testing.assert_close(ours(x)[copies], expected)
    torch.testing.assert_close(layer.running_mean, truth.running_mean)
    values, places = 5 * x[0, 0].numel(), 6 * x[0, 0].numel()
    biased = (truth.running_var - 0.9) * (values - 1) / values
    torch.testing.assert_close(layer.running_var, 0.9 + biased * places / (places - 1))


@pytest.mark.parametrize("what", DRAWN)
def test_a_place_has_its_mask_whatever_the_rows_are(what):
    """Masks follow the seed, the step and the place, and differ between steps and seeds."""
    model, rows = rows_for(what)
    how = recipe(epochs=2)
    first = Loop.of(model, rows, how, None, ())
    other = Loop.of(model, replace(rows, x=rows.x * 0 + 1.0), how, np.linspace(0, 1, 14), ())
    masks = []
    with own_draws(torch.device("cpu")) as drawing:
        for loop in (first, other):
            loop.bound.module.train()
            loop.losses(3)
            masks.append(drawing.get_state())
        assert torch.equal(*masks)
        assert first.draws(3)
        assert not torch.equal(first.seeded(2).get_state(), first.seeded(3).get_state())
    assert step_seeds(0, 100)[:50] == step_seeds(0, 50)
    assert len({*step_seeds(0, 1000), *step_seeds(1, 1000)}) == 2000


@pytest.mark.parametrize("what", [*DRAWN, *MIXED, "attention"])
@pytest.mark.parametrize("seeds", [None, [5, 0, 9]], ids=["same", "fresh"])
def test_train_many_equals_train(what, seeds):
    model, rows = rows_for(what)
    how = recipe(epochs=2)
    weights = np.random.default_rng(0).integers(0, 3, (3, 14)).astype(float)
    events = []
    together = train_many(model, rows, how, weights, seeds, report=events.append).numpy()
    alone = []
    for seed, w in zip(seeds or [0, 0, 0], weights, strict=True):
        alone.append(Bound(model, 0, how.dtype).load(train(model, rows, replace(how, seed=seed), weights=w).final.load()).vector().numpy())
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-8, atol=1e-11)
    # "channel dropout" has a convolution, which a CPU does quicker for one model at a time
    beside = "side by side" in events[0].note
    assert beside == (what not in (*MIXED, "lstm", "encoder layer", "channel dropout") and (seeds is None or what == "attention"))
