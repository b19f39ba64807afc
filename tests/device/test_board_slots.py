"""A roll-out's image on its way to a board: offers of the hub, a bridge that is killed, a board that starts again."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gunshot.device import board_image
from gunshot.device.board_image import PART_BYTES, WAIT_S, decode
from gunshot.device.board_slots import OFFERED_S
from gunshot.device.place import Place
from gunshot.device.releases import Stage, Wanted
from gunshot.signing import record
from tests.device.boards import CLASS, IDS, IMAGE, Board, Bridge
from tests.device.images import OPERATOR, manifest
from tests.device.test_slots import full

NEWER = b"newer" * 100


@pytest.fixture
def bridge(tmp_path) -> Bridge:
    return Bridge(tmp_path / "roof", Board())


def test_an_image_comes_to_the_board_runs_on_trial_and_is_kept_when_the_hub_says_so(bridge):
    board = bridge.board
    assert bridge.offer() is None  # it is here whole, and not yet on the board
    assert bridge.offer() == (Stage.fetching, "0 of 768 bytes are on the board")
    bridge.line(2)
    assert bridge.offer() == (Stage.fetching, f"{PART_BYTES} of 768 bytes are on the board")
    assert bridge.offer(Wanted.keep) == (Stage.fetching, f"{PART_BYTES} of 768 bytes are on the board")  # not yet
    bridge.line(4)
    assert bridge.tells() == (Stage.trial, "") and board.running == manifest(IMAGE, 2, device=CLASS)
    bridge.line(20)
    assert bridge.tells() is None and board.kept is None  # that it sends messages keeps nothing
    assert bridge.offer(Wanted.keep) == (Stage.trial, "the board has yet to say that it does so: keep")
    bridge.line(1)
    assert bridge.tells() == (Stage.kept, "") and board.kept == board.running and board.least == 2
    assert bridge.offer(Wanted.back) == (Stage.kept, "") and bridge.offer(id=IDS[1]) == (Stage.kept, "")
    assert [file.name for file in (bridge.folder / "images").iterdir()] == ["slots.json"]
    assert bridge.offer(content=NEWER, number=1, id=IDS[2])[1].startswith("older: number 1 must be at least 2")


def test_a_trial_that_the_hub_takes_back_is_over_when_the_board_says_so(bridge):
    bridge.offer()
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")
    assert bridge.offer(Wanted.back) == (Stage.trial, "the board has yet to say that it does so: back")
    bridge.start()  # it was killed
    bridge.line(1)
    assert bridge.tells() == (Stage.back, "") and bridge.board.running is None
    assert bridge.offer(Wanted.back) == (Stage.back, "")
    assert bridge.offer() == (Stage.refused, "over: it was taken back before")
    bridge.offer(id=IDS[1])
    bridge.line(3)
    assert bridge.tells() == (Stage.refused, "over: the board refuses it")  # which knows no roll-outs, but an image


def test_a_full_disk_holds_no_board_on_a_trial(bridge, monkeypatch):
    bridge.offer()
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")
    with monkeypatch.context() as patch:
        patch.setattr(record, "write", full)
        assert bridge.offer(Wanted.back)[0] == Stage.trial
        bridge.line(1)
        assert bridge.tells() == (Stage.back, "") and bridge.board.trial is None
    bridge.start()  # what could not be noted is told anew, and the board knows that it is over
    bridge.line(2)
    assert bridge.tells()[0] == Stage.back and bridge.slots.state.trial is None


def test_one_that_is_taken_back_on_its_way_never_runs(bridge):
    bridge.offer()
    bridge.line(2)
    bridge.offer(Wanted.back)
    bridge.line(9)
    assert bridge.tells() == (Stage.back, "") and bridge.board.running is None and bridge.board.trial is None


def test_a_board_that_goes_back_by_itself_says_so(bridge):
    bridge.offer()
    bridge.line(6)
    bridge.start()
    for _ in range(3):
        bridge.hear(bridge.board.begins())
    bridge.line(1)
    assert bridge.tells()[0] == Stage.back and "fourth start" in bridge.slots.state.last[2]


def test_a_board_that_could_not_count_a_start_goes_back_for_good(bridge):
    """It runs what it keeps in that start, and would run the trial in the next one."""
    bridge.offer()
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")
    bridge.board.running = None
    bridge.hear(bridge.board.says(0))
    assert bridge.tells() is None and bridge.board.trial
    bridge.line(1)
    assert bridge.tells()[0] == Stage.back and bridge.board.trial is None and bridge.board.over


@pytest.mark.parametrize("is_heard", [True, False])
def test_it_asks_what_runs_where_it_did_not_hear_the_start(bridge, is_heard):
    start = bridge.board.begins()
    if is_heard:
        bridge.hear(start)
    bridge.slots.heard(bridge.board.start_number)
    sent = bridge.slots.outgoing(99.0)
    assert (sent == b"") == is_heard
    bridge.hear(*(bridge.board.takes(sent) if sent else ()))
    assert bridge.slots.outgoing(199.0) == b"" and bridge.tells() is None


def test_a_board_that_says_nothing_of_images_is_asked_some_times_and_told_of(bridge, caplog):
    bridge.slots.heard(5)
    asked = [bridge.slots.outgoing(i * WAIT_S) for i in range(30)]
    assert len(list(filter(None, asked))) == board_image.SILENT and "GUNSHOT_OTA_KEY" in caplog.text


def test_the_board_has_the_last_word(bridge):
    bridge.board.least = 3
    bridge.offer()
    bridge.line(2)
    assert bridge.tells() == (Stage.refused, "older: the board refuses it") and bridge.slots.state.trial is None
    bridge.start()
    bridge.installer.again()
    assert bridge.tells() == (Stage.refused, "older: the board refuses it")


def test_what_is_not_for_it_is_never_fetched(bridge):
    for change, rule in (
        ({"device": "linux"}, "hardware"), ({"expires_us": 1}, "expired"), ({"manifest": "0" * 288}, "manifest"),
    ):  # fmt: skip
        stage, note = bridge.offer(**change)
        assert stage == Stage.refused and note.startswith(rule)
    assert bridge.offer(not_before_us=time.time_ns() // 1000 + 10**9) is None
    for file in bridge.folder.glob("operators/*"):
        file.unlink()
    bridge.start()
    assert bridge.offer()[1].startswith("operator: ") and not list(bridge.folder.glob("images/*"))
    assert OPERATOR.public_key() not in bridge.slots.trusted.values()


def test_another_one_takes_the_place_of_a_trial_once_the_board_went_back(bridge):
    bridge.offer()
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")
    assert bridge.offer(content=NEWER, number=3, id=IDS[1])[0] == Stage.fetching
    bridge.line(1)
    assert bridge.tells() == (Stage.back, "")
    bridge.offer(content=NEWER, number=3, id=IDS[1])
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "") and bridge.board.running == manifest(NEWER, 3, device=CLASS)


def test_a_trial_of_a_roll_out_that_was_stopped_goes_on_in_the_next_one(bridge):
    bridge.offer()
    bridge.line(6)
    assert bridge.offer(id=IDS[1]) == (Stage.trial, "")
    bridge.offer(Wanted.keep, id=IDS[1])
    bridge.line(1)
    assert bridge.tells() == (Stage.kept, "")


def test_another_board_at_the_line_is_brought_what_the_hub_wants(bridge):
    bridge.offer()
    bridge.line(6)
    bridge.offer(Wanted.keep)
    bridge.line(1)
    bridge.board = Board()
    bridge.hear(bridge.board.begins())
    assert bridge.slots.state.kept is None and bridge.slots.state.least == 0
    bridge.offer(id=IDS[1])
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")


def test_what_the_board_runs_is_known_also_where_its_operator_is_trusted_no_longer(bridge):
    bridge.offer()
    bridge.line(6)
    bridge.offer(Wanted.keep)
    bridge.line(1)
    for file in bridge.folder.glob("operators/*"):
        file.unlink()
    bridge.start()
    said = decode(bridge.board.begins())
    assert not bridge.slots.hear(said) and bridge.slots.release(said) == "v1.2.0"


def test_an_image_that_was_altered_on_the_disk_is_fetched_again(bridge):
    bridge.offer()
    (file,) = (bridge.folder / "images").glob("*.image")
    file.write_bytes(IMAGE[::-1])
    bridge.start()
    assert bridge.slots.state.trial is None and bridge.offer() is None
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")


def test_a_roll_out_that_is_offered_no_more_reaches_no_board(bridge):
    bridge.offer()
    bridge.line(2)
    bridge.now_s += OFFERED_S  # the board is away, and somebody stops the roll-out
    bridge.line(9)
    bridge.start()
    bridge.line(9)
    assert bridge.board.trial is None
    bridge.offer()
    while not bridge.board.trial:
        bridge.now_s += WAIT_S
        answers = bridge.board.takes(bridge.slots.outgoing(bridge.now_s))
        bridge.hear(*(answers if not bridge.board.trial else ()))  # the last ones are lost, and that it starts
    bridge.now_s += OFFERED_S
    bridge.line(2)  # the board says that it has it
    assert bridge.slots.is_on_trial and bridge.tells() == (Stage.trial, "")
    bridge.offer(Wanted.back)
    bridge.now_s += OFFERED_S
    bridge.line(1)
    assert bridge.tells()[0] == Stage.back and bridge.board.trial is None


def test_no_board_is_of_the_class_of_devices_on_linux(tmp_path):
    place = Place(host="hub", port=8883, name="roof", number=7, board=CLASS)
    place.save(tmp_path)
    assert Place.load(tmp_path) == place
    place.model_copy(update={"board": "linux"}).save(tmp_path)
    with pytest.raises(ValueError, match=r"device\.yaml: .*\n.*board.*\n.*must be the class of a board, and linux is"):
        Place.load(tmp_path)


@pytest.mark.parametrize("wanted", [Wanted.install, Wanted.keep])
def test_another_board_at_the_line_has_a_trial_of_its_own(bridge, wanted):
    bridge.offer()
    bridge.line(6)
    bridge.offer(wanted)
    bridge.board = Board(device=8)
    bridge.start()
    bridge.hear(bridge.board.begins())
    assert bridge.tells() == (Stage.fetching, "")
    bridge.offer()
    bridge.line(7)
    assert bridge.tells() == (Stage.trial, "") and bridge.board.running and not bridge.board.kept
    bridge.offer(Wanted.keep)
    bridge.line(1)
    assert bridge.tells() == (Stage.kept, "")


def test_another_board_at_the_line_gets_none_that_was_taken_back(bridge):
    bridge.offer()
    bridge.line(6)
    bridge.offer(Wanted.back)
    bridge.board = Board(device=8)
    bridge.hear(bridge.board.begins())
    bridge.line(7)
    assert bridge.tells()[0] == Stage.back and bridge.board.running is None and not bridge.board.slots


@pytest.mark.parametrize("lost", ["images/*.image", "operators/*"])
@pytest.mark.parametrize(("wanted", "stage"), [(Wanted.keep, Stage.kept), (Wanted.back, Stage.back)])
def test_a_board_that_runs_what_the_bridge_has_lost_is_told_what_becomes_of_it(bridge, lost, wanted, stage):
    bridge.offer()
    bridge.line(6)
    for file in bridge.folder.glob(lost):
        file.unlink()
    bridge.start()
    assert bridge.slots.is_on_trial
    assert bridge.offer(wanted)[0] == Stage.trial
    bridge.start()
    bridge.line(1)
    assert bridge.tells()[0] == stage and bridge.board.trial is None


def test_what_board_and_bridge_have_lost_is_fetched_anew(bridge):
    bridge.offer()
    bridge.line(6)
    (file,) = (bridge.folder / "images").glob("*.image")
    file.write_bytes(IMAGE[::-1])
    bridge.start()
    bridge.offer(Wanted.keep)
    bridge.board = Board()
    bridge.line(2)  # it knows no such image, and wants its first part
    assert bridge.tells() == (Stage.refused, "unknown: board and bridge have lost it")
    bridge.offer()
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")


STEPS = st.one_of(
    st.sampled_from(["install", "keep", "back", "kill", "power"]),
    st.tuples(st.integers(1, 8), st.frozensets(st.integers(0, 15))),  # words on the line, and which are lost
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=14), last=st.sampled_from(["keep", "back"]))
def test_whatever_is_lost_and_killed_hub_and_board_agree_in_the_end(tmp_path_factory, steps, last):
    """The hub offers as gunshot/hub/rollouts.py does: again and again, until it is told how it ended."""
    bridge = Bridge(tmp_path_factory.mktemp("roof"), Board())
    stage = None

    def tell(said) -> None:
        nonlocal stage
        stage = said[0] if said else stage

    def do(step) -> None:
        if step == "kill":
            bridge.start()
            bridge.installer.again()
        elif step == "power":
            bridge.hear(bridge.board.begins())
        elif isinstance(step, tuple):
            bridge.line(*step)
        elif stage in (None, Stage.fetching, Stage.trial):
            tell(bridge.offer(Wanted(step)))
        tell(bridge.tells())

    for step in steps:
        do(step)
        runs = bridge.board.running == manifest(IMAGE, 2, device=CLASS)
        assert runs or bridge.board.running is None
        assert stage != Stage.kept or bridge.board.kept
    for _ in range(4):
        for step in ("kill", "install", (12, frozenset()), last, (12, frozenset())):
            do(step)
    assert stage in (Stage.kept, Stage.back, Stage.refused), stage
    assert (stage == Stage.kept) == (bridge.board.kept is not None)
    assert bridge.board.trial is None and bridge.slots.state.trial is None
