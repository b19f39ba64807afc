"""What a stranger sends to the console, and what a viewer asks of it, to take it from others."""

import contextlib
import socket
import ssl
from collections.abc import Iterator

import httpx
import pytest

from gunshot.hub.console import app
from gunshot.hub.console.roles import Role
from tests.hub.console import Browser, Scene, running
from tests.hub.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def viewer(tmp_path_factory) -> Iterator[Browser]:
    scene = Scene(tmp_path_factory.mktemp("attacked") / "hub")
    with running(scene) as url, Browser(scene, url) as viewer:  # whose log has no traceback
        assert viewer.log_in("anna", scene.person("anna", Role.viewer)).status_code == 303
        yield viewer


def test_a_header_without_end_is_not_read_to_it(viewer):
    """Or one connection fills the console's memory."""
    with (
        socket.create_connection((viewer.base_url.host, viewer.base_url.port), 30) as plain,
        viewer.authority.wrap_socket(plain, server_hostname="localhost") as one,
    ):
        one.sendall(b"GET /login HTTP/1.1\r\nHost: localhost\r\nX: ")
        closed = contextlib.suppress(ConnectionError, ssl.SSLError)
        with closed:  # while it is written
            for _ in range(16):
                one.sendall(b"a" * 65536)
        with closed:
            one.settimeout(0.5)  # a server that reads on answers nothing
            assert one.recv(12) in (b"", b"HTTP/1.1 400")


def test_one_address_cannot_have_all_connections(viewer):
    """Who connects and says nothing, as often as may be, is kept from the rest; who comes when that ends is served."""
    here = viewer.base_url.host, viewer.base_url.port
    with contextlib.ExitStack() as stack:
        for _ in range(app.MOST_CONNECTIONS):
            stack.enter_context(socket.create_connection(here, 30))
        one = stack.enter_context(socket.create_connection(here, 30))
        with contextlib.suppress(ConnectionError):
            assert one.recv(1) == b""
    until(lambda: _is_served(viewer), "they are gone")


def _is_served(one: Browser) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return one.get("/login").status_code == 200
    return False


def test_another_host_and_a_large_form_are_refused(viewer):
    assert viewer.get("/login", headers={"Host": "evil.example"}).status_code == 400
    form = {"csrf": viewer.csrf(), "name": "x" * 100_000}
    assert viewer.post("/login", data=form).status_code == 413


def test_half_a_character_in_a_form_is_refused_and_is_no_failure(viewer):
    """Some charsets have what UTF-8 has not."""
    lines = [
        line
        for name, value in {"csrf": viewer.csrf(), "name": "anna", "password": "\\ud800"}.items()
        for line in ("--X", f'Content-Disposition: form-data; name="{name}"', "", value)
    ]
    kind = {"Content-Type": "multipart/form-data; boundary=X; charset=unicode_escape"}
    answer = viewer.post("/login", content="\r\n".join([*lines, "--X--", ""]).encode(), headers=kind)
    assert answer.status_code == 422 and "password" in answer.text


def test_the_last_day_that_there_is_can_be_asked_for(viewer):
    assert viewer.get("/?last=9999-12-31").status_code == viewer.get("/cases.csv?last=9999-12-31").status_code == 200
