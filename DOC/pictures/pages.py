"""Takes the pictures of what `make` leaves: python DOC/pictures/pages.py, in the project's folder."""

import subprocess
from pathlib import Path

from playwright.sync_api import sync_playwright

from gunshot.base import pipeline

OUT = Path(__file__).parent
BURST = "simulated/gun/machine_gun/00368.wav"  # the one that README.md plots
HEIGHT, WIDTH = 1100, 1100  # px


def main() -> None:
    """Take detect.png, report.png and explore.png."""
    subprocess.run(["gunshot", "detect", pipeline.raw() / BURST, "--plot", OUT / "detect.png"], check=True)
    subprocess.run(["gunshot", "explore"], check=True)
    reports = pipeline.output("evaluate").parent
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto((reports / "index.html").resolve().as_uri())
        page.screenshot(path=OUT / "report.png")
        page.goto((reports / "explore.html").resolve().as_uri())
        page.get_by_role("heading", name="A map of the chunks").evaluate("heading => heading.scrollIntoView()")
        page.get_by_text("score (test)", exact=True).wait_for()
        page.screenshot(path=OUT / "explore.png")
        browser.close()


if __name__ == "__main__":
    main()
