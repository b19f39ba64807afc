"""Downloads by the real clients, from a server on this machine that holds small sets in their true layouts."""

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundata.datasets.esc50
import soundata.datasets.urbansound8k
import soundfile as sf
from kagglesdk import kaggle_env
from soundata.download_utils import RemoteFileMetadata
from typer.testing import CliRunner

from gunshot import corpora
from gunshot.cli import app
from gunshot.corpora import archives, download

TABLES = {
    "esc50": (
        "meta/esc50.csv",
        "filename,fold,target,category,esc10,src_file,take\n1.wav,1,0,dog,False,7,A\n",
        "audio/1.wav",
    ),
    "urbansound8k": (
        "metadata/UrbanSound8K.csv",
        "slice_file_name,fsID,start,end,salience,fold,classID,class\n1.wav,7,0,4,1,1,6,gun_shot\n",
        "audio/fold1/1.wav",
    ),
}
PACKED = {"esc50": "ESC-50-master", "urbansound8k": "UrbanSound8K"}


def wav() -> bytes:
    out = io.BytesIO()
    sf.write(out, 0.1 * np.random.default_rng(0).standard_normal(8000), 44100, format="WAV")
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Server:
    """Answers each path with what `bodies` holds; `cut` sends half of it and hangs up."""

    def __init__(self):
        self.bodies: dict[str, bytes] = {}
        self.cut, self.asked = False, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                body = outer.bodies.get(self.path)
                if body is None:
                    return self.send_error(404)
                self.send_response(200)
                kind = "application/json" if self.path.endswith("GetDataset") else "application/zip"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Goog-Hash", f"md5={base64.b64encode(hashlib.md5(body).digest()).decode()}")
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if outer.cut else body)

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.do_GET()

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("localhost", 0), Handler)
        self.url = f"http://localhost:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture(params=["esc50", "urbansound8k", "kaggle-gunshots"])
def layout(request, server, tmp_path, monkeypatch):
    """A layout whose client finds its set on the server."""
    layout = request.param
    if layout == "kaggle-gunshots":
        monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
        monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, server.url)
        service = "/api/v1/datasets.DatasetApiService"
        server.bodies[f"{service}/GetDataset"] = json.dumps({"currentVersionNumber": 1}).encode()
        server.bodies[f"{service}/DownloadDataset"] = zipped({"AK-47/3 (20).wav": wav()})
        return layout
    table, lines, recording = TABLES[layout]
    top, pack, end = {"esc50": ("ESC-50-master", zipped, ".zip"), "urbansound8k": ("UrbanSound8K", tarred, ".tar.gz")}[
        layout
    ]
    body = pack({f"{top}/{table}": lines.encode(), f"{top}/{recording}": wav()})
    server.bodies[f"/{layout}{end}"] = body
    remote = RemoteFileMetadata(
        filename=f"set{end}", url=f"{server.url}/{layout}{end}", checksum=hashlib.md5(body).hexdigest(),
        unpack_directories=[top],
    )  # fmt: skip
    monkeypatch.setitem(getattr(soundata.datasets, layout).REMOTES, "all", remote)
    return layout


def test_what_is_fetched_has_the_layout_and_is_not_fetched_again(layout, server, tmp_path):
    root = download.fetch(layout, tmp_path / "set")
    with archives.unpacked(root) if root.is_file() else nullcontext(root) as folder:
        sources, bad = corpora.layouts[layout](folder)
        assert bad == [] and len(sources) == 1 and sources[0].file.read_bytes() == wav()
    asked = [path for path in server.asked if "GetDataset" not in path]
    assert download.fetch(layout, tmp_path / "set") == root
    assert [path for path in server.asked if "GetDataset" not in path] == asked


@pytest.mark.parametrize("fault", ["gone", "cut", "changed"])
@pytest.mark.slow
def test_a_failed_download_is_one_line_and_the_next_starts_anew(layout, fault, server, tmp_path, monkeypatch):
    whole = dict(server.bodies)
    if fault == "gone":
        server.bodies.clear()
    elif fault == "cut":
        server.cut = True
    elif layout == "kaggle-gunshots":
        server.bodies[next(path for path in whole if path.endswith("DownloadDataset"))] = b"no zip at all"
    else:
        server.bodies[next(iter(whole))] = b"something else"
    with pytest.raises(ValueError, match="could not download it") as caught:
        download.fetch(layout, tmp_path / "set")
    assert "\n" not in str(caught.value)
    server.bodies, server.cut = whole, False
    assert download.fetch(layout, tmp_path / "set").exists()


def test_no_server_is_one_line(layout, server, tmp_path):
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(ValueError, match="could not download it"):
        download.fetch(layout, tmp_path / "set")


def test_either_a_path_or_a_download(tmp_path):
    for arguments in (["esc50"], ["esc50", str(tmp_path), "--download"]):
        result = CliRunner().invoke(app, ["import", *arguments])
        assert "give either the PATH of the recordings or --download" in str(result.exception)
