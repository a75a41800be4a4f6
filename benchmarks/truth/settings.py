"""Data, model and recipe of each setting in which one fixed model is retrained without some of its rows (truth *same*).

Recipes are smooth (GELU, GroupNorm, small steps) and run until the model is about as accurate as it gets. Asked is the margin of each of
some test rows, the log-odds of its class, and the mean loss of the test rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from benchmarks.data import DATA
from influence.data.tabular import prepare
from influence.registry import models
from influence.types import Architecture, Examples, Question, Recipe

ASKED = 16
WORDS, LENGTH = 3000, 32
Pair = tuple[Examples, Examples]


def examples(x: np.ndarray, y: np.ndarray, classes: int) -> Examples:
    """Rows numbered from 0."""
    n = len(y)
    return Examples(x, y.astype(np.int64), np.arange(n), pd.DataFrame(index=range(n)), tuple(map(str, range(classes))))


def mnist(n: int, m: int, name: str = "mnist") -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the first n training and m test rows of MNIST (or Fashion-MNIST), (., 784) normalised as torchvision's examples do."""
    with np.load(DATA / f"{name}.npz", allow_pickle=False) as file:
        images = [file["x_train"][:n], file["x_test"][:m]]
        labels = [file["y_train"][:n].astype(np.int64), file["y_test"][:m].astype(np.int64)]
    train, test = ((part.reshape(len(part), -1).astype(np.float32) / 255 - np.float32(0.1307)) / np.float32(0.3081) for part in images)
    return train, labels[0], test, labels[1]


def images(name: str = "mnist", n: int = 5000, m: int = 500) -> Pair:
    """The first rows of MNIST or Fashion-MNIST as pictures, (1, 28, 28)."""
    x, y, test_x, test_y = mnist(n, m, name)
    return examples(x.reshape(-1, 1, 28, 28), y, 10), examples(test_x.reshape(-1, 1, 28, 28), test_y, 10)


def digits() -> Pair:
    """scikit-learn's digits: 1,300 training and 497 test rows."""
    from sklearn.datasets import load_digits

    found = load_digits()
    turn = np.random.default_rng(0).permutation(len(found.target))
    x, y = (found.data[turn] / 16).astype(np.float32), found.target[turn]
    return examples(x[:1300], y[:1300], 10), examples(x[1300:], y[1300:], 10)


def adult() -> Pair:
    """Adult in its official split, encoded as the app does it; the 16,281 test rows are cut to 2,000."""
    made = prepare(pd.read_parquet(DATA / "adult.parquet"), target="income", protected=["sex"], split="split", name="adult")
    return made.train, made.evaluation.take(np.arange(2000))


def sst2() -> Pair:
    """SST-2: ids of the training rows' commonest words (1: any other word, 0: no word), (32,)."""
    table = pd.read_parquet(DATA / "sst2.parquet")
    parts = [table[table["split"] == split] for split in ("train", "dev")]
    seen = Counter(word for text in parts[0]["text"] for word in words(text))
    known = {word: place + 2 for place, (word, _) in enumerate(seen.most_common(WORDS - 2))}
    x = [np.array([([known.get(w, 1) for w in words(text)] + [0] * LENGTH)[:LENGTH] for text in part["text"]]) for part in parts]
    return examples(x[0], parts[0]["label"].to_numpy(), 2), examples(x[1], parts[1]["label"].to_numpy(), 2)


def words(text: str) -> list[str]:
    """Cut a text into its words."""
    return re.findall(r"[a-z']+", text.lower())


def cifar(n: int = 2000) -> Pair:
    """The first n training rows and the 1,000 test rows of the CIFAR-10 subset, (3, 32, 32)."""
    with np.load(DATA / "cifar10_subset.npz", allow_pickle=False) as file:
        x, y, test_x, test_y = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    centre = ((part.transpose(0, 3, 1, 2).astype(np.float32) / 255 - np.float32(0.47)) / np.float32(0.25) for part in (x[:n], test_x))
    train, test = centre
    return examples(train, y[:n], 10), examples(test, test_y, 10)


def whole_cifar() -> Pair:
    """All rows of the CIFAR-10 subset."""
    return cifar(10**6)


@dataclass(frozen=True)
class Margins:
    """The margin log p/(1 - p) of each of the first rows' own class, and the mean loss of all rows."""

    better: ClassVar[Literal["lower", "higher", "neither"]] = "neither"
    asked: int = ASKED

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the values."""
        return (*(f"margin of row {i}" for i in range(self.asked)), "mean loss")

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Margins:
        """Nothing depends on the model."""
        return self

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Margins and mean loss, (asked + 1,)."""
        y = torch.from_numpy(np.array(examples.y))[:, None].to(logits.device)
        own = logits.gather(1, y)[:, 0] - logits.scatter(1, y, -torch.inf).logsumexp(1)
        return torch.cat([own[: self.asked], F.cross_entropy(logits, y[:, 0])[None]])

    measured = value


@dataclass(frozen=True)
class Setting:
    """One fixed model: its rows, architecture and recipe, and how often it is retrained. `bar`: the LDS of the metagradient to reach."""

    name: str
    rows: Callable[[], Pair]
    model: str
    given: dict[str, Any]
    recipe: dict[str, Any]
    bar: float
    subsets: int = 48
    fractions: tuple[float, ...] = (0.01, 0.1, 0.5)
    asked: int = ASKED
    made: list[Any] = field(default_factory=list, compare=False, repr=False)

    def parts(self) -> tuple[Architecture, Examples, Examples, Recipe, Question]:
        """Return the architecture, training and test rows, recipe and question; made once."""
        if not self.made:
            train, test = self.rows()
            built = replace(models.make(self.model, self.given), inputs=train.shape, outputs=train.outputs)
            self.made.extend([built, train, test, Recipe(**self.recipe), Question((Margins(self.asked),), test)])
        return tuple(self.made)  # type: ignore[return-value]


SMOOTH = {"optimizer": "adamw", "eps_root": 1e-8, "weight_decay": 0.01}
SAME = {
    each.name: each
    for each in (
        Setting("adult", adult, "mlp", {}, {"lr": 0.02, "batch_size": 256, "epochs": 8, "weight_decay": 1e-4}, 0.98),
        Setting("digits", digits, "mlp", {}, {"lr": 0.03, "batch_size": 64, "epochs": 30, "weight_decay": 1e-3}, 0.98),
        Setting("mnist_mlp", images, "mlp", {"hidden": "128,64"}, {"lr": 0.01, "batch_size": 64, "epochs": 8, "weight_decay": 1e-3}, 0.9),
        Setting(
            "mnist_cnn",
            images,
            "cnn",
            {"channels": "8,16", "head": "flatten"},
            {"lr": 0.005, "batch_size": 64, "epochs": 8, "weight_decay": 1e-3, "warmup": 0.1},
            0.95,
            32,
            asked=8,
        ),
        Setting(
            "sst2",
            sst2,
            "transformer",
            {"vocabulary": WORDS, "width": 32},
            {"lr": 5e-4, "batch_size": 64, "epochs": 3, "warmup": 0.1, **SMOOTH},
            0.9,
            24,
            (0.01,),
            8,
        ),
        Setting(
            "cifar",
            cifar,
            "resnet9",
            {"width": 16},
            {"optimizer": "adamw", "lr": 5e-4, "batch_size": 100, "epochs": 8, "weight_decay": 0.01, "eps_root": 1e-6, "warmup": 0.1},
            0.8,
            24,
            (0.01,),
            4,
        ),
        Setting(
            "cifar_full",
            whole_cifar,
            "resnet9",
            {"width": 64},
            {"optimizer": "adamw", "lr": 5e-4, "batch_size": 100, "epochs": 8, "weight_decay": 0.01, "eps_root": 1e-6, "warmup": 0.1},
            0.8,
            24,
            (0.01,),
            4,
        ),
    )
}
