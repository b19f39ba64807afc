"""A server of gunshot demo, and a person at its page."""

import functools
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import expect
from typer.testing import CliRunner

from gunshot import cli
from tests.pages.conftest import FLAGS

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


def microphone(chromium, url: str, file: Path) -> Visitor:
    """Return a page in a Chromium of its own, whose microphone hears a file once, at its pace."""
    fake = [
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={file}%noloop",
    ]  # fmt: skip
    browser = chromium.browser_type.launch(executable_path="/usr/bin/chromium", headless=True, args=[*FLAGS, *fake])
    return Visitor(browser.new_page(), url)


def exported(out: Path) -> None:
    """Write the page to a folder, by `gunshot export demo`, where the pipeline is."""
    done = CliRunner().invoke(cli.app, ["export", "demo", str(out)], catch_exceptions=False)
    assert done.exit_code == 0 and "index.html" in done.output


def renewed(out: Path, words: str, others: str) -> None:
    """Make a newer one of an exported page, in which some words of demo.json are others."""
    facts, keeper = out / "demo.json", out / "offline.js"
    assert words in facts.read_text()
    facts.write_text(facts.read_text().replace(words, others))
    keeper.write_text(re.sub('VERSION = "[0-9a-f]*"', 'VERSION = "newer"', keeper.read_text(), count=1))
    for path in (facts, keeper):  # a server tells versions by their second, and this one may be the first one's
        os.utime(path, (path.stat().st_mtime + 2,) * 2)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def handed_out(folder: Path):
    """A web server of a folder, which knows nothing of what is in it."""
    server = ThreadingHTTPServer(("localhost", 0), functools.partial(_Silent, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
