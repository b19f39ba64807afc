"""Window logits to incidents and onsets, in integers alone, so that firmware decides the same, integer for integer.

A window's logit for GUN is counted in steps of a size that the model sets; a frame's codes are its log-mel in int8.
"""

from dataclasses import dataclass

import numpy as np

from gunshot.base.compiled import compiled

PAST = 4  # frames, 28 ms: what a shot rises from
MIN_RISE_DB = 4.0  # mean over the bands, of a shot
# A shot rises by at least a third (SHARE) of the incident's steepest rise so far, which counts as MOST_RISES times the
# least rise at most: the first shot rises from silence, the others do not.
SHARE, MOST_RISES = 3, 6
LOCAL = 7  # frames, 49 ms: shots that rise so are no closer; 1,200 rounds a minute
GROUPS = 4  # of bands, whose rises are kept apart
SPAN = 72  # frames, half a second: in which shots at a steady rate are sought
FASTEST, SLOWEST = 6, 20  # frames between them: 1,430 to 430 rounds a minute
NEAR = 2  # frames either way of where the rate has a shot, among which it rises most
RING = 512  # frames whose rise is kept
MOST_ONSETS = 32  # of an incident that wait to be told, at most
FRAMES, WINDOWS, OPEN, QUIET, NEXT, STEEPEST, LAST, INCIDENT = range(8)  # of the state
ONSET, DECIDED, LOGIT_SUM, WHICH, LEAN, RISE = range(6)  # columns of shots
SIXTEENTHS = 16  # of a hop and of the least rise: LEAN and RISE count them
MOST_RISE = 15  # least rises, 60 dB, that RISE counts at most


@dataclass(frozen=True)
class Settings:
    """When an incident opens and ends. `on`, `off` and `even` are sums of the logits of `windows` windows, in steps."""

    on: int
    off: int
    even: int  # from here on shots at a steady rate go on
    windows: int
    hop: int  # frames
    n_frames: int
    first: int  # frames of a window where a shot can be: from here
    stop: int  # to before here; no later than LOCAL - 1 before the window's end
    cooldown: int  # windows below `off` within an incident, at most
    min_rise: int  # in the unit of `rise`

    @property
    def lead(self) -> int:
        """Return how many frames a stream has before its first, each like the first.

        So many that the first frame lies where the first window seeks shots, a multiple of the hop.
        """
        return (self.stop - 1) // self.hop * self.hop

    @property
    def tail(self) -> int:
        """Return how many frames a recording goes on after its last, each like it: until that one was sought in."""
        return self.n_frames - 1 - self.first

    def __post_init__(self):
        for name in ("windows", "hop", "n_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.off > self.on:
            raise ValueError(f"off={self.off} must be at most on={self.on}")
        if self.even > self.off:
            raise ValueError(f"even={self.even} must be at most off={self.off}")
        if self.hop > self.n_frames:
            raise ValueError(f"hop={self.hop} must be at most n_frames={self.n_frames}: each frame is in a window")
        if not 0 <= self.first < self.stop <= self.n_frames - LOCAL + 1:
            raise ValueError(
                f"first={self.first}, stop={self.stop} must be 0 <= first < stop <= n_frames - {LOCAL - 1} = "
                f"{self.n_frames - LOCAL + 1}"
            )
        if self.n_frames + self.windows * self.hop + 2 * LOCAL > RING:
            raise ValueError(
                f"windows={self.windows} x hop={self.hop} and n_frames={self.n_frames} must fit {RING} frames"
            )


def min_rise(n_mels: int, scale_db: float) -> int:
    """Return MIN_RISE_DB over all bands in the unit of `rise`, of codes of `scale_db` each."""
    return int(np.ceil(MIN_RISE_DB * n_mels * PAST / scale_db))


@compiled()
def _rise(codes):
    n_mels, n = codes.shape
    out = np.zeros((n - PAST, GROUPS), np.int32)
    for band in range(n_mels):
        row, group = codes[band], band * GROUPS // n_mels
        for t in range(n - PAST):
            above = PAST * row[t + PAST]
            for i in range(PAST):
                above -= row[t + i]
            if above > 0:
                out[t, group] += above
    return out


def rise(codes: np.ndarray) -> np.ndarray:
    """Return how far each frame rises above the PAST frames before it, int32 [shape=(frames - PAST, GROUPS)].

    For each group of neighbouring bands it is a sum over the bands: PAST times the frame's code, minus the codes of the
    PAST frames before, where that is positive.

    Parameters
    ----------
    codes : np.ndarray [shape=(n_mels, frames)], int8
        The first PAST frames are only risen from.
    """
    return _rise(np.ascontiguousarray(codes).astype(np.int32))


@compiled()
def _peak(ring, t):
    """Whether frame `t` is the first of the highest among the LOCAL - 1 frames on either side."""
    for i in range(1, LOCAL):
        if ring[(t - i) % RING] >= ring[t % RING] or ring[(t + i) % RING] > ring[t % RING]:
            return False
    return True


@compiled()
def _seek(ring, state, first, stop, least_rise, opens):
    """Return the frames of the shots that a window decides, among frames from `first` to before `stop`."""
    frames, count = np.empty(RING, np.int64), 0
    start = max(state[NEXT], first)
    for t in range(start, stop):
        state[STEEPEST] = max(state[STEEPEST], ring[t % RING])
    least = max(least_rise, min(state[STEEPEST], MOST_RISES * least_rise) // SHARE)
    for t in range(start, stop):
        if ring[t % RING] >= least and t - state[LAST] >= LOCAL and _peak(ring, t):
            frames[count], state[LAST] = t, t
            count += 1
    state[NEXT] = max(start, stop)
    if opens and not count:  # each incident has an onset, which is reported at once
        best = start
        for t in range(start, stop):
            if ring[t % RING] > ring[best % RING]:
                best = t
        frames[0], state[LAST], count = best, best, 1
    return frames[:count]


@compiled(fastmath=True)
def _recurs(z, k):
    """Return the autocorrelation of `z` [shape=(n, SPAN)], whole numbers, at a lag of `k` frames: exact as doubles."""
    total = 0.0
    for row in z:
        for i in range(k, SPAN):
            total += row[i] * row[i - k]
    return total


@compiled()
def _cadence(z):
    """Return the frames from shot to shot of steady fire in `z`; 0 where there is none.

    It is the lag of the highest autocorrelation, if that is a quarter of the energy at least, and the autocorrelation
    at twice the lag a sixth: two shots are no rate.
    """
    lag, most, before, here = 0, 0.0, _recurs(z, FASTEST - 1), _recurs(z, FASTEST)
    for k in range(FASTEST, SLOWEST + 1):
        after = _recurs(z, k + 1)
        if here > most and here >= before and here >= after:
            lag, most = k, here
        before, here = here, after
    energy = _recurs(z, 0)
    if not lag or 4 * most < energy:
        return 0
    again = max(_recurs(z, 2 * lag - 1), _recurs(z, 2 * lag), _recurs(z, 2 * lag + 1))
    return lag if 6 * again >= energy else 0


@compiled()
def _steady(ring, parts, state, stop, least_rise):
    """Return the frames, before `stop`, of shots that follow the last one at a steady rate.

    The rate is sought in the last SPAN frames.

    Automatic fire drowns its own shots: they barely rise, but do so at the weapon's cyclic rate and in the same bands.
    So every rise counts as half the least rise at most. A shot stands out by half a standard deviation, and by two
    thirds of what the last one did.
    """
    frames, count, begin, most = np.empty(SPAN, np.int64), 0, state[FRAMES] - SPAN, least_rise // 2
    if state[LAST] + SLOWEST < begin + NEAR or state[LAST] + FASTEST + NEAR >= stop:
        return frames[:0]  # wherever the next would be, it is out of sight
    above, z = np.empty((1, SPAN)), np.empty((GROUPS, SPAN))
    for i in range(SPAN):
        above[0, i] = min(ring[(begin + i) % RING], most)
        for group in range(GROUPS):
            z[group, i] = min(parts[(begin + i) % RING, group], most // GROUPS)
    for group in range(GROUPS):
        z[group] -= z[group].sum() // SPAN
    above -= above.sum() // SPAN
    lag, energy = _cadence(z), _recurs(above, 0)
    last = above[0, state[LAST] - begin] if state[LAST] >= begin else 0.0
    while lag and begin + NEAR <= state[LAST] + lag and state[LAST] + lag + NEAR < stop:
        best = state[LAST] + lag - NEAR
        for t in range(best, best + 2 * NEAR + 1):
            if ring[t % RING] > ring[best % RING]:
                best = t
        height = above[0, best - begin]
        if height <= 0 or 4 * SPAN * height * height < energy or 3 * height < 2 * last:
            break
        frames[count], state[LAST], last = best, best, height
        count += 1
    state[NEXT] = max(state[NEXT], state[LAST] + 1)  # no shot is reported twice
    return frames[:count]


@compiled()
def _describe(ring, shots, least_rise):
    """Write LEAN and RISE of shots whose frames are known; `gunshot.detect.onset` has what they are for."""
    for shot in shots:
        t = shot[ONSET]
        before, rise, after = ring[(t - 1) % RING], ring[t % RING], ring[(t + 1) % RING]
        bend = 2 * (2 * rise - before - after)  # of the parabola through the three; its vertex is sought
        lean = (SIXTEENTHS * (after - before) + SIXTEENTHS // 2 * bend) // bend if bend > 0 else SIXTEENTHS // 2
        shot[LEAN] = max(0, min(SIXTEENTHS, lean))
        shot[RISE] = min(MOST_RISE * SIXTEENTHS, SIXTEENTHS * rise // least_rise)


@compiled()
def _run(rises, logits, settings, state, ring, parts, recent):
    """Return the shots that whole windows decide, the windows that close incidents, and the rows used of `rises`."""
    on, off, even, windows, hop, n_frames, first, stop, cooldown, least_rise = settings
    # Of the frames of earlier calls too: the first window of an incident looks back at all that it holds.
    out, total, used = np.empty(((RING + len(rises)) // (FASTEST - NEAR) + len(logits) + 1, 6), np.int64), 0, 0
    closed, closings = np.empty(len(logits), np.int64), 0
    for logit in logits:
        w = state[WINDOWS]
        end = w * hop + n_frames
        while state[FRAMES] < end:
            ring[state[FRAMES] % RING] = rises[used].sum()
            parts[state[FRAMES] % RING] = rises[used]
            state[FRAMES] += 1
            used += 1
        if w == 0:
            recent[:] = logit
        recent[w % windows] = logit
        summed = recent.sum()
        opens = not state[OPEN] and summed >= on
        if opens:
            state[OPEN], state[STEEPEST], state[INCIDENT] = 1, 0, state[INCIDENT] + 1
        before = total
        if state[OPEN] and summed >= off:
            since = max(0, w - windows + 1) * hop  # frames that none of these windows holds are not searched
            for t in _seek(ring, state, since + first, w * hop + stop, least_rise, opens):
                out[total, ONSET], total = t, total + 1
        if state[OPEN] and summed >= even:
            for t in _steady(ring, parts, state, w * hop + stop, least_rise):
                out[total, ONSET], total = t, total + 1
        out[before:total, DECIDED], out[before:total, LOGIT_SUM] = w, summed
        out[before:total, WHICH] = state[INCIDENT]
        _describe(ring, out[before:total], least_rise)
        if state[OPEN]:
            state[QUIET] = 0 if summed >= off or total > before else state[QUIET] + 1
            state[OPEN] = state[QUIET] <= cooldown
            if not state[OPEN]:
                closed[closings], closings = w, closings + 1
        state[WINDOWS] += 1
    return out[:total], closed[:closings], used


class Detector:
    """The decision on a stream, fed piece by piece; what it keeps is bounded however long the stream.

    `closed` are the windows of the last push at whose ends incidents closed, int64 [shape=(incidents,)].

    Examples
    --------
    Of three windows the second reaches `on`, and frame 4 is the only one that rises:

    >>> sought = {"n_frames": 11, "first": 0, "stop": 5, "min_rise": 9}
    >>> settings = Settings(on=10, off=5, even=5, windows=1, hop=1, cooldown=2, **sought)
    >>> rises = np.zeros((13, GROUPS), np.int32)
    >>> rises[4] = 20
    >>> (shot,) = Detector(settings).push(rises, np.array([0, 12, 3], np.int16)).tolist()
    >>> shot[ONSET], shot[DECIDED], shot[LOGIT_SUM], shot[WHICH]
    (4, 1, 12, 1)
    >>> shot[LEAN] / SIXTEENTHS, shot[RISE] / SIXTEENTHS
    (0.5, 8.875)
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self._numbers = tuple(getattr(settings, name) for name in settings.__dataclass_fields__)
        self._state = np.zeros(8, np.int64)
        self._state[LAST], self._state[NEXT] = -LOCAL, settings.lead  # no shot is sought in the lead
        self._ring, self._recent = np.zeros(RING, np.int64), np.zeros(settings.windows, np.int64)
        self._parts, self._waiting = np.zeros((RING, GROUPS), np.int32), np.zeros((0, GROUPS), np.int32)
        self.closed = np.zeros(0, np.int64)  # windows of the last push at whose ends incidents closed

    def push(self, rises: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Return the shots that further frames and windows decide, int64 [shape=(shots, 6)].

        The columns: ONSET, the frame of the steepest rise; DECIDED, the window at whose end it was decided; LOGIT_SUM,
        the sum of the windows' logits there; WHICH, the incident's number from 1 on. Where in its frame the onset lies,
        `gunshot.detect.onset` has from LEAN, 0 where the frame before rises as far, SIXTEENTHS where the one after
        does, and from RISE, how far it rises, in sixteenths of the least rise.

        Parameters
        ----------
        rises : np.ndarray [shape=(frames, GROUPS)], int32, of the frames since the last call, see `rise`
        logits : np.ndarray [shape=(windows,)], of the windows since the last call, each of whole frames

        Raises
        ------
        ValueError
            A window needs frames that were not given.
        """
        s, state = self.settings, self._state
        waiting = np.concatenate([self._waiting, np.asarray(rises, np.int32)])
        needed = (state[WINDOWS] + len(logits) - 1) * s.hop + s.n_frames if len(logits) else 0
        if needed > state[FRAMES] + len(waiting):
            raise ValueError(f"windows={len(logits)} need {needed} frames, {state[FRAMES] + len(waiting)} were given")
        kept = state, self._ring, self._parts, self._recent
        shots, closed, used = _run(waiting, np.asarray(logits, np.int64), self._numbers, *kept)
        self._waiting, self.closed = waiting[used:], closed.copy()
        return shots


def end_s(frame: np.ndarray, *, sr: int, n_fft: int, hop_length: int) -> np.ndarray:
    """Return the ends of frames in s: when what they decide is known, but for the time of computing."""
    return (frame * hop_length + n_fft) / sr
