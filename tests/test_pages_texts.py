"""Load with a column of texts: what is read of them is told, a model of texts is offered, and rows show their text."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from influence import jobs
from influence.actions import perform
from influence.actions.coordinates import counted
from influence.store import Project
from influence.ui import texts
from tests import drawing
from tests.drawing import address, drawn, press, text, to, work
from tests.test_pages_load import fill, uploaded

no_worker, empty, shown = drawing.no_worker, drawing.empty, drawing.shown

N = 120


def table(long: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    label = rng.choice(["bad", "good"], N)
    review = [f"a {'fine' if name == 'good' else 'dull'} film{k} that was seen {'again ' * (k % 5)}" for k, name in enumerate(label)]
    review[0] = "<b>so</b> **good** " + "word " * long
    return pd.DataFrame({"review": review, "label": label, "stars": rng.integers(1, 6, N)})


def csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def options(at, label: str) -> list[str]:
    return list(next(widget for widget in at.selectbox if widget.label == label).options)


def test_a_table_with_texts_is_read_as_texts_and_trained(empty, shown):
    at = uploaded(shown, empty, "reviews.csv", csv(table()))
    assert options(at, "Text column") == ["review", texts.NONE]
    assert "The longest text has 43 words" in text(at)
    assert "The model reads 10 words of each: 1 (0.8\N{NO-BREAK SPACE}%) are longer and are cut" in text(at)
    parts = dict(zip(*(at.dataframe[1].value[name] for name in ("Column", "Part")), strict=True))
    assert parts == {"review": "text", "label": "shown", "stars": "shown"}
    assert "review" not in options(at, "Target")
    kinds = next(radio for radio in at.radio if radio.label == "Model").options
    assert kinds == ["Bag", "Transformer"]
    fill(at, "Target", "label")
    press(at, "Check")
    work(empty)
    assert "Texts are read as the" in text(drawn(at))
    press(at, "Train")
    job = jobs.get(empty, address(at, "job"))
    assert job.args["data_set"] == {"text": "review"}
    assert job.args["model"] == "bag"
    assert set(job.args["set"]) == {"width", "hidden", "dropout"}, "what the model's own recipe says is left open"
    assert work(empty).state == "done"
    body = empty.run().body
    assert (body["model"]["name"], body["recipe"]["optimizer"], body["recipe"]["lr"]) == ("bag", "adamw", 0.005)


def test_length_and_vocabulary_are_chosen_and_told(empty, shown):
    at = uploaded(shown, empty, "reviews.csv", csv(table()))
    fill(fill(fill(at, "Length", 5), "Vocabulary", 50), "Target", "label")
    assert "The model reads 5 words of each: 120 (100.0\N{NO-BREAK SPACE}%) are longer" in text(at)
    fill(at, "Learning rate", 0.01)
    press(at, "Train")
    job = jobs.get(empty, address(at, "job"))
    assert job.args["data_set"] == {"text": "review", "vocabulary": 50, "length": 5}
    assert job.args["set"]["lr"] == 0.01
    assert "optimizer" not in job.args["set"]


def test_a_table_of_measurements_beside_names_is_a_table_at_first(empty, shown):
    rng = np.random.default_rng(0)
    names = [f"Person {k} Smith" for k in range(N)]
    at = uploaded(shown, empty, "people.csv", csv(pd.DataFrame({"name": names, "age": rng.integers(20, 60, N), "y": [0, 1] * (N // 2)})))
    assert options(at, "Text column") == [texts.NONE, "name"]
    assert "words of each" not in text(at)
    fill(at, "Target", "y")
    press(at, "Check")
    work(empty)
    assert "can be trained" in text(drawn(at))


def test_a_few_long_names_are_categories_and_no_texts(empty, shown):
    """As the credit histories of German credit: five sentences that come again and again."""
    rng = np.random.default_rng(0)
    said = [
        "no credits taken or all paid back duly",
        "all credits at this bank paid back duly",
        "a critical account or other credits elsewhere",
    ]
    made = pd.DataFrame({"history": rng.choice(said, N), "age": rng.integers(20, 60, N), "y": [0, 1] * (N // 2)})
    at = uploaded(shown, empty, "credit.csv", csv(made))
    assert "Text column" not in [box.label for box in at.selectbox]
    fill(at, "Target", "y")
    press(at, "Check")
    assert "text" not in work(empty).args.get("data_set", {})


def test_what_a_check_doubts_is_said_before_all_else(empty, shown):
    made = pd.DataFrame({"a": [1.0, 2.0] * N, "b": [3.0, 4.0] * N, "y": [0, 1] * N})
    at = uploaded(shown, empty, "copies.csv", csv(made))
    fill(at, "Target", "y")
    press(at, "Check")
    work(empty)
    said = text(drawn(at))
    assert "This can be trained, but look at" in said
    assert "Everything fits" not in said


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Project:
    """A project with a small model of texts, scored."""
    folder = tmp_path_factory.mktemp("scored")
    table(100_000).to_csv(folder / "t.csv", index=False)
    project = Project(folder / "p")
    perform("train", project, {"data": str(folder / "t.csv"), "target": "label", "data_set": {"text": "review"}, "set": {"epochs": 4}})
    perform("attribute", project, {"query": "loss", "method": "metagradient"})
    perform("mislabelled", project, {"method": "out_of_sample"})
    return project


def test_influence_shows_the_text_of_rows_and_never_a_whole_book(scored, shown):
    at = shown(scored, "influence")
    tables = [frame.value for frame in at.dataframe if "review" in frame.value]
    assert len(tables) >= 2, "rows by score, and labels that may be wrong"
    for frame in tables:
        assert frame["review"].str.len().max() <= texts.SHOWN + 1
    first = list(tables[0])
    assert first[:4] == ["id", "score", "label", "review"], "what one looks for stands where one sees it"
    assert any("<b>so</b> **good** word" in said for frame in tables for said in frame["review"])
    drawn(to(at, "audit"))


def test_texts_alike_lie_near_each_other():
    x = np.array([[5, 6, 7, 0], [7, 5, 6, 0], [5, 6, 7, 8], [20, 21, 22, 0], [0, 0, 0, 0]])
    found = counted(x)
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found[:4], axis=1), 1)
    assert np.linalg.norm(found[0] - found[2]) < np.linalg.norm(found[0] - found[3])
    assert not found[4].any()
