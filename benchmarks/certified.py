"""What `noisy_finetune` costs in accuracy: 5 % of the training rows, drawn at random, at delta = 1e-5; `python -m benchmarks.certified`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from benchmarks.truth.settings import SAME
from influence import grads, training
from influence.registry import models, unlearning
from influence.types import Examples, Selection, Trained

EPSILONS = (1.0, 4.0, 16.0)
CLIPS = (0.01, 0.1, 1.0)


def accuracy(trained: Trained, rows: Examples) -> float:
    """Share of rows whose class is named."""
    return float((grads.outputs(training.load(trained), rows).argmax(1).numpy() == rows.y).mean())


def main() -> None:
    """Print a table for each data set and model."""
    torch.set_num_threads(1)
    for data in ("digits", "mnist_mlp"):
        architecture, train, test, recipe, _ = SAME[data].parts()
        linear = replace(models.make("logistic"), inputs=train.shape, outputs=train.outputs)
        gone = Selection(tuple(np.random.default_rng(0).choice(train.ids, len(train) // 20, replace=False).tolist()))
        for model in (linear, architecture):
            trained = training.train(model, train, recipe)
            for epochs in (recipe.epochs, max(1, round(recipe.epochs / 5))):
                begun = training.train(model, train.without(gone), replace(recipe, epochs=epochs))
                print(f"{data}, {type(model).__name__}, {epochs} passes: before {accuracy(trained, test):.3f}, ", end="")
                print(f"retrained with so many {accuracy(begun, test):.3f}; n = {len(test)}")
                for clip in CLIPS:
                    given = {"clip": clip, "clip_gradient": clip, "epochs": epochs}
                    made = [unlearning.make("noisy_finetune", {**given, "epsilon": each})(trained, train, gone) for each in EPSILONS]
                    told = (f"ε = {each:g} {accuracy(one, test):.3f}" for each, one in zip(EPSILONS, made, strict=True))
                    print(f"  clip {clip:g}:", *told, flush=True)


if __name__ == "__main__":
    main()
