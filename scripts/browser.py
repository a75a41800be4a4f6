"""Find a Chromium for the browser tests, or install one: `python -m scripts.browser`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


def find() -> str | None:
    """Return the path of a browser that starts: `LETHE_BROWSER`, one of the system's, or Playwright's own; None if there is none."""
    return next((path for path in _candidates() if _starts(path)), None)


def _candidates() -> Iterator[str]:
    yield from (path for path in [os.environ.get("LETHE_BROWSER"), *map(shutil.which, NAMES), *APPLICATIONS] if path)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    yield path


def _starts(path: str) -> bool:
    """Tell whether the program runs: one that was installed without its system libraries does not."""
    if not Path(path).is_file():
        return False
    return subprocess.run([path, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _install() -> None:
    """Try Playwright's download, then the packages of Debian if this is root there."""
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if find() is None and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"], check=False)


def main() -> None:
    """Print which browser the tests will use; exit with 1 and what to do where none can be had."""
    if find() is None:
        _install()
    found = find()
    if found is None:
        sys.exit("No Chromium was found and none could be installed. Install Chromium or Chrome, or set LETHE_BROWSER to its path.")
    print(f"Browser for the tests: {found}")


if __name__ == "__main__":
    main()
