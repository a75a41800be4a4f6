"""SCRUB: its two kinds of steps, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from influence import training
from influence.loop import tensors
from influence.registry import unlearning
from influence.types import Event, Examples, Selection, Trained
from influence.unlearning import _unseen, scrub
from influence.unlearning._descent import Request, shortened
from influence.unlearning._guard import Guard
from influence.unlearning._unseen import like_unseen
from influence.unlearning.scrub import distance
from tests.tiny import Built, bind, examples, recipe


def case(classes: int = 3) -> tuple[Trained, Examples, Selection]:
    train = examples(60, classes=classes)
    given = {} if classes else {"loss": "squared"}
    trained = training.train(bind("mlp", train, hidden=(6, 5)), train, recipe(batch_size=10, lr=0.02, **given))
    return trained, train, Selection(tuple(train.ids[:12].tolist()))


def request(trained: Trained, train: Examples, gone: Selection, epochs: int = 10) -> Request:
    forget = train.take(train.mask(gone.ids))
    return Request(trained, train, train.without(gone), forget, shortened(trained, train, epochs, 0, 0))


def apart(kind: str, taught: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
    if kind == "numbers":
        return F.mse_loss(said, taught)
    return F.kl_div(said.log_softmax(1), taught.log_softmax(1), reduction="batchmean", log_target=True)


def test_distance_is_the_divergence_of_what_is_taught_from_what_is_said():
    taught, said = torch.randn(2, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p, q = torch.distributions.Categorical(logits=taught), torch.distributions.Categorical(logits=said)
    torch.testing.assert_close(distance(taught, said), torch.distributions.kl_divergence(p, q))
    torch.testing.assert_close(distance(taught[:, :1], said[:, :1]), (taught[:, 0] - said[:, 0]) ** 2)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_objective_is_the_published_one(kind):
    trained, train, gone = case(3 if kind == "classes" else 0)
    asked = request(trained, train, gone)
    loop, _ = unlearning.make("scrub", {"alpha": 0.7, "gamma": 0.4}).laid_out(asked)
    x, y = tensors(train, "float64")
    taught = training.load(trained).module(x).detach()
    loop.bound.flat.add_(0.1 * torch.randn(len(loop.bound.flat), dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    for t in (loop.climbs.index(True), loop.climbs.index(False)):
        at = loop.batches.places[t]
        said = loop.bound.module(x[at])
        if loop.climbs[t]:
            assert set(train.ids[at]) <= set(gone.ids)
            objective = -apart(kind, taught[at], said)
        else:
            assert not set(train.ids[at]) & set(gone.ids)
            loss = F.cross_entropy(said, y[at]) if kind == "classes" else F.mse_loss(said[:, 0], y[at])
            objective = 0.7 * apart(kind, taught[at], said) + 0.4 * loss
        expected = torch.cat([g.flatten() for g in torch.autograd.grad(objective, loop.bound.params)])
        torch.testing.assert_close(loop.gradient(t), expected, rtol=1e-9, atol=1e-12)


def test_passes_alternate_and_end_with_the_retained_rows():
    trained, train, gone = case()
    asked = request(trained, train, gone)
    loop, _ = unlearning.make("scrub").laid_out(asked)
    assert loop.climbs == ([True] * 2 + [False] * 5) * 3 + [False] * 35
    assert loop.turn == 21
    assert len(loop.climbs) == len(loop.batches) == unlearning.make("scrub").steps(asked)
    for first, climbs, rows in ((0, 2, asked.forget), (2, 5, asked.retained)):
        seen = np.concatenate([train.ids[at] for at in loop.batches.places[first : first + climbs]])
        assert sorted(seen) == sorted(rows.ids)
    every, _ = unlearning.make("scrub", {"away": 99}).laid_out(asked)
    assert every.climbs == ([True] * 2 + [False] * 5) * 10


def test_a_student_equal_to_its_teacher_has_no_way_away():
    trained, train, gone = case()
    loop, _ = unlearning.make("scrub").laid_out(request(trained, train, gone))
    assert loop.climbs[0]
    assert float(loop.gradient(0).abs().max()) < 1e-12


def test_without_teacher_and_turn_it_is_descent_on_the_retained_rows():
    """With no weight on the teacher and no step that moves away, what is left is fine-tuning."""
    trained, train, gone = case()
    asked = request(trained, train, gone, epochs=1)
    loop, _ = unlearning.make("scrub", {"alpha": 0.0, "gamma": 1.0}).laid_out(asked)
    tuned, _ = unlearning.make("finetune").laid_out(asked)
    steps = [t for t, climbs in enumerate(loop.climbs) if not climbs]
    for mine, theirs in zip(steps, range(len(tuned.batches)), strict=True):
        assert train.ids[loop.batches.places[mine]].tolist() == asked.retained.ids[tuned.batches.places[theirs]].tolist()
        torch.testing.assert_close(loop.gradient(mine), tuned.gradient(theirs), rtol=1e-10, atol=1e-12)


def test_it_goes_back_to_the_weights_at_which_the_removed_rows_were_nearest(monkeypatch):
    trained, train, gone = case()
    above = iter([-3.0, -2.0, -0.1, 0.4, 5.0, *[9.0] * 99])
    monkeypatch.setattr(scrub, "like_unseen", lambda bound, asked: lambda: next(above))
    loop, look = unlearning.make("scrub", {"tolerance": 1.0}).laid_out(request(trained, train, gone))
    states = []
    for t in range(loop.turn):
        if t % 4 == 0:
            look(False)
            states.append(loop.bound.flat.clone())
        loop.run(t, t + 1)
    assert not torch.equal(loop.bound.flat, states[2])
    loop.gradient(loop.turn)
    assert torch.equal(loop.bound.flat, states[2])
    assert all(not slot.any() for slot in loop.slots.values()), "the way that led on from there is forgotten"


def test_removed_rows_have_no_part_in_running_statistics():
    train = examples(60, (2, 6))
    trained = training.train(Built("conv1d", train.shape), train, recipe(batch_size=10, lr=0.02))
    one = Selection((train.ids[0],))
    asked = request(trained, train, one)
    loop, _ = unlearning.make("scrub").laid_out(asked)
    before = loop.bound.floating()[0].clone()
    loop.bound.module.train()
    loop.run(0, 1)
    assert loop.climbs[:2] == [True, False]
    assert torch.equal(loop.bound.floating()[0], before)
    loop.run(1, 2)
    assert not torch.equal(loop.bound.floating()[0], before)
    assert unlearning.make("scrub")(trained, train, one).removed == one.ids


def test_weights_at_which_the_retained_rows_suffer_are_not_kept(monkeypatch):
    trained, train, gone = case()
    seen: list[Event] = []
    start = training.load(trained).flat
    monkeypatch.setattr(Guard, "holds", lambda self, bound: torch.equal(bound.flat, start))
    made = unlearning.make("scrub", {"lr": 5.0, "alpha": 0.0, "gamma": 0.0, "tolerance": 0.0, "epochs": 2})(
        trained, train, gone, report=seen.append
    )
    assert torch.equal(training.load(made).flat, start)
    assert seen[-1].note.startswith("The model is as it was")


def test_like_unseen_is_the_distance_to_the_expected_loss(monkeypatch):
    trained, train, gone = case()
    asked = request(trained, train, gone)
    bound = training.load(trained)
    by_kind = torch.tensor([1.0, 2.0, 4.0])
    monkeypatch.setattr(_unseen, "expected_losses", lambda *given: by_kind)
    unseen = like_unseen(bound, asked)
    x, y = tensors(asked.forget, "float64")
    own = float(F.cross_entropy(bound.module(x), y).detach())
    assert unseen() == pytest.approx(own - float(by_kind[y].mean()), rel=1e-6)
    bound.flat.mul_(0.0)
    assert unseen() == pytest.approx(np.log(3) - float(by_kind[y].mean()), rel=1e-6)


def test_where_no_pass_is_left_to_go_back_in_the_last_look_does_it(monkeypatch):
    trained, train, gone = case()
    above = iter([-3.0, -2.0, -0.1, 0.4, 5.0, *[9.0] * 99])
    monkeypatch.setattr(scrub, "like_unseen", lambda bound, asked: lambda: next(above))
    loop, look = unlearning.make("scrub", {"tolerance": 1.0}).laid_out(request(trained, train, gone, epochs=1))
    assert loop.turn == len(loop.batches)
    states = []
    for t in range(len(loop.batches)):
        look(False)
        states.append(loop.bound.flat.clone())
        loop.run(t, t + 1)
    look(True)
    assert torch.equal(loop.bound.flat, states[2])
