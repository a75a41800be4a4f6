"""The component that draws the map: raw arrays in, an outline out. No other file is fetched, and nothing is built.

Inline scripts that paint by the processor, so that a million points need neither a plotting library, a graphics card, nor a way back for
each of them: an outline of some hundred corners returns, and the server says which rows are inside. Points go by one message and their
colours by another, so that another colour is a quarter of the bytes at most: the browser keeps what it was sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Colouring:
    """What colours say: `values` (N,), NaN where it is not known, and how they are read.

    `kind`: diverging and sequential values lie between `low` and `high` (beyond, they have the last colour); categories are places in
    `names`. `colours`: stops of a ramp, or one colour per category, on a `light` and on a `dark` ground. `ends`: words for both ends.
    """

    kind: str
    title: str
    values: np.ndarray
    colours: Mapping[str, list[str]]
    low: float = 0.0
    high: float = 1.0
    names: tuple[str, ...] = ()
    ends: tuple[str, str] = ("", "")

    def header(self) -> dict[str, Any]:
        """Return everything but the values, as JSON."""
        plain = {"kind": self.kind, "title": self.title, "colours": dict(self.colours), "low": self.low, "high": self.high}
        return {**plain, "names": list(self.names) or None, "ends": list(self.ends)}


def packed(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return a header and arrays as the script reads them: its length (4 bytes), JSON, and each array's bytes at a multiple of 4."""
    parts: dict[str, Any] = {}
    bodies: list[Any] = []
    start = 0
    for name, array in arrays.items():
        body = np.ascontiguousarray(array)
        parts[name] = [f"{body.dtype.kind}{body.dtype.itemsize}", start, body.nbytes]
        padding = -body.nbytes % 4
        bodies += [body.reshape(-1).view(np.uint8).data, bytes(padding)]
        start += body.nbytes + padding
    text = json.dumps({**header, "parts": parts}).encode()
    text += b" " * (-len(text) % 4)
    return b"".join([np.uint32(len(text)).tobytes(), text, *bodies])


def names(ids: np.ndarray) -> np.ndarray:
    """Return ids as the script reads them: whole numbers of 32 bits, or text of one line each as UTF-8."""
    if ids.dtype.kind in "iu" and len(ids) and -(2**31) <= int(ids.min()) and int(ids.max()) < 2**31:
        return ids.astype(np.int32)
    text = "\n".join(" ".join(str(i).split("\n")) for i in ids.tolist())
    return np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8)


def _joined(*files: str) -> str:
    """Return scripts in this order: only the last one exports."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in files)


canvas = st.components.v2.component(
    "lethe_map",
    html=(HERE / "map.html").read_text(encoding="utf-8"),
    css=(HERE / "map.css").read_text(encoding="utf-8"),
    js=_joined("paint.js", "points.js", "view.js", "map.js"),
)
held = st.components.v2.component("lethe_points", js=_joined("points.js", "held.js"))
