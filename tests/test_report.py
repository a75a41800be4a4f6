"""The report: hostile text stays text, what is unknown is said, and nothing is fetched."""

from __future__ import annotations

import math
import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from influence.evidence import words
from influence.evidence.figures import Estimate, Figure, Retrained
from influence.evidence.investigation import (
    Asked,
    Beside,
    Change,
    Chosen,
    Data,
    Entry,
    Flips,
    Investigation,
    Measure,
    Method,
    Model,
    Part,
    Preview,
    Question,
    Unlearned,
)
from influence.evidence.pictures import Mark, Row, Scale, forest
from influence.evidence.report import IDS_SHOWN, foretold, gaps, render
from influence.evidence.sentences import limits, summary, tiles, verdict

VOID = {"meta", "br", "link", "img", "hr", "input", "path", "circle", "rect", "line"}


class Page(HTMLParser):
    """What a browser would see: elements, attributes, text; complains about tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def plain(text: str) -> str:
    """Typographic blanks and minus signs as they are typed."""
    return text.replace(words.NARROW, " ").replace(words.MINUS, "-")


def measure(
    metric: str, better: str, values: tuple[float, float, float], wide: float, column: str = "", group: str = "", headline: bool = False
):
    found = {role: Estimate(v, v - wide, v + wide, 8140) for role, v in zip(("original", "unlearned", "retrained"), values, strict=True)}
    changes = {
        role: Estimate(f.value - values[0], *(f.value - values[0] + s * wide / 2 for s in (-1, 1)), 8140) for role, f in found.items()
    }
    changes.pop("original")
    return Measure(metric, better, found, column, group, headline, changes, f"Male {words.MINUS} Female" if column and not group else "")


FULL = Investigation(
    title="Equal opportunity in the income model",
    project="march",
    created="2026-03-03 14:12 UTC",
    data=Data(
        "adult", {"train": 32561, "evaluation": 8141, "holdout": 8140}, "income", "adult.parquet", ("sex",), ("race",), False, "", "9f" * 32
    ),
    model=Model("mlp", "run-1", {"hidden": (64, 32)}, {"lr": 0.05, "weight_decay": 1e-8, "epochs": 8}, "ab" * 32),
    question=Asked(
        "equal-opportunity gap by sex", "lower", Estimate(0.108, 0.081, 0.134, 8141), "Largest minus smallest.", "eo[sex] (M - F)", 0.092
    ),
    questions=(
        Question("equal-opportunity gap by sex", Estimate(0.108, 0.081, 0.134, 8141), ("rows scored by Metagradient",)),
        Question("Loss of every group by sex", None, ("rows that help nobody looked for by TracIn",)),
    ),
    asked=2,
    method=Method("Metagradient", "Walks back through training.", {"memory": 2048}, True),
    selection=Chosen(100, "the 100 rows predicted to lower it most.", "c3" * 32, tuple(range(100)), (Part("sex", "Female", 71, 10771),)),
    preview=Preview((Change("eo gap", "lower", -0.041, -0.047, -0.035, 0.092, n=1_953),), "Calibrated on 8 retrainings."),
    unlearning=Unlearned("Fine-tuning", "L1", 0.18, "Goes on training.", {"epochs": 2}, "", 0.6, "run-2"),
    comparison=(
        measure("equal-opportunity gap", "lower", (0.108, 0.058, 0.052), 0.027, "sex", headline=True),
        measure("accuracy", "higher", (0.860, 0.861, 0.8596), 0.007, headline=True),
        measure("true-positive rate", "higher", (0.512, 0.561, 0.566), 0.04, "sex", "Female"),
    ),
    flips=(Flips("unlearned", 8140, 96, 51, 45), Flips("retrained", 8140, 104)),
    changes=(Change("eo gap", "lower", -0.041, -0.047, -0.035, realised={"unlearned": -0.038, "retrained": -0.044}),),
    records=(Entry(1, "train", "2026-03-03 14:00", "1a" * 32, "00" * 32), Entry(2, "unlearn", "2026-03-03 14:05", "2b" * 32, "1a" * 32)),
    versions={"torch": "2.13.0"},
)
BARE = Investigation("Nothing yet", "march", "today", Data("loans", {"train": 10}, "decision"), Model("logistic"))


@pytest.fixture(scope="module")
def full() -> str:
    return render(FULL)


def test_says_what_was_found_done_changed_and_what_it_cost(full):
    text = plain(Page(full).text)
    for sentence in (
        "On 8,140 holdout rows, equal-opportunity gap by sex (Male - Female) went from 0.108 (95 % 0.081 to 0.135) to 0.058 (95 % 0.031 to "
        "0.085): better; the change is -0.050 (95 % -0.064 to -0.036). "
        "A model retrained without the rows has 0.052 (95 % 0.025 to 0.079). "
        "accuracy went from 0.860 (95 % 0.853 to 0.867) to 0.861 (95 % 0.854 to 0.868): no clear change; the change is +0.001 (95 % "
        "-0.002 to 0.005).",
        "100 training rows (0.3 % of 32,561) were removed: the 100 rows predicted to lower it most. "
        "The model was made to forget them by Fine-tuning (claim L1: approximate). It took 0.18 s, 30 % of the 0.60 s that retraining "
        "took.",
        "Loss of every group by sex rows that help nobody looked for by TracIn",
    ):
        assert sentence in text


def test_every_value_is_shown(full):
    text = plain(Page(full).text)
    for part in (
        "hidden 64 by 32",
        "lr 0.05, weight_decay 1e-08",
        "71.0 %",
        "33.1 %",
        "-0.047 to -0.035",
        "-0.044",
        "torch 2.13.0",
        "1,953",
    ):
        assert part in text
    for n in ("10,771", "96", "104", "51", "45"):
        assert re.search(rf"\b{n}\b", text)
    assert "2b2b2b2b2b2b…" in text
    assert words.claim("L1").meaning in text


def test_is_well_formed_and_stands_alone(full):
    for html in (full, render(BARE)):
        page = Page(html)
        assert not re.search(r"(?i)https?:|//[a-z]|url\(|@import|javascript:", html)
        assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "form", "base"}
        for tag, given in page.tags:
            assert not set(given) & {"src", "href", "srcset", "action"}, tag
            assert not [name for name in given if name.startswith("on")], tag
        policy = next(given["content"] for tag, given in page.tags if given.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none'")
        assert "prefers-color-scheme: dark" in html
        assert "@media print" in html


HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;{{ 7*7 }}"


def hostile(value):
    """The same investigation with every text in it, at any depth, replaced."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, tuple):
        return tuple(map(hostile, value))
    if isinstance(value, dict):
        return {key if key in ("train", "unlearned", "retrained", "original") else HOSTILE: hostile(part) for key, part in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        kept = {"better", "claim", "role"}
        return replace(value, **{f.name: hostile(getattr(value, f.name)) for f in fields(value) if f.name not in kept})
    return value


@pytest.mark.parametrize("simulated", [False, True])
def test_hostile_names_stay_text(simulated):
    bad = hostile(FULL)
    bad = replace(bad, data=replace(bad.data, simulated=simulated), findings=(HOSTILE,))
    html = render(bad)
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert not [given for _, given in page.tags if set(given) & {"onerror", "src"}]
    assert page.text.count("<script>alert('x')</script>") >= 30
    assert "{{ 7*7 }}" in page.text
    assert "49" not in page.text.split("{{ 7*7 }}")[0]


def test_hostile_claims_and_roles_stay_text():
    bad = replace(FULL, unlearning=replace(FULL.unlearning, claim=HOSTILE), flips=(Flips(HOSTILE, 10, 1),))
    assert not {tag for tag, _ in Page(render(bad)).tags} & {"script", "img"}
    assert "not known to this version" in Page(render(bad)).text


@pytest.mark.parametrize("nothing", [None, math.nan])
def test_no_interval_is_too_few_to_say(nothing):
    few = Measure(
        "true-positive rate",
        "higher",
        {role: Estimate(0.5, nothing, nothing, 8) for role in ("original", "unlearned")},
        "race",
        "Other",
        changes={"unlearned": Estimate(0.0, nothing, nothing, 8)},
    )
    asked = replace(FULL.question, measured=Estimate(0.5, nothing, nothing, 8))
    text = Page(render(replace(FULL, question=asked, comparison=(few,)))).text
    assert "On 8 evaluation rows, equal-opportunity gap by sex is 0.500 (too few to say for an interval)" in text
    assert text.count("0.500 too few to say") == 2
    lacks = replace(FULL.question, measured=Estimate(0.5, nothing, nothing, 800, "no interval"))
    assert "is 0.500 (no interval)" in Page(render(replace(FULL, question=lacks, comparison=()))).text
    assert verdict(few) == "too few to say"
    assert "nan" not in text.lower()
    assert "None" not in text


def test_settings_are_one_line_however_long_they_are():
    assert words.named({"name": "graph", "given": {"graph": '{"x": 1}'}}) == "graph"
    assert words.named({"name": "mlp", "given": {"hidden": (64, 32), "config": "{}"}}) == "mlp (hidden 64 by 32)"
    said = words.settings({"hidden": (64, 32), "rate": 0.5, "none": "", "config": "{" + "x" * 5_000})
    assert said.startswith("hidden 64 by 32, rate 0.5, config {xxx")
    assert len(said) < 120


def test_values_that_are_not_there_are_said():
    hole = Measure(
        "gap",
        "lower",
        {"original": Estimate(None), "unlearned": Estimate(math.nan), "retrained": Estimate(0.1, 0.0, 0.2, 50)},
        "sex",
        headline=True,
    )
    text = Page(render(replace(FULL, comparison=(hole,), changes=(Change("gap", "lower", None),)))).text
    assert "not measured" in text
    assert "rank only" in text
    assert "nan" not in text.lower()


def test_what_was_not_done_has_no_section_and_is_said_once():
    text = Page(render(BARE)).text
    for sentence in (
        "Nothing was removed.",
        "No question was asked of this model.",
        "No records were kept.",
        "none: the model was not trained here",
    ):
        assert sentence in text
    for section in ("Evidence", "Measures", "Rows selected", "What was predicted", "Unlearning", "Predictions that changed"):
        assert section not in text
    assert tiles(BARE) == []
    assert [heading for heading, _ in summary(BARE)] == ["Done"]
    asked = replace(BARE, method=FULL.method)
    assert any("not verified against retraining" in text for text in limits(asked))
    assert not any("not verified against retraining" in text for text in limits(replace(asked, retrained=(Retrained("a", 1, ()),))))


def test_figures_before_and_after_stand_with_their_rows_and_the_finding_comes_first():
    gap = "equal-opportunity gap by sex"
    figures = (
        Figure(
            f"{gap}, evaluation rows, retrained without these rows",
            Estimate(0.07, n=8141),
            "one retraining",
            "",
            Estimate(0.108, 0.081, 0.134, 8141),
        ),
        Figure(
            f"{gap}, holdout rows, retrained without these rows",
            Estimate(0.06, n=8140),
            "one retraining",
            "",
            Estimate(0.11, 0.08, 0.14, 8140),
        ),
        Figure(
            f"{gap}, holdout rows, mean change over 3 new seeds, retrained without these rows",
            Estimate(-0.04, -0.06, -0.02, 8140),
            change=True,
        ),
    )
    found = replace(BARE, question=FULL.question, retrained=(Retrained("sex = F", 71, figures),))
    text = plain(Page(render(found)).text)
    lead = (
        "On 8,141 evaluation rows, equal-opportunity gap by sex is 0.108 (95 % 0.081 to 0.134). Lower is better. Retrained without the "
        "71 rows where sex = F, it goes 0.108 → 0.070 on the evaluation rows and 0.110 → 0.060 on the holdout rows (one retraining; "
        "over new seeds it changes by -0.040 (95 % -0.060 to -0.020) on the holdout rows)."
    )
    assert lead in text
    assert text.index(lead) < text.index("Retrained to check")
    assert "0.110 → 0.060 before 0.080 to 0.140; after: one retraining 8,140" in text


@pytest.mark.parametrize("gone", ["question", "method", "selection", "preview", "unlearning"])
def test_each_part_can_be_absent(gone):
    Page(render(replace(FULL, **{gone: None})))


@pytest.mark.parametrize("gone", ["comparison", "flips", "changes", "records", "findings"])
def test_each_table_can_be_absent(gone):
    Page(render(replace(FULL, **{gone: ()})))


def test_a_retrained_model_alone_is_the_result():
    alone = tuple(replace(one, found={role: one.found[role] for role in ("original", "retrained")}) for one in FULL.comparison)
    html = render(
        replace(
            FULL, comparison=alone, flips=FULL.flips[1:], changes=(), unlearning=replace(FULL.unlearning, claim="L2", retrain_seconds=None)
        )
    )
    text = Page(html).text
    assert "went from 0.108 (95 % 0.081 to 0.135) to 0.052" in text
    assert "A model retrained without the rows has" not in text
    assert "that retraining took" not in text
    assert "It is not proven that the model holds no trace" not in text
    assert ">Unlearned<" not in html.replace("<h2>Unlearning", "")


def test_simulated_data_is_said_before_any_figure():
    html = render(replace(FULL, data=replace(FULL.data, simulated=True, notes="Labels of 214 rows were turned.")))
    text = Page(html).text
    assert text.index("Simulated data. Labels of 214 rows were turned.") < text.index("0.108")
    assert "made by us: no figure here says anything about real people" in text
    assert "Simulated data" not in Page(render(FULL)).text


def test_a_broken_chain_is_said():
    assert (
        "The chain of records does not hold. Record 2 was changed." in Page(render(replace(FULL, findings=("Record 2 was changed.",)))).text
    )


def test_ids_are_cut_and_counted():
    many = replace(FULL, selection=replace(FULL.selection, n=1234, ids=tuple(f"row-{i}" for i in range(1234))))
    text = Page(render(many)).text
    assert f"row-{IDS_SHOWN - 1}" in text
    assert f"row-{IDS_SHOWN}" not in text
    assert f"{1234 - IDS_SHOWN:,} more" in text
    assert " more; the selection" not in Page(render(FULL)).text


def test_the_word_is_kept_for_what_deserves_it():
    for level in ("trained", "L0", "L1", "L2"):
        html = render(replace(FULL, unlearning=replace(FULL.unlearning, claim=level)))
        assert "certif" not in html.lower()
        assert words.CLAIMS[level].name in html
    certified = replace(FULL, unlearning=replace(FULL.unlearning, claim="L3"))
    assert words.CLAIMS["L3"].name in render(certified)
    assert any("up to ε and δ" in text for text in limits(certified))
    assert not any("holds no trace" in text for text in limits(certified))


def test_limits_follow_from_what_was_done():
    assert any("holds no trace" in text for text in limits(FULL))
    assert any("original model still exists" in text for text in limits(FULL))
    assert any("predictions are not results" in text for text in limits(BARE))
    assert not any("retrained" in text for text in limits(BARE))


def test_a_report_of_relabelled_rows_speaks_of_no_removal():
    beside = Beside("equal_opportunity_gap", "sex", "", 100, 0.8, 0.7, 0.75, 0.85, "outside")
    done = replace(FULL.unlearning, verified="It was verified.", beside=(beside,), requests=("relabel",))
    one = replace(FULL.selection, n=1, ids=(7,), relabelled=True, reason="the label of row 7 is another")
    text = plain(Page(render(replace(FULL, selection=one, unlearning=done, method=None, preview=None, changes=()))).text)
    assert "1 training row (under 0.1 % of 32,561) was relabelled: the label" in text
    assert "made to forget its old label by" in text
    assert "A model retrained with the new labels has 0.052" in text
    assert "“Retrained” is the same training with the new labels" in text
    assert "Rows relabelled" in text
    assert "Equal-opportunity gap sex: all groups" in text, "a metric has the name that it has on pages"
    assert "Beside models that never saw the old labels" in text
    assert "no trace of the old labels" in text
    assert "copies of the old labels" in text
    assert not re.search(r"remov|without the rows", text)


def test_a_claim_after_removals_and_new_labels_is_of_both():
    both = replace(FULL.unlearning, requests=("relabel", "remove"))
    text = plain(Page(render(replace(FULL, unlearning=both))).text)
    assert "neither the removed rows nor the old labels" in text
    assert "no trace of the rows and old labels" in text


def test_r_squared_shares_no_axis_with_errors():
    changes = (Change("R²", "higher", 0.1, 0.0, 0.2), Change("Mean absolute error", "lower", -1200.0, -1500.0, -900.0))
    drawn = str(foretold(changes))
    assert "Mean absolute error" in drawn
    assert "R²" not in drawn
    text = Page(render(replace(FULL, changes=changes))).text
    assert "the figure leaves out R², which is in no unit" in text
    assert "R² +0.100" in text, "the table holds it"
    assert "leaves out" not in Page(render(FULL)).text


@pytest.mark.parametrize(
    ("label", "smooth", "says"),
    [
        ("Accuracy", "Mean margin", "Mean margin"),
        ("Mean absolute error", "Mean squared error", "Mean squared error"),
        ("Mean absolute error gap by sex (A - B)", "Group loss gap by sex (A - B)", "Group loss gap"),
        ("Equal-opportunity gap by sex (A - B)", "Equal-opportunity gap by sex (B - A)", "smooth"),
        ("Equal-opportunity gap by sex, largest", "Equal-opportunity gap by sex", "smooth"),
    ],
)
def test_a_smooth_version_that_is_another_metric_has_its_own_name(label, smooth, says):
    own = Change(label, "lower", 0.00049, before=0.8, smooth=Change(smooth, "lower", 0.099, -0.747, 0.944))
    text = plain(Page(render(replace(FULL, changes=(own,), preview=replace(FULL.preview, changes=(own,))))).text)
    assert f"{label} +0.00049 {says} +0.099 too few to say -0.747 to 0.944" in text
    assert f"0.800 → 0.800 {says} +0.099 too few" in text


def test_shares_are_of_the_rows_that_the_model_saw():
    """An earlier request removed 12,561 of the 32,561 rows."""
    later = replace(FULL, selection=replace(FULL.selection, in_all=12_661))
    assert "100 training rows (0.5 % of 20,000; 12,661 with earlier requests)" in plain(summary(later)[-1][1])
    assert any("0.5 % of 20,000" in plain(below) for *_, below in tiles(later))
    assert "100 of 20,000 training rows" in plain(Page(render(later)).text)


def test_one_row_is_said_in_the_singular():
    one = replace(FULL, selection=replace(FULL.selection, n=1))
    assert " was removed: the 100 rows" in summary(one)[-1][1]
    assert "The model was made to forget it by" in summary(one)[-1][1]
    assert " is selected: " in summary(replace(one, unlearning=None))[-1][1]


@pytest.mark.parametrize(
    ("better", "old", "new", "says"),
    [
        ("lower", 0.108, 0.058, "better"),
        ("higher", 0.108, 0.058, "worse"),
        ("lower", 0.05, 0.09, "worse"),
        ("neither", 0.05, 0.09, "changed"),
        ("lower", 0.05, 0.06, "no clear change"),
        ("lower", None, 0.06, ""),
    ],
)
def test_verdict(better, old, new, says):
    """By the interval of the change on the same rows, not by the models' own."""
    wide = (None, None) if old is None else (old - 0.2, old + 0.2)
    found = {"original": Estimate(old, *wide, 100), "unlearned": Estimate(new, n=100)}
    changes = {} if old is None else {"unlearned": Estimate(new - old, new - old - 0.02, new - old + 0.02, 100)}
    assert verdict(Measure("m", better, found, changes=changes)) == says


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (-0.05, "better"),
        (-0.13, "better"),
        (-0.17, "reversed"),
        (-0.24, "reversed"),
        (-0.3, "worse"),
        (0.05, "worse"),
        (0.01, "no clear change"),
    ],
)
def test_a_gap_that_was_turned_around_is_not_better_for_that(change, says):
    moved = (
        Estimate(change, change - 0.045, change + 0.045, 100) if abs(change) > 0.06 else Estimate(change, change - 0.02, change + 0.02, 100)
    )
    found = {"original": Estimate(0.1, 0.0, 0.2, 100), "unlearned": Estimate(abs(0.1 + change), n=100)}
    measure = Measure("gap", "lower", found, "sex", changes={"unlearned": moved}, pair=f"A {words.MINUS} B")
    assert verdict(measure) == says
    done = replace(FULL, comparison=(replace(measure, headline=True, changes={**measure.changes, "retrained": moved}),))
    done = replace(done, comparison=(replace(done.comparison[0], found={**found, "retrained": found["unlearned"]}),))
    now = plain(words.number(0.1 + change))
    assert tiles(done)[0][:2] == (f"gap by sex (A {words.MINUS} B)", f"0.100 → {words.number(0.1 + change)}")
    said, text = plain(summary(done)[0][1]), plain(Page(render(done)).text)
    size = f"{now}, in size {now[1:]}" if now.startswith("-") else now
    assert f" to {size} (too few to say for an interval): {says}" in said
    assert f"A model retrained without the rows has {size} (too few" in said
    cell = f"{now} in size {now[1:]} too few" if now.startswith("-") else f"{now} too few"
    assert f"A - B lower 100 0.100 0.000 to 0.200 {cell} to say {cell} to say {says}" in text
    drawn = str(gaps(done.comparison, ["original", "unlearned", "retrained"]))
    assert f"gap by sex, Unlearned: {now.lstrip('-')} (" in drawn, "a picture that names no pair shows sizes"


def test_where_other_groups_are_further_apart_now_both_gaps_are_told():
    found = {"original": Estimate(0.1, 0.0, 0.2, 100), "unlearned": Estimate(0.09, 0.01, 0.17, 100)}
    moved = {"unlearned": Estimate(-0.06, -0.08, -0.04, 100)}
    one = Measure("gap", "lower", found, "sex", headline=True, changes=moved, pair=f"A {words.MINUS} B")
    done = replace(FULL, comparison=(one,))
    assert "to 0.040, the largest of all 0.090 (95 % 0.010 to 0.170): better; " in plain(summary(done)[0][1])
    assert "0.040 the largest of all 0.090 0.010 to 0.170 better" in plain(Page(render(done)).text)


def test_what_is_no_clear_change_of_size_is_said_so():
    found = {"original": Estimate(0.02, 0.0, 0.1, 100), "unlearned": Estimate(0.01, n=100)}
    moved = {"unlearned": Estimate(-0.03, -0.05, -0.01, 100)}
    assert verdict(Measure("gap", "lower", found, "sex", changes=moved, pair=f"A {words.MINUS} B")) == "no clear change"


# Words


@pytest.mark.parametrize(
    ("x", "value", "change"),
    [
        (0.10849, "0.108", "+0.108"),
        (-0.0123, "-0.012", "-0.012"),
        (0.0, "0.000", "0.000"),
        (-0.0, "0.000", "0.000"),
        (0.00031, "0.00031", "+0.00031"),
        (-0.00002, "-2e-05", "-2e-05"),
        (12345.678, "12,345.678", "+12,345.678"),
        (math.nan, "not measured", "not measured"),
        (math.inf, "not measured", "not measured"),
        (None, "not measured", "not measured"),
    ],
)
def test_numbers(x, value, change):
    assert plain(words.number(x)) == value
    assert plain(words.signed(x)) == change


def test_shares_counts_and_times():
    assert [plain(words.percent(x)) for x in (0.5, 0.0, 0.0003, 1.0, -0.25)] == [
        "50.0 %",
        "0.0 %",
        "under 0.1 %",
        "100.0 %",
        "-25.0 %",
    ]
    assert plain(words.percent(0.306, 0)) == "31 %"
    assert words.percent(math.nan) == "not measured"
    assert [words.count(n, "row") for n in (0, 1, 2, 1234)] == ["0 rows", "1 row", "2 rows", "1,234 rows"]
    times = [plain(words.duration(t)) for t in (0.181, 9.994, 42.4, 59.7, 61.0, 3725.0)]
    assert times == ["0.18 s", "9.99 s", "42 s", "1 min 0 s", "1 min 1 s", "1 h 2 min"]
    assert words.duration(None) == "not measured"
    assert plain(words.interval(-0.01, 0.02)) == "-0.010 to 0.020"
    assert words.interval(0.1, math.nan) == "too few to say"
    assert "-" not in words.number(-0.5) + words.signed(-0.5) + words.percent(-0.5) + words.interval(-0.5, -0.1)


# Charts


@pytest.mark.parametrize("values", [(0.1, 0.2), (-0.05, 0.0004), (-3.0, -1.0), (0.0,), (1e-7,), (12345.0, 2.0), (0.3, -0.3)])
def test_scale_holds_zero_and_all_values_with_round_ticks(values):
    scale = Scale.of(list(values))
    ticks = scale.ticks()
    assert scale.low <= min(0, *values)
    assert scale.high >= max(0, *values)
    assert 4 <= len(ticks) <= 13
    assert 0 in ticks
    assert ticks[0] == pytest.approx(scale.low)
    assert ticks[-1] == pytest.approx(scale.high)
    mantissa = scale.step / 10 ** math.floor(math.log10(scale.step) + 1e-9)
    assert round(mantissa, 6) in (1, 2, 5)


def test_forest_stands_where_the_values_are():
    svg = forest("T", ["A", "B"], [Row("one", (Mark(0, 0.2, 0.1, 0.3), Mark(1, 0.4))), Row("gone", (Mark(0, None),))])
    scale = Scale.of([0.1, 0.2, 0.3, 0.4])
    assert f'cx="{scale.x(0.2):.1f}"' in svg
    assert f'x1="{scale.x(0.1):.1f}" x2="{scale.x(0.3):.1f}"' in svg
    assert "one, B: 0.400 (too few to say)" in svg
    assert "gone" not in svg
    assert forest("T", ["A"], [Row("gone", (Mark(0, math.nan),))]) == ""


def test_forest_tells_series_apart_without_colour():
    svg = forest("T", ["A", "B", "C"], [Row("r", tuple(Mark(i, 0.1 * i) for i in range(3)))])
    assert all(f"<{shape} class=" in svg for shape in ("circle", "path", "rect"))
    absent = forest("T", ["A", "B", "C"], [Row("r", (Mark(2, 0.1),))])
    assert ">A<" not in absent
    assert ">C<" in absent
