"""The app of the commands, and how a function becomes one of them: its options may come in groups that many commands have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar

import typer

from influence.commands import Commands

F = TypeVar("F", bound=Callable[..., None])

HELP = "The commands: everything the pages do, without a page. `python -m influence --help`."

app = typer.Typer(
    cls=Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, help=HELP
)


def command(function: F) -> F:
    """Make a function the command of its name; used as a decorator.

    A parameter that is a dataclass is a group of options: on the command line its fields stand in its place, one by one.
    """

    def called(**given: Any) -> None:
        _filled(function, given)

    called.__name__, called.__module__, called.__doc__ = function.__name__, function.__module__, function.__doc__
    called.__signature__ = inspect.Signature([*_single(function)])  # type: ignore[attr-defined]
    app.command()(called)
    return function


def _single(asked: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    """Yield the parameters of a function or a group, with the fields of a group in its place."""
    for parameter in inspect.signature(asked, eval_str=True).parameters.values():
        if is_dataclass(parameter.annotation):
            yield from _single(parameter.annotation)  # type: ignore[arg-type]
        else:
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _filled(asked: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Call a function or a group with what was given, its groups made first."""
    parameters = inspect.signature(asked, eval_str=True).parameters.values()
    return asked(**{p.name: _filled(p.annotation, given) if is_dataclass(p.annotation) else given[p.name] for p in parameters})  # type: ignore[arg-type]
