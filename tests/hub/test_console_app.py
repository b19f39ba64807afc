"""What the console is given before it serves: its certificate, its port, its map's background."""

import contextlib
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cryptography import x509

from gunshot.device.orders import Kind
from gunshot.hub import folder, orders
from gunshot.hub.console import app
from gunshot.hub.console.roles import Role
from gunshot.signing import keys
from tests.hub.console import Browser, Scene, running
from tests.hub.waiting import PATIENCE_S

NOW = datetime.now(UTC)


def certificate(place) -> x509.Certificate:
    return x509.load_pem_x509_certificate((place / "console" / "cert.pem").read_bytes())


@pytest.fixture
def place(tmp_path):
    folder.init(tmp_path, host="localhost", port=8883, url=None)
    return tmp_path


def test_the_certificate_is_of_the_host_for_as_long_as_phones_take_one(place, monkeypatch):
    own = place / "console"
    app.certify(place, own, "localhost")
    first, key = certificate(place), (own / "key.pem").read_bytes()
    assert first.not_valid_after_utc - datetime.now(UTC) < timedelta(days=825)
    app.certify(place, own, "localhost")
    assert certificate(place) == first
    app.certify(place, own, "192.0.2.7")
    (name,) = certificate(place).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert str(name.value) == "192.0.2.7" and (own / "key.pem").read_bytes() == key
    monkeypatch.setattr(app, "RENEW", timedelta(days=900))  # it is about to end
    before = certificate(place)
    app.certify(place, own, "192.0.2.7")
    assert certificate(place) != before


def test_a_port_in_use_is_told():
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=re.escape(f"port={port} is in use; choose another with --port")):
            app.listening("localhost", port)


def test_one_address_has_so_many_connections_and_the_next_is_closed(monkeypatch):
    monkeypatch.setattr(app, "MOST_CONNECTIONS", 2)
    with app.listening("localhost", 0) as listener, contextlib.ExitStack() as stack:

        def connect() -> tuple[socket.socket, socket.socket]:
            browser = stack.enter_context(socket.create_connection(listener.getsockname(), PATIENCE_S))
            return browser, stack.enter_context(listener.accept()[0])

        _, served = connect()
        connect()
        with socket.create_connection(listener.getsockname(), PATIENCE_S) as third:
            with pytest.raises(ConnectionAbortedError):  # which asyncio passes over
                listener.accept()
            assert third.recv(1) == b""
        served.close()
        connect()


def test_tiles_are_asked_of_the_address_in_the_settings_alone(place):
    assert folder.load(place).tiles is None and "tiles:" not in (place / "hub.yaml").read_text()
    assert "img-src 'self'; " in app.Secured(None, tiles=None).headers["Content-Security-Policy"]
    tiles = {"url": "https://{s}.tile.example/{z}/{x}/{y}.png", "attribution": "Example's"}
    settings = yaml.safe_load((place / "hub.yaml").read_text()) | {"tiles": tiles}
    (place / "hub.yaml").write_text(yaml.safe_dump(settings))
    folder.init(place, host="localhost", port=8883, url=None)  # again: nothing is another
    policy = app.Secured(None, tiles=folder.load(place).tiles.url).headers["Content-Security-Policy"]
    assert "img-src 'self' data: https://*.tile.example; " in policy


@pytest.mark.parametrize("url", ["http://a/{z}", "https://a; script-src *", "https://a", "/tiles", "https://a/', b"])
def test_what_is_no_address_of_tiles_is_refused(place, url):
    settings = yaml.safe_load((place / "hub.yaml").read_text()) | {"tiles": {"url": url, "attribution": ""}}
    (place / "hub.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ValueError, match=r"(?s)hub\.yaml: must hold .*tiles\.url"):
        folder.load(place)


@pytest.mark.slow
def test_ctrl_c_ends_open_pages_without_a_word(tmp_path):
    """Those that wait for events, for live sound, and for video."""
    scene = Scene(tmp_path / "hub")
    scene.case(1, NOW, ("gate",))
    order = scene.order(1, "gate", NOW)
    scene.session("gate", online=True, heard_at=NOW, has=("sound", "video"))
    with scene.writing() as connection:
        key, span = keys.load(folder.order_key(scene.folder)), orders.of_time(NOW, 30, kind=Kind.video)
        watched = orders.ask(connection, key, "gate", span, reason="help", person="anna", now=NOW)
    with ThreadPoolExecutor() as pool:
        with running(scene) as url:  # whose log has no traceback
            browser = Browser(scene, url)
            assert browser.log_in("anna", scene.person("anna", Role.viewer)).status_code == 303
            paths = ("/events", f"/orders/{order}/live", f"/videos/{watched}.mp4")
            begun = [threading.Event() for _ in paths]
            pages = [pool.submit(read, browser, *one) for one in zip(paths, begun, strict=True)]
            assert all(one.wait(PATIENCE_S) for one in begun) and not any(page.done() for page in pages)
        events, live, video = (page.result() for page in pages)
    assert "data: " in events and "event: end" not in live  # which would say that the order has ended
    assert video == ""
    log = (tmp_path / "console.log").read_text()
    # No task is cancelled. A client that does not read its idle connection, as one here may, ends none: Cancel 0.
    assert not re.search(r"Cancel [1-9]", log), log


def read(browser: Browser, path: str, begun: threading.Event) -> str:
    """Read a stream to its end, as a browser does."""
    with browser.stream("GET", path) as page:
        assert page.status_code == 200
        begun.set()
        return page.read().decode()
