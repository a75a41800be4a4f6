"""Colours that colour-blind people tell apart, on light and dark grounds (Okabe and Ito 2008; PuOr of ColorBrewer)."""

from __future__ import annotations

from collections.abc import Sequence

GROUPS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#8A9099"
LOWERS, RAISES = "#E66101", "#7B6DB2"
"""Of a change that is predicted if rows are removed, as on the map: orange is down, violet is up, whatever is better."""
DIVERGING = {
    "light": ["#7F3B08", "#B35806", "#E08214", "#AEB4BB", "#8073AC", "#542788", "#2D004B"],
    "dark": ["#FFE0B0", "#FDB863", "#D9801C", "#59626D", "#8C80C8", "#B9AEF2", "#E6E2FF"],
}
"""PuOr. What is strong stands out from the ground, and what is near 0 goes back to it, in both themes."""
CIVIDIS = ["#00224E", "#123570", "#3B496C", "#575D6D", "#707173", "#8A8678", "#A59C74", "#C3B369", "#E1CC55", "#FEE838"]
SEQUENTIAL = {"light": CIVIDIS[5::-1], "dark": CIVIDIS[4:]}
"""Without the part that does not stand out from the ground: the rows of low values are seen, too."""
ROLES = {"original": GROUPS[0], "unlearned": GROUPS[1], "retrained": GROUPS[2], "random": GROUPS[3]}
"""Of models that are compared; random: retrained without as many random rows."""
PARTS = {"forgotten": GROUPS[4], "retained": GREY, "holdout": GROUPS[5]}
"""Of rows, where models have the colours above."""


def of_groups(names: Sequence[str]) -> dict[str, str]:
    """Return a colour per group, the same on every page: by its place in sorted order; from the seventh on, grey."""
    return {name: GROUPS[i] if i < len(GROUPS) else GREY for i, name in enumerate(sorted(set(names)))}
