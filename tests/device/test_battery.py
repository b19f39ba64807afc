"""A battery's level, from folders as the kernel lays them out, and none where there is none."""

import pytest

from gunshot.device import battery
from gunshot.device.messages import Battery

LAPTOP = {"type": "Battery\n", "scope": "System\n", "capacity": "57\n"}


@pytest.mark.parametrize(
    ("supplies", "percent"),
    [
        ([], None),
        ([LAPTOP], 57),
        ([LAPTOP, LAPTOP | {"capacity": "12\n"}], 12),
        ([{"type": "Battery\n", "capacity": "0\n"}], 0),  # one that is not told whose it is
        ([LAPTOP, LAPTOP | {"scope": "Device\n", "capacity": "3\n"}], 57),  # a mouse's
        ([{"type": "Mains\n", "online": "1\n"}, {"type": "UPS\n", "capacity": "9\n"}], None),
        ([{"type": "Battery\n"}, LAPTOP | {"capacity": "unknown\n"}, LAPTOP | {"capacity": "250\n"}], None),
    ],
)
def test_the_emptiest_of_the_machine_s_batteries_counts(tmp_path, supplies, percent):
    for i, files in enumerate(supplies):
        (tmp_path / f"BAT{i}").mkdir()
        for name, text in files.items():
            (tmp_path / f"BAT{i}" / name).write_text(text)
    assert battery.read(tmp_path) == (None if percent is None else Battery(percent))


def test_a_machine_without_such_a_folder_has_none(tmp_path):
    assert battery.read(tmp_path / "nowhere") is None


def test_no_battery_is_fuller_than_full():
    with pytest.raises(ValueError, match="battery=101 must be at most 100 percent"):
        Battery(101)
