"""Forms drawn from what is registered: the settings of a class as widgets, and the choice among the classes of one kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from influence.errors import BadInput
from influence.registry import Registry, Setting, checked, settings
from influence.ui import state, words

AUTOMATIC = "Automatic"
DEFAULT = "Default"
NO_COLUMN = "No column"
OFF = "Nothing can be started until this is put right."
FOLDED = 3
"""More reasons than these why something is not open are folded."""


def settings_form(
    cls: type,
    key: str,
    columns: Sequence[str] | None = None,
    *,
    automatic: Collection[str] = (),
    hidden: Collection[str] = (),
    given: Mapping[str, Any] | None = None,
    offered: Mapping[str, Sequence[str]] | None = None,
    usual: Mapping[str, str] | None = None,
    shared: bool = False,
) -> dict[str, Any]:
    """Draw a widget per setting of a class and return the values by name, each allowed by its setting.

    `columns`: what settings that name a column choose from. `automatic`: settings that may stay open; open ones are left out of the result.
    `hidden`: settings that are not drawn and not returned. `given`: what stands in the widgets at first, instead of the defaults.
    `offered`: the values that these data have for settings of text, by name: they are chosen, and "" stands for the default.
    `usual`: what that default is in these data, by name. `shared`: values stand in the address (`state.shared`).
    Settings keep their values when one leaves the page and comes back. Where one is not allowed nothing is drawn below the form, so that
    nothing can be started.
    """
    wanted = [s for s in settings(cls) if s.name not in hidden]
    first, folded = [s for s in wanted if not s.advanced], [s for s in wanted if s.advanced]
    known = {name: tuple(map(str, values)) for name, values in (offered or {}).items()}
    first, folded = [[replace(s, choices=("", *known[s.name])) if s.name in known else s for s in part] for part in (first, folded)]
    values = _fields(first, key, columns, automatic, given or {}, usual or {}, shared)
    if folded:
        with st.expander("More settings", icon=":material/tune:"):
            values |= _fields(folded, key, columns, automatic, given or {}, usual or {}, shared)
    if any(isinstance(value, BadInput) for value in values.values()):
        st.caption(OFF)
        st.stop()
    return values


def _fields(
    wanted: list[Setting],
    key: str,
    columns: Sequence[str] | None,
    automatic: Collection[str],
    given: Mapping[str, Any],
    usual: Mapping[str, str],
    shared: bool,
) -> dict[str, Any]:
    if not wanted:
        return {}
    values = {}
    across = st.columns(min(3, len(wanted)))
    for place, setting in enumerate(wanted):
        with across[place % len(across)]:
            start = None if setting.name in automatic else given.get(setting.name, setting.default)
            value = field(setting, f"{key}.{setting.name}", start, columns, usual.get(setting.name, ""), shared)
            if value is not None:
                values[setting.name] = value
    return values


def field(setting: Setting, key: str, start: Any, columns: Sequence[str] | None = None, usual: str = "", shared: bool = False) -> Any:
    """Draw the widget of one setting and return its value, or why it is not allowed; None for one that is open (`start` None).

    `usual`: what its default "" is. `shared`: the value stands in the address.
    """

    def same(written: Callable[[Any], str] | None = None) -> dict[str, Any]:
        kept = state.shared(key, written) if shared else {"key": key, "persist_state": "session"}
        return {"label": words.title(setting.name), "help": setting.help or None, **({"format_func": written} if written else {}), **kept}

    if setting.column and columns is not None:
        options = [*([] if start else [""]), *columns]
        index = options.index(start) if start in options else 0
        return st.selectbox(options=options, index=index, **same(lambda name: name or NO_COLUMN))
    if setting.choices:
        return _choice(setting, start, same, usual)
    if setting.type is bool:
        return st.toggle(value=bool(start), **same())
    if setting.type in (int, float):
        return _number(setting, start, same(), shared)
    return _text(setting, start, same())


def _choice(setting: Setting, start: Any, same: Callable[..., dict[str, Any]], usual: str) -> Any:
    options = [*([None] if start is None else []), *setting.choices]
    data = setting.type is str and "" in options  # values of the data are shown as they are
    return st.selectbox(options=options, index=options.index(start), **same(lambda option: _shown(option, data, usual)))


def _shown(option: Any, data: bool, usual: str) -> str:
    """Return a choice as people read it; `data`: it is a value of the data, and "" what stands for `usual`."""
    if option is None:
        return AUTOMATIC
    if option == "":
        return f"{DEFAULT}: {usual}" if usual else DEFAULT
    return str(option) if data else words.title(str(option))


def _number(setting: Setting, start: Any, same: dict[str, Any], shared: bool) -> Any:
    kind = setting.type
    # A browser keeps a number outside its limits to itself, and the page would go on with the one before: so limits are looked at here.
    limits = {f"{end}_value": kind(at) for end in ("min", "max") if shared and (at := getattr(setting, end)) is not None}
    step: Any
    step, shape = (1, "%d") if kind is int else (_step(start), "%g")
    value = st.number_input(value=start, step=step, format=shape, placeholder="Auto", **limits, **same)
    return None if value is None else _allowed(setting, value)


def _step(start: float | None) -> float:
    """A tenth of the start value's magnitude, so that the buttons move it sensibly."""
    return float(f"{abs(start) / 10:.0e}") if start else 0.01


def _text(setting: Setting, start: Any, same: dict[str, Any]) -> Any:
    text = ", ".join(map(str, start)) if isinstance(start, tuple) else str(start or "")
    return _allowed(setting, st.text_input(value=text, **same))


def _allowed(setting: Setting, value: Any) -> Any:
    """Return the value as its setting has it; or draw why it is not allowed, and return that."""
    try:
        return checked(setting, value)
    except BadInput as error:
        st.error(words.escaped(words.title(setting.name) + str(error).removeprefix(setting.name)))
        return error


def choose(
    registry: Registry,
    key: str,
    label: str,
    unavailable: Callable[[Any], str] = lambda instance: "",
    *,
    columns: Sequence[str] | None = None,
    automatic: Collection[str] = (),
    first: str = "",
    hidden: Collection[str] = (),
) -> tuple[str, dict[str, Any]]:
    """Draw the choice of one of a kind with its explanation and settings; return its id and the settings, or ("", {}) if none is open.

    `unavailable(instance)` says in a sentence why one is not open; those are listed below with their reasons. `first` is chosen at first;
    those with a reservation come last, with it, and are shown on request.
    `hidden`: settings that are not drawn and not returned.
    """
    reasons = {name: unavailable(cls()) for name, cls in registry.classes.items()}
    doubts = {name: str(getattr(cls, "reservation", "")) for name, cls in registry.classes.items()}
    open_ones = sorted((name for name, reason in reasons.items() if not reason), key=lambda name: (name != first, bool(doubts[name])))
    name, place = "", st.container()
    open_ones = asked_for(open_ones, [name for name in open_ones if doubts[name]], key)
    if open_ones:
        captions = [summary(registry, name) + (f" **Not recommended:** {doubts[name]}" if doubts[name] else "") for name in open_ones]
        name = place.radio(label, open_ones, format_func=words.title, captions=captions, key=key, persist_state="session") or open_ones[0]
    _closed({other: plain(registry, reason) for other, reason in reasons.items() if reason})
    if not name:
        return "", {}
    return name, details(registry, name, key, columns, automatic, hidden)


def asked_for(names: list[str], doubtful: Collection[str], key: str) -> list[str]:
    """Draw whether those with a reservation are wanted, too; return what is. They are where nothing else is open."""
    good = [name for name in names if name not in doubtful]
    if not (good and doubtful):
        return names
    label = f"Show {len(doubtful)} more that {'is' if len(doubtful) == 1 else 'are'} not recommended"
    wanted = st.toggle(label, st.session_state.get(key) in doubtful, key=f"{key}.all", persist_state="session")
    return names if wanted else good


def _closed(reasons: Mapping[str, str]) -> None:
    """Draw why some are not open, folded if they are many."""
    place = st.expander(f"{len(reasons)} others are not open here", icon=":material/block:") if len(reasons) > FOLDED else st.container()
    with place:
        for name, reason in reasons.items():
            st.caption(f":material/block: **{words.title(name)}** is not open here. {words.escaped(reason)}")


def plain(registry: Registry, reason: str) -> str:
    """Return why one is not open as pages say it: others of its kind by their titles, where commands take their ids."""
    one = rf"\b(?:{'|'.join(registry.classes)})\b"
    told = rf"^{one}|(?<=[Cc]hoose ){one}(?:(?:, |,? or ){one})*(?=[.,;]|$)"
    return re.sub(told, lambda found: re.sub(one, lambda id: words.title(id[0]), found[0]), reason)


def details(
    registry: Registry,
    name: str,
    key: str,
    columns: Sequence[str] | None = None,
    automatic: Collection[str] = (),
    hidden: Collection[str] = (),
    shared: bool = False,
) -> dict[str, Any]:
    """Draw what is to be known of one of a kind, folded, and its settings; return the settings."""
    cls = registry.classes[name]
    rest = registry.explain(name).partition("\n\n")[2]
    facts = [
        f"**{word.capitalize()}:** {words.escaped(text)}" for word in ("needs", "cost", "reservation") if (text := getattr(cls, word, ""))
    ]
    if rest or facts:
        with st.expander(f"About {words.title(name)}", icon=":material/menu_book:"):
            st.markdown("\n\n".join([*facts, rest]).replace("$", r"\$"))
    return settings_form(cls, f"{key}.{name}", columns, automatic=automatic, hidden=hidden, shared=shared)


def summary(registry: Registry, name: str) -> str:
    """Return the first sentence of an explanation."""
    return " ".join(registry.explain(name).split("\n\n")[0].split()).replace("$", r"\$")
