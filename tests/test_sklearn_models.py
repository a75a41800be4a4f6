"""scikit-learn models out of the process that fitted them: the same answers on the other side, or a refusal that says why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler

import influence
from influence.actions import perform
from influence.errors import BadInput
from influence.store import Project

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NUMBERS, NAMES = ["age", "pay", "hours"], ["work", "town"]


def table(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    made = pd.DataFrame({
        "age": rng.integers(18, 80, n), "pay": rng.lognormal(8, 1, n), "hours": rng.normal(40, 8, n),
        "work": rng.choice(["state", "private", "self"], n),
        "town": rng.choice(["a", "b", "c", "d", "e"], n, p=[0.4, 0.3, 0.2, 0.06, 0.04]),
    })  # fmt: skip
    z = 0.05 * (made["age"] - 45) + 0.4 * np.log(made["pay"] / 3000) + (made["work"] == "self") + rng.normal(size=n)
    made["grade"] = np.where(z > 1, "high", np.where(z > -0.5, "mid", "low"))
    made["price"] = 20_000 * z + 100_000
    return made.assign(yes=np.where(z > 0, "yes", "no"))


def columns(numbers=None, names=None) -> ColumnTransformer:
    names = names or OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer([("n", numbers or StandardScaler(), NUMBERS), ("c", names, NAMES)])


def arrives(tmp_path, model, rows: pd.DataFrame, target: str, **given) -> np.ndarray:
    """Save, import with the rows as a file, and compare all predictions; return them."""
    inputs = rows.drop(columns=[name for name in ("grade", "price", "yes") if name != target])
    folder = influence.save_sklearn(tmp_path / "model", model, inputs, target=target, **given)
    inputs.to_parquet(tmp_path / "rows.parquet")
    project = Project(tmp_path / "project")
    result = perform("import_model", project, {"path": str(folder), "data": str(tmp_path / "rows.parquet")})
    followed = next(check for check in result["checks"] if check["check"] == "Its training can be followed")
    assert followed["found"].startswith("It came without its training. If Lethe trained it, export it")
    said = pd.read_parquet(result["predictions"]).set_index("id").sort_index()
    seen = inputs[list(model.feature_names_in_)]
    if hasattr(model, "predict_proba"):
        found, real = said[[f"p_{name}" for name in given.get("classes", model.classes_)]].to_numpy(), model.predict_proba(seen)
    else:
        found, real = said[["prediction"]].to_numpy(), model.predict(seen)[:, None]
    scale = max(1.0, np.abs(real).max())
    np.testing.assert_allclose(found / scale, real / scale, atol=1e-6)
    assert "brought, not fitted" in project.dataset(project.run(result["run"]).dataset).notes
    return found


def fitted(last, rows, target, first=None):
    return make_pipeline(columns() if first is None else first, last).fit(rows.drop(columns=["grade", "price", "yes"]), rows[target])


@pytest.mark.parametrize(
    ("last", "target"),
    [
        (LogisticRegression(), "yes"), (LogisticRegression(), "grade"), (LinearRegression(), "price"), (Ridge(), "price"),
        *[(MLPClassifier((7, 5), activation=a, max_iter=30, random_state=0), "grade") for a in ("relu", "tanh", "logistic", "identity")],
        (MLPClassifier((6,), max_iter=30, random_state=0), "yes"),
        (MLPRegressor(hidden_layer_sizes=(6,), activation="tanh", max_iter=30, random_state=0), "price"),
    ],
)  # fmt: skip
def test_estimators_answer_the_same_after_import(tmp_path, last, target):
    rows = table()
    arrives(tmp_path, fitted(last, rows, target), rows, target)


GAPS = {
    "imputed": columns(make_pipeline(SimpleImputer(strategy="median"), StandardScaler())),
    "imputed after": columns(make_pipeline(StandardScaler(), SimpleImputer(strategy="mean"))),
    "scaled twice": columns(make_pipeline(SimpleImputer(strategy="constant", fill_value=7), MinMaxScaler(), StandardScaler())),
    "robust": columns(make_pipeline(SimpleImputer(), RobustScaler(), MaxAbsScaler())),
    "first dropped": columns(SimpleImputer(), OneHotEncoder(drop="first", handle_unknown="ignore")),
    "infrequent": columns(SimpleImputer(), OneHotEncoder(min_frequency=20, handle_unknown="infrequent_if_exist")),
}


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize("kind", GAPS)
def test_missing_and_rare_cells_become_the_same_inputs(tmp_path, kind):
    rows = table()
    rng = np.random.default_rng(1)
    for name in (*NUMBERS, *NAMES):
        rows[name] = rows[name].astype(float if name in NUMBERS else object).mask(rng.random(len(rows)) < 0.1)
    model = fitted(LogisticRegression(max_iter=300), rows, "yes", GAPS[kind])
    arrives(tmp_path, model, rows, "yes")
    other = rows.assign(town="nowhere").drop(columns=["grade", "price", "yes"])
    found = influence.load_model(tmp_path / "model").predict(other)
    np.testing.assert_allclose(found, model.predict_proba(other), atol=1e-6)


def test_numbers_alone_without_a_column_transformer(tmp_path):
    rows = table().drop(columns=NAMES)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows[NUMBERS], rows["yes"])
    arrives(tmp_path, model, rows, "yes", classes=("no", "yes"))
    bare = LogisticRegression().fit(rows[["age"]], (rows["yes"] == "yes").astype(int))
    arrives(tmp_path / "bare", bare, rows[["age", "yes", "grade", "price"]], "yes", classes=("no", "yes"))


def test_columns_given_by_place_and_what_is_passed_through(tmp_path):
    rows = table()
    first = ColumnTransformer([("n", StandardScaler(), slice(0, 2)), ("c", OneHotEncoder(), [3, 4])], remainder="passthrough")
    arrives(tmp_path, fitted(LogisticRegression(max_iter=500), rows, "yes", first), rows, "yes")
    without = ColumnTransformer([("n", StandardScaler(), [True, True, False, False, False])], remainder="drop")
    arrives(tmp_path / "b", fitted(LogisticRegression(), rows, "yes", without), rows, "yes")


def test_what_cannot_be_represented_is_refused_and_leaves_nothing(tmp_path):
    rows = table()
    x, y = rows.drop(columns=["grade", "price", "yes"]), rows["yes"]
    wrong = [
        (fitted(RandomForestClassifier(5), rows, "yes"), "RandomForestClassifier is not supported"),
        (fitted(LogisticRegression(), rows, "yes", columns(make_pipeline(StandardScaler(), PCA(2)))), "The step PCA can't be represented"),
        (fitted(LogisticRegression(), rows, "yes", columns(MinMaxScaler(clip=True))), "clip"),
        (make_pipeline(columns(), StandardScaler(), LogisticRegression()).fit(x, y), "The step ColumnTransformer can't be"),
        (LogisticRegression(), "not fitted"),
        (fitted(MLPRegressor("poisson", max_iter=3), rows.assign(yes=1.0), "yes"), "exp"),
        (fitted(LinearRegression(), rows.assign(yes=rows["price"]), ["yes", "price"]), "predicts 2 numbers"),
    ]
    for model, said in wrong:
        with pytest.raises(BadInput, match=said):
            influence.save_sklearn(tmp_path / "model", model, x, target="yes")
    good = fitted(LogisticRegression(), rows, "yes")
    with pytest.raises(BadInput, match="lacks the column 'town'"):
        influence.save_sklearn(tmp_path / "model", good, x.drop(columns="town"), target="yes")
    with pytest.raises(BadInput, match="2 outputs, and 3 classes"):
        influence.save_sklearn(tmp_path / "model", good, x, target="yes", classes=("a", "b", "c"))
    good[-1].decision_function = None  # what its parameters do not say
    good[-1].coef_ = good[-1].coef_.copy()
    good[-1].predict_proba = lambda rows: np.full((len(rows), 2), 0.5)
    with pytest.raises(BadInput, match="answers 300 rows otherwise"):
        influence.save_sklearn(tmp_path / "model", good, x, target="yes")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "last", [LogisticRegression(max_iter=200), MLPClassifier((16,), max_iter=3, random_state=0)], ids=["logistic", "mlp"]
)
def test_adult_answers_the_same_to_a_millionth(tmp_path, lethe_data, last):
    rows = pd.read_parquet(lethe_data / "adult.parquet")
    numbers = rows.columns[rows.dtypes == "int32"].tolist()
    names = [name for name in rows if name not in (*numbers, "income", "split")]
    first = ColumnTransformer([("n", StandardScaler(), numbers), ("c", OneHotEncoder(handle_unknown="ignore"), names)])
    train = rows[rows["split"] == "train"]
    model = make_pipeline(first, last).fit(train[numbers + names], train["income"])
    folder = influence.save_sklearn(tmp_path / "m", model, rows.head(2000), target="income", protected=["sex"], split="split")
    project = Project(tmp_path / "p")
    result = perform("import_model", project, {"path": str(folder), "data": str(lethe_data / "adult.parquet")})
    said = pd.read_parquet(result["predictions"]).set_index("id").sort_index()
    np.testing.assert_allclose(said[["p_<=50K", "p_>50K"]], model.predict_proba(rows[numbers + names]), atol=1e-6)
    assert result["metrics"]["gaps"]["sex"]["demographic_parity_gap"]["value"] > 0.1
