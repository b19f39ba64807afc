"""Small public sets in their true layouts and archives, and a server on this machine that has them."""

import base64
import hashlib
import io
import json
import re
import struct
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import py7zr
import soundfile as sf

from gunshot.corpora import download, esc50, public
from gunshot.corpora.download import Remote


def wav(seed: int) -> bytes:
    out = io.BytesIO()
    sf.write(out, 0.1 * np.random.default_rng(seed).standard_normal(8000), 44100, format="WAV")
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
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


def sevenzipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(content, name)
    return out.getvalue()


def split(whole: bytes, size: int) -> list[bytes]:
    """Return a zip cut into parts of `size` bytes, as `zip -s` writes them: a mark, then disks and offsets in them."""
    body = bytearray(b"PK\x07\x08" + whole)
    end = body.rindex(b"PK\x05\x06")
    length, begin = struct.unpack_from("<LL", body, end + 12)
    at, begin = begin + 4, begin + 4
    while at < begin + length:
        offset = struct.unpack_from("<L", body, at + 42)[0] + 4
        struct.pack_into("<H", body, at + 34, offset // size)
        struct.pack_into("<L", body, at + 42, offset % size)
        at += 46 + sum(struct.unpack_from("<HHH", body, at + 28))
    struct.pack_into("<HH", body, end + 4, (len(body) - 1) // size, begin // size)
    struct.pack_into("<L", body, end + 16, begin % size)
    return [bytes(body[i : i + size]) for i in range(0, len(body), size)]


def parts(stem: str, files: dict[str, bytes], count: int) -> dict[str, bytes]:
    whole = zipped(files)
    *numbered, last = split(whole, -(-(len(whole) + 4) // count))
    return {f"{stem}.z{i:02d}": body for i, body in enumerate(numbered, 1)} | {f"{stem}.zip": last}


LICENCE = "http://creativecommons.org/{}/"
ESC50 = {
    "ESC-50-x/meta/esc50.csv": b"filename,fold,target,category,esc10,src_file,take\n"
    b"1-7-A-0.wav,1,0,dog,True,7,A\n1-8-A-48.wav,1,48,fireworks,False,8,A\n",
    "ESC-50-x/audio/1-7-A-0.wav": wav(1),
    "ESC-50-x/audio/1-8-A-48.wav": wav(2),
    "ESC-50-x/LICENSE": b"by nfrae [CC0]",
    "ESC-50-x/README.md": b"ESC-50",
}


def fsd50k() -> dict[str, bytes]:
    """Return FSD50K's eleven files, with three clips in dev and one in eval."""
    clips = {
        "dev": {101: ("Gunshot_and_gunfire,Explosion", "publicdomain/zero/1.0"), 102: ("Bark,Dog", "licenses/by/3.0"),
                103: ("Speech,Human_voice", "licenses/by-nc/3.0")},
        "eval": {201: ("Slam,Door", "licenses/sampling+/1.0")},
    }  # fmt: skip
    files = {}
    for part, rows in clips.items():
        lines = [f'{name},"{labels}",/m/0' for name, (labels, _) in rows.items()]
        files[f"FSD50K.ground_truth/{part}.csv"] = "\n".join(["fname,labels,mids", *lines]).encode()
        info = {str(name): {"license": LICENCE.format(url), "uploader": f"u{name}"} for name, (_, url) in rows.items()}
        files[f"FSD50K.metadata/{part}_clips_info_FSD50K.json"] = json.dumps(info).encode()
        for name in rows:
            files[f"FSD50K.{part}_audio/{name}.wav"] = wav(name)
    files["FSD50K.doc/README.md"] = b"FSD50K"

    def below(folder: str) -> dict[str, bytes]:
        return {name: content for name, content in files.items() if name.startswith(folder)}

    whole = {f"FSD50K.{one}.zip": zipped(below(f"FSD50K.{one}/")) for one in ("doc", "ground_truth", "metadata")}
    for part, count in (("eval", 2), ("dev", 6)):
        whole |= parts(f"FSD50K.{part}_audio", below(f"FSD50K.{part}_audio/"), count)
    return whole


def bodies() -> dict[str, dict[str, bytes]]:
    """Return each set's files, by layout and name."""
    urbansound = {
        "UrbanSound8K/metadata/UrbanSound8K.csv": b"slice_file_name,fsID,start,end,salience,fold,classID,class\n"
        b"9-6-0-0.wav,9,0,4,1,1,6,gun_shot\n",
        "UrbanSound8K/audio/fold1/9-6-0-0.wav": wav(3),
        "UrbanSound8K/UrbanSound8K_README.txt": b"README",
        "UrbanSound8K/FREESOUNDCREDITS.txt": b"by n",
    }
    firearm = {
        "Prepared SFX Library/1911/A_34P.wav": wav(4),
        "Prepared SFX Library/AK-47/C_28P.wav": wav(5),
        "Prepared SFX Library/Prepared Master Sheet.csv": b"Filename,CD\n",
    }
    return {
        "freefirearm": {"Prepared SFX Library.7z": sevenzipped(firearm)},
        "esc50": {"33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip": zipped(ESC50)},
        "urbansound8k": {"UrbanSound8K.tar.gz": tarred(urbansound)},
        "fsd50k": fsd50k(),
    }


def datasets(url: str, held: dict[str, dict[str, bytes]]) -> tuple:
    """Return the public sets with the small files' addresses, sizes and hashes in place of the published ones."""

    def small(dataset):
        files = []
        for remote in dataset.files:
            body, kind = held[dataset.layout][remote.name], remote.hash.split(":")[0]
            address = f"{url}/{dataset.layout}/{remote.url.rsplit('/', 1)[-1]}"
            files.append(Remote(address, len(body), f"{kind}:{hashlib.new(kind, body).hexdigest()}"))
        return replace(dataset, files=tuple(files), unpacked=10**6, corpus=10**6, recordings=1, digest=digest(dataset))

    return tuple(map(small, public.DATASETS))


def digest(dataset) -> str:
    """Return what `esc50.contents` says of the small set, by its definition."""
    if dataset.layout != "esc50":
        return ""
    clips = hashlib.sha256()
    for name in ("1-7-A-0.wav", "1-8-A-48.wav"):
        clips.update(f"audio/{name}\0".encode() + ESC50[f"ESC-50-x/audio/{name}"][44:])
    return f"{hashlib.sha256(ESC50['ESC-50-x/' + esc50.METADATA]).hexdigest()}-{clips.hexdigest()}"


class Server:
    """Answers each path with what `bodies` holds for it, from the byte that is asked for.

    `cuts` are the bytes after which it hangs up, one an answer, by path; `busy` how often a path answers 503;
    `ranges` False is a server that always sends the whole, without a length, as GitHub does; while `gate` is not set
    an answer that was cut is held open.
    """

    def __init__(self):
        self.bodies: dict[str, bytes] = {}
        self.cuts: dict[str, list[int]] = {}
        self.busy: dict[str, int] = {}
        self.ranges, self.asked, self.gate = True, [], threading.Event()
        self.gate.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.answer(self)

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("localhost", 0), Handler)
        self.url = f"http://localhost:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, one: BaseHTTPRequestHandler) -> None:
        path, asked = one.path.split("?")[0], one.headers.get("Range")
        if asked != "bytes=0-0":
            self.asked.append((path, asked))
        body = self.bodies.get(path)
        if body is None:
            return one.send_error(404)
        if asked != "bytes=0-0" and self.busy.get(path):
            self.busy[path] -= 1
            return one.send_error(503)
        bounds = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "") if self.ranges else None
        begin = int(bounds[1]) if bounds else 0
        if bounds and begin >= len(body):
            return one.send_error(416)
        sent = body[begin : int(bounds[2]) + 1 if bounds and bounds[2] else None]
        one.send_response(206 if bounds else 200)
        if bounds:
            one.send_header("Content-Range", f"bytes {begin}-{begin + len(sent) - 1}/{len(body)}")
        self.headers(one, path, body)
        one.send_header("Connection", "close")
        if self.ranges:
            one.send_header("Content-Length", str(len(sent)))
        one.end_headers()
        cut = self.cuts[path].pop(0) if asked != "bytes=0-0" and self.cuts.get(path) else None
        one.wfile.write(sent[:cut])
        if cut is not None:
            one.wfile.flush()
            self.gate.wait()
        one.close_connection = True

    @staticmethod
    def headers(one: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        """Send what kagglehub looks at: the type of an answer, and a file's MD5."""
        one.send_header("Content-Type", "application/json" if path.endswith("GetDataset") else "application/zip")
        one.send_header("X-Goog-Hash", f"md5={base64.b64encode(hashlib.md5(body).digest()).decode()}")

    def hold(self, held: dict[str, dict[str, bytes]]) -> None:
        """Take sets' files over, at /LAYOUT/NAME."""
        for layout, files in held.items():
            for name, body in files.items():
                self.bodies[f"/{layout}/{name.replace(' ', '%20')}"] = body

    def close(self) -> None:
        self.gate.set()
        self.http.shutdown()
        self.http.server_close()


def use(path: str, block: int) -> None:
    """Take the sets over that another process wrote to a file: layout, and each file's address, size and hash.

    Of what comes each `block` of bytes is written.
    """
    download.BLOCK = block
    given = json.loads(Path(path).read_text())
    public.DATASETS = tuple(
        replace(
            one, files=tuple(Remote(*file) for file in given[one.layout]), unpacked=10**6, corpus=10**6, recordings=1
        )
        for one in public.DATASETS
    )
