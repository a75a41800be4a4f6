"""Of what was brought: data, and models made here or elsewhere."""

from __future__ import annotations

from influence.evidence import checks, words
from influence.readable._shared import Result, holdout, says, table
from influence.store import Project


@says
def demo(project: Project, result: Result) -> list[str]:
    """The project, and as `train`."""
    return [f"Project {result['project']}.", *train(project, result)]


@says
def train(project: Project, result: Result) -> list[str]:
    """The run, and its figures on the holdout rows."""
    run = project.run(result["run"])
    return [
        f"Run {run.id}: {run.body['model']['name']}, trained on {words.count(result['n_train'], 'row')} in "
        f"{words.duration(result['seconds'])}. On the holdout rows, which no question is asked of:",
        *holdout(run),
        *filter(None, [result["notes"]]),
    ]


@says
def check(project: Project, result: Result) -> list[str]:
    """What was checked, sizes of classes and groups, and that nothing is kept."""
    return [
        *checks.lines(result["checks"]),
        *(table("<<" + ">" * (len(result["sizes"]["columns"]) - 2), *checks.sizes(**result["sizes"])) if result["sizes"]["data"] else []),
        *filter(None, [result["notes"]]),
        f"Took {words.duration(result['seconds'])}; nothing is kept. train takes the same options.",
    ]


@says
def import_model(project: Project, result: Result) -> list[str]:
    """What was checked, and the run's figures on the holdout rows if it is kept."""
    model = words.named(result["model"])
    if not result["run"]:
        return [f"{model}: checked, and not kept.", *checks.lines(result["checks"])]
    run = project.run(result["run"])
    return [
        f"Run {run.id}: {model}, brought with {words.count(len(run.body['checkpoints']), 'checkpoint')}.",
        *checks.lines(result["checks"]),
        "On the holdout rows, which no question is asked of:",
        *holdout(run),
    ]
