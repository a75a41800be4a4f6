"""Colours that colour-blind people tell apart, on light and dark grounds (Okabe and Ito 2008; PuOr of ColorBrewer)."""

from __future__ import annotations

from collections.abc import Sequence

GROUPS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#8A9099"
HARMFUL, HELPFUL = "#E66101", "#7B6DB2"
DIVERGING = [[0.0, "#B35806"], [0.25, "#F1A340"], [0.5, "#B9BDC4"], [0.75, "#998EC3"], [1.0, "#542788"]]
ROLES = {"original": GROUPS[0], "unlearned": GROUPS[1], "retrained": GROUPS[2]}


def of_groups(names: Sequence[str]) -> dict[str, str]:
    """Return a colour per group, the same on every page: by its place in sorted order; from the seventh on, grey."""
    return {name: GROUPS[i] if i < len(GROUPS) else GREY for i, name in enumerate(sorted(set(names)))}
