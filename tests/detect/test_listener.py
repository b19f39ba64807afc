"""The listener: any pieces give what the whole gives; what is no sound, or missing, is counted and never crashes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gunshot import features
from gunshot.base import params
from gunshot.detect import detector, listener
from gunshot.detect.detector import ONSET, WHICH
from gunshot.models.model import Model

P = params.load("audio", "chunks", "context", "features", "detector", path=Path(__file__).parents[2] / "params.yaml")
PLACE = (2, 26)  # frames of a chunk: 12 to 75 % of its samples, chunks.jitter
SR = P.audio.sr
REPORT = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}


def jump(x: np.ndarray) -> np.ndarray:
    """Logits that are high where a chunk's loudest frame, 15 dB above its window's mean, lies as in training."""
    level = x.mean(axis=1, dtype=np.float64)
    before, _ = around = {71: (10, 43), 33: (0, 33)}[x.shape[2]]
    place = level[:, slice(*around)].argmax(axis=1)
    held = (place >= PLACE[0]) & (place < PLACE[1])
    return np.where(held, (level[np.arange(len(x)), before + place] - level.mean(axis=1) - 15) / 4, -6)


MODEL = Model(Path("m.keras"), REPORT, jump, window=(32, 71))
CHUNK = Model(Path("m.joblib"), REPORT, jump, window=(32, 33))
both = pytest.mark.parametrize("model", [MODEL, CHUNK], ids=["context", "chunk"])


def ear(points=(0.0,), model=MODEL) -> listener.Listener:
    return listener.Listener(model, points, P)


def shots(starts_s: list[float], duration_s: float, seed: int = 0) -> np.ndarray:
    """Decaying bursts at known times in noise, int16."""
    rng = np.random.default_rng(seed)
    y = 60 * rng.standard_normal(int(duration_s * SR))
    for start_s in starts_s:
        start = round(start_s * SR)
        part = y[start : start + 800]
        part += 20_000 * rng.standard_normal(len(part)) * np.exp(-np.arange(len(part)) / 200)
    return np.clip(y, -32768, 32767).astype(np.int16)


def heard(e: listener.Listener, pieces) -> tuple[list[np.ndarray], np.ndarray]:
    """What pieces of audio give together."""
    rows, logits = zip(*(e.push(piece) for piece in pieces), strict=True)
    return [np.concatenate(part) for part in zip(*rows, strict=True)], np.concatenate(logits)


def frames(n: int) -> int:
    return features.frames(n, n_fft=P.features.n_fft, hop_length=P.features.hop_length)


@both
def test_a_shot_is_told_on_time_and_when_its_window_is_whole(model):
    starts, e = [0.7, 0.95, 2.4], ear(model=model)
    (rows,), logits = e.push(shots(starts, 3.5))
    onset_s, told_s = e.times(rows)
    assert np.abs(onset_s - starts).max() < 0.005 and rows[:, WHICH].tolist() == [1, 1, 2]
    assert (told_s > onset_s).all() and (told_s - onset_s < 0.5).all()
    assert len(logits) == 1 + (e.lead + frames(int(3.5 * SR)) - model.window[1]) // P.detector.hop


@both
def test_logits_and_onsets_are_those_of_the_whole_log_mel(model):
    """With as many frames before the first as `lead` says, each like the first; `finish` adds as many as `tail`."""
    pcm, s, e = shots([0.5, 1.1, 1.95], 2.0), listener.settings(model, P, logit=0.0), ear(model=model)
    parts = [e.push(pcm), e.finish()]
    mel = listener.whole(features.log_mel(pcm, sr=SR, **P.features.model_dump()), s)
    assert mel.shape == (32, s.lead + frames(len(pcm)) + s.tail)
    assert (mel[:, : s.lead] == mel[:, s.lead : s.lead + 1]).all() and (
        mel[:, -s.tail :] == mel[:, [-s.tail - 1]]
    ).all()
    logits = model.window_logits(mel, hop=P.detector.hop)
    assert np.concatenate([part for _, part in parts]).tolist() == logits.tolist()
    codes = model.codes(mel)
    rises = detector.rise(np.concatenate([np.repeat(codes[:, :1], detector.PAST, axis=1), codes], axis=1))
    rows = np.concatenate([part for (part,), _ in parts])
    assert np.array_equal(rows, detector.Detector(s).push(rises, logits)) and len(rows) == 3


@both
def test_a_shot_that_a_recording_begins_with_rises_from_what_counts_as_having_sounded_before(model):
    pcm = shots([0.0], 1.5)[150:]
    still = features.quiet(features.log_mel(pcm, sr=SR, **P.features.model_dump()), 1)
    (none,), _ = heard(ear(model=model), [pcm])
    (rows,), _ = heard(listener.Listener(model, (0.0,), P, before=still), [pcm[:100], pcm[100:]])
    assert len(none) == 0 and rows[:, WHICH].tolist() == [1]


@pytest.mark.parametrize(("model", "samples"), [(MODEL, 4768), (CHUNK, 1408)], ids=["context", "chunk"])
def test_the_first_decision_comes_as_soon_as_the_first_frame_lies_where_shots_are_sought(model, samples):
    """So long a listener is deaf after it began: 0.3 s where it hears half a second, 0.09 s where a chunk."""
    for n, windows in ((samples - 1, 0), (samples, 1), (samples + 8 * 112 - 1, 1), (samples + 8 * 112, 2)):
        assert len(ear(model=model).push(shots([], 1.0)[:n])[1]) == windows


@both
@settings(max_examples=20)
@given(st.integers(0, 799), st.integers(0, 2**32))
def test_a_shot_in_a_recording_s_first_and_last_frames_is_told(model, place, seed):
    """However near to the end it is, as soon as the last frame holds enough of it to rise."""
    rng = np.random.default_rng(seed)
    first, last = 60 + place % 400, SR - 200 - place
    pcm = shots([first / SR + 0.03, last / SR], 1.0, seed % 1000)[: SR - int(rng.integers(0, 112))]
    e = ear(model=model)
    (early,), _ = e.push(pcm)
    before = e.times(early)[0]
    (late,), logits = e.finish()
    onset_s = np.concatenate([before, e.times(late)[0]])
    for start in (first / SR + 0.03, last / SR):
        assert np.abs(onset_s - start).min() < 0.016  # a frame that holds its beginning
    assert np.abs(before - last / SR).min() > 0.1 and len(logits)
    assert (onset_s >= 0).all() and (onset_s < 1).all()


@both
def test_a_file_shorter_than_a_window_has_scores(model):
    for n in (512, 600, 1500, 4096):
        e = ear(model=model)
        logits = heard(e, [shots([], n / SR)])[1], e.finish()[1]
        windows = 1 + (e.lead + frames(n) + listener.settings(model, P, logit=0.0).tail - model.window[1]) // 8
        assert sum(map(len, logits)) == windows > 0
    e = ear(model=model)
    e.push(np.zeros(511, np.int16))
    assert len(e.finish()[1]) == 0


@given(st.integers(1, 12), st.integers(1, 90), st.integers(0, 80), st.integers(0, 80), st.integers(1, 400))
def test_the_first_frame_and_the_last_are_sought_in(hop, n_frames, first, span, count):
    """Wherever the windows' places leave no frame out, which takes as many as the hop."""
    stop = first + max(span, hop)
    assume(hop <= n_frames and stop <= n_frames - detector.LOCAL + 1)
    s = detector.Settings(
        0, 0, 0, windows=1, hop=hop, n_frames=n_frames, first=first, stop=stop, cooldown=1, min_rise=1
    )
    windows = 1 + (s.lead + count + s.tail - n_frames) // hop
    sought = {t for w in range(windows) for t in range(w * hop + first, w * hop + stop)}
    assert s.lead % hop == 0 and set(range(s.lead, s.lead + count)) <= sought
    assert s.lead + hop >= stop, "the first decision would come later than it need"


def test_starts_are_of_the_chunks_on_which_windows_decide():
    """A window of half a second decides on the chunk that begins `context.before` frames after it does."""
    for model, place in ((MODEL, -32 + 10), (CHUNK, -24)):
        assert ear(model=model).starts(3, 2).tolist() == [(place + 8 * i) * 112 / SR for i in (3, 4)]


def test_a_window_that_is_neither_a_context_nor_a_chunk_is_named():
    other = Model(Path("models/m.keras"), REPORT, jump, window=(32, 67))
    with pytest.raises(ValueError, match=r"^models/m\.keras: windows of 67 frames must have 33 or 71, as the sections"):
        ear(model=other)


@settings(max_examples=15)
@given(st.lists(st.integers(0, 2 * SR), max_size=12), st.integers(0, 3))
def test_any_pieces_give_what_the_whole_gives(cuts, seed):
    pcm = shots([0.4, 0.62, 1.6], 2.0, seed)
    points = [-1.0, 0.0, 2.0]
    a, b = ear(points), ear(points)
    whole, joined = heard(a, [pcm]), heard(b, np.split(pcm, np.sort(cuts)))
    for (shots_a, logits_a), (shots_b, logits_b) in ((whole, joined), (a.finish(), b.finish())):
        assert np.array_equal(logits_a, logits_b) and len(logits_a)
        assert all(np.array_equal(one, other) for one, other in zip(shots_a, shots_b, strict=True))
    assert len(whole[0][0])


def test_a_sample_at_a_time_gives_the_same():
    pcm = shots([0.15], 0.55)
    whole, logits = ear().push(pcm)
    rows, parts = heard(ear(), pcm.reshape(-1, 1))
    assert np.array_equal(rows[0], whole[0]) and np.array_equal(parts, logits) and len(whole[0])


@given(st.integers(0, 2**32))
def test_floats_are_the_int16_that_they_are(seed):
    pcm = shots([0.3], 0.6, seed)
    assert np.array_equal(ear().push(pcm / np.float32(32768))[0][0], ear().push(pcm)[0][0])


@given(st.lists(st.integers(0, SR - 1), max_size=20, unique=True), st.integers(0, 2**32))
def test_what_is_no_number_is_silence_and_counted(places, seed):
    y = shots([0.4], 1.0) / np.float32(32768)
    silent, broken = y.copy(), y.copy()
    silent[places] = 0
    broken[places] = np.random.default_rng(seed).choice([np.nan, np.inf, -np.inf], len(places))
    a, b = ear(), ear()
    (rows,), logits = a.push(broken)
    (expected,), silent_logits = b.push(silent)
    assert np.array_equal(rows, expected) and np.array_equal(logits, silent_logits)
    assert (a.dropped, b.dropped) == (len(places), 0)
    a.count(np.full((3, 2), np.nan))
    assert a.dropped == len(places) + 6


def peak_by_hand(pcm: np.ndarray, onset: int) -> int:
    """The loudest of the samples that frames 4 before to 6 after an onset hold and no frame before these does."""
    first = max(0, onset - 4)
    start = first * 112 + (400 if first else 0)
    return max(abs(int(x)) for x in pcm[start : (onset + 6) * 112 + 512])


@settings(max_examples=15)
@given(st.lists(st.integers(0, 2 * SR), max_size=6), st.integers(0, 2**32))
def test_peaks_are_of_the_samples_around_each_onset(cuts, seed):
    pcm, e, seen = shots([0.0, 0.3, 0.62, 1.6], 2.0, seed), ear([-20.0]), []
    pcm[seed % len(pcm)] = -32768
    for piece in [*np.split(pcm, np.sort(cuts)), None]:
        (shot,), _ = e.finish() if piece is None else e.push(piece)
        peaks = e.peaks(shot)
        assert peaks.tolist() == [peak_by_hand(pcm, t - e.lead) for t in shot[:, ONSET].tolist()]
        seen += peaks.tolist()
    assert seen


def test_a_gap_begins_anew_and_is_counted():
    pcm, e = shots([0.4], 1.0), ear()
    (fresh,), logits = e.push(pcm)
    assert e.gaps == 0
    e.push(pcm[:9000])
    e.gap()
    (rows,), again = e.push(pcm)
    assert e.gaps == 1 and np.array_equal(rows, fresh) and np.array_equal(again, logits)


def test_no_window_reaches_across_a_gap():
    e = ear()
    _, logits = heard(e, [shots([], 0.2)])
    e.gap()
    _, after = heard(e, [shots([], 0.2)])
    assert len(logits) == len(after) == 0 and len(ear().push(shots([], 0.4))[1]) > 0
    e.gap()
    assert all(len(part) == 0 for part in (*e.finish()[0], e.finish()[1]))


def held(e: listener.Listener) -> int:
    arrays = [v for v in vars(e).values() if isinstance(v, np.ndarray)]
    arrays += [v for d in e._detectors for v in vars(d).values() if isinstance(v, np.ndarray)]
    return sum((v if v.base is None else v.base).nbytes for v in arrays)


@pytest.mark.slow
def test_an_hour_of_silence_has_no_shot_and_memory_stays_bounded():
    one_pass = lambda x: np.full((x.shape[1] - 71) // 8 + 1, -4.0)  # noqa: E731
    cheap = Model(Path("m.keras"), REPORT, jump, (32, 71), one_pass, 8)
    e, piece, count, most = ear(model=cheap), np.zeros(30 * SR, np.int16), 0, []
    for _ in range(120):
        (rows,), logits = e.push(piece)
        count += len(logits)
        most.append(held(e))
        assert not len(rows)
    assert count == 1 + (e.lead + frames(3600 * SR) - 71) // P.detector.hop
    assert max(most[60:]) <= max(most[:60])


SIGNALS = {
    "silence": np.zeros(2 * SR),
    "dc": np.full(2 * SR, 0.9),
    "full scale": np.tile(np.r_[np.ones(8), -np.ones(8)], SR // 8),
    "clicks": np.where(np.arange(2 * SR) % 1600 == 0, 1.0, 0.0),
    "one click": np.where(np.arange(2 * SR) == SR, 1.0, 0.0),
    "far over full scale": 1e30 * np.sin(np.arange(2 * SR)),
    "denormal": np.full(2 * SR, 1e-40),
}


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.filterwarnings("error")
def test_odd_signals_are_heard(name):
    y = SIGNALS[name].astype(np.float32)
    e = ear([-20.0, 0.0, 20.0])
    (always, some, never), logits = e.push(y)
    onset_s = e.times(always)[0]
    assert len(logits) == 31 and len(always) and not len(never)
    assert (onset_s >= 0).all() and (onset_s < 2).all() and e.dropped == 0
    assert (len(some) > 0) == ("click" in name)
    if name == "one click":
        # Out of digital silence the first frame that touches the click, half a frame early at most, rises the most.
        assert abs(e.times(some)[0] - 1.0).max() <= 0.016


def test_an_empty_piece_and_too_little_give_nothing():
    e = ear()
    for n in (0, 0, 100, 411, 1, 4255):
        (rows,), logits = e.push(np.zeros(n, np.int16))
        assert rows.shape == (0, 6) and len(logits) == 0


def test_each_detector_has_its_own_threshold():
    pcm = shots([0.4, 1.6], 2.2)
    together, _ = ear([-30.0, 0.0, 4.0]).push(pcm)
    for logit, rows in zip([-30.0, 0.0, 4.0], together, strict=True):
        assert np.array_equal(ear([logit]).push(pcm)[0][0], rows)
    assert len({len(rows) for rows in together}) > 1 and (np.diff(together[1][:, ONSET]) > 0).all()


def test_a_hop_that_leaves_frames_unheard_is_named():
    p = SimpleNamespace(**vars(P) | {"detector": P.detector.model_copy(update={"hop": 36})})
    with pytest.raises(ValueError, match=r"hop=36 must be at most n_frames=33"):
        listener.Listener(CHUNK, [0.0], p)
