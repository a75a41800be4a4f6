"""What each pixel adds to the model's answer, over the image itself: an address that holds its own bytes, as thumbnails are."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from influence.data.images.thumbnails import unit

SIDE = 256
"""Pixels of the longer side at least."""
FOR, AGAINST = (0, 114, 178), (213, 94, 0)
"""Blue and vermilion (Okabe and Ito 2008): colour-blind people tell them apart."""
WEAK = 0.7
"""Power by which colours fade: under 1, so that weak pixels are seen too."""
PALE = 0.45
"""How much of the image's own contrast is left, so that colours stand out."""


def of_parts(pixels: np.ndarray, values: np.ndarray, strongest: float) -> str:
    """Return an image (C, H, W), pale and grey, with `values` (C, H, W) over it, channels added up.

    Blue speaks for the answer, vermilion against; what is as strong as `strongest` covers the image.
    """
    grey = 0.5 + PALE * (unit(pixels).mean(0) - 0.5)
    added = values.sum(0)
    cover = np.clip(np.abs(added) / max(strongest, 1e-12), 0, 1)[..., None] ** WEAK
    tint = np.where(added[..., None] >= 0, np.array(FOR), np.array(AGAINST)) / 255
    mixed = (1 - cover) * grey[..., None] + cover * tint
    image = Image.fromarray(np.rint(255 * mixed).astype(np.uint8))
    times = max(1, SIDE // max(image.size))
    packed = io.BytesIO()
    image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST).save(packed, "PNG")
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}"
