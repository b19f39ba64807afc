"""The second opinion from the first command to the last: trained on a handful of files, heard, and measured."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml

from gunshot import features
from gunshot.base import audio, params, pipeline, tables
from gunshot.detect import opinion
from gunshot.models.network import quantize
from tests import networks
from tests.cli.test_commands import REPO, main, run
from tests.cli.test_operating_point import bangs

SR = 16000
POINT = 0.0  # logit that a network with drawn weights reaches at a bang, and not between
SHORT = {"verifier": {"epochs": 1, "chunks": 8, "variants": 0, "below": 0.3}, "quantize": {"representative": 2},
         "network": {"batch_size": 8}}  # fmt: skip
SECTIONS = ("audio", "chunks", "context", "features", "detector", "network", "verifier", "quantize", "evaluate")


def write(side: str, rng: np.random.Generator, chunks: list) -> None:
    """Write a side's two recordings, and its streams, one with false bangs and one with a shot."""
    for kind, starts in {"gun": (16000, 48000), "env": (20000,)}.items():
        name = f"simulated/{side}{kind}.wav"
        audio.write_pcm(pipeline.raw() / name, audio.to_int16(bangs(rng, *starts)), sr=SR)
        known = {"recording": name, "class": kind, "label": kind, "recording_group": f"{side}{kind}"}
        row = dict.fromkeys(tables.CHUNK, "x") | {"index": 0, "source": "simulated", "start": 0} | known
        chunks += [row | {"onset": at} for at in (starts if kind == "gun" else (-1,))]
    folder, streams, shots = pipeline.output(f"streams_{side}"), [], []
    for kind in ("quiet", "shots"):
        path = f"simulated/{kind}/0.wav"
        audio.write_pcm(folder / path, audio.to_int16(bangs(rng, 16000, 48000)), sr=SR)
        row = {
            name: 0 if form in (int, float) else False if form is bool else "" for name, form in tables.STREAM.items()
        }
        streams.append(row | {"path": path, "origin": "simulated", "kind": kind, "unique_s": 4.0, "duration_s": 4.0})
    for at in (16000, 48000):
        row = {
            name: 0 if form in (int, float) else True if form is bool else ""
            for name, form in tables.STREAM_SHOT.items()
        }
        shots.append(row | {"path": path, "onset": at, "blast": at, "peak_snr_db": 30.0, "distance_m": 20.0})
    tables.write(folder / "streams.csv", tables.frame(streams, tables.STREAM))
    tables.write(folder / "shots.csv", tables.frame(shots, tables.STREAM_SHOT))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What `make` leaves, of a handful of files: recordings, chunks, streams, and a detector with drawn weights."""
    folder, before = tmp_path_factory.mktemp("whole"), Path.cwd()
    os.chdir(folder)
    document = yaml.safe_load((REPO / "params.yaml").read_text())
    for name, values in SHORT.items():
        document[name] |= values
    Path("params.yaml").write_text(yaml.safe_dump(document))
    shutil.copy(REPO / "dvc.yaml", "dvc.yaml")
    rng, chunks = np.random.default_rng(1), []
    for side in tables.SIDES:
        write(side, rng, chunks)
    tables.write(pipeline.output("chunk") / "chunks.csv", tables.frame(chunks, tables.CHUNK))
    tables.write(pipeline.output("augment") / "chunks.csv", tables.frame([], tables.CHUNK))
    groups = [{"recording_group": f"{side}{kind}", "side": side, "class": kind, "source": "simulated"}
              for side in tables.SIDES for kind in ("gun", "env")]  # fmt: skip
    tables.write(pipeline.output("split"), tables.frame(groups, tables.SPLIT))
    p, models = params.load(*SECTIONS), pipeline.models()
    net = networks.unsettled(p.network)
    for path in models.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    net.save(models["float"])
    log_mel = features.log_mel(audio.to_int16(bangs(rng, 16000, 48000)), sr=SR, **p.features.model_dump())
    n = p.context.frames
    heard = np.stack([log_mel[:, i : i + n] for i in range(0, log_mel.shape[1] - n, 60)])
    models["int8"].write_bytes(quantize.convert(quantize.fixed(net, n_frames=n), heard))
    tables.write_json(models["int8"].with_name("operating.json"), {"logit": POINT})
    stated = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}
    tables.write_json(models["int8"].with_name("report.json"), stated)
    done = run("train-verifier")
    yield done
    os.chdir(before)


@pytest.mark.slow
def test_it_is_trained_whole_and_detect_prints_its_opinion(whole, monkeypatch, capsys):
    assert whole.exit_code == 0, whole.output
    out, p = pipeline.verifier(), params.load(*SECTIONS)
    assert f"see {out}" in whole.output
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "history.csv", "operating.json", "report.json", "verifier.tflite"
    ]  # fmt: skip
    assert not list(out.parent.glob(".*")), "a temporary folder was left"
    loaded = opinion.load(out, pipeline.models()["int8"], p)
    assert loaded.report["detector_sha256"] == opinion.sha256(pipeline.models()["int8"])
    sf.write("new.wav", bangs(np.random.default_rng(7), 20000), SR)
    done = run("detect", "new.wav", "--verify", "--format", "json")
    assert done.exit_code == 0, done.output
    rows = list(map(json.loads, done.stdout.splitlines()))
    assert rows and all(0 <= row["opinion"] <= 1 and isinstance(row["upheld"], bool) for row in rows)
    message = main(monkeypatch, capsys, "detect", "new.wav", "--verify", "--model", "float")
    assert "--model float must be int8" in message


@pytest.mark.exhaustive
def test_it_is_measured_on_recordings_that_were_not_imported(whole, monkeypatch, capsys):
    rng = np.random.default_rng(8)
    for name in ("in/gun/a.wav", "in/env/b.wav"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(name, bangs(rng, 20000, 50000), SR)
    done = run("cascade", "in")
    assert done.exit_code == 0, done.output
    content, models = tables.read_json(Path("reports/cascade.json")), (pipeline.models()["int8"], pipeline.verifier())
    assert [content[f"{name}_sha256"] for name in ("detector", "verifier")] == [opinion.sha256(path) for path in models]
    row = content["operating_point"]
    assert (row["recordings"]["found"], row["recordings"]["hard"]["detector"]) == (1, 1)
    assert (row["simulated"]["detector"]["hits"], row["simulated"]["detector"]["false_incidents"]) == (2, 1)

    known = pipeline.raw() / "mine/recordings.csv"
    kept = {name: 0 if form in (int, float) else "x" for name, form in tables.RECORDING.items()}
    kept |= {"path": "mine/b.wav", "sha256": audio.sha256(audio.read_pcm(Path("in/env/b.wav"), sr=SR))}
    tables.write(known, tables.frame([kept], tables.RECORDING))
    message = main(monkeypatch, capsys, "cascade", "in")
    assert "in/env/b.wav: it was imported as mine/b.wav, for training: leave it out" in message
    tables.write_json(models[0].with_name("report.json"), {})  # nothing is heard before the verifier was looked at
    models[0].write_bytes(models[0].read_bytes() + b" ")
    message = main(monkeypatch, capsys, "cascade", "in")
    assert "made behind another detector than" in message and "run `gunshot train-verifier`" in message
