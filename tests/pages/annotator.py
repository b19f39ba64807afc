"""A server of gunshot annotate, and a person at its page."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import expect

SR = 16000
ROOT = Path(__file__).parents[2]
MODELS = "[...Bokeh.documents[0]._all_models.values()]"
WINDOWS = "model.type == 'ColumnDataSource' && model.columns().includes('dash')"  # holds the windows


class Server:
    """gunshot annotate in a process of its own."""

    def __init__(self, folder: Path, *options: str):
        command = [sys.executable, "-u", "-c", "from gunshot.cli import main; main()", "annotate", str(folder)]
        self.log = open(folder.parent / f"{folder.name}.log", "w+")  # noqa: SIM115 - closed in stop
        self.server = subprocess.Popen(
            [*command, "--no-browser", "--port", "0", *options], cwd=ROOT, stdout=self.log, stderr=subprocess.STDOUT
        )
        end = time.monotonic() + 120
        while not (address := re.search(r"http://localhost:\d+", self.text())):
            assert self.server.poll() is None and time.monotonic() < end, self.text()
            time.sleep(0.2)
        self.url = address[0]

    def text(self) -> str:
        return Path(self.log.name).read_text()

    def stop(self) -> str:
        """Stop it as a terminal does, and return what it said."""
        self.server.send_signal(signal.SIGTERM)
        self.server.wait(30)
        self.log.close()
        return self.text()


class Annotator:
    """A person at the page."""

    def __init__(self, page, url: str, recording: str):
        self.page = page
        page.goto(url)
        self.open(recording)

    def open(self, recording: str) -> None:
        self.page.locator(".tabulator-cell", has_text=re.compile(f"^{re.escape(recording)}$")).click()
        expect(self.title).to_contain_text(recording)
        # What cannot be read has no windows, and says so where the others say that they load.
        expect(self.title.filter(has_text="windows").or_(self.status.filter(has_text="must"))).to_be_visible()

    @property
    def title(self):
        return self.page.locator("div.bk-panel-models-markup-HTML b").locator("..")

    @property
    def status(self):
        return self.page.get_by_role("status")

    def says(self, text: str) -> None:
        expect(self.status).to_contain_text(text)

    def has(self, windows: int, *more: str) -> None:
        for text in (f"· {windows} windows", *more):
            expect(self.title).to_contain_text(text)

    def view(self) -> dict:
        """Return the time in view, s, and where the spectrogram lies on the page, px."""
        return self.page.evaluate(
            """() => {
              const models = [...Bokeh.documents[0]._all_models.values()]
              const figure = models.filter((model) => model.type == "Figure").at(-1)
              const view = Bokeh.index.find_one(figure), {left, right, top, bottom} = view.frame.bbox
              const at = view.el.getBoundingClientRect(), {start, end} = figure.x_range
              return {start, end, left: at.left + left, right: at.left + right, y: at.top + (top + bottom) / 2}
            }"""
        )

    def hover(self, sample: int) -> tuple[float, float]:
        view = self.view()
        share = (sample / SR - view["start"]) / (view["end"] - view["start"])
        at = view["left"] + share * (view["right"] - view["left"]), view["y"]
        self.page.mouse.move(*at, steps=3)  # the first after a drag may still be of the drag
        # The cursor and its box follow the mouse by way of the server.
        self.waits(f"model.type == 'Span' && Math.abs(model.location - {sample / SR}) < {self.tolerance() / SR}")
        return at

    def click(self, sample: int) -> None:
        self.page.mouse.click(*self.hover(sample))

    def drag(self, sample: int, by: int) -> None:
        x, y = self.hover(sample)
        view = self.view()
        px = by / SR / (view["end"] - view["start"]) * (view["right"] - view["left"])
        dragged = f"[...model.get_array('x0')].map((start) => start + {by / SR})"
        wanted = self.page.evaluate(f"() => {MODELS}.filter((model) => {WINDOWS}).flatMap((model) => {dragged})")
        self.page.mouse.down()
        self.page.mouse.move(x + px, y, steps=10)
        self.page.mouse.up()
        near = f"{wanted}.some((start) => Math.abs(start - at) < {self.tolerance() / SR})"
        self.waits(f"{WINDOWS} && [...model.get_array('x0')].some((at) => {near})")

    def shows(self, start_s: float, end_s: float, within: float = 0.01) -> None:
        """Wait until about this part of the recording is in view."""
        self.waits(
            f"model.type == 'Range1d' && Math.abs(model.start - {start_s}) < {within}"
            f"&& Math.abs(model.end - {end_s}) < {within}"
        )

    def waits(self, condition: str) -> None:
        """Wait until a Bokeh model fulfils a condition."""
        self.page.wait_for_function(f"() => {MODELS}.some((model) => {condition})")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def tolerance(self) -> int:
        """Return two pixels, in samples."""
        view = self.view()
        return round(2 * SR * (view["end"] - view["start"]) / (view["right"] - view["left"]))
