"""A server of gunshot demo, and a person at its page."""

import re
import signal
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect

ROOT = Path(__file__).parents[2]
PATIENCE_MS = 60_000


class Server:
    """gunshot demo in a process of its own."""

    def __init__(self):
        command = [sys.executable, "-u", "-c", "from gunshot.cli import main; main()", "demo", "--no-browser"]
        self.server = subprocess.Popen(
            [*command, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said = self.server.stdout.readline()
        address = re.match(r"http://localhost:\d+/", said)
        assert address, said + self.server.stdout.read()
        self.url = address[0]

    def stop(self) -> tuple[int, str]:
        """Stop it as a terminal does; return its exit code and what else it said."""
        self.server.send_signal(signal.SIGINT)
        said, _ = self.server.communicate(timeout=30)
        return self.server.returncode, said


class Visitor:
    """A person at the page."""

    def __init__(self, page, url: str):
        self.page = page
        page.goto(url)
        self.says("Ready")

    def says(self, words: str) -> None:
        """Wait until the page says these words."""
        expect(self.page.locator("#state")).to_contain_text(words, timeout=PATIENCE_MS)

    def open(self, file: Path) -> list[int]:
        """Choose a file; return the onsets that the page lists, in samples, and check that each has a player."""
        self.page.locator("#state").evaluate("state => { state.textContent = '' }")  # of a file before
        self.page.locator("#file").set_input_files([])
        self.page.locator("#file").set_input_files(file)
        self.says(f"{file.name}: ")
        onsets = self.onsets()
        assert self.page.locator("#incidents audio").count() == len(onsets)
        return onsets

    def onsets(self) -> list[int]:
        """Return the onsets that the page lists, in samples."""
        script = "all => all.map((one) => Number(one.dataset.onset))"
        return sorted(self.page.locator("#incidents [data-onset]").evaluate_all(script))
