"""The systemd units: commands that there are, no right that is not needed; systemd's own word where it is there."""

import re
import shlex
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from importlib import metadata
from pathlib import Path

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gunshot import cli
from gunshot.hub import watch

UNITS = sorted((Path(__file__).parents[2] / "DOC/systemd").glob("*.service"))
TIMERS = sorted(UNITS[0].parent.glob("*.timer"))
PROJECT = "/opt/gunshot/.venv/bin/gunshot"
CLOSED = {
    "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "ProtectSystem": "strict", "ProtectHome": "yes",
    "RestrictNamespaces": "yes", "SystemCallArchitectures": "native", "UMask": "0077",
}  # fmt: skip


def section(unit: Path, name: str = "Service") -> dict[str, str]:
    parsed = RawConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str
    parsed.read_string(unit.read_text())
    return dict(parsed[name])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_with_few_rights(unit):
    options = section(unit)
    assert CLOSED.items() <= options.items()
    assert options["User"] == "gunshot" and options["ReadWritePaths"].startswith(("/srv/gunshot", "/var/lib/gunshot/"))
    assert options.get("PrivateDevices") == "yes" or options["DevicePolicy"] == "closed"
    program, *arguments = shlex.split(options["ExecStart"])
    if program != PROJECT:
        assert (program, arguments) == ("/usr/sbin/mosquitto", ["-c", "/srv/gunshot/mosquitto.conf"])
        return
    command = typer.main.get_command(cli.app)
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    given = command.make_context(unit.name, arguments).params
    assert str(given["folder"]) == options["ReadWritePaths"]


def test_there_is_a_unit_for_each_that_runs_for_ever_and_a_timer_for_the_watch():
    assert [unit.stem.removeprefix("gunshot-") for unit in UNITS] == ["bridge@", "broker", "device@", "hub", "watch"]
    assert [unit.stem for unit in TIMERS] == ["gunshot-watch"]
    for unit in UNITS:
        options, timed = section(unit), unit.with_suffix(".timer") in TIMERS
        assert (options.get("Type"), options.get("Restart")) == (("oneshot", None) if timed else (None, "always"))


def test_the_watch_tells_within_a_minute():
    """From one look's end to the next, until it starts, as long as it is patient: 20 s are left to start and call."""
    times = section(TIMERS[0], "Timer")
    assert int(times["OnUnitInactiveSec"]) + int(times["AccuracySec"]) + watch.PATIENCE_S <= 40


# What `gunshot hub init`, `enrol`, `run` and `incidents`, and `gunshot device bridge` import.
LOADED = """
import sys
from importlib import metadata
import gunshot.cli
from gunshot.base import params
from gunshot.device import bridge, line, link, outbox, place
from gunshot.hub import database, folder, incidents, service
params.load("audio", "firmware")
owners = metadata.packages_distributions()
print(*{owner for name in sys.modules for owner in owners.get(name, [])} - {"gunshot", "setuptools"})
"""


def needs(names: list[str]) -> set[str]:
    """Packages and what they need, without what is optional."""
    out, left = set(), [canonicalize_name(name) for name in names]
    while left:
        if (name := left.pop()) not in out:
            out.add(name)
            needed = map(Requirement, metadata.requires(name) or [])
            left += [
                canonicalize_name(one.name) for one in needed if not one.marker or one.marker.evaluate({"extra": ""})
            ]
    return out


@pytest.mark.slow
def test_hub_and_bridge_need_the_packages_of_the_page_alone():
    """Neither TensorFlow nor TFLM, of which a Raspberry Pi has no wheels."""
    (line,) = re.findall(r"pip install (numpy .*)", (UNITS[0].parents[1] / "hub.md").read_text())
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=UNITS[0].parents[2], capture_output=True, text=True, check=True
    )
    loaded = set(map(canonicalize_name, done.stdout.split()))
    assert "paho-mqtt" in loaded
    # SciPy, NumPy and cryptography load them where they are there.
    optional = {"cython", "charset-normalizer", "bcrypt"}
    missing = loaded - needs(re.sub(r"\[.*?\]", "", line).split()) - optional
    assert sorted(missing) == [], "the page must name them"


def test_systemd_finds_no_fault(tmp_path):
    """With this environment's program, and an instance of each template."""
    for unit in UNITS:
        text = unit.read_text().replace("/opt/gunshot/.venv", sys.prefix).replace("/opt/gunshot", str(tmp_path))
        (tmp_path / unit.name.replace("@", "@x")).write_text(text)
    for timer in TIMERS:
        shutil.copy(timer, tmp_path)
    names = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True)
    assert done.returncode == 0 and not re.search(r"x?\.(service|timer):", done.stderr), done.stderr
