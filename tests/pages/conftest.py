"""A real headless Chromium, and pages that must load nothing from elsewhere and log no error."""

import pytest
from playwright.sync_api import expect, sync_playwright

PATIENCE_MS = 60_000  # of whatever waits for a condition: a machine may be busy
expect.set_options(timeout=PATIENCE_MS)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic",
]  # fmt: skip


@pytest.fixture(scope="module")
def chromium():
    """Return Debian's Chromium as a Playwright browser; its event loop ends with the file."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(chromium):
    """Return a function that opens an empty page; none may have loaded anything from elsewhere or logged an error."""
    faults, contexts = [], []

    def open_page(**options):
        context = chromium.new_context(**{"viewport": {"width": 1400, "height": 900}} | options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: _local(request.url) or faults.append(f"request to {request.url}"))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


def _local(url: str) -> bool:
    return url.startswith(("http://localhost:", "https://localhost:", "file:", "data:", "blob:"))
