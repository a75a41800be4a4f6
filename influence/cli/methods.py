"""Everything that can be chosen by name."""

from __future__ import annotations

from typing import Annotated

import typer

from influence.cli._app import command
from influence.cli._options import Place
from influence.commands import strict


@command
def methods(
    *,
    name: Annotated[str, typer.Argument(help="Say all about what has this name: explanation, needs, cost, settings.")] = "",
    run: Annotated[str, typer.Option("--run", help="Say what is not open to this run, and why.")] = "",
    place: Place,
) -> None:
    """List everything that can be chosen: data sets, models, queries, methods; with a name, its settings."""
    from influence.actions._opened import opened
    from influence.methods import listed, readable
    from influence.store import Project

    found = listed(name, opened(Project(place.project), run) if run else None)
    typer.echo(strict(found) if place.as_json else readable(found, run))
