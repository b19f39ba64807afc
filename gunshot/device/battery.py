"""How full this machine's battery is, as Linux says (Documentation/ABI/testing/sysfs-class-power)."""

from pathlib import Path

from gunshot.device.messages import Battery

SUPPLIES = Path("/sys/class/power_supply")


def read(supplies: Path = SUPPLIES) -> Battery | None:
    """Return how full the emptiest of the machine's batteries is; None where it has none, or it does not say.

    One that is a mouse's or a headset's own (its `scope` is Device) is none of the machine's.
    """
    levels = []
    for supply in supplies.glob("*"):
        if _line(supply / "type") == "Battery" and _line(supply / "scope") != "Device":
            capacity = _line(supply / "capacity")
            levels += [int(capacity)] if capacity.isdecimal() and int(capacity) <= 100 else []
    return Battery(min(levels)) if levels else None


def _line(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
