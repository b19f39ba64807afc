"""What the verifier hears of an incident: `verifier.frames` frames of log-mel around its highest shot."""

import numpy as np

from gunshot import features
from gunshot.base import params

APART = (30, 150), (60, 250)  # frames before and after an onset that are kept of a stream that is cut


def around(log_mel: np.ndarray, frame: int, *, before: int, n_frames: int) -> np.ndarray:
    """Return `n_frames` frames of a log-mel [shape=(n_mels, frames)] from `before` frames before one on, float32.

    Where the recording has none, before its beginning or after its end, stands the quiet of those that it has there.

    Raises
    ------
    ValueError
        The recording has none of these frames.

    Examples
    --------
    Of a recording of three frames the last, with one before and two after it:

    >>> around(np.array([[-60.0, -40.0, -50.0]]), 2, before=1, n_frames=4).tolist()
    [[-40.0, -50.0, -49.0, -49.0]]
    """
    first = frame - before
    part = log_mel[:, max(0, first) : max(0, first + n_frames)]
    if not part.shape[1]:
        raise ValueError(f"frame={frame} with {before} before it must lie in {log_mel.shape[1]} frames")
    lead = max(0, -first)
    return features.in_quiet(part, lead, n_frames - lead - part.shape[1]).astype(np.float32)


def in_bed(window: np.ndarray, known: np.ndarray, bed: np.ndarray, *, gain_db: float) -> np.ndarray:
    """Return a window [shape=(n_mels, frames)] in a bed that goes on under it and around it, same shape, in dB.

    The powers of the two add, as those of independent sounds do on average; the bed's quiet is `gain_db` above the
    window's, both over all bands. So no edge says what is a recording, and what was laid around it.

    Parameters
    ----------
    known : np.ndarray [shape=(frames,)], bool: where the window is the recording's own. Elsewhere is the bed alone
    bed : np.ndarray [shape=(n_mels, frames)], dB
    """
    own, other = (10 ** (part / 10) for part in (window, bed))
    level = [np.quantile(part, features.QUIET, axis=1).sum() for part in (own[:, known], other)]
    other = other * (level[0] / level[1] * 10 ** (gain_db / 10))
    return (10 * np.log10(own * known + other)).astype(np.float32)


def example(
    log_mel: np.ndarray, frame: int, beds: list[np.ndarray], rng: np.random.Generator, p: params.Verifier
) -> np.ndarray:
    """Return what the verifier may hear around an onset, float32 [shape=(n_mels, verifier.frames)].

    The onset lies up to `jitter` frames from where the verifier will have it. A share `bed_share` of the examples is
    laid in a bed, a part of one of `beds` [shape=(n_mels, frames)]; around the others is quiet of their own.
    """
    before = p.before + int(rng.integers(-p.jitter, p.jitter + 1))
    window = around(log_mel, frame, before=before, n_frames=p.frames)
    bed = beds[rng.integers(len(beds))]
    start = int(rng.integers(bed.shape[1] - p.frames + 1))
    gain_db, laid = rng.uniform(*p.bed_db), rng.random() < p.bed_share
    if not laid:
        return window
    place = np.arange(p.frames) + frame - before
    known = (place >= 0) & (place < log_mel.shape[1])
    return in_bed(window, known, bed[:, start : start + p.frames], gain_db=gain_db)


def cut(log_mel: np.ndarray, frame: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Return a part of a stream around an onset, as long as recordings are, and the onset's frame in it."""
    before, after = (int(rng.integers(*span)) for span in APART)
    first = max(0, frame - before)
    return log_mel[:, first : frame + after], frame - first
