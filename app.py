"""Launcher: `streamlit run app.py` serves `influence/ui/main.py`, which runs before every page.

A main script beside a folder `pages/` lets a deep link to a fresh server run a page without it; here that cannot happen.
"""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from influence.errors import BadInput

log = logging.getLogger("lethe")


async def ready(request: Request) -> JSONResponse:
    """Answer that the server takes requests; for load balancers and for whoever waits for the start."""
    return JSONResponse({"ready": True})


def explain(error: Exception) -> bool:
    """Say an error in a sentence instead of a traceback; Streamlit has logged the traceback, the number shown finds it."""
    if isinstance(error, BadInput):
        st.error(str(error))
        return True
    number = uuid.uuid4().hex[:8]
    log.error("Error %s is the %s above", number, type(error).__name__)
    st.error(f"This page could not be shown. Reload it to try again; running jobs go on. The server's log has the details under {number}.")
    return True


app = st.App(Path(__file__).parent / "influence/ui/main.py", routes=[Route("/api/ready", ready)], on_script_error=explain)
