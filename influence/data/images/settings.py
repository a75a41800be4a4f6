"""What a person chooses of how images are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from influence.registry import option


@dataclass(frozen=True)
class Reading:
    """Every image gets one size and as many channels."""

    size: int = option(0, "Pixels of each side; 0: the images' own size or their median, at most 64", min=0, max=512)
    channels: Literal["auto", "grey", "colour"] = option("auto", "Grey or colour; auto: grey if every image is")
    image: str = option("", "Of a table: the column with the paths of images or their bytes", column=True)
