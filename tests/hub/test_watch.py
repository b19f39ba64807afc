"""An outside watch of a real broker and hub: it tells which is dead, once, and that it is alive again."""

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from paho.mqtt import publish

from gunshot.hub import certificates, watch
from gunshot.hub.watch import Settings
from tests.flows.prefect_server import free_port
from tests.hub.network import Network, kill
from tests.hub.test_escalation import webhook
from tests.hub.waiting import until


@pytest.fixture
def network(tmp_path, monkeypatch) -> Network:
    monkeypatch.setattr(watch, "PATIENCE_S", 2.0)
    monkeypatch.setattr(watch, "PAUSE_S", 0.05)
    return Network(tmp_path / "hub")


def lives(network: Network) -> bool:
    try:
        watch.watch(network.folder / "watch")
    except ConnectionError:
        return False
    return True


def add(network: Network, **settings) -> None:
    """Add settings by hand, as a person does."""
    file = network.folder / "watch" / "watch.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | settings))


@pytest.mark.slow
def test_a_dead_hub_and_a_dead_broker_are_told_once_and_that_they_are_back(network):
    place, late = network.folder / "watch", int(free_port())
    with webhook() as (hook, posts):
        add(network, escalation=[hook, f"json://127.0.0.1:{late}/alarm"])
        with network.broker() as broker:
            with network.hub() as hub:
                until(lambda: lives(network), "the hub gives a sign of life")
                posts.clear()  # it may have been looked at before it was there
                (place / watch.CALLED).unlink(missing_ok=True)
                hub.kill()
                hub.join()
            with pytest.raises(ConnectionError, match=r"the hub gives no sign of life; the broker at .* answers"):
                watch.watch(place)
            assert [each["title"] for each in posts] == ["gunshot: the hub is dead"]
            with webhook(late) as (_, others):
                kill(broker)
                with pytest.raises(ConnectionError, match=r"the broker at localhost:.* does not answer: .*refused"):
                    watch.watch(place)
                assert len(posts) == 1 and len(others) == 1  # who could not be called before
                with network.broker(), network.hub():
                    until(lambda: lives(network), "the hub gives a sign of life again")
                assert [each["title"] for each in (*posts[1:], *others[1:])] == ["gunshot: the hub is alive again"] * 2
    assert json.loads((place / watch.CALLED).read_text()) == []


@pytest.mark.slow
def test_a_dead_console_is_told_where_the_watch_knows_it(network):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/login" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    own = network.folder / "console"
    certificates.issue(network.folder / "authority", own, "console", host="localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own / "cert.pem", own / "key.pem")
    with network.broker(), network.hub(), HTTPServer(("localhost", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        add(network, console=f"https://localhost:{server.server_port}")
        until(lambda: lives(network), "all are alive")
        server.shutdown()
        thread.join()
        server.server_close()
        with pytest.raises(ConnectionError, match=r"the console at https://localhost:.* does not answer: .*refused"):
            watch.watch(network.folder / "watch")


@pytest.mark.slow
def test_the_watch_reads_signs_of_life_alone_and_writes_none(network):
    """Of the broker's rules: another certificate cannot say that the hub lives, nor this one."""
    place = network.folder / "watch"

    def keep(folder: Path) -> None:
        """Publish one that the broker would keep for the watch; MQTT 3.1.1 tells no refusal."""
        tls = {"ca_certs": folder / "ca.pem", "certfile": folder / "cert.pem", "keyfile": folder / "key.pem"}
        publish.single("gunshot/v1/hub/life", "x", qos=1, retain=True, hostname="localhost", port=network.port, tls=tls)

    with network.broker():
        keep(place)
        keep(network.device)
        with pytest.raises(ConnectionError, match="no sign of life"):
            watch.look(place, Settings.load(place))
        keep(network.folder / "client")  # the hub's own
        watch.look(place, Settings.load(place))


def test_an_address_that_is_none_is_told_without_its_password(network):
    add(network, escalation=["json://localhost/alarm", "nothing://anna:secret@x"])
    with pytest.raises(ValueError, match="number 2 must be an address that Apprise knows") as e:
        watch.watch(network.folder / "watch")
    assert "secret" not in str(e.value)


def test_a_folder_that_is_none_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"no such file; `gunshot hub init` writes it to HUB/watch"):
        watch.watch(tmp_path)
