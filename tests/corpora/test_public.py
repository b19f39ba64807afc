"""`gunshot import public --download` on small sets in their true layouts, from a server on this machine."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import astuple
from pathlib import Path

import pytest
import tenacity
from kagglehub import config
from kagglesdk import kaggle_env
from typer.testing import CliRunner

from gunshot import cli, corpora
from gunshot.base import files, params, tables
from gunshot.corpora import archives, download, public
from tests.corpora import served

REPO = Path(__file__).parents[2]
BODIES = served.bodies()
EVERY = {
    "esc50": {"CC BY 3.0": 1, "CC BY-NC 3.0": 1},
    "freefirearm": {"CC0-1.0": 2},
    "fsd50k": {"CC BY 3.0": 1, "CC BY-NC 3.0": 1, "CC Sampling+ 1.0": 1, "CC0-1.0": 1},
    "urbansound8k": {"CC BY-NC 3.0": 1},
}
DEV2 = "/fsd50k/FSD50K.dev_audio.z02"


@pytest.fixture
def server(empty_server, tmp_path, monkeypatch):
    """A project's folder without data, whose public sets are the server's small ones."""
    empty_server.hold(BODIES)
    monkeypatch.setattr(public, "DATASETS", served.datasets(empty_server.url, BODIES))
    monkeypatch.setattr(config, "get_kaggle_credentials", lambda: None)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPO / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return empty_server


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli.app, ["import", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def licences() -> dict[str, dict[str, int]]:
    rows = [(t.parent.name, tables.read(t, tables.RECORDING)) for t in Path("data/raw").glob("*/recordings.csv")]
    return {name: table["licence"].value_counts().to_dict() for name, table in sorted(rows)}


def state() -> dict[str, str]:
    """Return the hash of every file below data."""
    paths = (path for path in Path("data").rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_all_sets_come_once_with_licences_and_credits_and_no_archive_stays(server):
    said = run("public", "--download")
    assert licences() == EVERY
    assert "kaggle-gunshots: left out, no Kaggle token" in said
    kept = {str(path.parent.parent.name) + "/" + path.name for path in Path("data/raw").glob("*/credits/*")}
    assert kept == {
        "esc50/LICENSE", "esc50/README.md", "freefirearm/Prepared Master Sheet.csv", "fsd50k/README.md",
        "fsd50k/dev_clips_info_FSD50K.json", "fsd50k/eval_clips_info_FSD50K.json", "urbansound8k/FREESOUNDCREDITS.txt",
        "urbansound8k/UrbanSound8K_README.txt", *(f"{name}/source.json" for name in EVERY),
    }  # fmt: skip
    source = tables.read_json("data/raw/urbansound8k/credits/source.json")
    assert source["version"] == "Zenodo record 1203745" and "Salamon" in source["citation"]
    assert source["files"][0]["hash"].startswith("md5:") and source["licences"] is None
    assert list(Path("data/downloads").iterdir()) == []
    before, asked = state(), list(server.asked)
    assert run("public", "--download").count(" is there, ") == 4
    assert state() == before and server.asked == asked
    table = tables.read("data/raw/fsd50k/recordings.csv", tables.RECORDING)
    assert set(zip(table["path"], table["class"], strict=True)) == {
        ("fsd50k/gun/Gunshot_and_gunfire/101.wav", "gun"), ("fsd50k/env/Bark/102.wav", "env"),
        ("fsd50k/env/Speech/103.wav", "env"), ("fsd50k/env/Slam/201.wav", "env"),
    }  # fmt: skip


@pytest.mark.slow
def test_licences_leave_out_sets_and_recordings_and_say_so(server):
    said = run("public", "--download", "--licence", "commercial")
    allowed = params.load("promotion").promotion.licences
    assert licences() == {
        name: kept for name, held in EVERY.items() if (kept := {k: v for k, v in held.items() if k in allowed})
    }
    assert "urbansound8k: left out, its recordings are under CC BY-NC 3.0" in said
    assert "1 recording of esc50 is left out, under CC BY-NC 3.0" in said and "warning" not in said
    assert not any(path.startswith("/urbansound8k") for path, _ in server.asked)
    assert run("public", "--download", "--licence", "CC0-1.0").count(" is there, ") == 2
    assert run("public", "--download").count(" is there, ") == 1  # the Free Firearm Sound Library is whole
    assert licences() == EVERY
    said = run("public", "--download", "--licence", "CC0-1.0")
    assert "warning: data/raw/esc50 holds recordings under CC BY 3.0, CC BY-NC 3.0, imported before" in said
    with pytest.raises(ValueError, match=r"--licence 'MIT' must be commercial or one of CC BY 3\.0, "):
        run("public", "--licence", "MIT")


def test_without_download_it_is_only_told_what_there_is(server):
    said = run("public")
    assert all(remote.url in said and remote.hash in said for one in public.DATASETS for remote in one.files)
    assert server.asked == [] and not Path("data").exists()


def test_one_set_is_brought_in_the_same_way(server):
    run("fsd50k", "--download", "--name", "fsd")
    assert licences() == {"fsd": EVERY["fsd50k"]} and list(Path("data/downloads").iterdir()) == []
    assert "fsd50k is there" in run("fsd50k", "--download", "--name", "fsd")
    Path("mine.yaml").write_bytes((REPO / "gunshot/corpora/classes/fsd50k.yaml").read_bytes() + b"\n")
    asked = len(server.asked)
    assert "0 imported, 4 already there" in run("fsd50k", "--download", "--name", "fsd", "--classes", "mine.yaml")
    assert len(server.asked) == asked + 11
    assert "fsd50k is there" in run("fsd50k", "--download", "--name", "fsd", "--classes", "mine.yaml")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_transfer_that_is_cut_goes_on(server, ranges):
    server.ranges = ranges
    size = len(BODIES["fsd50k"]["FSD50K.dev_audio.z02"])
    server.cuts = {DEV2: [size // 2, size // 4]}
    if not ranges:
        with pytest.raises(ValueError, match=r"dev_audio\.z02\S*: what came has not the hash md5:\w+; deleted"):
            run("fsd50k", "--download")
        server.cuts = {}
    run("fsd50k", "--download")
    assert licences() == {"fsd50k": EVERY["fsd50k"]}
    again = [asked for path, asked in server.asked if path == DEV2]
    assert again == ([None, f"bytes={size // 2}-", f"bytes={size // 2 + size // 4}-"] if ranges else [None, None])


def test_a_wrong_hash_is_refused_and_the_other_sets_come(server):
    whole = server.bodies["/urbansound8k/UrbanSound8K.tar.gz"]
    server.bodies["/urbansound8k/UrbanSound8K.tar.gz"] = whole[:-1] + bytes([whole[-1] ^ 1])
    with pytest.raises(ValueError, match=r"UrbanSound8K\.tar\.gz\S*: what came has not the hash md5:") as caught:
        run("public", "--download")
    assert "\n" not in str(caught.value) and licences() == {k: v for k, v in EVERY.items() if k != "urbansound8k"}
    server.bodies["/urbansound8k/UrbanSound8K.tar.gz"] = whole
    run("public", "--download")
    assert licences() == EVERY


@pytest.mark.parametrize("changed", [False, True])
def test_an_archive_that_github_packed_anew_is_known_by_its_contents(server, changed):
    held = served.ESC50 | ({"ESC-50-x/audio/1-7-A-0.wav": served.wav(99)} if changed else {})
    (path,) = (path for path in server.bodies if path.startswith("/esc50"))
    server.bodies[path] = served.zipped(dict(reversed(held.items())))
    if changed:
        with pytest.raises(ValueError, match=r"ESC-50: what came is not commit 33c8ce9\w+: contents .*; deleted"):
            run("esc50", "--download")
        assert licences() == {} and not list(Path("data/downloads/esc50").glob("*.zip"))
    else:
        assert "packed anew, perhaps, so its contents are checked" in run("esc50", "--download")
        assert licences() == {"esc50": EVERY["esc50"]}


@pytest.mark.slow
def test_what_is_out_of_reach_is_told_before_anything_is_fetched(server, monkeypatch):
    del server.bodies["/fsd50k/FSD50K.dev_audio.z05"]
    with pytest.raises(
        ValueError, match=r"^nothing was fetched, out of reach: \S+dev_audio\.z05\S+: HTTP 404 Not Found\. "
    ):
        run("public", "--download")
    assert server.asked == []
    gone = served.Server()
    gone.close()
    monkeypatch.setattr(public, "DATASETS", served.datasets(gone.url, BODIES))
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"out of reach: localhost:\d+: .*refused.* into data/downloads/esc50/, "):
        run("public", "--download")
    assert time.monotonic() - began < 5 and licences() == {}
    for layout, held in BODIES.items():  # fetched elsewhere
        Path("data/downloads", layout).mkdir(parents=True)
        for name, body in held.items():
            Path("data/downloads", layout, name).write_bytes(body)
    run("public", "--download")
    assert licences() == EVERY


def test_two_at_once_do_not_write_to_one_folder(server):
    folder = Path("data/downloads/esc50")
    folder.mkdir(parents=True)
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match="data/downloads/esc50: another gunshot import is at work there"):
        run("esc50", "--download")
    os.close(handle)
    run("esc50", "--download")
    assert licences() == {"esc50": EVERY["esc50"]}


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    sizes = [sum(remote.size for remote in one.files) for one in public.DATASETS]
    whole = max(sizes) + 10**6 + 3 * 2 * 10**6  # the last one's archives and folder, beside the corpora before it
    whole = max(whole, 10**6 + 4 * 2 * 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, whole - 1))
    with pytest.raises(files.FullError, match=r"data/downloads: .* need about 0\.0 GB there for a while") as caught:
        run("public", "--download")
    assert caught.value.errno == errno.ENOSPC and server.asked == [] and licences() == {}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, whole))
    run("public", "--download")
    assert licences() == EVERY


STEPS = [
    (os, "replace", 1), (os, "replace", 7), (download, "fetch", 5), (download, "matches", 5), (archives, "unpack", 4),
    (Path, "rename", 1), (Path, "unlink", 4), (corpora, "import_corpus", 1), (public, "credit", 1),
    (tables, "write_json", 1), (shutil, "copyfile", 2), (shutil, "rmtree", 2),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.sweep(8)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS, ids=[f"{name} {nth}" for _, name, nth in STEPS])
def test_stopped_at_any_step_the_same_command_goes_on(server, monkeypatch, step, after):
    class KilledError(BaseException):
        pass

    where, name, nth = step
    real, calls = getattr(where, name), []

    def killed(*args, **kwargs):
        calls.append(args)
        done = real(*args, **kwargs) if after or len(calls) < nth else None
        if len(calls) == nth:
            raise KilledError
        return done

    with monkeypatch.context() as once, pytest.raises(KilledError):
        once.setattr(where, name, killed)
        run("fsd50k", "--download")
    run("fsd50k", "--download")
    assert licences() == {"fsd50k": EVERY["fsd50k"]} and list(Path("data/downloads").iterdir()) == []
    gone_on = state()
    shutil.rmtree("data")
    run("fsd50k", "--download")
    assert state() == gone_on


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_kaggle_s_set_comes_where_a_token_is(server, monkeypatch, tmp_path, count):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, server.url)
    monkeypatch.setattr(config, "get_kaggle_credentials", lambda: config.KaggleApiCredentials(api_key="x"))
    service = "/api/v1/datasets.DatasetApiService"
    server.bodies[f"{service}/GetDataset"] = json.dumps({"currentVersionNumber": 1}).encode()
    cuts = {f"AK-47/{i} (1).wav": served.wav(200 + i) for i in range(count)}
    server.bodies[f"{service}/DownloadDataset"] = served.zipped(cuts)
    if count == 1:
        run("public", "--download")
        assert licences() == EVERY | {"kaggle-gunshots": {"unknown": 1}}
        assert len(tables.read_json("data/raw/kaggle-gunshots/credits/source.json")["contents"]) == 64
        assert run("public", "--download").count(" is there, ") == 5
    else:  # none but the one that the number of recordings says
        with pytest.raises(ValueError, match=r"versions/1: 2 recordings came of \S+, known are 1: another version"):
            run("kaggle-gunshots", "--download")


COMMAND = """
import sys
from gunshot import cli
from tests.corpora import served

served.use(sys.argv.pop(), 1000)
cli.main()
"""


@pytest.mark.slow
def test_a_kill_in_a_transfer_loses_nothing_of_what_came(server):
    size = len(BODIES["fsd50k"]["FSD50K.dev_audio.z02"])
    given = {one.layout: [astuple(remote) for remote in one.files] for one in public.DATASETS}
    Path("sets.json").write_text(json.dumps(given))
    command = [sys.executable, "-c", COMMAND, "import", "fsd50k", "--download", "sets.json"]
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    server.cuts = {DEV2: [size // 2]}
    server.gate.clear()
    begun = Path("data/downloads/fsd50k/FSD50K.dev_audio.z02.part")
    killed = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda there: not there), wait=tenacity.wait_fixed(0.02),
            stop=tenacity.stop_after_delay(60),
        )(lambda: begun.exists() and begun.stat().st_size >= 1000)  # fmt: skip
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        server.gate.set()
    have = begun.stat().st_size
    assert 1000 <= have <= size // 2
    first = len(server.asked)
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert licences() == {"fsd50k": EVERY["fsd50k"]}
    again = server.asked[first:]
    assert again[0] == (DEV2, f"bytes={have}-")
    assert {path for path, _ in again} == {
        DEV2,
        *(f"/fsd50k/FSD50K.dev_audio.{end}" for end in ("z03", "z04", "z05", "zip")),
    }
