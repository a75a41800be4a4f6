"""Where the public data sets lie that are not bundled: the folder that LETHE_DATA names, or ../shared/data beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

DATA = Path(os.environ.get("LETHE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
