"""Noisy fine-tuning: the accountant against closed forms, the procedure against an attacker, and that nothing else carries rows over."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import integrate
from scipy.stats import beta, norm
from torch import nn

import influence
from influence import training
from influence.actions import perform
from influence.errors import BadInput
from influence.evidence import words
from influence.registry import models, unlearning
from influence.repeatable import no_recipe
from influence.store import Project
from influence.types import Examples, Recipe, Selection, Trained
from influence.unlearning import noisy_finetune as module
from influence.unlearning._accountant import allowed, delta_of, sensitivity
from influence.unlearning.noisy_finetune import NoisyFinetune, ball, deviation


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Normalised:
    """A model with running statistics."""

    inputs: tuple[int, ...]
    outputs: int

    def __call__(self) -> nn.Module:
        return nn.Sequential(nn.Linear(self.inputs[0], 4), nn.BatchNorm1d(4), nn.Linear(4, self.outputs))


def rows(n: int = 40) -> Examples:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    return Examples(x, (x[:, 0] > 0).astype(np.int64), np.arange(n), pd.DataFrame(index=range(n)), ("no", "yes"))


RECIPE = Recipe(epochs=2, batch_size=20, lr=0.1, weight_decay=0.5, dtype="float64")


def fitted(model: object = None) -> Trained:
    return training.train(model or replace(models.make("logistic"), inputs=(3,), outputs=2), rows(), RECIPE)


def put(trained: Trained, by: dict[str, float]) -> Trained:
    """The same model with constants added to states by the ends of their names."""
    state = dict(trained.final.load())
    for name in state:
        state[name] = state[name] + sum(value for end, value in by.items() if name.endswith(end))
    return replace(trained, checkpoints=(training.checkpoint(state, 4, 0.1),))


@pytest.mark.parametrize("mu", [0.05, 0.5, 2.0, 6.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0, 4.0])
def test_delta_is_the_hockey_stick_divergence_of_two_gaussians(mu, epsilon):
    start = epsilon / mu + mu / 2  # where one density is e^epsilon times the other
    dense = integrate.quad(lambda x: norm.pdf(x, mu) - np.exp(epsilon) * norm.pdf(x), start, start + 40, epsabs=1e-14)[0]
    assert delta_of(epsilon, mu) == pytest.approx(dense, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("epsilon", [0.01, 1.0, 4.0, 16.0, 100.0])
@pytest.mark.parametrize("delta", [1e-12, 1e-5, 0.1])
def test_the_noise_spends_the_delta_that_is_claimed_and_no_more(epsilon, delta):
    mu = allowed(epsilon, delta)
    assert delta_of(epsilon, mu) == pytest.approx(delta, rel=1e-6)
    assert delta_of(epsilon, 1.01 * mu) > delta > delta_of(epsilon, 0.99 * mu)


def test_known_noise():
    """Balle and Wang: less than the classical sqrt(2 ln(1.25 / delta)) / epsilon, by about a fifth here."""
    assert 1 / allowed(1.0, 1e-5) == pytest.approx(3.730631634816, rel=1e-6)
    assert 1 / allowed(1.0, 1e-5) < np.sqrt(2 * np.log(1.25e5))


@pytest.mark.parametrize("steps", [1, 2, 30])
def test_linear_steps_are_accounted_for_exactly(steps):
    """x <- kept x + noise from two starts ends in two Gaussians, whose distance is known."""
    kept, sigma = 0.9, 0.3
    variance = sigma**2 * sum(kept ** (2 * k) for k in range(steps))
    assert sensitivity(2.0, kept, 0.0, steps) / sigma == pytest.approx(kept**steps * 2.0 / np.sqrt(variance))


@pytest.mark.parametrize(("kept", "moved", "steps"), [(1.0, 0.2, 1), (1.0, 0.2, 7), (0.8, 0.2, 7), (1.0, 0.0, 7)])
def test_shifts_make_up_for_all_that_lies_between_with_least_noise(kept, moved, steps):
    """The shortest vector of shifts that bring the two together after the last step."""
    apart = 2.0
    for _ in range(steps):
        apart = kept * apart + moved
    reach = kept ** np.arange(steps)[::-1]
    shortest = np.linalg.lstsq(reach[None], np.array([apart]), rcond=None)[0]
    assert sensitivity(2.0, kept, moved, steps) == pytest.approx(np.linalg.norm(shortest))


def ends(method: NoisyFinetune, trained: Trained, axis: torch.Tensor, runs: int) -> np.ndarray:
    """Where the noisy steps end, along an axis (P,), in so many runs of the method's own loop."""
    out, loop = [], method.laid_out(trained, rows(), RECIPE)
    for seed in range(1, runs + 1):
        loop.rule.drawn = np.random.default_rng(seed)
        loop.run(0, method.noisy_steps)
        out.append(float(loop.bound.flat @ axis))
    return np.array(out)


def lower(trained: Trained, method: NoisyFinetune, runs: int = 400) -> float:
    """The epsilon that an attacker proves at the method's delta, at 99 %, who knows both models and looks along what parts them."""
    one, other = put(trained, {"weight": 50.0}), put(trained, {"weight": -50.0})
    start = [training.load(each).flat for each in (one, other)]
    axis = (start[0] - start[1]) / (start[0] - start[1]).norm()
    a, b = (ends(method, each, axis, runs) for each in (one, other))
    hits, false = (a > np.median(np.append(a, b))), (b > np.median(np.append(a, b)))
    low = beta.ppf(0.005, hits.sum(), runs - hits.sum() + 1)
    high = beta.ppf(0.995, false.sum() + 1, runs - false.sum())
    return float(np.log(max(low - method.delta, 1e-9) / high))


@pytest.mark.parametrize("steps", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_an_attacker_proves_no_more_than_is_claimed_and_more_with_less_noise(steps, monkeypatch):
    method, trained = NoisyFinetune(epsilon=0.5, delta=0.1, clip=1.0, noisy_steps=steps, clip_gradient=0.01), fitted()
    assert 0 < lower(trained, method) < method.epsilon, "some of it is proven, or the attack is none"
    monkeypatch.setattr(module, "deviation", lambda recipe, chosen: deviation(recipe, chosen) / 2)
    assert lower(trained, method) > method.epsilon


def test_noise_has_the_deviation_that_is_accounted_for():
    method, trained = NoisyFinetune(clip=1.0, clip_gradient=0.0, seed=1), fitted()
    loop = method.laid_out(trained, rows(), RECIPE)
    loop.run(0, 1)
    fresh = training.Bound(trained.model, RECIPE.seed, RECIPE.dtype).flat
    drawn = np.random.default_rng(1).standard_normal(len(fresh))
    kept = (1 - 0.1 * 0.5) * ball(training.load(trained).flat - fresh, 1.0)
    sigma = 0.95 * 2.0 / allowed(1.0, 1e-5)
    np.testing.assert_allclose((loop.bound.flat - fresh - kept).numpy(), sigma * drawn, rtol=1e-9, atol=1e-12)


def test_nothing_but_the_noisy_weights_carries_the_rows_over(monkeypatch):
    """Put the same weights after the noise: whatever the model was before, all that comes after is the same, running statistics too."""
    trained = fitted(Normalised((3,), 2))
    other = put(trained, {"weight": 1.0, "running_mean": 7.0, "running_var": 3.0, "bias": -1.0, "num_batches_tracked": 5})

    class Known(module.Noisy):
        def step(self, theta, slots, g, lr, t):
            super().step(theta, slots, g, lr, t)
            if t == self.chosen.noisy_steps - 1:
                theta.copy_(torch.linspace(-1, 1, len(theta)))

    monkeypatch.setattr(module, "Noisy", Known)
    method = NoisyFinetune(noisy_steps=2, clip=1.0)
    made = [method(each, rows(), Selection((1, 2))).final for each in (trained, other)]
    assert made[0].digest == made[1].digest


def test_it_is_far_from_where_it_was_whatever_the_model():
    for way in (50.0, -50.0):
        loop = NoisyFinetune(clip=0.3).laid_out(put(fitted(), {"weight": way}), rows(), RECIPE)
        assert float(loop.start.sub(training.Bound(fitted().model, 0, "float64").flat).norm()) == pytest.approx(0.3)


def test_noise_that_can_be_drawn_again_hides_nothing():
    trained, gone = fitted(), Selection((1, 2))
    first, again, known = (NoisyFinetune(seed=seed)(trained, rows(), gone) for seed in (0, 0, 3))
    assert (first.claim, known.claim) == ("L3", "L1")
    assert first.final.digest != again.final.digest


def test_bad_settings(monkeypatch):
    with pytest.raises(BadInput, match="recipe"):
        NoisyFinetune()(replace(fitted(), recipe=None), rows(), Selection((1, 2)))
    for steps in (4, 5):  # the last noisy step's statistics would stay in the layers, without noise
        with pytest.raises(BadInput, match=f"There are 4 steps, so that {steps} cannot be noisy"):
            NoisyFinetune(noisy_steps=steps)(fitted(), rows(), Selection((1, 2)))
    monkeypatch.setattr(module, "resumed", None)  # refused beforehand without laying out a step: a page asks at each change
    for steps in (4, 5):
        with pytest.raises(BadInput, match=f"There are 4 steps, so that {steps} cannot be noisy"):
            NoisyFinetune(noisy_steps=steps).refuse(fitted(), rows(), Selection((1, 2)))
    NoisyFinetune(noisy_steps=3).refuse(fitted(), rows(), Selection((1, 2)))
    with pytest.raises(BadInput):
        unlearning.make("noisy_finetune", {"epsilon": 0.0})


def test_the_claim_names_its_numbers_and_assumptions():
    text = NoisyFinetune(epsilon=4.0).assumptions()
    assert "ε = 4, δ = 1e-05" in text
    assert "assumes" in text
    assert "Certified" in words.claim("L3").name
    assert not any("ertified" in level.name + level.meaning for name, level in words.CLAIMS.items() if name != "L3")


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "p")


def unlearnt(project: Project, args: dict[str, object], method: str, **given: object) -> dict[str, object]:
    run = perform("train", project, args)["run"]
    ids = project.dataset(project.run(run).dataset).train.ids[:2].tolist()
    return perform("unlearn", project, {"run": run, "ids": ids, "method": method, "set": given})


def test_the_record_claims_it_where_nothing_was_fitted_to_the_rows(project, tmp_path):
    rng = np.random.default_rng(0)
    influence.save_data(
        tmp_path / "data", rng.normal(size=(80, 3)).astype(np.float32), np.arange(80) % 2, np.arange(80) >= 50, classes=("a", "b")
    )
    args = {"data": str(tmp_path / "data"), "model": "logistic", "set": {"epochs": 2}}
    made, seeded = unlearnt(project, args, "noisy_finetune", epsilon=2.0), unlearnt(project, args, "noisy_finetune", seed=1)
    assert (made["claim"], made["claim_note"][:7]) == ("L3", "ε = 2, ")
    assert (seeded["claim"], seeded["claim_note"]) == ("L1", "")
    assert "claim L3" in no_recipe(project.trained(made["run"]), "A walk", "another")
    head = unlearnt(project, args, "newton_head")
    assert (head["claim"], head["claim_note"][:17]) == ("L1", "The last layer is")


def test_an_encoder_that_saw_the_rows_keeps_the_claim_down(project, tmp_path):
    frame = pd.DataFrame({"a": np.arange(60.0), "b": np.arange(60) % 7, "y": np.where(np.arange(60) % 2, "yes", "no")})
    frame.to_csv(tmp_path / "t.csv", index=False)
    made = unlearnt(project, {"data": str(tmp_path / "t.csv"), "target": "y", "model": "logistic", "set": {"epochs": 1}}, "noisy_finetune")
    assert made["claim"] == "L1"
    assert "the encoder was fitted with the removed rows" in made["claim_note"]
    assert "ertified" not in made["claim_note"]


def test_of_a_model_that_no_step_changed_the_record_claims_no_more_than_that_rows_were_left_out(project, tmp_path):
    influence.save_data(
        tmp_path / "data", np.eye(4, dtype=np.float32)[np.arange(80) % 4], np.arange(80) % 2, np.arange(80) >= 50, classes=("a", "b")
    )
    args = {"data": str(tmp_path / "data"), "model": "logistic", "set": {"epochs": 2}}
    still, moved = unlearnt(project, args, "last_layers", layers=0), unlearnt(project, args, "finetune", lr=0.1)
    original = project.trained(project.run(still["run"]).parent)
    assert (still["claim"], moved["claim"]) == ("L0", "L1")
    assert project.trained(still["run"]).final.digest == original.final.digest != project.trained(moved["run"]).final.digest
    assert project.trained(still["run"]).removed == project.trained(moved["run"]).removed
