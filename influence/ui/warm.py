"""Load what is slow to load after the first page is on the screen: PyTorch here for the forms, and a worker for the first job."""

from __future__ import annotations

import threading
from contextlib import suppress

import streamlit as st

from influence import jobs, registry
from influence.store import Project


@st.cache_resource(show_spinner=False, max_entries=8)
def once(path: str, _project: Project) -> bool:
    """Start a worker for the project and import what is registered, once per server; returns at once."""
    jobs.wake(_project)
    threading.Thread(target=_load, daemon=True, name="warm").start()
    return True


def _load() -> None:
    for kind in (registry.models, registry.datasets, registry.queries, registry.attribution, registry.unlearning):
        with suppress(Exception):  # a page that needs it meets the same error, and says so
            kind.classes  # noqa: B018
