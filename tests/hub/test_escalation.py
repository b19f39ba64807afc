"""Who is called where nobody acknowledges a case: e-mail and a webhook, real receivers on loopback."""

import contextlib
import json
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes

import pytest
import sqlalchemy as sql

from gunshot.hub import database
from gunshot.hub.console import escalation
from gunshot.hub.console.decisions import Kind
from gunshot.hub.database import CALL, CASE
from tests.flows.prefect_server import free_port
from tests.hub.console import Scene
from tests.hub.receiving import Handler, receiving
from tests.hub.waiting import until

with warnings.catch_warnings(action="ignore"):  # Python 3.12 has them no more
    import asyncore
    import smtpd
NOW = datetime.now(UTC)
PAGE = "https://hub.example.org:8443"


@contextlib.contextmanager
def mailbox() -> Iterator[tuple[str, list]]:
    """Run an SMTP server; its address as Apprise has it, and what comes."""
    mails, channels = [], {}

    class Mailbox(smtpd.SMTPServer):
        def process_message(self, peer, sender, receivers, data, **_):
            mails.append(message_from_bytes(data))

    server = Mailbox(("127.0.0.1", 0), None, map=channels)
    thread = threading.Thread(target=asyncore.loop, kwargs={"timeout": 0.05, "map": channels})
    thread.start()
    try:
        port = server.socket.getsockname()[1]
        yield f"mailto://127.0.0.1:{port}?from=hub@example.org&to=watch@example.org&mode=insecure", mails
    finally:
        for channel in list(channels.values()):
            channel.close()
        thread.join()


@contextlib.contextmanager
def webhook(port: int = 0) -> Iterator[tuple[str, list]]:
    """Run an HTTP server; its address as Apprise has it, and what comes."""
    posts = []

    class Alarm(Handler):
        def take(self, content):
            posts.append(json.loads(content))
            self.send_response(200)
            self.end_headers()

    with receiving(Alarm, port) as at:
        yield f"json://{at}/alarm", posts


def work(scene: Scene, addresses: list[str], seconds: float) -> bool:
    """Do what is due so many seconds after NOW."""
    with database.opened(scene.url) as engine:
        return escalation.work(engine, addresses, PAGE, now=NOW + timedelta(seconds=seconds))


def test_a_case_goes_down_the_list_until_somebody_acknowledges_it(scene):
    scene.case(1, NOW, ("gate", "yard"))
    scene.case(2, NOW, ("gate", "roof-north"), exercise=True)
    scene.case(3, NOW, ("gate",), raised=False)
    with mailbox() as (mail, mails), webhook() as (hook, posts):
        assert work(scene, [mail, hook], 59) and not mails
        assert work(scene, [mail, hook], 61) and work(scene, [mail, hook], 119)
        assert [each["Subject"] for each in mails] == ["possible gunfire, school", "DRILL: possible gunfire, school"]
        assert {each["To"] for each in mails} == {"watch@example.org"} and not posts
        text = next(part for part in mails[0].walk() if part.get_content_type() == "text/plain")
        assert f"{PAGE}/cases/1" in text.get_payload(decode=True).decode()
        scene.decide(1, "anna", Kind.acknowledge, NOW + timedelta(seconds=100))
        assert work(scene, [mail, hook], 121) and work(scene, [mail, hook], 1000)
        assert len(mails) == 2
        (post,) = posts
        assert post["title"] == "DRILL: possible gunfire, school"
        assert post["message"].startswith("Nobody has acknowledged case 2 since ")
    assert [(row.case, row.place) for row in scene.rows(CALL)] == [(1, 1), (2, 1), (2, 2)]


def test_an_address_that_fails_is_tried_again_and_holds_up_no_other(scene):
    scene.case(1, NOW, ("gate", "yard"))
    port = int(free_port())
    dead = f"json://127.0.0.1:{port}/alarm"
    with webhook() as (hook, posts):
        assert not work(scene, [dead, hook], 121)
        assert len(posts) == 1 and [row.place for row in scene.rows(CALL)] == [2]
        with webhook(port) as (_, late):
            assert work(scene, [dead, hook], 131) and len(late) == 1
        assert len(posts) == 1
    with scene.writing() as connection:
        connection.execute(sql.delete(CALL))
        assert escalation.due(connection, 2, now=NOW + escalation.LONGEST) == []  # an old one calls nobody


def test_a_case_that_was_merged_calls_nobody(scene):
    scene.case(1, NOW, ("gate", "yard"))
    scene.case(2, NOW, ("roof-north", "yard"))
    with scene.writing() as connection:
        connection.execute(sql.update(CASE).where(CASE.c.number == 2).values(merged_into=1))
        due = escalation.due(connection, 3, now=NOW + timedelta(seconds=130))
    assert [(case.number, place) for case, place in due] == [(1, 1), (1, 2)]


def test_it_is_kept_up_while_the_console_runs(scene, monkeypatch):
    monkeypatch.setattr(escalation, "LOOK_S", 0.05)
    scene.case(1, datetime.now(UTC) - timedelta(seconds=70), ("gate", "yard"))
    stop = threading.Event()
    with webhook() as (hook, posts), database.opened(scene.url) as engine:
        thread = threading.Thread(target=escalation.keep, args=(engine, [hook], PAGE, stop))
        thread.start()
        until(lambda: posts, "the webhook is called")
        stop.set()
        thread.join()
    assert len(posts) == 1


def test_pages_that_have_all_connections_of_the_database_end_no_escalation(scene, monkeypatch, caplog):
    monkeypatch.setattr(escalation, "LOOK_S", 0.05)
    scene.case(1, datetime.now(UTC) - timedelta(seconds=70), ("gate", "yard"))
    engine, stop = sql.create_engine(scene.url, pool_size=1, max_overflow=0, pool_timeout=0.05), threading.Event()
    with webhook() as (hook, posts):
        thread = threading.Thread(target=escalation.keep, args=(engine, [hook], PAGE, stop))
        with engine.connect():
            thread.start()
            until(
                lambda: "escalation: the database failed" in caplog.text or not thread.is_alive(), "it was kept from it"
            )
        until(lambda: posts or not thread.is_alive(), "the webhook is called")
        stop.set()
        thread.join()
    engine.dispose()
    assert len(posts) == 1


def test_what_is_no_address_is_told_without_its_password():
    with pytest.raises(ValueError, match="escalation: number 2 must be an address that Apprise knows") as e:
        escalation.check(["json://localhost/alarm", "nothing://anna:secret@x"])
    assert "secret" not in str(e.value)
