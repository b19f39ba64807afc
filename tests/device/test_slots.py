"""The images on a device's disk: what a start runs, whatever was cut off, altered or does not stay up."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gunshot.base.files import FullError
from gunshot.device import images, slots
from gunshot.device.slots import MOST_STARTS, Slots
from gunshot.signing import record
from tests.device.images import image, manifest, trusting
from tests.device.killed import NEW, OLD, ORDERS, fetch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A device that keeps OLD, with number 1."""
    folder = trusting(tmp_path / "device")
    one = Slots(folder)
    assert one.boot() is None and one.running is None  # its own pipeline's
    put(one, OLD, 1)
    assert one.is_stale and one.boot().read_bytes() == b"old" and one.is_on_trial and not one.is_stale
    one.keep()
    assert not one.is_stale and not one.is_on_trial
    one.close()
    return folder


def put(one: Slots, content: bytes, number: int, order: str = ORDERS[1]) -> None:
    one.finish(fetch(one, content, number), order, lambda _: None)


def test_a_trial_is_kept_or_taken_back(folder):
    one = Slots(folder)
    one.boot()
    put(one, NEW, 2)
    one.close()
    assert Slots(folder).boot().read_bytes() == b"a newer model" * 9
    one = Slots(folder)
    one.boot()
    one.end_trial("it is loud")
    assert one.is_stale and one.boot().read_bytes() == b"old" and one.state.least == 1
    assert one.state.over == (ORDERS[1],) and one.state.last == (ORDERS[1], "back", "it is loud")
    put(one, NEW, 2, "c" * 32)
    one.boot()
    one.keep()
    one.close()
    assert Slots(folder).boot().read_bytes() == b"a newer model" * 9
    assert one.state.least == 2 and len(list((folder / "images").glob("*.image"))) == 1


def test_a_trial_of_which_the_hub_never_has_a_message_is_over_after_some_starts(folder):
    put(Slots(folder), NEW, 2)
    for _ in range(2):
        for _ in range(MOST_STARTS):  # power is lost, before the hub has anything
            one = Slots(folder)
            assert one.boot().read_bytes() == b"a newer model" * 9
            one.close()
        one.calm()
    for _ in range(MOST_STARTS):
        assert Slots(folder).boot().read_bytes() == b"a newer model" * 9
    one = Slots(folder)
    assert one.boot().read_bytes() == b"old" and "in 3 starts the hub had no message" in one.state.last[2]


@pytest.mark.parametrize("which", [b"old", b"a newer model"])
def test_an_image_that_was_altered_on_the_disk_is_not_run(folder, which):
    put(Slots(folder), NEW, 2)
    for file in (folder / "images").glob("*.image"):
        content = file.read_bytes()
        if which in content:
            file.write_bytes(content.replace(which, which.upper(), 1))
    path = Slots(folder).boot()
    assert path.read_bytes() == (b"a newer model" * 9 if which == b"old" else b"old")


def test_what_runs_is_written_out_anew_and_without_any_image_it_is_the_machine_s_own(folder):
    one = Slots(folder)
    one.boot().write_bytes(b"altered")
    assert one.boot().read_bytes() == b"old"
    for file in (folder / "images").glob("*.image"):
        file.unlink()
    assert one.boot() is None and one.running is None and not one.is_stale
    one.close()
    assert Slots(folder, trusted={}).boot() is None


def test_what_is_cut_off_or_other_bytes_is_gone_and_the_rest_is_fetched_again(folder):
    one, signed = Slots(folder), manifest(NEW, 2)
    assert one.begin(signed) == 0
    one.add(signed, NEW[:300], at=0)
    one.close()
    assert Slots(folder).begin(signed) == 300
    for content in (NEW[:-1], NEW + b"\0", NEW[:-1] + b"\1"):
        one.add(signed, content, at=0)
        with pytest.raises(ValueError, match=f"must be the {len(NEW)} that were signed"):
            one.finish(signed, ORDERS[1], lambda _: None)
        assert one.begin(signed) == 0 and one.state.trial is None
    one.add(signed, NEW[:300], at=0)
    assert one.begin(manifest(OLD, 3)) == 0 and not list((folder / "images").glob("*.incoming"))


@pytest.mark.parametrize("content", [b"", b"no zip", OLD[:-30], OLD.replace(b"report.json", b"../rt.json!"[:11])])
def test_what_is_no_image_is_refused(content):
    with pytest.raises(ValueError, match="an image must"):
        slots.unpack(content)


def test_an_image_has_the_same_bytes_each_time_and_all_its_files():
    assert image(b"x") == image(b"x") and slots.unpack(image(b"x"))["model.tflite"] == b"x"
    with pytest.raises(ValueError, match=r"must hold model\.tflite, report\.json"):
        slots.pack({"model.tflite": b"x"})


def test_what_says_which_runs_and_is_damaged_is_told(folder):
    (folder / "images" / images.STATE).write_text("{")
    with pytest.raises(
        ValueError, match=r"slots\.json: must be what .*; delete .*images: .* and takes older images too"
    ):
        Slots(folder)


def test_two_processes_do_not_share_them(folder):
    with closing(Slots(folder)) as one:
        put(one, NEW, 2)
        one.boot()
        before = (folder / "images" / images.STATE).read_bytes()
        with pytest.raises(ValueError, match=r"images\.lock: .*; is `gunshot device` running there already"):
            Slots(folder)
        assert (folder / "images" / images.STATE).read_bytes() == before  # its start does not count
        put(one, OLD, 3, "c" * 32)
        assert one.is_stale
    assert not one.is_stale  # who was interrupted starts no other image
    assert Slots(folder).state.trial.order == "c" * 32


def full(*_) -> None:
    raise FullError(28, "No space left on device")


def test_a_disk_that_is_full_ends_no_device(folder, monkeypatch):
    one = Slots(folder)
    put(one, NEW, 2)
    with monkeypatch.context() as patch:
        patch.setattr(record, "write", full)
        assert one.boot() is None  # the image of before cannot be written out either
    assert one.boot().read_bytes() == b"a newer model" * 9 and one.is_on_trial
    with monkeypatch.context() as patch:
        patch.setattr(record, "write", full)
        one.calm()
        assert one.state.trial.starts == 1
        one.end_trial("it is loud")
        assert one.is_stale and one.state.trial is None
    assert one.boot().read_bytes() == b"old"
    one.close()
    assert Slots(folder).state.trial.starts == 1  # the next process may try it again, and counts on


def test_a_start_that_cannot_be_counted_runs_the_image_of_before(folder, monkeypatch):
    write = record.write
    one = Slots(folder)
    put(one, NEW, 2)
    with monkeypatch.context() as patch:
        patch.setattr(record, "write", lambda *to: full() if to[0].name == images.STATE else write(*to))
        for _ in range(MOST_STARTS + 1):
            assert one.boot().read_bytes() == b"old" and not one.is_stale and not one.is_on_trial
    assert one.boot().read_bytes() == b"a newer model" * 9 and one.state.trial.starts == 1


def test_what_cannot_be_deleted_ends_no_device(folder, monkeypatch):
    unlink = Path.unlink
    one = Slots(folder)
    put(one, NEW, 2)
    one.boot()
    with monkeypatch.context() as patch:
        patch.setattr(
            Path, "unlink", lambda path, **options: full() if path.suffix == ".image" else unlink(path, **options)
        )
        one.keep()
    assert len(list((folder / "images").glob("*.image"))) == 2
    assert one.boot().read_bytes() == b"a newer model" * 9 and one.state.least == 2


def sweep(tmp_path: Path, step: int) -> int:
    command = (sys.executable, "-m", "tests.device.killed", tmp_path, str(step))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_power_that_is_lost_at_some_byte_or_call_leaves_an_image_that_runs(tmp_path):
    assert sweep(tmp_path, 97) > 30


@pytest.mark.exhaustive
def test_power_that_is_lost_at_any_byte_or_call_leaves_an_image_that_runs(tmp_path):
    assert sweep(tmp_path, 1) > 1000
