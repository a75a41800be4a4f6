"""A class that goes whole: does a method make a model stop telling it, and do the other classes stay?

    python -m benchmarks.whole_class [mlp cnn logistic]

Digits without class 3. Per method at its default settings: the share of the removed rows that the model still takes for a 3, and accuracy
on unseen rows of the other classes. SISA is judged beside its own model in three shards.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from benchmarks.sequences import accuracy, digits
from influence import training
from influence.models.ensemble import Ensemble
from influence.registry import models, unlearning
from influence.types import Examples, Recipe, Selection, Trained
from influence.workspace import Workspace

GONE = 3


def begun(kind: str, train: Examples, shards: int = 1) -> Trained:
    """Return the model that saw all rows; in shards of two slices each if there are several."""
    model, recipe = replace(models.make(kind), inputs=train.shape, outputs=train.outputs), Recipe(batch_size=64, epochs=30)
    if shards > 1:
        return training.train(Ensemble.of(model, shards), train, replace(recipe, shards=shards, slices=2))
    return training.train(model, train, recipe)


def main() -> None:
    """Print a line per model and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("models", nargs="*", default=["mlp", "cnn", "logistic"])
    torch.set_num_threads(1)
    train, test, _ = digits(wrong=0)
    gone, rest = Selection(tuple(train.ids[train.y == GONE].tolist())), test.take(test.y != GONE)
    forget = train.take(train.mask(gone.ids))
    for kind in parser.parse_args().models:
        whole, parts = begun(kind, train), begun(kind, train, shards=3)
        print(f"{kind:9} {'nothing':16} still {accuracy(whole, forget):.2f}  others {accuracy(whole, rest):.3f}", flush=True)
        for name in unlearning.classes:
            made = unlearning.make(name)(parts if name == "sisa" else whole, train, gone, workspace=Workspace())
            print(f"{kind:9} {name:16} still {accuracy(made, forget):.2f}  others {accuracy(made, rest):.3f}", flush=True)


if __name__ == "__main__":
    main()
