"""Lethe as its users meet it: a fresh server on a free port and a real Chromium, for browser tests and benchmarks."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, Route, TimeoutError, sync_playwright

from influence.jobs import process
from scripts import browser

ROOT = Path(__file__).resolve().parents[1]
START = 60.0  # seconds that a server may need to answer
WAIT = 60_000.0  # milliseconds that work on a page may take
HARMLESS = (
    re.compile(
        r"404 .*/\w+/_stcore/(health|host-config)$"
    ),  # at a deep link Streamlit's client asks below the page first, then at the root
)
"""Errors of the browser's console that say nothing about Lethe, each with its reason."""
BROKEN = ("could not be shown", "Traceback (most recent call last)")


@dataclass
class Server:
    """A running server: where it is, its project, and when its process was started (seconds since 1970)."""

    url: str
    project: Path
    started: float


@contextmanager
def serve(project: Path, **env: str) -> Iterator[Server]:
    """Start a server on a project's folder, wait until it answers, and end it with the project's worker afterwards.

    Raises:
        RuntimeError: it did not answer in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log_file = project.with_name(f"{project.name}.log")
    log_file.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true", "--server.port", str(port)]
    with log_file.open("wb") as log:
        started = time.time()
        running = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "INFLUENCE_PROJECT": str(project), **env})
        try:
            _await(f"http://127.0.0.1:{port}/api/ready", running)
            yield Server(f"http://127.0.0.1:{port}", project, started)
        finally:
            running.terminate()
            with suppress(subprocess.TimeoutExpired):
                running.wait(5)
            running.kill()
            running.wait()
            _end_worker(project)


def _await(url: str, running: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end and running.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"No server answered at {url} within {START:g} s; its log lies beside the project's folder.")


def _end_worker(project: Path) -> None:
    """End the project's worker, also one that is only just starting."""
    end = time.monotonic() + process.START
    while project.is_dir() and (pid := process.holder(project)) is not None and time.monotonic() < end:
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(process.PROBE)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a Chromium.

    Raises:
        RuntimeError: there is none on this machine.
    """
    path = browser.find()
    if path is None:
        raise RuntimeError("No Chromium was found. Run `python -m scripts.browser` to install one, or set LETHE_BROWSER to its path.")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield started
        finally:
            started.close()


@dataclass
class Window:
    """A window of its own browser context on a server, with everything that went wrong in it."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)

    def watch(self) -> Window:
        """Refuse and note every request that leaves this machine; note the errors of the browser's console."""
        self.page.set_default_timeout(WAIT)
        self.page.context.route(re.compile(r"^(?!http://127\.0\.0\.1[:/]|data:|blob:)"), self._refuse)
        self.page.on(
            "console", lambda message: self._told(f"{message.text} {message.location['url']}") if message.type == "error" else None
        )
        self.page.on("pageerror", lambda error: self._told(f"{error}"))
        return self

    def _refuse(self, route: Route) -> None:
        self.problems.append(f"asked for {route.request.url}")
        route.abort()

    def _told(self, text: str) -> None:
        if not any(known.search(text) for known in HARMLESS):
            self.problems.append(f"console: {text}")

    def open(self, page: str, address: str = "") -> Window:
        """Go to a page by its name and wait until it is drawn."""
        self.page.goto(f"{self.url}/{page}{address}")
        self.page.get_by_test_id("stHeading").first.wait_for()
        return self.settle()

    def follow(self, label: str, page: str) -> Window:
        """Click a link or a button that leads to another page, and wait until that page is drawn."""
        main = self.page.get_by_test_id("stMain")
        main.get_by_role("link", name=label).or_(main.get_by_role("button", name=label)).first.click()
        self.page.wait_for_url(f"**/{page}**")
        self.page.get_by_role("heading", name=page.capitalize(), exact=True).wait_for()
        return self.settle()

    def press(self, label: str) -> Window:
        """Click the button with this label in the main part of the page."""
        self.page.get_by_test_id("stMain").get_by_role("button", name=label, exact=False).first.click()
        return self

    def sees(self, text: str | re.Pattern[str], seconds: float = WAIT / 1000) -> Window:
        """Wait until a text is visible in the main part of the page, and look for errors.

        Raises:
            AssertionError: it does not come; says what is there instead.
        """
        try:
            self.page.get_by_test_id("stMain").get_by_text(text).first.wait_for(timeout=seconds * 1000)
        except TimeoutError as error:
            raise AssertionError(f"{text!r} did not come within {seconds:g} s; {self.page.url} shows: {self.text()}") from error
        return self.check()

    def settle(self) -> Window:
        """Wait until the server has nothing more to draw, and look for errors."""
        quiet = '() => !document.querySelector(\'[data-testid="stApp"][data-test-script-state="running"], [data-stale="true"]\')'
        for _ in range(2):  # a click needs a moment to reach the server
            self.page.wait_for_timeout(150)
            self.page.wait_for_function(quiet)
        return self.check()

    def check(self) -> Window:
        """Raise AssertionError if the page tells of an error, or anything went wrong since the window was opened."""
        shown = self.page.inner_text("body")
        found = [part for part in BROKEN if part in shown]
        assert not found, f"{self.page.url} shows {found}: {shown[-2000:]}"
        assert not self.problems, f"{self.page.url}: {self.problems}"
        return self

    def text(self) -> str:
        """Return the text of the main part of the page."""
        return self.page.get_by_test_id("stMain").inner_text()

    def choose(self, label: str, *options: str) -> Window:
        """Pick options in a select box or a multiselect, as one does by typing."""
        box = self.page.get_by_test_id("stMain").get_by_role("combobox", name=label).first
        box.evaluate("box => box.scrollIntoView({block: 'center'})")  # a list that has no room below closes again
        for option in options:
            if box.input_value() == option:  # chosen already: typing it again opens no list
                continue
            box.fill(option)
            self.page.get_by_role("option", name=option, exact=True).first.click()
        if self.page.get_by_role("listbox").count():  # a multiselect stays open; in a select box Escape would clear the choice
            self.page.keyboard.press("Escape")
        return self.settle()

    def enter(self, label: str, value: str) -> Window:
        """Type a value into a field."""
        box = self.page.get_by_test_id("stMain").get_by_label(label, exact=True).first
        box.fill(value)
        box.press("Enter")
        return self.settle()


@contextmanager
def window(chrome: Browser, url: str) -> Iterator[Window]:
    """Open a window in a browser context of its own: somebody else's browser, as far as the server can tell."""
    context = chrome.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    try:
        yield Window(context.new_page(), url).watch()
    finally:
        context.close()
