"""What persons decided: the console's own CSV is read, shots are left out, contradictions name both rows."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gunshot.hub.console import listing
from gunshot.site import decisions
from gunshot.site.hours import Span
from tests.site.conftest import SR, recording


def row(number: int, time: str | None, state: str, label: str | None = None, site: str = "yard", error_s=0.5) -> dict:
    at = time and datetime.fromisoformat(f"2026-05-01T{time}").replace(tzinfo=UTC)
    every = dict.fromkeys(listing.COLUMNS)
    return every | {"number": number, "time": at, "time_error_s": error_s, "site": site, "state": state, "label": label}


@pytest.fixture
def export(tmp_path):
    """Write rows as the console does."""

    def write(*rows: dict) -> Path:
        file = tmp_path / "cases.csv"
        file.write_bytes(listing.as_csv(rows).encode())
        return file

    return write


def test_confirmed_is_left_out_a_minute_either_way_and_dismissed_is_known(export):
    file = export(
        row(1, "22:15:00", "confirmed"), row(2, "22:18:00", "dismissed", "fireworks"), row(3, "22:17:00", "new"),
        row(4, "22:16:00", "confirmed", site="other"), row(5, "22:30:00", "confirmed"),
        row(6, None, "dismissed", "door"),
    )  # fmt: skip
    heard = [recording(), recording(began="2026-05-01T22:10:00")]
    heard[0] = recording(began="2026-05-01T21:00:00")
    read = decisions.read(file, "yard")
    assert [(one.number, one.state) for one in read] == [
        ("1", "confirmed"), ("2", "dismissed"), ("5", "confirmed"), ("6", "dismissed")
    ]  # fmt: skip
    assert decisions.spans(read, heard, "confirmed", sr=SR, more_s=60.0) == [Span(1, 239.5, 360.5)]
    assert decisions.spans(read, heard, "dismissed", sr=SR, more_s=2.0) == [Span(1, 477.5, 482.5)]
    late = decisions.read(export(row(1, "22:20:30", "confirmed")), "yard")  # just after the end
    assert decisions.spans(late, heard, "confirmed", sr=SR, more_s=60.0) == [Span(1, 569.5, 600.0)]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([row(1, "22:15:00", "confirmed"), row(1, "22:15:00", "dismissed", "door")], "case 1 (confirmed) and case 1"),
        ([row(1, "22:15:00", "confirmed"), row(2, "22:15:02", "dismissed", "door")], "and case 2 (dismissed, door)"),
        ([row(1, "22:15:00", "dismissed", "bang"), row(2, "22:15:01", "dismissed", "door")],
         "case 1 (dismissed, bang) and case 2 (dismissed, door) contradict each other"),
    ],
)  # fmt: skip
def test_what_contradicts_is_named(export, rows, names):
    with pytest.raises(ValueError) as e:
        decisions.read(export(*rows), "yard")
    assert names in str(e.value) and "contradict" in str(e.value)


def test_alike_or_apart_is_no_contradiction(export):
    alike = [row(1, "22:15:00", "confirmed"), row(2, "22:15:01", "confirmed"), row(3, "22:15:09", "dismissed", "door")]
    assert len(decisions.read(export(*alike), "yard")) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("state", "status"), "no column state; must be the CSV that the console exports"),
        (lambda text: text.replace("yard", "gate"), "no row of site='yard'; must hold some of that site, has those of"),
        (lambda text: text.replace("2026-05-01T", "yesterday "), "row 2: time='yesterday 22:15:00+00:00'"),
        (lambda text: text.replace(",0.5,", ",-1,"), "time_error_s='-1' must be ISO 8601 and 0 or more"),
        (lambda text: text.replace("2026-05-01T22:15:00+00:00", ""), "of the confirmed case 1 must be known"),
        (lambda text: text[:40], "no column site"),
        (lambda text: "", "no column number"),
        (lambda text: text.encode("utf-16").decode("latin-1"), "must be the CSV that the console exports"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(export, change, words):
    file = export(row(1, "22:15:00", "confirmed"))
    file.write_text(change(file.read_text()), encoding="latin-1")
    with pytest.raises(ValueError) as e:
        decisions.read(file, "yard")
    assert words in str(e.value) and str(file) in str(e.value)


def test_recordings_must_say_when_they_began():
    with pytest.raises(ValueError, match=r"^night\.wav: must say in its name when it began, UTC, as in yard_2026"):
        decisions.check_times([recording(began="2026-05-01T22:10:00"), recording("night.wav")])
