"""A device on this machine: what it hears becomes messages in its outbox, and its link sends them."""

import dataclasses
import itertools
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np

from gunshot.base import audio, params
from gunshot.detect import measures, opinion
from gunshot.detect.listener import Listener
from gunshot.detect.live import Heard
from gunshot.device import battery, clock, ladder, speech
from gunshot.device.answers import Answers
from gunshot.device.change import Watch
from gunshot.device.images import takes
from gunshot.device.incidents import Incidents, model_number
from gunshot.device.installer import Installer
from gunshot.device.ladder import Ladder, Rungs
from gunshot.device.link import Link
from gunshot.device.messages import VERSION, Clock, Heartbeat, Incident, Profile, Rung
from gunshot.device.outbox import Outbox
from gunshot.device.place import Place
from gunshot.device.policy import Policy
from gunshot.device.ring import Ring
from gunshot.device.second import Second
from gunshot.device.slots import Slots
from gunshot.device.stuck import Stuck
from gunshot.device.topics import NO_PROFILE, OPINION, SPEECH, VIDEO, Birth, SiteProfile
from gunshot.models.model import Model

# From the sound at a microphone to a block of samples in Python: a sound card's and its driver's, and a block's length.
# Where the driver says when a block was at the microphone, that may be off by WAY_US. Both are assumed, not measured.
DELAY_US, WAY_US = 200_000, 10_000
CAPABILITIES = ["log_mel", "onsets", "clock", "sound"]  # optional fields of its messages; that it has a ring
MOST_SCORE = 65535
MOST_INCIDENTS = 1000  # that it remembers
PATIENCE_S = 0.5  # between two looks at what still waits, where nothing comes

log = logging.getLogger("gunshot")


class Sections(opinion.Sections, Protocol):
    """The sections of params.yaml that a device reads."""

    firmware: params.Firmware


class Device:
    """What one session of a device hears and says.

    Its `ring` has what it heard last, and `incidents` the first onset of the last ones, and the sample that decided
    their last shot, by number.

    Parameters
    ----------
    ear : at its beginning, of the detector that decides, and perhaps of one that counts near misses
    birth : who it is
    outbox : where its messages go
    p : the section firmware of params.yaml
    error_us : how far the clock of this machine may be off, or None
    at : when the blocks were at the microphone, as their source says
    climbs : the ladder of its thresholds, where it adapts; the ear is then of its rungs
    profile : of its site, by which it decides, or None
    verified : whether the ear's model has its site's verifier. It decides at all rungs: a rung is a threshold alone
    verifier : gives a second opinion of each incident, or None
    watch : over its place, or None; the ear is then a ladder's
    """

    def __init__(
        self, ear: Listener, birth: Birth, outbox: Outbox, p: params.Firmware,
        *, error_us: Callable[[], int | None] = clock.error_us, at: Heard | None = None, climbs: Ladder | None = None,
        profile: Profile | None = None, verified: bool = False, verifier: Model | None = None,
        watch: Watch | None = None,
    ):  # fmt: skip
        self._watch = watch
        self._climbs, self._profile, self._verified = climbs, profile, verified
        self._outbox, self._ear, self._p, self._error_us = outbox, ear, p, error_us
        self._at, self._heard_s = at or Heard(), None  # when the last sample was at the microphone
        self.ring = Ring(ear.p.audio.sr)
        self.incidents: dict[int, tuple[int, int]] = {}
        self._who = {"device": birth.number, "session": birth.session}
        self._sequence = itertools.count()
        second = Second(verifier, self.ring, ear.p) if verifier else None
        model = int(birth.model, 16)
        self._teller = Incidents(ear, **self._who, sequence=self._sequence, model=model, p=p, second=second)
        self._offset = measures.spl_offset(p.full_scale_pa)
        self._begun = self._beaten = time.monotonic()
        self._heard = self._alerts = 0
        self._stuck = Stuck(ear.p.audio.sr)
        self._loudness = self._samples = 0  # of what was heard since the heartbeat before: sum of squares, count
        self._dropped = outbox.dropped

    def hear(self, block: np.ndarray, *, lost: bool) -> None:
        """Take in float samples in [-1, 1). `lost`: others are missing before them, and nobody knows how many."""
        self._ear.count(block)
        pcm = audio.to_int16(np.nan_to_num(block, posinf=0, neginf=0))
        if lost:
            self._tell(self._teller.end())
            self._tell(self._teller.gap(0))  # opinions are left
            self.ring.gap()
        self._heard_s = self._at.unix_s
        self._heard += len(pcm)
        self.ring.push(pcm)
        self._stuck.hear(pcm)
        self._loudness += int(np.square(pcm.astype(np.int64)).sum())
        self._samples += len(pcm)
        before = self._teller.count
        self._tell(self._teller.push(pcm))
        self._adapt(len(pcm), opened=self._teller.count > before)
        if self._watch and self._watch.push(pcm, self._ear.logits, self._last()[0] / 1e6, sr=self._ear.p.audio.sr):
            self.beat()
        if time.monotonic() - self._beaten >= self._p.heartbeat_s:
            self.beat()

    @property
    def is_to_begin_again(self) -> bool:
        """Return whether its place has changed, or is as before, so that another session is to decide otherwise."""
        return bool(self._watch and self._watch.turned and not self._teller.is_open)

    def said(self, site: SiteProfile) -> SiteProfile:
        """Return what it says of a site's profile that it was given: where it has left that one, why."""
        if not (self._climbs and self._climbs.has_left_profile):
            return site
        limit = f"the profile's limit of {self._climbs.rungs.limit:g} an hour"
        now = f"its threshold is {float(self._ear.model.calibrated(self._climbs.logit)):.3f} now"
        now += ", its site verifier decides as before" * self._verified
        return SiteProfile(fault=f"{site.site}: incidents there prove more than {limit}; {now}; calibrate again")

    def judge(self) -> None:
        """Tell the opinions that are due: after the alerts, which wait for no verifier."""
        self._tell(self._teller.opinions())

    def end(self) -> None:
        """Tell that the sound has ended."""
        self._tell(self._teller.end())
        self._tell(self._teller.opinions(ended=True))
        self.ring.end()

    def _adapt(self, samples: int, *, opened: bool) -> None:
        """Go up a rung where the ladder says so, and tell it at once."""
        heard_s, is_open = samples / self._ear.p.audio.sr, self._teller.is_open
        if self._climbs and self._climbs.push(heard_s, opened=opened, is_open=is_open):
            self._tell(self._teller.climb(self._climbs.rung))
            log.info("more incidents than its limit: it goes up to rung %d of %d", self._climbs.rung, self._climbs.top)
            self.beat()

    def _tell(self, messages: list[Incident]) -> None:
        """Put incident messages into the outbox, with the time where the operating system is sure of it.

        And with the profile, as long as anything of it decides. An opinion alone has no time: it tells no new shot.
        """
        left = self._climbs and self._climbs.has_left_profile and not self._verified
        for message in messages:
            self.incidents[message.incident] = message.onset, message.decided
            self.incidents.pop(message.incident - MOST_INCIDENTS, None)
            message = dataclasses.replace(message, profile=None if left else self._profile)
            is_opinion = message.opinion and not message.onsets
            if not is_opinion and (error_us := self._error_us()) is not None:
                age_us = (self._heard - message.decided) * 1_000_000 // self._ear.p.audio.sr
                heard_us, way_us = self._last()
                message = dataclasses.replace(message, clock=Clock(heard_us - age_us, error_us + way_us))
            self._outbox.put(message)
            self._alerts += 1
            if said := message.opinion:
                word = "upheld" if said.upheld else "doubted"
                log.info("incident %d %s: opinion %.3f", message.incident, word, said.score / MOST_SCORE)
            else:
                log.info("incident %d %s: shots=%d", message.incident, message.state.name.lower(), message.shots)

    def _last(self) -> tuple[int, int]:
        """Return when the last sample was at the microphone, microseconds since 1970, and how far that may be off."""
        if self._heard_s is None:
            return time.time_ns() // 1000, DELAY_US
        return round(self._heard_s * 1e6), WAY_US

    def beat(self) -> None:
        """Put a heartbeat into the outbox.

        This device counts no lost samples, only the gaps that they leave.
        """
        self._beaten = now = time.monotonic()
        noise = measures.spl_tenths(self._loudness, max(self._samples, 1), self._offset)
        nearly, log_mel = self._teller.near()
        if self._climbs:
            self._climbs.save()
        self._loudness = self._samples = 0
        self._outbox.put(
            Heartbeat(
                **self._who,
                sequence=next(self._sequence),
                uptime_ms=round(1000 * (now - self._begun)),
                heard=self._heard,
                dropped=0,
                gaps=self._ear.gaps,
                stuck=self._stuck.count,
                backward=0,
                failures=0,
                alerts=self._alerts,
                unsent=self._outbox.dropped - self._dropped,
                noise=noise,
                near=nearly,
                log_mel=log_mel,
                rung=self._rung(),
                battery=battery.read(),
                changed=self._watch and self._watch.changed,
            )
        )

    def _rung(self) -> Rung | None:
        if not (self._climbs and self._climbs.top):
            return None
        score = round(MOST_SCORE * float(self._ear.model.calibrated(self._climbs.logit)))
        return Rung(self._climbs.rung, self._climbs.top, score)


def model_number_of(model: Model) -> str:
    """Return the number of a model, as a birth has it."""
    return f"{model_number(model.path.read_bytes()):016x}"


def capabilities(place: Place, *, verifier: bool) -> list[str]:
    """Return what a device has, as its birth says it."""
    more = {SPEECH: place.speech == Policy.allowed, VIDEO: bool(place.camera), OPINION: verifier}
    return CAPABILITIES + [name for name, has in more.items() if has]


def listen(
    folder: Path, source: Iterable[tuple[np.ndarray, bool]], model: Model, logit: float, p: Sections,
    *, rungs: Rungs | None = None, site: SiteProfile = NO_PROFILE, own: Model | None = None, slots: Slots | None = None,
    verifier: Model | None = None, error_us: Callable[[], int | None] = clock.error_us, heard: Heard | None = None,
    watch: Watch | None = None,
) -> int:  # fmt: skip
    """Be the device of a folder until the sound ends and the hub has all, an interrupt, or it is to begin again.

    That is where another image is to run, or where its place has changed.

    Returns how many messages wait in the folder, for the next session. `logit` opens an incident, or where there are
    `rungs` one of those, by the device's ladder. `site` is what it says of a site's profile, and `own` the model with
    that site's verifier, which decides at all rungs; `verifier` gives second opinions. `slots` are its images, of which
    the model is the one that runs: that another is to run they say. The others are as for `Device`: `heard` is `at`.
    ValueError where the folder is no device's, or another uses it.
    """
    place, number = Place.load(folder), model_number_of(model)
    with closing(Outbox(folder)) as outbox:
        climbs = Ladder(folder, rungs, model=number) if rungs else None
        ear = ladder.Ear(own or model, climbs.rungs.logits if climbs else [logit], p, rung=climbs.rung if climbs else 0)
        has = capabilities(place, verifier=bool(verifier)) + ([takes(slots.hardware)] if slots else [])
        birth = Birth(
            name=place.name, number=place.number, session=outbox.start(after=place.session), model=number,
            version=VERSION, operating_point=float(model.calibrated(climbs.logit if climbs else logit)),
            capabilities=has, **_image(slots),
        )  # fmt: skip
        by = {"climbs": climbs, "profile": site.number and Profile(site.number), "verified": bool(own), "watch": watch}
        device = Device(ear, birth, outbox, p.firmware, error_us=error_us, at=heard, verifier=verifier, **by)
        log.info("sound in which people speak: %s", place.speech)
        _log_threshold(birth, device.said(site), climbs, verified=bool(own))
        gate = None if place.speech == Policy.allowed else speech.gate
        keeps = {"gate": gate, "incidents": device.incidents, "camera": place.camera}
        installer = Installer(folder, place.name, slots, p, error_us=error_us) if slots else None
        says = {"site": device.said(site), "installer": installer}
        with (
            closing(Answers(folder, birth, device.ring, **keeps, error_us=error_us)) as answers,
            closing(Link(folder, place.host, place.port, outbox, birth, answers, **says)) as link,
        ):
            run(source, device, outbox, answers, link, site=site, slots=slots)
        if climbs:
            climbs.save()
        return len(outbox)


def _image(slots: Slots | None) -> dict:
    """Return what a birth says of the image that runs."""
    if not (slots and slots.running):
        return {}
    manifest = slots.manifest(slots.running)
    return {"image": manifest.number, "release": manifest.version}


def _log_threshold(birth: Birth, site: SiteProfile, climbs: Ladder | None, *, verified: bool) -> None:
    if site.fault:
        log.warning("it runs without its site's profile: %s", site.fault)
    by = f"by the profile of the site {site.site}" if site.site else "by no site's profile"
    by += " and its site verifier" * verified
    log.info("threshold %.3f, %s", birth.operating_point, by)
    if climbs and climbs.top:
        log.info("rung %d of %d; it goes up where incidents prove more than its limit", climbs.rung, climbs.top)


def run(
    source: Iterable[tuple[np.ndarray, bool]], device: Device, outbox: Outbox, answers: Answers, link: Link,
    *, site: SiteProfile = NO_PROFILE, slots: Slots | None = None,
) -> None:  # fmt: skip
    """Hear blocks until they end, then wait until the hub has acknowledged all that waits, and has each answer.

    Where another image is to run or the place has changed, or at an interrupt, end at once: what waits goes out after
    the next start.
    """
    if slots and slots.is_on_trial:
        device.beat()  # once the hub has it, this start is none that failed: the next one may be minutes away
    try:
        for block, lost in source:
            device.hear(block, lost=lost)
            link.say(device.said(site))
            link.pump()
            device.judge()
            if (slots and slots.is_stale) or device.is_to_begin_again:
                return device.end()
        device.end()
        log.info("the sound has ended; messages that wait for the hub: %d", len(outbox))
        while (len(outbox) or len(answers)) and not (slots and slots.is_stale):
            link.pump(PATIENCE_S)
    except KeyboardInterrupt:
        if slots:
            slots.close()  # no other image is to run, even where one waits
    return None
