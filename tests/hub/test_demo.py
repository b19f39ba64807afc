"""`gunshot hub demo`: a raised case on the page of a real browser; after Ctrl-C no process is left."""

import os
import re
import signal
import sys

import psutil
import pytest
from playwright.sync_api import expect

from gunshot.hub import demo, worlds
from tests.flows.prefect_server import started
from tests.hub.console import COMMAND, ROOT
from tests.hub.waiting import until
from tests.pages.conftest import chromium, new_page  # noqa: F401 - fixtures

pytestmark = pytest.mark.slow


@pytest.fixture
def interruptible():
    """What runs in a shell's background ignores SIGINT, and so would all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_person_sees_what_three_devices_hear_and_ctrl_c_ends_it_all(tmp_path, new_page):  # noqa: F811
    log = tmp_path / "log"
    with started(log, sys.executable, "-c", COMMAND, "hub", "demo", tmp_path / "hub", cwd=ROOT) as one:
        until(lambda: one.poll() is not None or "Ctrl-C" in log.read_text(), log.read_text, demo.START_S)
        page_, name, password = re.search(r"(https://\S+) +name: (\S+) +password: (\S+)", log.read_text()).groups()
        children = psutil.Process(one.pid).children(recursive=True)
        assert len(children) == 3
        page = new_page(ignore_https_errors=True)
        page.goto(page_)
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        case = page.locator("[data-case]", has_text="street")
        expect(case.first).to_contain_text(re.compile("[23] of 3 devices"))
        expect(page.get_by_role("alert")).to_contain_text("street")
        page.context.close()
        os.killpg(one.pid, signal.SIGINT)  # as a terminal does
        assert one.wait(240) == 0, log.read_text()
        assert not [child for child in children if child.is_running()]
    assert "Traceback" not in log.read_text()


def test_what_ends_on_its_own_ends_the_demo_and_is_named(tmp_path):
    command, why = "echo the port is in use; exit 1", r"broker has ended; .*broker.log says why:\nthe port is in use"
    with demo.child(tmp_path, "broker", "/bin/sh", "-c", command) as one, pytest.raises(ChildProcessError, match=why):
        one.said("connected")


def test_the_street_of_the_demo_has_one_firing():
    world = worlds.street(demo.SEED, devices=len(demo.DEVICES), sr=16_000)
    assert world.pcm.shape == (3, worlds.STREET_S * 16_000)
    assert len(world.snr_db) == 1 and len(world.onset_s) >= 2 and world.snr_db.min() > 20
    assert (world.onset_s > worlds.GUN_S[0]).all() and (world.onset_s < worlds.STREET_S).all()
