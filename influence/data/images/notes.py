"""What a person should know of how images were read, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

DONE = {
    "turned": "turned upright, as the camera noted (EXIF)",
    "transparent": "with transparent parts, laid on white",
    "palette": "with a palette, written out as colours",
    "deep": "of 16 bits, rounded to 8",
    "cmyk": "in printing colours (CMYK), turned to red, green and blue",
    "animated": "animated, of which the first frame is used",
}
SHOWN = 3


def shape(facts: pd.DataFrame, x: Sequence[int]) -> str:
    """Say which sizes the images had, and which they have: `facts` has `width` and `height`, `x` is (C, H, W)."""
    channels, height, width = x
    colour = "grey" if channels == 1 else "colour"
    sizes = facts[["width", "height"]].drop_duplicates()
    if len(sizes) == 1:
        had = tuple(sizes.iloc[0])
        return f"Images: {width} x {height}, {colour}{'' if had == (width, height) else f', scaled from {had[0]} x {had[1]}'}."
    return (
        f"Images: {width} x {height}, {colour}; scaled from {len(sizes):,} sizes ({facts['width'].min()} to {facts['width'].max()} wide, "
        f"{facts['height'].min()} to {facts['height'].max()} high), and cut evenly at the edges where proportions differ."
    )


def done(facts: pd.DataFrame) -> str:
    """Say what was done to some images: `facts` has `done`, names in `DONE`."""
    counts = facts["done"].explode().value_counts()
    found = [f"{counts[key]:,} {words}" for key, words in DONE.items() if counts.get(key, 0)]
    return f"Of these: {'; '.join(found)}." if found else ""


def unreadable(reasons: Mapping[str, str], of: int) -> str:
    """Say which images could not be read: their paths, and why each could not."""
    if not reasons:
        return ""
    shown = "; ".join(f"{path!r} {reason}" for path, reason in list(reasons.items())[:SHOWN])
    return f"{len(reasons):,} of {of:,} images could not be read and were left out: {shown}{'; …' if len(reasons) > SHOWN else ''}."


def copies(digests: np.ndarray, labels: np.ndarray, train: np.ndarray) -> str:
    """Say how many files of test images are also among the training images, and how many files there have two labels.

    `digests`, `labels`: (N,), of the files and their classes or numbers. `train`: (N,) bool.
    """
    leaked = int(np.isin(digests[~train], digests[train]).sum())
    pairs = pd.DataFrame({"digest": digests[train], "label": labels[train]}).drop_duplicates()
    torn = int(pairs["digest"].duplicated().sum())
    said = [
        f"{leaked:,} test image{'s are exact copies of training images' if leaked > 1 else ' is an exact copy of a training image'}."
        if leaked
        else "",
        f"{torn:,} training image{'s occur' if torn > 1 else ' occurs'} again with another label." if torn else "",
    ]
    return " ".join(filter(None, said))
