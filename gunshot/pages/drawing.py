"""What a screen shows of a recording of any length: the envelope of its waveform, and a spectrogram, in columns."""

import numpy as np
from scipy.signal.windows import hann

from gunshot.base import audio

BLOCK = 256  # samples, whose least and greatest are kept
N_FFT = 256  # 16 ms at 16 kHz: shots 50 ms apart are apart in the picture
FLOOR_DB = -120.0
_WINDOW = hann(N_FFT, sym=False).astype(np.float32)


class Drawing:
    """Drawings of int16 samples [shape=(n,)], which may be memory-mapped: no view takes longer for a longer one."""

    def __init__(self, pcm: np.ndarray):
        self.pcm = pcm
        whole = len(pcm) // BLOCK * BLOCK
        blocks, rest = pcm[:whole].reshape(-1, BLOCK), pcm[whole:]
        low, high = blocks.min(axis=1, initial=audio.FULL_SCALE - 1), blocks.max(axis=1, initial=-audio.FULL_SCALE)
        if len(rest):
            low, high = np.append(low, rest.min()), np.append(high, rest.max())
        self._low, self._high = low, high
        self._peak = np.maximum(np.abs(low.astype(np.int32)), np.abs(high.astype(np.int32)))

    def envelope(self, start: int, stop: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where columns begin, in samples, and the least and greatest sample of each, -1 to 1 [shape=(m,)].

        m is about `columns`; where there are fewer samples than that, a column is a sample.
        """
        start, stop = max(start, 0), min(stop, len(self.pcm))
        size = (stop - start) // columns
        if size < 2 * BLOCK:
            unit, first, low = 1, start, np.asarray(self.pcm[start:stop])
            high = low
        else:
            unit, first = BLOCK, start // BLOCK
            low, high = self._low[first : -(-stop // BLOCK)], self._high[first : -(-stop // BLOCK)]
        edges = np.arange(0, len(low), max(1, size // unit))
        if not len(edges):
            return np.empty(0), np.empty(0), np.empty(0)
        least, greatest = np.minimum.reduceat(low, edges), np.maximum.reduceat(high, edges)
        return (first + edges) * unit, audio.to_float(least), audio.to_float(greatest)

    def spectrogram(self, start: int, stop: int, columns: int) -> np.ndarray:
        """Return the level of a view, dB re full scale, from 0 Hz up [shape=(N_FFT // 2 + 1, columns)].

        A column is the frame in its middle; where it holds many, the one around its loudest block, so that no shot
        is lost in a view of hours.
        """
        edges = np.linspace(start, stop, columns + 1)
        middle = ((edges[:-1] + edges[1:]) / 2).astype(np.int64)
        if stop - start > 2 * BLOCK * columns:
            first = np.clip(edges // BLOCK, 0, len(self._peak)).astype(np.int64)
            for i in np.flatnonzero(np.diff(first)):
                loudest = first[i] + np.argmax(self._peak[first[i] : first[i + 1]])
                middle[i] = loudest * BLOCK + BLOCK // 2
        at = middle[:, None] - N_FFT // 2 + np.arange(N_FFT)
        inside = (at >= 0) & (at < len(self.pcm))
        frames = audio.to_float(np.where(inside, self.pcm[np.clip(at, 0, len(self.pcm) - 1)], 0))
        power = np.abs(np.fft.rfft(frames * _WINDOW, axis=1)) ** 2 / (_WINDOW.sum() / 2) ** 2
        return (10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))).T.astype(np.float32)
