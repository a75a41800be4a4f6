"""A fitted scikit-learn model as a folder that Lethe takes. It runs in your own process, on the object itself: no pickle is ever opened.

    influence.save_sklearn("my-model", pipeline, rows, target="income")
    python -m influence import-model my-model adult.parquet

Linear models and multi-layer perceptrons, by themselves or behind a Pipeline that scales and fills numbers and writes categories as 0 and 1
(`influence.exchange.sklearn_columns`). What cannot be represented exactly is refused, and the answers to your rows are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from influence.data.schema import names_of
from influence.data.stated import stated
from influence.errors import BadInput
from influence.exchange.exported import Exported, read_exported, write_exported
from influence.exchange.sklearn_columns import columns_of
from influence.files import whole_folder
from influence.registry import models
from influence.types import Architecture, State

SAME = 1e-6
"""Largest difference between probabilities, or predictions in units of the largest, that numbers of 32 bits explain."""
LINEAR = ("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV")
ACTIVATION = {"relu": "relu", "tanh": "tanh", "logistic": "sigmoid", "identity": "identity"}
KNOWN = "Supported are LogisticRegression, LinearRegression and its relatives, MLPClassifier and MLPRegressor, fitted, of one target."


@dataclass(frozen=True)
class Network:
    """Weights (out, in) and biases (out,) of each layer, and the activation between them."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    activation: str = "identity"

    def model(self) -> Architecture:
        """Return the architecture."""
        hidden = [len(bias) for bias in self.biases[:-1]]
        kind = models.make("mlp", {"hidden": hidden, "activation": self.activation}) if hidden else models.make("logistic")
        made: Architecture = replace(kind, inputs=(self.weights[0].shape[1],), outputs=len(self.biases[-1]))
        return made

    def state(self) -> State:
        """Return the weights under the architecture's names."""
        parts = [part for pair in zip(self.weights, self.biases, strict=True) for part in pair]
        tensors = [torch.from_numpy(np.array(part, dtype=np.float32)) for part in parts]
        return dict(zip(self.model()().state_dict(), tensors, strict=True))


def save_sklearn(
    folder: str | Path,
    model: Any,
    rows: pd.DataFrame,
    *,
    target: str,
    classes: Sequence[str] = (),
    protected: Sequence[str] = (),
    audit: Sequence[str] = (),
    id: str = "",
    split: str = "",
) -> Path:
    """Write a fitted model into the new folder and return its path; `import-model` takes it, with the data that it was trained on.

    `model`: a fitted estimator, or a Pipeline that ends in one. `rows`: raw rows as the model takes them, a table with column names, with
    which answers are compared; none is written. `target`: the column that it predicts. `classes`: what the target's cells are called, in
    the order of the model's `classes_`, if those are others. `protected`, `audit`, `id`, `split`: columns of the data, as for train.

    Raises:
        BadInput: a step or estimator is not supported or not fitted, or answers the rows otherwise than what was made of it.
    """
    whole = getattr(model, "best_estimator_", model)
    steps = [step for _, step in whole.steps] if type(whole).__name__ == "Pipeline" else [whole]
    seen = _seen(whole, rows, target)
    entries, order = columns_of(steps[:-1], seen)
    net = _network(steps[-1], order)
    names = tuple(map(str, classes)) or tuple(names_of(pd.Series(getattr(steps[-1], "classes_", []))))
    goal = {"kind": "classes", "classes": list(names)} if hasattr(steps[-1], "classes_") else {"kind": "number", "mean": 0.0, "sd": 1.0}
    encoding = stated({"columns": entries, "target": {"name": target, **goal}})
    if len(names) not in (0, len(net.biases[-1])):
        raise BadInput(f"The model has {len(net.biases[-1])} outputs, and {len(names)} classes are named. Name all classes in their order.")
    data = {"target": target, "protected": list(protected), "audit": list(audit), "id": id, "split": split}
    made = Exported(net.model(), encoding, "float32", data, {"level": "trained", "removed": 0})
    with whole_folder(Path(folder)) as half:
        write_exported(half, made, net.state(), np.zeros((1, len(encoding["features"])), dtype=np.float32))
        off = _refuse_other(read_exported(half), whole, seen, bool(names))
        (half / "README.md").write_text(_card(steps, target, len(seen), off), encoding="utf-8")
    return Path(folder)


def _seen(model: Any, rows: pd.DataFrame, target: str) -> pd.DataFrame:
    """Return the columns that the model takes, in its order.

    Raises:
        BadInput: one is missing, or there are no rows.
    """
    names = getattr(model, "feature_names_in_", None)
    found = rows.drop(columns=[target], errors="ignore") if names is None else rows.reindex(columns=list(names))
    missing = [] if names is None else [str(name) for name in names if name not in rows.columns]
    if missing or not len(found):
        raise BadInput(f"`rows` lacks {f'the column {missing[0]!r}' if missing else 'rows'}. Give some rows as the model takes them.")
    return found


def _network(last: Any, order: list[int]) -> Network:
    """Return the network of an estimator, its inputs in the order of the encoding's features.

    Raises:
        BadInput: it is none, or not fitted.
    """
    kind = type(last).__name__
    try:
        if kind == "LogisticRegression" or kind in LINEAR:
            made = _linear(last, kind)
        elif kind in ("MLPClassifier", "MLPRegressor"):
            made = _perceptron(last)
        else:
            raise BadInput(f"{kind} is not supported. {KNOWN}")
    except AttributeError:
        raise BadInput(f"This {kind} is not fitted. {KNOWN}") from None
    first = made.weights[0]
    if sorted(order) != list(range(first.shape[1])):
        raise BadInput(f"The model takes {first.shape[1]} inputs, and its columns make {len(order)}. Give the rows that it was fitted on.")
    return replace(made, weights=(first[:, order], *made.weights[1:]))


def _linear(last: Any, kind: str) -> Network:
    weights = np.atleast_2d(last.coef_)
    bias = np.broadcast_to(last.intercept_, len(weights))
    if kind in LINEAR:
        if len(weights) != 1:
            raise BadInput(f"This {kind} predicts {len(weights)} numbers. {KNOWN}")
        return Network((weights,), (bias,))
    if getattr(last, "multi_class", "auto") == "ovr" and len(weights) > 1:
        raise BadInput("One-vs-rest logistic regression has no softmax, and can't be represented. Fit it without multi_class.")
    return Network(*_two_classes((weights,), (bias,)))


def _perceptron(last: Any) -> Network:
    weights, biases = tuple(part.T for part in last.coefs_), tuple(last.intercepts_)
    kind = last.out_activation_
    if kind not in ("identity", "logistic", "softmax"):
        raise BadInput(f"This {type(last).__name__} ends in {kind}. {KNOWN}")
    if kind != "softmax" and len(biases[-1]) > 1:
        raise BadInput(f"This {type(last).__name__} has {len(biases[-1])} targets. {KNOWN}")
    if kind != "identity":
        weights, biases = _two_classes(weights, biases)
    return Network(weights, biases, ACTIVATION[last.activation])


def _two_classes(weights: tuple[np.ndarray, ...], biases: tuple[np.ndarray, ...]) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Return layers with an output for each of two classes where there is one z for both: sigmoid(z) is the softmax of -z/2 and z/2."""
    if len(biases[-1]) > 1:
        return weights, biases
    last, bias = (np.concatenate([-part, part]) / 2 for part in (weights[-1], biases[-1]))
    return (*weights[:-1], last), (*biases[:-1], bias)


def _refuse_other(made: Exported, model: Any, rows: pd.DataFrame, classes: bool) -> float:
    """Compare answers to the rows; return the largest difference.

    Raises:
        BadInput: they differ by more than rounding.
    """
    given = rows if getattr(model, "feature_names_in_", None) is not None else rows.to_numpy()
    real = np.asarray(model.predict_proba(given) if classes else model.predict(given)).reshape(len(rows), -1)
    off = float(np.abs(made.predict(rows).to_numpy() - real).max() / (1 if classes else max(1.0, np.abs(real).max())))
    if not off <= SAME:
        raise BadInput(
            f"What was made of the model answers {len(rows):,} rows otherwise, by up to {off:.2g}: it does something more. {KNOWN}"
        )
    return off


def _card(steps: list[Any], target: str, n: int, off: float) -> str:
    kinds = ", ".join(type(step).__name__ for step in steps)
    return (
        f"# A scikit-learn model of {target!r}\n\nConverted from {kinds} in the process that held it. On {n:,} rows its answers differ "
        f"from the original's by at most {off:.1g}. Nothing was measured here.\n\nTo ask which rows it comes from: `python -m influence "
        "import-model THIS_FOLDER DATA`, with the data that it was trained on.\n"
    )
