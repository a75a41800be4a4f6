"""What all tests share: one torch thread, no waiting for the disk, one look at the installed packages, and the folder of real data."""

import functools
import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_power_cuts():
    """Nothing is waited for until it has reached the disk: what a test writes need not outlive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_scan():
    """What installed packages say of themselves is read once for all drawn pages: each app reads it as it starts, a second's work."""
    from streamlit.components.v2 import manifest_scanner

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", functools.cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture(scope="session")
def lethe_data() -> Path:
    """Folder of the real public data sets: LETHE_DATA, or ../shared/data beside the checkout; skips where it is absent."""
    folder = Path(os.environ.get("LETHE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        refuse = pytest.fail if os.environ.get("LETHE_DATA_REQUIRED") else pytest.skip
        refuse(f"no real data at {folder}; set LETHE_DATA")
    return folder
