"""CAP messages that go out by themselves: each change once, in order, over restarts; what refers to what."""

import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
import sqlalchemy as sql

from gunshot.hub import database, dispatch, folder
from gunshot.hub.console.decisions import Kind
from gunshot.hub.database import CAP, CASE
from tests.hub.console import PLACE, Scene
from tests.hub.receiving import Handler, receiving
from tests.hub.test_cap import SPACE
from tests.hub.waiting import until

NOW = datetime.now(UTC).replace(microsecond=0)
DEVICES = ("gate", "yard")


class Receiver:
    """What an alerting system got, the status that it answers with, and the cases of which it answers nothing."""

    def __init__(self):
        self.got, self.status, self.silent, self.address = [], 200, (), ""

    def texts(self, *names: str) -> list[tuple]:
        return [tuple(one.findtext(SPACE + name) for name in names) for one in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    out = Receiver()

    class Cap(Handler):
        def take(self, content):
            assert self.headers["Content-Type"] == "application/cap+xml"
            if any(f"case-{case}<".encode() in content for case in out.silent):
                return
            if out.status == 200:
                out.got.append(ElementTree.fromstring(content))
            self.send_response(out.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

    with receiving(Cap) as at:
        out.address = f"http://{at}/cap?token=secret"
        yield out


def work(scene: Scene, receiver: Receiver, seconds: float) -> bool:
    """Do what is due so many seconds after NOW."""
    with database.opened(scene.url) as engine:
        at = NOW + timedelta(seconds=seconds)
        return dispatch.work(engine, receiver.address, "hub.example", lambda: at, threading.Event(), {})


def change(scene: Scene, case: int, seconds: float, **values) -> None:
    with scene.writing() as connection:
        values["changed_at"] = NOW + timedelta(seconds=seconds)
        connection.execute(sql.update(CASE).where(CASE.c.number == case).values(**values))


def test_a_case_is_alerted_updated_and_cancelled(scene, receiver):
    scene.case(1, NOW, DEVICES)
    scene.case(2, NOW, ("fountain",), site="park", raised=False)
    assert work(scene, receiver, 1) and work(scene, receiver, 2)
    change(scene, 1, 3, **PLACE, no_place=None)
    assert work(scene, receiver, 3) and len(receiver.got) == 1  # too soon after the alert
    assert work(scene, receiver, 7) and len(receiver.got) == 2
    change(scene, 1, 14)  # a message that says nothing new
    assert work(scene, receiver, 14)
    change(scene, 1, 15, shots=9)
    assert work(scene, receiver, 15)
    scene.decide(1, "anna", Kind.acknowledge, NOW + timedelta(seconds=20))
    assert work(scene, receiver, 20)
    scene.decide(1, "anna", Kind.dismiss, NOW + timedelta(seconds=21), label="fireworks", seen=1)
    assert work(scene, receiver, 21)
    change(scene, 1, 30, shots=12)
    assert work(scene, receiver, 30)
    scene.decide(1, "anna", Kind.confirm, NOW + timedelta(seconds=31), seen=2)
    assert work(scene, receiver, 31)
    texts = receiver.texts("msgType", "identifier", "sent", "references", "status")
    assert [kind for kind, *_ in texts] == ["Alert", "Update", "Update", "Cancel", "Alert"]
    names = [f"hub.example,{name},{sent}" for _, name, sent, *_ in texts]
    refers = [" ".join(names[:count]) or None for count in (0, 1, 2, 3, 0)]
    assert [each[3] for each in texts] == refers and len(set(names)) == 5
    assert {status for *_, status in texts} == {"Actual"} and texts[0][1] == "hub.example-case-1"
    polygons = [one.find(f"{SPACE}info/{SPACE}area/{SPACE}polygon") is not None for one in receiver.got]
    assert polygons == [False, True, True, True, True]


def test_what_is_merged_goes_on_as_one_case_and_a_drill_is_an_exercise(scene, receiver):
    """An update takes the place of the alerts of both."""
    scene.case(1, NOW, DEVICES, exercise=True)
    scene.case(2, NOW + timedelta(seconds=1), DEVICES, exercise=True)
    assert work(scene, receiver, 2)
    change(scene, 2, 3, merged_into=1)
    change(scene, 1, 3)
    assert work(scene, receiver, 10) and work(scene, receiver, 20)
    texts = receiver.texts("msgType", "identifier", "status")
    assert [(kind, status) for kind, _, status in texts] == [("Alert", "Exercise")] * 2 + [("Update", "Exercise")]
    (*_, (references,)) = receiver.texts("references")
    assert [one.split(",")[1] for one in references.split()] == ["hub.example-case-1", "hub.example-case-2"]
    scene.decide(1, "anna", Kind.dismiss, NOW + timedelta(seconds=21), label="door")
    assert work(scene, receiver, 22)
    (*_, (references,)) = receiver.texts("references")
    assert len(references.split()) == 3


def test_what_is_not_taken_is_sent_again_in_order(scene, receiver, caplog):
    """A redirect takes nothing: it would carry an alert to where nobody said. One case holds up no other."""
    scene.case(1, NOW, DEVICES)
    for status in (500, 302, 401):
        receiver.status = status
        assert not work(scene, receiver, 1) and receiver.got == []
    change(scene, 1, 10, shots=9)
    assert not work(scene, receiver, 10)
    scene.case(2, NOW + timedelta(seconds=11), DEVICES)
    receiver.status = 200
    assert work(scene, receiver, 20) and work(scene, receiver, 21)
    assert [kind for (kind,) in receiver.texts("msgType")] == ["Alert", "Update", "Alert"]
    assert all(row.delivered_at for row in scene.rows(CAP))
    assert "status 401" in caplog.text and "secret" not in caplog.text
    receiver.address = "http://127.0.0.1:1/cap?token=secret"
    change(scene, 1, 30, shots=10)
    assert not work(scene, receiver, 30) and "ConnectionError" in caplog.text and "secret" not in caplog.text


def test_a_pass_ends_where_the_hub_does_and_where_nothing_answers(scene, receiver, caplog):
    """Each that gets no answer takes ten seconds: the pass ends at the second. What is taken is taken when it is."""
    for case in (1, 2, 3):
        scene.case(case, NOW, DEVICES)
    address, stop, seconds = receiver.address, threading.Event(), itertools.count(1)

    def clock() -> datetime:
        return NOW + timedelta(seconds=next(seconds))

    with database.opened(scene.url) as engine:
        assert not dispatch.work(engine, "http://127.0.0.1:1/cap", "hub.example", clock, stop, {})
        assert caplog.text.count("was not taken") == dispatch.UNANSWERED == 2
        assert dispatch.work(engine, address, "hub.example", clock, stop, {}) and len(receiver.got) == 3
        assert len({row.delivered_at for row in scene.rows(CAP)}) == 3
        scene.case(4, NOW, DEVICES)
        stop.set()
        assert not dispatch.work(engine, address, "hub.example", clock, stop, {}) and len(receiver.got) == 3


@pytest.mark.slow
def test_cases_that_get_no_answer_hold_up_no_other(scene, receiver):
    """The receiver drops what it has of three of them, without a word; each comes last the next time, in its turn."""
    for case in range(1, 7):
        scene.case(case, NOW, DEVICES)
    receiver.silent, unanswered = {1, 2, 3}, {}

    def identifiers(first: int) -> list[str]:
        with database.opened(scene.url) as engine:
            clock = map(lambda second: NOW + timedelta(seconds=second), itertools.count(first)).__next__
            is_all = dispatch.work(engine, receiver.address, "hub.example", clock, threading.Event(), unanswered)
        assert is_all == all(row.delivered_at for row in scene.rows(CAP))
        new = [name.removeprefix("hub.example-case-") for (name,) in receiver.texts("identifier")]
        receiver.got.clear()
        return new

    assert identifiers(10) == [] and identifiers(20) == ["4", "5", "6"]
    change(scene, 1, 30, shots=9)
    change(scene, 4, 30, shots=9)
    assert len(identifiers(30)) == 1  # the update of 4; that of 1 waits for its alert
    receiver.silent = {1}
    assert identifiers(40) == ["2", "3"]
    receiver.silent = ()
    first, update = identifiers(50)
    assert first == "1" and update.startswith("1-") and unanswered == {}


def test_an_old_case_alerts_nobody_where_the_setting_is_new(scene, receiver):
    scene.case(1, NOW - timedelta(hours=2), DEVICES)
    assert work(scene, receiver, 0) and receiver.got == []


def test_it_is_kept_up_beside_the_intake(scene, receiver, monkeypatch):
    monkeypatch.setattr(dispatch, "LOOK_S", 0.02)
    scene.case(1, datetime.now(UTC), DEVICES)
    stop = threading.Event()
    with database.opened(scene.url) as engine:
        thread = threading.Thread(target=dispatch.keep, args=(engine, receiver.address, "hub.example", stop))
        thread.start()
        until(lambda: receiver.got, "the alert is sent")
        stop.set()
        thread.join()


@pytest.mark.parametrize("address", ["http://example.org/cap", "example.org", "https://a b", "ftp://example.org"])
def test_an_address_without_tls_is_refused_and_not_shown(tmp_path, address):
    scene = Scene(tmp_path / "hub")
    with (scene.folder / "hub.yaml").open("a") as file:
        file.write(f"cap: '{address}?secret'\n")
    with pytest.raises(ValueError, match="cap") as e:
        folder.load(scene.folder)
    assert "secret" not in str(e.value)
