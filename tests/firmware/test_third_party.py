"""The fetching of CMSIS-DSP: once, whole or not at all, and with a plain word where there is no network."""

import os
import runpy
import subprocess
import sys

import pytest

from tests.firmware import host_c

SCRIPT = host_c.CMSIS.parent / "fetch.py"


@pytest.fixture
def fetch():
    return runpy.run_path(str(SCRIPT))


def test_what_is_there_is_whole_licensed_and_not_fetched_again(fetch, tmp_path):
    fetch["main"]()
    for kept in fetch["KEPT"].values():
        assert (SCRIPT.parent / kept).exists(), kept
    assert "Apache License" in (host_c.CMSIS / "dsp" / "LICENSE").read_text()
    env = {"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    host_c.run(sys.executable, SCRIPT, env=env)


@pytest.mark.slow
def test_without_a_network_it_says_so_and_leaves_nothing(tmp_path):
    for name in ("fetch.py", "requirements.txt"):
        (tmp_path / name).write_bytes((SCRIPT.parent / name).read_bytes())
    env = {"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run([sys.executable, tmp_path / "fetch.py"], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip could not download" in done.stderr and "network" in done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fetch.py", "requirements.txt"]


def test_what_breaks_on_the_way_leaves_what_was_there(fetch, tmp_path):
    """An older version stays whole until the new one is; a folder without its last file is none."""
    out = tmp_path / "cmsis"
    out.mkdir()
    (out / "requirements.txt").write_text("cmsisdsp==1.0.0\n")
    assert not fetch["ready"](out) and not fetch["ready"](tmp_path)
    fetch["main"].__globals__["download"] = lambda folder: None  # no package comes
    with pytest.raises(FileNotFoundError):
        fetch["main"](tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["cmsis", "requirements.txt"]
