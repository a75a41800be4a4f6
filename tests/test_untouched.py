"""A step that a person took as the result, in sight of holdout figures, is nowhere told as measured on untouched rows."""

from __future__ import annotations

from influence.actions import _steps, perform
from influence.actions._untouched import UNTOUCHED, step, touched
from influence.readable import readable
from tests import drawing
from tests.drawing import text

no_worker, fresh, shown = drawing.no_worker, drawing.fresh, drawing.shown
CLAIMED = "used for no question, no choice and no training"


def test_one_of_several_models_for_one_request_is_told_as_chosen_and_a_single_one_is_not(fresh, shown):
    def made(method, **given):
        return perform("unlearn", fresh, {"method": method, "set": given})["run"]

    def why(run):
        return touched(fresh, fresh.run(run))

    first = made("finetune", epochs=1)
    again, named = made("finetune", epochs=1), made("retrain")
    assert [why(run) for run in (first, again, named)] == [""] * 3, "equal weights are one model; one is always retrained for comparison"
    second = made("influence_step")
    ids = fresh.dataset(fresh.run(first).dataset).train.ids[50:55].tolist()
    after = perform("unlearn", fresh, {"method": "finetune", "set": {"epochs": 1}, "run": second, "ids": ids})["run"]
    truth = fresh.run(first).body["retrained"]
    cases = [(run, "This model") for run in (first, again, second, named, truth)] + [(after, "A model that this one was made from")]
    for run, whose in cases:
        assert why(run).startswith(f"{whose} is one of 3 made for the same request; whoever chose among them could see holdout figures")
    perform("compare", fresh, {"run": second, "group": "group"})
    assert "one of 3 made for the same request" in text(shown(fresh, "compare", run=second))


def test_the_best_of_several_seeds_is_chosen_though_all_are_retrained(fresh):
    made = [perform("unlearn", fresh, {"method": "retrain", "set": {"truth": "fresh", "seed": k}})["run"] for k in (1, 2)]
    assert all("is one of 3 made for the same request" in touched(fresh, fresh.run(run)) for run in made)


def test_a_step_that_was_taken_is_told_so_wherever_its_holdout_figures_stand(fresh, shown, tmp_path):
    alone = perform("unlearn", fresh, {"method": "finetune", "set": {"epochs": 1}, "ids": [*range(3)]})["run"]
    whole = perform("unlearn", fresh, {"method": "finetune", "set": {"epochs": 2}})["run"]
    assert (touched(fresh, fresh.run(whole)), step(fresh.run(whole))) == ("", "")
    at = _steps.held(fresh, whole)[1]
    taken = perform("roll_back", fresh, {"run": whole, "step": at["step"]})
    why, which = touched(fresh, fresh.run(taken["run"])), f"step {at['step']:,} of {at['of']:,}"
    assert why.startswith(f"This model is {which} of its unlearning, chosen by a person who could see holdout figures")
    beside = touched(fresh, fresh.run(whole))
    assert beside.startswith("This model is one of 3 made for the same request"), "the whole way was chosen from its steps, too"
    ids = fresh.dataset(fresh.run(whole).dataset).train.ids[50:55].tolist()
    after = perform("unlearn", fresh, {"method": "finetune", "run": taken["run"], "ids": ids})["run"]
    later = touched(fresh, fresh.run(after))
    assert later.startswith(f"A model that this one was made from is {which} of its")
    for run, told in ((alone, ""), (whole, beside), (taken["run"], why), (after, later)):
        compared = readable("compare", fresh, perform("compare", fresh, {"run": run, "group": "group"}))
        at = shown(fresh, "compare", run=run)
        assert (UNTOUCHED in text(at)) == (not told)
        assert [box.value for box in at.warning] == [told] * bool(told)
        report = perform("report", fresh, {"run": run})
        page = (fresh.path / report["html"]).read_text(encoding="utf-8")
        perform("export_model", fresh, {"run": run, "out": str(tmp_path / run)})
        card = (tmp_path / run / "README.md").read_text(encoding="utf-8")
        for place in (compared, readable("report", fresh, report), page, card):
            assert ("could see holdout figures" in place) == bool(told)
            assert told in place
        assert page.count(told or CLAIMED) == (3 if told else 1), "at the top, over the measures, and of what is not proven"
        assert (CLAIMED in page) == (not told)
        named = run == taken["run"]
        assert (f"by Finetune, taken at {which} (claim L1" in page) == (f"<dd>{which}</dd>" in page) == named
    assert why in readable("roll_back", fresh, taken)
    assert "leaves it no longer untouched" in text(shown(fresh, "run", run=whole))
