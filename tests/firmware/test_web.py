"""The port for web pages in Wasmtime: the bytes of the host, and what a page may ask of it."""

import sys
from pathlib import Path

import numpy as np
import pytest
import wasmtime

from gunshot.base import audio, params
from gunshot.detect import listener
from gunshot.device import emulator, messages, parity, web
from gunshot.models.model import load_model

pytestmark = pytest.mark.firmware

REPO = Path(__file__).parents[2]
P = params.load("audio", "chunks", "context", "features", "detector", path=REPO / "params.yaml")
N_MELS = P.features.n_mels


@pytest.fixture(scope="module")
def module() -> Path:
    return emulator.build("web", firmware=REPO / "firmware") / parity.MODULE


@pytest.fixture(scope="module")
def host() -> Path:
    return emulator.build("host", firmware=REPO / "firmware")


def by_host(program: Path, pcm: np.ndarray, folder: Path, session: int) -> bytes:
    audio.write_pcm(folder / "x.wav", pcm, sr=P.audio.sr)
    run = emulator.run(program / "gunshot", "host", ["x.wav", "messages", str(session)], folder=folder)
    assert (run.code, run.lines) == (0, [])
    return (folder / "messages").read_bytes()


def test_the_messages_are_the_host_s_to_the_byte_heartbeats_among_them(module, host, tmp_path):
    pcm, session = parity.recording(sr=P.audio.sr), 2**32 - 1
    sent = web.run(module, pcm, n_mels=N_MELS, session=session)
    assert sent.messages == by_host(host, pcm, tmp_path, session) and len(sent.messages) > 5000


@pytest.mark.long
def test_heartbeats_come_at_the_samples_of_the_host(module, host, tmp_path):
    """The second one after ten minutes."""
    pcm = np.random.default_rng(0).integers(-9, 9, 601 * P.audio.sr).astype(np.int16)
    sent = web.run(module, pcm, n_mels=N_MELS).messages
    assert sent == by_host(host, pcm, tmp_path, 0) and len(messages.decode_all(sent)) == 3


def test_codes_and_logits_are_the_host_s_to_the_byte(module, host):
    pcm = parity.recording(sr=P.audio.sr)
    traces = [parity.trace(folder, port, pcm, P) for folder, port in ((host, "host"), (module.parent, "web"))]
    (codes, logits), other = ((trace.codes.tobytes(), trace.logits.tobytes()) for trace in traces)
    assert (codes, logits) == other and len(codes) > 100_000 and len(set(logits)) > 20


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 511, 512, 4095, 4096, 4097])
def test_pieces_of_any_size_are_heard_whole(module, host, tmp_path, n):
    pcm = np.random.default_rng(n).integers(-9000, 9000, n).astype(np.int16)
    sent = web.run(module, pcm, n_mels=N_MELS)
    assert sent.messages == by_host(host, pcm, tmp_path, 0)
    assert messages.decode_all(sent.messages)[-1].heard == n


def test_the_score_is_that_of_the_message(module):
    sent = web.run(module, parity.recording(sr=P.audio.sr), n_mels=N_MELS)
    scores = [one.score for one in messages.decode_all(sent.messages) if isinstance(one, messages.Incident)]
    assert scores and set(scores) <= set(sent.scores) and len(sent.scores) == len(sent.logits) / 2


def test_settings_decide_as_detect_does_at_that_threshold(module):
    model, pcm = load_model(REPO / "models/quantized/model.tflite"), parity.recording(sr=P.audio.sr)
    onsets = {}
    for shift in (-20.0, 0.0, 20.0):
        logit = model.threshold() + shift * model.step
        ear = listener.Listener(model, [logit], P)
        (shots,), _ = ear.push(pcm)
        chosen = listener.settings(model, P, logit=logit)
        sent = web.run(module, pcm, n_mels=N_MELS, settings=(chosen.on, chosen.off, chosen.even))
        decoded, opens = messages.decode_all(sent.messages), model.score_of(chosen.on, windows=chosen.windows)
        onsets[shift] = sorted({at for one in decoded if isinstance(one, messages.Incident) for at in one.onsets})
        assert onsets[shift] == ear.samples(shots).tolist()
        assert decoded[-1].detector.operating_point == pytest.approx(65535 * opens, abs=1)
    assert len(set(map(len, onsets.values()))) > 1, onsets  # or nothing was set


def test_the_module_is_small_has_no_heap_and_asks_the_page_for_three_functions_alone(module):
    loaded = wasmtime.Module.from_file(wasmtime.Engine(), str(module))
    assert sorted(f"{each.module}.{each.name}" for each in loaded.imports) == [
        "page.frame",
        "page.message",
        "page.window",
    ]
    assert {each.name for each in loaded.exports} == {"memory", "begin", "settings", "input", "hear", "end"}
    assert module.stat().st_size <= 64 * 1024
    linked = module.with_suffix(".map").read_text()
    assert "page_hear" in linked and "malloc" not in linked and "sbrk" not in linked


def test_what_cannot_be_run_is_named(module, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"none\.wasm: no such module; make it with `make firmware`"):
        web.run(tmp_path / "none.wasm", np.zeros(9, np.int16), n_mels=N_MELS)
    damaged = tmp_path / "damaged.wasm"
    damaged.write_bytes(module.read_bytes()[:-100])
    with pytest.raises(emulator.FirmwareError, match=r"damaged\.wasm: "):
        web.run(damaged, np.zeros(9, np.int16), n_mels=N_MELS)
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    with pytest.raises(emulator.FirmwareError, match=r"pip install gunshot\[web\]"):
        web.run(module, np.zeros(9, np.int16), n_mels=N_MELS)
