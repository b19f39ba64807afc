"""The console over TLS, as persons use it: what they see, who may decide, and what is refused."""

import base64
import csv
import hashlib
import io
import re
import stat
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest
import soundfile as sf
import sqlalchemy as sql

from gunshot.device import parts
from gunshot.hub import audit, folder, orders
from gunshot.hub.console import people
from gunshot.hub.console.roles import Role
from gunshot.hub.database import CASE, DECISION, LOGIN, ORDER, PART
from tests.hub.console import SR, Browser, Scene, running
from tests.hub.test_video import PIECES, answered

pytestmark = pytest.mark.slow
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    scene = Scene(tmp_path_factory.mktemp("console") / "hub")
    scene.case(1, NOW - 3 * DAY, ("gate", "yard"), shots=2)
    scene.case(2, NOW - 2 * DAY, ("fountain",), site="park", exercise=True)
    scene.case(3, NOW - DAY, ("gate", "yard", "roof-north"), place=True)
    scene.case(4, NOW - DAY, ("gate",), raised=False)
    scene.case(5, NOW - DAY, ("yard",), raised=False)
    scene.case(6, NOW - DAY, ("gate", "yard"))
    with scene.writing() as connection:
        connection.execute(sql.update(CASE).where(CASE.c.number == 5).values(merged_into=3))
    return scene


@pytest.fixture(scope="module")
def url(scene):
    with running(scene) as url:
        yield url


@pytest.fixture(scope="module")
def browser(scene, url):
    """Return a function that logs in a person of a role, who is let in at the first time."""
    open_ = {}

    def as_(role: Role) -> Browser:
        if role not in open_:
            open_[role] = Browser(scene, url)
            assert open_[role].log_in(str(role), scene.person(str(role), role)).status_code == 303
        return open_[role]

    yield as_
    for each in open_.values():
        each.close()


@pytest.fixture(scope="module")
def reviewer(browser) -> Browser:
    return browser(Role.reviewer)


@pytest.fixture
def stranger(scene, url):
    with Browser(scene, url) as stranger:
        yield stranger


def test_without_a_login_every_page_leads_to_it(stranger):
    brought = (f"/clips/{'0' * 32}.flac", f"/videos/{'0' * 32}.mp4", f"/orders/{'0' * 32}/live")
    pictures = "/evidence/gate/1/1.png", "/devices/gate/near.png"
    for page in ("/", "/cases/1", "/cases.csv", "/devices", "/events", *pictures, *brought):
        answer = stranger.get(page)
        assert (answer.status_code, answer.headers["location"], answer.content) == (303, "/login", b""), page
    assert stranger.post("/cases/1", data={"kind": "confirm", "seen": 0, "csrf": stranger.csrf()}).status_code == 303
    assert stranger.get("/docs").status_code == stranger.get("/openapi.json").status_code == 404


def test_every_answer_has_the_headers_and_the_cookie_its_flags(stranger):
    for page in ("/login", "/", "/nothing", "/static/console.js"):
        headers = stranger.get(page).headers
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in headers["content-security-policy"], page
        assert "unsafe" not in headers["content-security-policy"] and headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store" and "server" not in headers
    (cookie,) = httpx.get(stranger.base_url.join("/login"), verify=stranger.authority).headers.get_list("set-cookie")
    assert cookie.startswith("__Host-console=")
    assert cookie.endswith("; path=/; Max-Age=43200; httponly; samesite=strict; secure")


def test_nobody_else_reads_the_key_of_cookies_and_of_tls(scene, url):
    for name in ("session.key", "key.pem"):
        assert stat.S_IMODE((scene.folder / "console" / name).stat().st_mode) == 0o600


def test_a_form_without_its_token_changes_nothing(scene, reviewer, stranger):
    before = len(scene.rows(DECISION))
    for csrf in ({}, {"csrf": ""}, {"csrf": " "}, {"csrf": "x"}, {"csrf": "é"}, {"csrf": stranger.csrf()}):
        assert httpx.post(stranger.base_url.join("/login"), data=csrf, verify=stranger.authority).status_code == 403
        assert reviewer.post("/cases/1", data={"kind": "confirm", "seen": 0} | csrf).status_code == 403
        assert reviewer.post("/logout", data=csrf).status_code == 403
    assert reviewer.get("/").status_code == 200 and len(scene.rows(DECISION)) == before


def test_a_viewer_sees_all_and_decides_nothing(scene, browser):
    viewer, before = browser(Role.viewer), len(scene.rows(DECISION))
    page = viewer.get("/cases/1")
    assert page.status_code == 200 and "Confirm" not in page.text
    refused = viewer.decide(1, kind="confirm")
    assert refused.status_code == 403 and "viewer is a viewer: reviewers decide" in refused.text
    assert len(scene.rows(DECISION)) == before


def test_what_makes_no_sense_is_refused_by_name(scene, reviewer):
    before = len(scene.rows(DECISION))
    for case, content, status, words in (
        (1, {"kind": "dismiss"}, 422, "label=&#39;&#39; of what is dismissed must be one of fireworks, door"),
        (1, {"kind": "dismiss", "label": "shot"}, 422, "label=&#39;shot&#39;"),
        (1, {"kind": "confirm", "label": "door"}, 422, "must be empty"),
        (1, {"kind": "note", "note": "  "}, 422, "must have text"),
        (1, {"kind": "note", "note": "x" * 2001}, 422, "2001 characters must have 2000 at most"),
        (1, {"kind": "note", "note": "a\0b"}, 422, "note must have no character NUL"),
        (1, {"kind": "arrest"}, 422, "kind: Input should be &#39;acknowledge&#39;, &#39;confirm&#39;"),
        (1, {"kind": "confirm", "seen": 2**63}, 422, "seen: Input should be less than or equal to"),
        (2**63, {"kind": "confirm"}, 422, "number: Input should be less than or equal to"),
        (99, {"kind": "confirm"}, 404, "there is no case 99"),
        (5, {"kind": "confirm"}, 409, "case 5 is part of case 3 by now"),
    ):
        answer = reviewer.decide(case, **content)
        assert answer.status_code == status and words in answer.text, (content, answer.text)
    assert reviewer.get("/cases/99").status_code == reviewer.get("/evidence/gate/1/99.png").status_code == 404
    assert len(scene.rows(DECISION)) == before


ORDERS = "/incidents/gate/1/1/orders"


def test_a_reviewer_alone_asks_for_sound_with_a_reason(scene, browser, reviewer):
    viewer = browser(Role.viewer)
    assert "Ask for its sound" in reviewer.get("/cases/1").text and "Ask for" not in viewer.get("/cases/1").text
    good = {"csrf": reviewer.csrf("/"), "reason": "a shot"}
    for one, content, address, status, words in (
        (viewer, {"csrf": viewer.csrf("/")}, ORDERS, 403, "viewer is a viewer: reviewers ask for sound"),
        (reviewer, {"csrf": ""}, ORDERS, 403, "this form is too old"),
        (reviewer, {"reason": " "}, ORDERS, 422, "reason=&#39;&#39; must say something"),
        (reviewer, {"reason": "x" * 201}, ORDERS, 422, "in 200 characters at most"),
        (reviewer, {"reason": "a\0b"}, ORDERS, 422, "reason: String should match"),
        (reviewer, {"live": "loud"}, ORDERS, 422, "live: Input should be a valid boolean"),
        (reviewer, {}, "/incidents/gate/1/99/orders", 404, "gate has no incident 1/99"),
        (reviewer, {}, "/incidents/cellar/1/1/orders", 404, "cellar has no incident 1/1"),
    ):
        answer = one.post(address, data=good | content)
        assert answer.status_code == status and words in answer.text, (content, answer.text)
    assert scene.rows(ORDER) == []
    for live in ({}, {"live": "true"}):
        answer = reviewer.post(ORDERS, data=good | live)
        assert answer.status_code == 303 and answer.headers["location"].startswith("/cases/1#order-")
    rows = sorted((row.seconds, row.person, row.reason, row.session, row.incident) for row in scene.rows(ORDER))
    assert [row[1:] for row in rows] == [("reviewer", "a shot", 1, 1)] * 2 and rows[1][0] == 30
    assert "waits for the hub to send it" in viewer.get("/cases/1").text


def test_video_is_asked_of_a_device_that_has_a_camera(scene, browser, reviewer):
    scene.session("gate", online=True, heard_at=NOW, has=("sound", "video"))
    page, form = reviewer.get("/cases/1").text, {"csrf": reviewer.csrf("/"), "reason": "help", "video": "true"}
    assert page.count("Watch its camera, 30 s") == 1 and page.count("Ask for its sound") == 2
    assert "opened by orders alone" in reviewer.get("/devices").text
    refused = reviewer.post("/incidents/yard/1/1/orders", data=form)
    assert refused.status_code == 422 and "device=yard must have a camera" in refused.text
    id = reviewer.post(ORDERS, data=form).headers["location"].partition("#order-")[2]
    page = browser(Role.viewer).get("/cases/1").text
    assert f'data-watch="/videos/{id}.mp4"' in page and "asked for 30.0 s of video: help" in page
    with scene.writing() as connection:
        for payload in answered(id):
            orders.reply(connection, "gate", payload, now=NOW, sound=scene.folder / "sound")
    page, video = browser(Role.viewer).get("/cases/1").text, browser(Role.viewer).get(f"/videos/{id}.mp4")
    assert f'src="/videos/{id}.mp4"' in page and "complete</b>: 0.0 MB" in page
    assert video.content == b"".join(PIECES) and video.headers["content-type"] == "video/mp4"
    assert listeners(scene, id) == [("viewer", "video")]
    assert browser(Role.viewer).get(f"/videos/{'0' * 32}.mp4").status_code == 404
    other = reviewer.post(ORDERS, data=form).headers["location"].partition("#order-")[2]
    with scene.writing() as connection:
        refusal = parts.Refusal(order=other, reason="camera: it shows nothing")
        orders.reply(connection, "gate", parts.encode(refusal), now=NOW, sound=scene.folder / "sound")
    assert browser(Role.viewer).get(f"/videos/{other}.mp4").status_code == 204
    with scene.writing() as connection:
        orders.purge(connection, scene.folder / "sound", keep_days=0, now=NOW + DAY)
    gone = browser(Role.viewer).get(f"/videos/{id}.mp4")
    assert gone.status_code == 410 and "this video was deleted" in gone.text
    assert "<video" not in browser(Role.viewer).get("/cases/1").text


def test_without_the_key_the_console_asks_for_nothing(scene, reviewer):
    before, key = len(scene.rows(ORDER)), folder.order_key(scene.folder)
    elsewhere = key.rename(key.with_suffix(".away"))
    page, answer = (reviewer.get("/cases/1"), reviewer.post(ORDERS, data={"csrf": reviewer.csrf("/"), "reason": "x"}))
    elsewhere.rename(key)
    assert "This console cannot ask for it" in page.text and "Ask for its sound" not in page.text
    assert answer.status_code == 403 and len(scene.rows(ORDER)) == before


def listeners(scene, order: str) -> list[tuple[str, str]]:
    """Who heard what of an order, as the chain has it."""
    with scene.writing() as connection:
        entries = [entry for entry in audit.listing(connection) if entry["kind"] == audit.LISTENER]
        assert not [fault for fault in audit.faults(connection) if fault.startswith("audit")]
    return [(entry["row"]["person"], entry["what"]) for entry in entries if entry["row"]["order"] == order]


def test_a_clip_is_served_until_it_is_deleted_and_a_device_without_sound_says_so(scene, browser):
    viewer, pcm = browser(Role.viewer), np.arange(SR, dtype=np.int16)
    id = scene.order(3, "yard", NOW, state="complete", pcm=pcm)
    scene.session("roof-north", online=True, heard_at=NOW, has=("log_mel",))
    clip = viewer.get(f"/clips/{id}.flac")
    assert clip.headers["content-type"] == "audio/flac" and clip.headers["cache-control"] == "no-store"
    assert np.array_equal(sf.read(io.BytesIO(clip.content), dtype="int16")[0], pcm)
    assert viewer.get(f"/clips/{id}.flac", headers={"Range": "bytes=0-3"}).content == b"fLaC"
    assert listeners(scene, id) == [("viewer", "clip")]
    browser(Role.admin).get(f"/clips/{id}.flac")
    assert listeners(scene, id) == [("viewer", "clip"), ("admin", "clip")]
    page = viewer.get("/cases/3").text
    assert f'src="/clips/{id}.flac"' in page and "complete</b>: 1.0 s" in page and "It keeps no sound." in page
    with scene.writing() as connection:
        orders.purge(connection, scene.folder / "sound", keep_days=0, now=NOW + DAY)
    gone = browser(Role.reviewer).get(f"/clips/{id}.flac")
    assert len(listeners(scene, id)) == 2
    assert gone.status_code == 410 and "this clip was deleted" in gone.text
    assert viewer.get(f"/clips/{'0' * 32}.flac").status_code == 404
    page = viewer.get("/cases/3").text
    assert "<audio" not in page and "; deleted <time" in page


def test_live_sound_is_heard_by_nobody_whom_the_chain_does_not_name(scene, browser):
    id = scene.order(1, "gate", NOW)
    content = parts.to_flac(np.arange(parts.PART, dtype=np.int16), SR)
    said = {"order": id, "number": 0, "session": 1, "start": 0, "samples": parts.PART, "sr": SR}
    part = parts.Part(**said, sha256=hashlib.sha256(content).hexdigest())
    row = {"order": id, "number": 0, "payload": parts.encode(part, content), "received_at": NOW}
    with scene.writing() as connection:
        connection.execute(sql.insert(PART).values(**row))
    with browser(Role.viewer).stream("GET", f"/orders/{id}/live") as page:
        line = next(line for line in page.iter_lines() if line.startswith("data: "))
        assert base64.b64decode(line.removeprefix("data: ")) == content
        assert listeners(scene, id) == [("viewer", "live")]
        with scene.writing() as connection:
            connection.execute(sql.update(ORDER).values(state="complete"))


def test_who_was_slower_is_asked_to_look_again(scene, browser):
    assert browser(Role.reviewer).decide(6, kind="acknowledge").status_code == 303
    slower = browser(Role.admin).decide(6, kind="dismiss", label="door")
    assert slower.status_code == 409 and "somebody else was quicker" in slower.text
    seen = re.search(r'name="seen" value="(\d+)"', browser(Role.admin).get("/cases/6").text)[1]
    assert browser(Role.admin).decide(6, kind="dismiss", label="door", seen=seen).status_code == 303
    mine = [(row.person, row.kind, row.label) for row in scene.rows(DECISION) if row.case == 6]
    assert mine == [("reviewer", "acknowledge", None), ("admin", "dismiss", "door")]


def listed(browser: Browser, query: str) -> list[int]:
    """Return the cases of a filter as the CSV has them, which are those of the page."""
    rows = list(csv.DictReader(io.StringIO(browser.get(f"/cases.csv?{query}").text)))
    assert {f'data-case="{row["number"]}"' for row in rows} == set(
        re.findall(r'data-case="\d+"', browser.get(f"/?{query}").text)
    )
    return [int(row["number"]) for row in rows]


def test_filters_choose_and_export_says_the_same(reviewer):
    reviewer.decide(2, kind="confirm")
    day = f"{NOW - DAY:%Y-%m-%d}"
    assert listed(reviewer, "") == [6, 4, 3, 2, 1]  # 5 is part of 3
    assert listed(reviewer, "site=park") == listed(reviewer, "state=confirmed") == [2]
    assert listed(reviewer, f"site=school&state=new&first={day}&last={day}") == [4, 3]
    assert listed(reviewer, f"site=&state=&first=&last={NOW - 2 * DAY:%Y-%m-%d}") == [2, 1]
    assert listed(reviewer, "site=-") == []
    for wrong in ("state=nonsense", "sort=x", "first=monday", "site=%00"):
        assert reviewer.get(f"/?{wrong}").status_code == reviewer.get(f"/cases.csv?{wrong}").status_code == 422
    (park,) = csv.DictReader(io.StringIO(reviewer.get("/cases.csv?site=park").text))
    wanted = {"exercise": "True", "devices": "1", "devices_there": "1", "shots": "3", "level_db": "110.4"}
    assert wanted.items() <= park.items() and park["decided_by"] == "reviewer" and park["score"] == "0.97"
    assert park["time"] == (NOW - 2 * DAY).isoformat()


def test_a_case_that_was_merged_leads_to_the_other_and_its_decisions_stay_to_be_read(scene, reviewer):
    with scene.writing() as connection:
        row = {"case": 5, "at": NOW - DAY, "person": "reviewer", "kind": "dismiss", "label": "tool"}
        connection.execute(sql.insert(DECISION).values(**row))
    moved = reviewer.get("/cases/5")
    assert moved.status_code == 303 and moved.headers["location"] == "/cases/3"
    page = reviewer.get("/cases/3").text
    assert "dismissed: tool" in page and "case 5, which is part of this one" in page
    assert '<span class="state new">new</span>' in page  # nobody decided on the whole
    seen = re.search(r'name="seen" value="(\d+)"', page)[1]
    assert reviewer.decide(3, kind="note", note="so they said", seen=seen).status_code == 303


def test_guessing_ends_soon_for_one_name_and_does_not_shut_others_out(scene, stranger, reviewer):
    password = scene.person("carla", Role.viewer)
    with scene.writing() as connection:
        row = {"at": datetime.now(UTC), "address": "127.0.0.1", "person": "carla", "failed": True}
        connection.execute(sql.insert(LOGIN), [row] * (people.MOST_FAILED - 1))
    assert stranger.log_in("carla", "guess").status_code == 401
    locked = stranger.log_in("carla", password)
    assert locked.status_code == 429 and "wait 15 minutes" in locked.text
    assert stranger.log_in("dora", scene.person("dora", Role.viewer)).status_code == 303
    assert [row.failed for row in scene.rows(LOGIN) if row.person == "carla"] == [True] * people.MOST_FAILED


def test_what_is_no_name_of_a_person_is_not_kept(scene, stranger):
    assert stranger.log_in("my secret password", "x").status_code == 401
    assert scene.rows(LOGIN)[-1].person is None


def test_who_is_disabled_or_logs_out_is_out_at_once(scene, url, stranger):
    with Browser(scene, url) as one:
        password = scene.person("emil", Role.admin)
        assert one.log_in("emil", password).status_code == 303
        copy = {"Cookie": f"__Host-console={one.cookies['__Host-console']}"}
        assert stranger.get("/", headers=copy).status_code == 200
        assert one.post("/logout", data={"csrf": one.csrf("/")}).headers["location"] == "/login"
        assert one.get("/").status_code == stranger.get("/", headers=copy).status_code == 303
        assert one.log_in("emil", password).status_code == 303 and one.get("/").status_code == 200
        with scene.writing() as connection:
            people.disable(connection, "emil", now=datetime.now(UTC))
        assert one.get("/").status_code == 303 and one.log_in("emil", password).status_code == 401
        assert one.log_in("emil", scene.person("emil", Role.admin)).status_code == 303
