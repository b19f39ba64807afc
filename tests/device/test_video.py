"""What a device does with an order for video, in front of a real RTSP server: pictures, refusals, what stays secret."""

import contextlib
import hashlib
import io
import socket
import time

import av
import numpy as np
import pytest

from gunshot.device import answers, orders, parts, taken, video
from gunshot.device import camera as cameras
from gunshot.device.camera import STEP, _Times
from gunshot.device.orders import Kind, Order
from gunshot.device.parts import End, Refusal, VideoPart
from gunshot.device.place import Place
from gunshot.device.ring import Ring
from gunshot.signing import keys
from tests.device.filmed import PASSWORD, Camera, camera, copied, film, pictures
from tests.device.test_answers import BIRTH, KEY, OTHER, SESSION, SR
from tests.hub.waiting import until


@pytest.fixture(scope="module")
def filming(tmp_path_factory) -> Camera:
    with camera(tmp_path_factory.mktemp("camera")) as (one, _):
        yield one


class Watcher:
    """A device with a camera, and a clock that is right."""

    def __init__(self, folder, address: str | None, *, error_us: int | None = 1000, ring: bool = True):
        folder.mkdir(exist_ok=True)
        (folder / orders.KEY).write_bytes(keys.public_pem(KEY))
        self.folder, self.replies, self.count = folder, [], 0
        self.asked: Order | None = None
        keeps = {"gate": None, "camera": address, "error_us": lambda: error_us}
        self.answers = answers.Answers(folder, BIRTH, Ring(SR) if ring else None, **keeps)

    def ask(self, *, key=KEY, begins_s: float = 0.0, seconds: float = 2.0, **values) -> str:
        """Give it an order for video from now on, or one that is changed; its id."""
        now_us, self.count = time.time_ns() // 1000, self.count + 1
        start = now_us + round(begins_s * 1e6)
        said = {
            "id": f"{self.count:032x}", "kind": Kind.video, "device": BIRTH.name, "start": start,
            "stop": start + round(seconds * 1e6), "reason": "a shot", "person": "ada", "issued_us": now_us,
            "expires_us": now_us + 60_000_000,
        }  # fmt: skip
        self.asked = Order(**said | values)
        self.answers.take(orders.sign(self.asked, key))
        return self.asked.id

    def pump(self) -> list[tuple]:
        """What it replied so far; the hub has each of it at once."""
        self.answers.pump()
        for payload in self.answers.outgoing():
            said, content = parts.decode(payload)
            assert len(payload) <= 65_535 and PASSWORD.encode() not in payload
            self.replies.append((said, content))
            if not isinstance(said, Refusal):
                self.answers.acknowledged(parts.PartAcknowledgement(order=said.order, number=said.number).encode())
        return self.replies

    @property
    def camera(self) -> cameras.Camera | None:
        """Its camera, while an order is answered and it was opened."""
        return next((one._camera for one in self.answers._answers.values()), None)

    def stop(self) -> None:
        """Let the span of the order end now, and pictures have come: a test waits for no span."""
        until(lambda: len(self.pump()) > 2, "the file's head and some pictures have come")
        self.camera._end = 0.0

    def ends(self) -> tuple[bytes, str]:
        """The MP4 file that comes, as far as it comes, and what is said of its end."""
        until(lambda: isinstance((self.pump() or [(None, b"")])[-1][0], End | Refusal), "the answer has ended")
        *came, (end, _) = self.replies
        assert isinstance(end, End), end
        assert [said.number for said, _ in came] == [*range(end.number)] and all(
            isinstance(said, VideoPart) for said, _ in came
        )
        content = b"".join(content for _, content in came)
        assert end.sha256 == hashlib.sha256(content).hexdigest()
        self.answers.pump()
        assert len(self.answers) == 0, "the hub has all of it"
        return content, end.note

    def rule(self, **values) -> str:
        """The rule by which it refuses an order, and the words."""
        self.replies.clear()
        self.ask(**values)
        until(self.pump, "it answers")
        ((said, content),) = self.replies
        assert isinstance(said, Refusal) and not content
        return said.reason


@pytest.fixture
def watcher(tmp_path, filming):
    filming.forget()
    one = Watcher(tmp_path / "roof", filming.address)
    with contextlib.closing(one.answers):
        yield one


@pytest.mark.slow
def test_an_order_brings_what_the_camera_shows_as_it_was_encoded_and_no_sound(watcher, filming):
    """Nothing of it is on the device's disk."""
    watcher.ask(seconds=5.0)
    content, note = watcher.ends()
    shown, whole = pictures(io.BytesIO(content)), pictures_of_film(filming)
    assert note == "" and 0 < len(shown) < len(whole)
    assert np.array_equal(shown, whole[: len(shown)])
    assert filming.tracks() == ["track1"] and filming.visits() == 1
    files = {path.name: path.read_bytes() for path in watcher.folder.rglob("*") if path.is_file()}
    assert set(files) == {orders.KEY, taken.FILE} and content[100:150] not in files[taken.FILE]


def pictures_of_film(one: Camera) -> np.ndarray:
    with av.open(one.film) as container:
        return np.array([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])


@pytest.mark.slow
def test_video_comes_while_it_is_shown_and_only_once_the_span_has_begun(watcher, filming):
    watcher.ask(begins_s=0.5, seconds=50.0)

    def begins() -> bool:
        came = watcher.pump() or filming.visits()
        has_begun = time.time() * 1e6 >= watcher.asked.start
        assert has_begun or not came
        return has_begun

    until(begins, "the span begins")
    until(lambda: sum(len(content) for _, content in watcher.pump()) > 2000, "some of it has come")
    assert not isinstance(watcher.replies[-1][0], End) and not watcher.camera.is_done
    watcher.stop()
    watcher.ends()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("signature: ", {"key": OTHER}),
        ("device: ", {"device": "cellar"}),
        ("session: ", {"session": SESSION - 1}),
        ("span: nothing is kept", {"session": SESSION, "start": 0, "stop": SR}),
        ("span: nothing is kept", {"begins_s": -3.0}),
        ("span: nothing is kept", {"begins_s": 61.0}),
        ("length: 60.001 s must be above 0, and 60 s at most", {"seconds": 60.001}),
        ("length: ", {"seconds": 0.0}),
        ("expired: ", {"expires_us": 1}),
        ("life: ", {"expires_us": 2**62}),
    ],
)
def test_what_is_refused_by_which_rule_and_no_connection_reaches_the_camera(watcher, filming, rule, values):
    assert watcher.rule(**values).startswith(rule)
    assert len(watcher.answers) == 0 and filming.visits() == 0


@pytest.mark.slow
def test_one_order_at_a_time_and_each_once(watcher, filming):
    first = watcher.ask(seconds=50.0)
    until(watcher.pump, "the camera is open")
    watcher.ask()
    until(lambda: any(isinstance(said, Refusal) for said, _ in watcher.pump()), "the second order is refused")
    watcher.stop()
    (busy,) = (said for said, _ in watcher.replies if isinstance(said, Refusal))
    assert busy.order != first and busy.reason.startswith("busy: its camera is being watched")
    watcher.replies.remove((busy, b""))
    watcher.ends()
    assert watcher.rule(id=first).startswith("replayed: ")
    assert filming.visits() == 1


@pytest.mark.slow
def test_a_device_without_a_camera_or_the_time_says_so(tmp_path, filming):
    for name, values, words in (
        ("bare", {"address": None}, "camera: this device has none"),
        ("both", {"address": None, "error_us": None}, "camera: this device has none"),
        ("late", {"address": filming.address, "error_us": None}, "clock: this device does not know the time"),
    ):
        one = Watcher(tmp_path / name, **values)
        with contextlib.closing(one.answers):
            assert one.rule().startswith(words)


@pytest.mark.slow
def test_a_board_s_bridge_has_video_and_no_sound(tmp_path, filming):
    one = Watcher(tmp_path / "board", filming.address, ring=False)
    with contextlib.closing(one.answers):
        assert one.rule(kind=Kind.sound) == "sound: this device keeps none"
        one.replies.clear()
        one.ask(seconds=50.0)
        one.stop()
        assert len(pictures(io.BytesIO(one.ends()[0]))) > 0


@pytest.mark.slow
def test_a_camera_that_dies_ends_the_answer_with_what_came(tmp_path, filming):
    with camera(copied(filming.film, tmp_path / "camera")) as (dying, server):
        one = Watcher(tmp_path / "roof", dying.address)
        with contextlib.closing(one.answers):
            one.ask(seconds=50.0)
            until(lambda: len(one.pump()) > 3, "some of it has come")
            server.kill()
            content, note = one.ends()
    assert note == "of its camera: it has ended"
    shown = pictures(io.BytesIO(content))  # without one that came by half
    assert len(shown) > 0 and np.array_equal(shown, pictures_of_film(filming)[: len(shown)])


@pytest.mark.slow
def test_a_camera_that_cannot_be_watched_is_named_and_its_address_is_not(tmp_path, filming, caplog, capfd, monkeypatch):
    """None answers, it has no such picture, it sends another codec, it says nothing, the password is wrong."""
    caplog.set_level("DEBUG")
    film(filming.film.with_name("new.mp4"), "libx265", seconds=1)
    with socket.create_server(("127.0.0.1", 0)) as mute, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        who = filming.address.rpartition("@")[0]
        ports = {one: f"{who}@127.0.0.1:{one.getsockname()[1]}/" for one in (mute, closed)}
        for name, address, words in (
            ("a", ports[closed], "camera: Connection refused"),
            ("b", filming.address.replace("film", "none"), "camera: Server returned 404 Not Found"),
            ("c", filming.address.replace("film", "new"), "camera: it sends hevc: set it to H.264"),
            ("d", ports[mute], "camera: it says nothing for 0.5 s"),
            (
                "e",
                filming.address.replace(PASSWORD, "1234"),
                "camera: Server returned 401 Unauthorized (authorization failed)",
            ),
        ):
            one = Watcher(tmp_path / name, address)
            with contextlib.closing(one.answers), monkeypatch.context() as patch:
                if address == ports[mute]:
                    patch.setattr(cameras, "SILENT_S", 0.5)
                assert one.rule(seconds=50.0) == words
                assert len(one.answers) == 0
    assert "is taken: 50.0 s of video for ada: a shot" in caplog.text
    for text in (caplog.text, *capfd.readouterr()):
        assert PASSWORD not in text and "rtsp://" not in text


def test_a_wrong_password_at_a_slow_camera_is_told_as_that(monkeypatch):
    monkeypatch.setattr(cameras, "SILENT_S", 0.0)  # so late is each error

    def refused(_) -> str:
        raise av.error.HTTPUnauthorizedError(av.error.ErrorType.HTTP_UNAUTHORIZED.value, "Unauthorized", PASSWORD)

    monkeypatch.setattr(cameras.Camera, "_copy", refused)
    one = cameras.Camera("rtsp://nowhere", 10.0)
    until(lambda: one.is_done, "it has ended")
    assert one.note == "Unauthorized"


@pytest.mark.slow
def test_an_answer_that_fails_leaves_no_camera_open(watcher, monkeypatch):
    def fails(*_) -> None:
        raise RuntimeError

    watcher.ask(seconds=50.0)
    until(watcher.pump, "the camera is open")
    camera = watcher.camera
    monkeypatch.setattr(video.Video, "_add", fails)
    until(lambda: isinstance(watcher.pump()[-1][0], Refusal), "the answer has failed")
    assert watcher.replies[-1][0].reason.startswith("failure: ") and len(watcher.answers) == 0
    until(lambda: camera.is_done, "the camera is closed")
    assert camera.note == ""  # it was closed, and did not end by itself


@pytest.mark.slow
def test_a_camera_that_sends_too_much_is_ended(watcher, monkeypatch):
    monkeypatch.setattr(cameras, "MOST_VIDEO", 5000)
    watcher.ask(seconds=50.0)
    content, note = watcher.ends()
    assert 5000 < len(content) < 200_000 and note.startswith("of its camera: it sends more than 0 MiB")


def test_pictures_have_times_that_grow_also_where_the_camera_gives_none():
    times = _Times()
    assert times.next(None, None) == (0, 0) and times.has_begun
    assert times.next(90_000, 90_000) == (STEP, STEP)
    assert times.next(93_000, None) == (STEP + 3000, STEP + 3000)
    assert times.next(93_000, 93_000) == (STEP + 3001, STEP + 3001)
    assert times.next(None, None) == (2 * STEP + 3001, 2 * STEP + 3001)
    later = _Times()
    assert later.next(506_000, 500_000) == (6000, 0) and later.next(503_000, 503_000) == (3000, 3000)


@pytest.mark.parametrize(
    "line",
    [
        f"camera: http://warden:{PASSWORD}@10.0.0.9/",
        f"camera: [rtsp://warden:{PASSWORD}@10.0.0.9/]",
        f"camera: rtsp://warden:{PASSWORD}@10.0.0.9/: x",
        f"camera: @{PASSWORD}",
        f"camera: rtsp://10.0.0.9/\nspeech: {PASSWORD}",
    ],
)
def test_no_error_shows_what_a_device_s_folder_holds(tmp_path, line):
    Place(host="hub", port=8883, name="roof", number=7).save(tmp_path)
    file = tmp_path / "device.yaml"
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(ValueError, match=r"device\.yaml: must hold host, port, name, number: ") as error:
        Place.load(tmp_path)
    assert PASSWORD not in str(error.value)
    file.write_text(f"host: hub\nport: 8883\nname: roof\nnumber: 7\ncamera: rtsp://warden:{PASSWORD}@10.0.0.9/\n")
    assert PASSWORD not in repr(Place.load(tmp_path)) and Place.load(tmp_path).camera.endswith("@10.0.0.9/")
