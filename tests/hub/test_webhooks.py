"""Webhooks: signed, in order, once more after a failure, dead after a day; and the feed: real clients on loopback."""

import base64
import hmac
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import sqlalchemy as sql
import yaml

from gunshot.hub import audit, database, folder, sending, webhooks
from gunshot.hub.console.decisions import Kind
from gunshot.hub.console.roles import Role
from gunshot.hub.database import CASE, DELIVERY
from gunshot.hub.folder import Webhook
from tests.hub.console import PLACE, Browser, Scene, running
from tests.hub.network import forked, serve_hub
from tests.hub.receiving import Handler, receiving
from tests.hub.waiting import PATIENCE_S, until

NOW = datetime.now(UTC).replace(microsecond=0)
DEVICES = ("gate", "yard")
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
TOLERANCE_S = 300  # of a time, as the specification advises
DAY_S = 86_400


class Receiver:
    """Another system: it takes what has the secret's signature and is new, as Standard Webhooks says."""

    def __init__(self):
        self.got, self.seen, self.status, self.url, self.now_s = [], set(), 200, "", 0.0
        self.headers, self.bodies = [], []

    def takes(self, headers, body: bytes) -> bool:
        identifier, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        mac = hmac.new(
            base64.b64decode(SECRET[6:]), b".".join([identifier.encode(), timestamp.encode(), body]), "sha256"
        )
        right = hmac.compare_digest(headers["webhook-signature"], "v1," + base64.b64encode(mac.digest()).decode())
        return right and abs(self.now_s - int(timestamp)) <= TOLERANCE_S

    def heard(self) -> list[tuple[str, int]]:
        return [(one["type"], one["data"]["id"]) for one in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    out = Receiver()

    class In(Handler):
        def take(self, body):
            out.headers.append(dict(self.headers))
            out.bodies.append(body)
            status = out.status if out.takes(self.headers, body) else 401
            if status == 200 and self.headers["webhook-id"] not in out.seen:
                out.seen.add(self.headers["webhook-id"])
                out.got.append(json.loads(body))
            self.send_response(status)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
            self.end_headers()

    with receiving(In) as at:
        out.url = f"http://{at}/in?token=hidden"
        yield out


def work(
    scene: Scene, receiver: Receiver, seconds: float, *, after=None, secret: str = SECRET, **hook
) -> webhooks.Look:
    """Do what is due so many seconds after NOW."""
    now = NOW + timedelta(seconds=seconds)
    receiver.now_s = now.timestamp()
    one = Webhook(**{"name": "centre", "url": receiver.url, "secret": secret} | hook)
    with database.opened(scene.url) as engine:
        return webhooks.work(engine, one, lambda: now, threading.Event(), after=after)


def change(scene: Scene, case: int, seconds: float, **values) -> None:
    with scene.writing() as connection:
        values["changed_at"] = NOW + timedelta(seconds=seconds)
        connection.execute(sql.update(CASE).where(CASE.c.number == case).values(**values))


def test_a_signature_is_that_of_the_specification():
    """Its own example."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = webhooks.signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_becomes_of_a_case_is_told_in_order_and_nothing_twice(scene, receiver):
    scene.case(1, NOW, DEVICES)
    scene.case(2, NOW, ("fountain",), site="park", raised=False)
    scene.case(3, NOW - timedelta(hours=2), DEVICES)  # old: the webhook is new
    for seconds in (1, 2):
        work(scene, receiver, seconds)
    assert receiver.heard() == [("case.raised", 1)]
    change(scene, 1, 3, **PLACE, no_place=None)
    work(scene, receiver, 3)
    change(scene, 1, 4)  # nothing that is told
    work(scene, receiver, 4)
    scene.decide(1, "anna", Kind.dismiss, NOW + timedelta(seconds=5), label="fireworks")
    work(scene, receiver, 6)
    scene.case(4, NOW, DEVICES)
    work(scene, receiver, 7)
    change(scene, 4, 8, merged_into=1)
    work(scene, receiver, 8)
    assert receiver.heard() == [("case.raised", 1), *[("case.changed", 1)] * 2, ("case.raised", 4), ("case.changed", 4)]
    first, placed, decided, _, merged = (one["data"] for one in receiver.got)
    assert first["geometry"] is None and placed["geometry"] == {"type": "Point", "coordinates": [8.6514, 50.1009]}
    assert (placed["properties"]["state"], decided["properties"]["state"]) == ("new", "dismissed")
    assert decided["properties"]["label"] == "fireworks" and merged == {"id": 4, "merged_into": 1}
    assert b"anna" not in b"".join(receiver.bodies)


def test_a_webhook_of_a_site_is_told_of_that_one_alone(scene, receiver):
    scene.case(1, NOW, DEVICES)
    scene.case(2, NOW, ("fountain",), site="park")
    work(scene, receiver, 1, sites=("park",))
    assert receiver.heard() == [("case.raised", 2)]


def test_an_altered_or_replayed_delivery_is_one_that_a_receiver_refuses(scene, receiver):
    scene.case(1, NOW, DEVICES)
    work(scene, receiver, 1)
    (headers,), (body,) = receiver.headers, receiver.bodies
    assert receiver.takes(headers, body)
    assert not receiver.takes(headers, body.replace(b"school", b"market"))
    for name in ("webhook-id", "webhook-timestamp"):
        assert not receiver.takes(headers | {name: headers[name] + "0"}, body)
    receiver.now_s += TOLERANCE_S + 1
    assert not receiver.takes(headers, body)
    scene.case(2, NOW, DEVICES)
    work(scene, receiver, 2, secret="whsec_" + base64.b64encode(bytes(32)).decode())
    assert receiver.heard() == [("case.raised", 1)]


def test_what_is_not_taken_is_tried_again_ever_later_and_holds_up_its_case_alone(scene, receiver, caplog):
    scene.case(1, NOW, DEVICES)
    receiver.status = 302  # a redirect takes nothing
    pauses = []
    for seconds in range(4000):
        before = len(receiver.bodies)
        if seconds in (0, 5, 15, 35, 75, 155, 315, 635, 1275, 2555) or seconds % 500 == 1:
            work(scene, receiver, seconds)
        if len(receiver.bodies) > before:
            pauses.append(seconds)
    assert pauses == [0, 5, 15, 35, 75, 155, 315, 635, 1275, 2555]
    change(scene, 1, 4000, shots=9)
    receiver.status = 200
    scene.case(2, NOW + timedelta(seconds=4000), DEVICES)
    work(scene, receiver, 4001)
    assert receiver.heard() == [("case.raised", 2)]
    work(scene, receiver, 2555 + 2560)
    assert receiver.heard() == [("case.raised", 2), ("case.raised", 1), ("case.changed", 1)]
    assert "status 302" in caplog.text and "hidden" not in caplog.text and len({*receiver.seen}) == 3


def test_who_is_killed_after_a_delivery_sends_the_same_one_again(scene, receiver, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    scene.case(1, NOW, DEVICES)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(webhooks, "_note", killed)
        work(scene, receiver, 1)
    work(scene, receiver, 2)
    assert len(receiver.bodies) == 2 and len(receiver.got) == 1  # by its identifier whoever gets it knows it


def test_it_is_kept_up_beside_the_intake(scene, receiver, monkeypatch):
    monkeypatch.setattr(webhooks, "LOOK_S", 0.02)
    scene.case(1, datetime.now(UTC), DEVICES)
    stop, hook = threading.Event(), Webhook(name="centre", url=receiver.url, secret=SECRET)
    receiver.now_s = time.time()
    with database.opened(scene.url) as engine:
        thread = threading.Thread(target=webhooks.keep, args=(engine, hook, stop))
        thread.start()
        until(lambda: receiver.got, "the webhook is told")
        stop.set()
        thread.join()


def test_what_was_still_since_the_look_before_is_passed_over_and_the_rest_is_told(scene, receiver):
    """A decision changes no time of its case; and what a slow commit brings late is told too."""
    for case in (1, 2, 3):
        scene.case(case, NOW, DEVICES)
        change(scene, case, 0)
    after = work(scene, receiver, 1)
    assert receiver.heard() == [("case.raised", 1), ("case.raised", 2), ("case.raised", 3)]
    later = webhooks.Look(NOW + timedelta(hours=3), after.decision)
    change(scene, 1, 1, shots=9)
    work(scene, receiver, 10_800, after=later)
    assert len(receiver.got) == 3  # so long no commit takes: this is what is spared
    scene.decide(2, "anna", Kind.dismiss, NOW + timedelta(hours=3), label="fireworks")
    change(scene, 3, 10_700, shots=9)
    work(scene, receiver, 10_801, after=later)
    assert receiver.heard()[3:] == [("case.changed", 2), ("case.changed", 3)]
    work(scene, receiver, 3, after=later)  # a clock that was set back
    assert receiver.heard()[5:] == [("case.changed", 1)]


def test_a_pass_ends_where_it_is_to_stop_or_nothing_answers_and_each_delivery_has_its_own_time(scene, receiver):
    for case in (1, 2, 3):
        scene.case(case, NOW, DEVICES)
    stop, times = threading.Event(), iter(NOW + timedelta(minutes=10 * i) for i in range(1, 99))

    def clock() -> datetime:
        now = next(times)
        receiver.now_s = now.timestamp()
        return now

    hook = Webhook(name="centre", url=receiver.url, secret=SECRET)
    with database.opened(scene.url) as engine:
        webhooks.work(engine, hook.model_copy(update={"url": "https://127.0.0.1:1/"}), clock, stop)
        assert [row.tries for row in scene.rows(DELIVERY)] == [1, 0, 0]
        assert scene.rows(DELIVERY)[0].fault == "ConnectionError"
        webhooks.work(engine, hook, clock, stop)
        assert len(receiver.got) == 3  # 20 min lie between: a time of the pass's beginning is too old
        change(scene, 1, 60, shots=9)
        stop.set()
        webhooks.work(engine, hook, clock, stop)
    assert len(receiver.got) == 3 and scene.rows(DELIVERY)[-1].tries == 0


def test_a_host_that_cannot_be_and_what_the_environment_says_end_nothing(scene, receiver, tmp_path, monkeypatch):
    """No proxy gets an alert, and no password of another program's is sent."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login hidden password hidden\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    scene.case(1, NOW, DEVICES)
    work(scene, receiver, 1)
    assert receiver.heard() == [("case.raised", 1)] and "Authorization" not in receiver.headers[0]
    for url in ("https://example..org/", "https://example.org:x/", f"https://{'a' * 64}.org/"):
        with pytest.raises(sending.UnansweredError):
            sending.post(url, b"", {})
        with pytest.raises(ValueError, match="must be https"):
            Webhook(name="centre", url=url, secret=SECRET)


@pytest.mark.slow
def test_one_that_hangs_holds_up_no_other_however_many_there_are(scene):
    """Each has its own thread, also where there are more than a pool of threads has by itself."""
    seen, others = set(), [f"centre-{i}" for i in range(min(32, os.cpu_count() + 4))]

    class In(Handler):
        def take(self, body):
            seen.add(self.path)
            self.send_response(204)
            self.end_headers()

    scene.case(1, datetime.now(UTC), DEVICES)
    with socket.create_server(("127.0.0.1", 0)) as hanging, receiving(In) as at:  # which connects, and answers nothing
        urls = {"dead": f"http://127.0.0.1:{hanging.getsockname()[1]}/"}
        urls |= {name: f"http://{at}/{name}" for name in others}
        settings = yaml.safe_load((scene.folder / "hub.yaml").read_text())
        settings["webhooks"] = [{"name": name, "url": url, "secret": SECRET} for name, url in urls.items()]
        (scene.folder / "hub.yaml").write_text(yaml.safe_dump(settings))
        hanging.settimeout(PATIENCE_S)
        with forked(serve_hub, scene.folder), hanging.accept()[0]:
            until(lambda: seen == {f"/{name}" for name in others}, "all others are told")


@pytest.mark.slow
def test_dead_letters_are_the_admin_s_to_send_again_and_others_read_the_feed(scene, receiver):
    token = "a-token-of-24-letters-or-more"
    settings = yaml.safe_load((scene.folder / "hub.yaml").read_text()) | {"feed": token}
    (scene.folder / "hub.yaml").write_text(yaml.safe_dump(settings))
    passwords = {"root": scene.person("root", Role.admin), "anna": scene.person("anna", Role.reviewer)}
    scene.case(1, NOW, DEVICES, place=True)
    scene.case(2, NOW, DEVICES, raised=False)
    receiver.status = 500
    for seconds in (1, DAY_S + 2, DAY_S + 5000):  # dead at the second, and tried no more
        work(scene, receiver, seconds)
    assert len(receiver.bodies) == 2
    with running(scene) as url:
        other = httpx.Client(base_url=url, verify=Browser(scene, url).authority, timeout=30)
        feed = other.get("/cases.geojson", headers={"Authorization": f"Bearer {token}"})
        assert feed.headers["content-type"] == "application/geo+json"
        (one,) = feed.json()["features"]
        assert (one["id"], one["geometry"]["type"], one["properties"]["state"]) == (1, "Point", "new")
        assert other.get("/cases.geojson", headers={"Authorization": "Bearer guess"}).status_code == 403
        assert other.get("/cases.geojson").headers["location"] == "/login"
        anna, root = Browser(scene, url), Browser(scene, url)
        assert anna.log_in("anna", passwords["anna"]).status_code == 303
        assert anna.get("/cases.geojson").json() == feed.json()
        assert anna.get("/webhooks").status_code == 403 and "/webhooks" not in anna.get("/").text
        assert anna.post("/webhooks/1", data={"csrf": anna.csrf("/")}).status_code == 403
        assert root.log_in("root", passwords["root"]).status_code == 303
        page = root.get("/webhooks").text
        assert "Dead letter since" in page and "status 500" in page and "token=" not in page
        assert root.post("/webhooks/1").status_code == 403  # without the page's token
        assert root.post("/webhooks/1", data={"csrf": root.csrf("/webhooks")}).status_code == 303
        assert root.post("/webhooks/1", data={"csrf": root.csrf("/webhooks")}).status_code == 409
        assert "Dead letter since" not in root.get("/webhooks").text
    receiver.status = 200
    work(scene, receiver, DAY_S + 6000)
    assert receiver.heard() == [("case.raised", 1)] and scene.rows(DELIVERY)[0].delivered_at
    with database.opened(scene.url) as engine, engine.connect() as connection:
        last = list(audit.listing(connection))[-1]
        assert (last["kind"], last["event"], last["person"]) == ("delivery", "sent again", "root")
        assert [fault for fault in audit.faults(connection) if not fault.startswith("table device")] == []


GOOD = {"name": "centre", "url": "https://example.org/in", "secret": SECRET}


@pytest.mark.parametrize(
    "more",
    [
        {"url": "http://example.org/in?hidden"},
        {"url": "http://localhost:80@example.org/?hidden"},  # localhost is a name there, and hidden goes without TLS
        {"url": "http://127.0.0.1\\@example.org/?hidden"},
        {"url": "https://"}, {"url": "file:///etc/passwd"}, {"url": "http://[::1"},
        {"secret": "hidden"}, {"secret": "whsec_aGlkZGVu"}, {"secret": "whsec_hidden!"}, {"name": "Two Words"},
    ],
)  # fmt: skip
def test_what_is_no_webhook_is_refused_and_not_shown(tmp_path, more):
    scene = Scene(tmp_path / "hub")
    settings = yaml.safe_load((scene.folder / "hub.yaml").read_text())
    file = scene.folder / "hub.yaml"
    file.write_text(yaml.safe_dump(settings | {"webhooks": [GOOD]}))
    assert folder.load(scene.folder).webhooks[0].key == bytes(range(32))
    file.write_text(yaml.safe_dump(settings | {"webhooks": [GOOD | more]}))
    with pytest.raises(ValueError, match="webhooks") as e:
        folder.load(scene.folder)
    assert "hidden" not in str(e.value)
    file.write_text(yaml.safe_dump(settings | {"webhooks": [GOOD, GOOD]}))
    with pytest.raises(ValueError, match="each must have a name of its own"):
        folder.load(scene.folder)
