"""Files from a server on this machine: cut, changed, gone, and none at all."""

import hashlib
import json
import time

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st
from kagglesdk import kaggle_env
from typer.testing import CliRunner

from gunshot.cli import app
from gunshot.corpora import download
from gunshot.corpora.download import Remote
from tests.corpora import served

BODY = served.wav(0)
PATH = "/a/b%20c.wav"


@pytest.fixture
def server(empty_server):
    empty_server.bodies[PATH] = BODY
    return empty_server


def remote(server, body: bytes = BODY) -> Remote:
    return Remote(f"{server.url}{PATH}?download=1", len(body), f"sha256:{hashlib.sha256(body).hexdigest()}")


def test_a_file_comes_once(server, tmp_path):
    one = remote(server)
    assert (one.name, download.lacking(one, tmp_path)) == ("b c.wav", len(BODY))
    path = download.fetch(one, tmp_path)
    assert path == tmp_path / "b c.wav" and path.read_bytes() == BODY and download.matches(one, path)
    assert download.lacking(one, tmp_path) == 0 and download.fetch(one, tmp_path) == path
    assert server.asked == [(PATH, None)] and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_transfer_goes_on_where_it_was_cut_or_from_the_start(server, tmp_path, ranges):
    server.ranges, server.cuts = ranges, {PATH: [1000, 2000]}
    (tmp_path / "b c.wav.part").write_bytes(BODY[:500])
    one = remote(server)
    assert download.lacking(one, tmp_path) == len(BODY) - 500
    if ranges:
        assert download.fetch(one, tmp_path).read_bytes() == BODY
        assert [asked for _, asked in server.asked] == ["bytes=500-", "bytes=1500-", "bytes=3500-"]
    else:  # without a length nothing says that it was cut; the hash does
        assert not download.matches(one, download.fetch(one, tmp_path))
        (tmp_path / "b c.wav").unlink()
        server.cuts = {}
        assert download.matches(one, download.fetch(one, tmp_path))


@pytest.mark.slow
@given(st.lists(st.integers(1, len(BODY) - 1), max_size=6), st.integers(0, len(BODY) + 9))
def test_whatever_is_there_and_wherever_it_is_cut_the_file_is_whole(shared_server, tmp_path_factory, cuts, have):
    folder = tmp_path_factory.mktemp("set")
    shared_server.__dict__.update(bodies={PATH: BODY}, cuts={PATH: list(cuts)}, busy={}, ranges=True, asked=[])
    one = remote(shared_server)
    download.part(one, folder).write_bytes((BODY + b"too much.")[:have])
    wait, download.WAIT = download.WAIT, tenacity.wait_none()
    try:
        assert download.matches(one, download.fetch(one, folder)) == (have <= len(BODY))
    finally:
        download.WAIT = wait


def test_a_server_that_is_busy_is_asked_again_and_not_for_ever(server, tmp_path):
    server.busy = {PATH: 2}
    assert download.fetch(remote(server), tmp_path).read_bytes() == BODY
    (tmp_path / "b c.wav").unlink()
    server.busy = {PATH: 99}
    with pytest.raises(ValueError, match=r"b%20c\.wav\S*: cut off 10 times, last by: HTTP 503 .*; run this again"):
        download.fetch(remote(server), tmp_path)
    assert server.busy == {PATH: 89}


def test_what_the_server_has_not_is_not_asked_for_again(server, tmp_path):
    server.bodies.clear()
    with pytest.raises(ValueError, match=r"b%20c\.wav\S*: HTTP 404 Not Found"):
        download.fetch(remote(server), tmp_path)
    assert len(server.asked) == 1
    assert download.reach([remote(server)]) == [f"{server.url}{PATH}?download=1: HTTP 404 Not Found"]
    server.bodies = {PATH: BODY}
    assert download.reach([remote(server)]) == []


def test_no_network_is_told_at_once_by_host(monkeypatch):
    gone = served.Server()
    gone.close()
    files = [Remote(f"{gone.url}/{i}", 1, "md5:0") for i in range(9)] + [Remote("http://no.invalid/x", 1, "md5:0")]
    began = time.monotonic()
    faults = download.reach(files)
    assert len(faults) == 2 and time.monotonic() - began < 10
    assert faults[0].startswith(f"{gone.url.removeprefix('http://')}: ") and "refused" in faults[0]
    assert faults[1].startswith("no.invalid: ")


@pytest.fixture
def kaggle(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, server.url)
    service = "/api/v1/datasets.DatasetApiService"
    server.bodies[f"{service}/GetDataset"] = json.dumps({"currentVersionNumber": 1}).encode()
    server.bodies[f"{service}/DownloadDataset"] = served.zipped({"AK-47/3 (20).wav": BODY})
    return server


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["none", "gone", "no zip"])
def test_kagglehub_s_faults_are_one_line_and_the_next_run_goes_on(kaggle, fault):
    whole = dict(kaggle.bodies)
    if fault == "gone":
        kaggle.bodies.clear()
    elif fault == "no zip":
        kaggle.bodies[next(path for path in whole if path.endswith("DownloadDataset"))] = b"no zip at all"
    if fault != "none":
        with pytest.raises(ValueError, match="kagglehub could not download it") as caught:
            download.kaggle("a/b")
        assert "\n" not in str(caught.value)
    kaggle.bodies = whole
    assert (download.kaggle("a/b") / "AK-47/3 (20).wav").read_bytes() == BODY


def test_either_a_path_or_a_download(tmp_path):
    for arguments in (["esc50"], ["esc50", str(tmp_path), "--download"]):
        result = CliRunner().invoke(app, ["import", *arguments])
        assert "give either the PATH of the recordings or --download" in str(result.exception)
