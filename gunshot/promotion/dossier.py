"""The dossier: one page that a reviewer decides from, and the gates beside it as JSON."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gunshot import features
from gunshot.alarms import summary
from gunshot.alarms.clear import CLEAR_DB, CLEAR_M
from gunshot.base import audio, params, tables
from gunshot.promotion.comparison import CANDIDATE, CHAMPION
from gunshot.promotion.gates import Gate
from gunshot.promotion.review import FILE, FINAL, GATES, PAGE
from gunshot.report import first_screen, media
from gunshot.report import streams as stream_report
from gunshot.report.chunks import quantization_chapter
from gunshot.report.page import NOTHING, Chapter, shown, write_page

AROUND_S = 0.75  # of audio, before and after
PLAYED = 12  # shots and false incidents that are shown with audio, at most
LOG = 40  # commits shown, at most
REAL_FIRST = tuple(reversed(tables.ORIGINS))  # real ones first
FIRST = (  # figures of the first screen
    "recall", "recall_lower", "shots", "recall_of_firings", "recall_of_firings_lower", "firings",
    "false_incidents_per_hour", "false_incidents_per_hour_upper", "hours",
)  # fmt: skip


class Sections(Protocol):
    """The sections of params.yaml that a dossier reads."""

    audio: params.Audio
    features: params.Features
    promotion: params.Promotion


def small(comparison: dict) -> list[str]:
    """Return the names of the slices that a reviewer must acknowledge: too few cases to test."""
    return [row["name"] for row in [*comparison["slices"], *comparison["negatives"]] if row["small"]]


def write(
    folder: Path, facts: dict, gates: list[Gate], *, heard: Path, licence_of: dict[str, str], p: Sections
) -> None:
    """Write PAGE and GATES to the candidate's folder: the same bytes for the same facts.

    Parameters
    ----------
    facts : of `evidence.gather`
    heard : the folder of the test streams
    licence_of : each real recording's licence, by path

    Raises
    ------
    ValueError
        The candidate was reviewed already: what a decision was made from must stay.
    """
    if (folder / FILE).exists():
        raise ValueError(f"{folder / FILE}: it was reviewed; a new dossier needs a folder of its own")
    comparison, names = facts["comparison"], list(facts["comparison"]["models"])
    unsure = small(comparison)
    write_page(
        folder / PAGE,
        Path(__file__).with_name("dossier.html.j2"),
        title=f"Dossier: gunshot detector, candidate {facts['commit'][:12]}",
        intro=[_question(facts)],
        verdict=_verdict_of_gates(gates, unsure),
        first=_first(comparison, names, heard),
        chapters=_chapters(facts, names, p),
        gates=list(map(_gate_as_text, gates)),
        failed=[gate.name for gate in gates if not gate.passed],
        final=FINAL,
        champion=facts["champion"],
        axes={axis: [s for s in unsure if s.startswith(f"{axis}=")] for axis in dict.fromkeys(map(_axis, unsure))},
        cards=_cards(comparison, heard, licence_of, p) if CHAMPION in names else [],
        differ=len(_differing(comparison, p.audio.sr)) if CHAMPION in names else 0,
    )
    content = {
        "candidate": facts["commit"],
        "champion": facts["champion"],
        "dossier": hashlib.sha256((folder / PAGE).read_bytes()).hexdigest(),
        "gates": [asdict(gate) for gate in gates],
        "small": unsure,
    }
    tables.write_json(folder / GATES, content)


def _axis(name: str) -> str:
    return name.partition("=")[0]


def _gate_as_text(gate: Gate) -> dict:
    return asdict(gate) | {"figure": _text(gate.figure), "limit": _text(gate.limit)}


def _text(value: float | int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _question(facts: dict) -> str:
    place = f"in place of {facts['champion']}" if facts["champion"] else "as the first model there"
    return f"Decision asked for: put commit {facts['commit'][:12]} into production, {place}, or reject it."


def _verdict_of_gates(gates: list[Gate], unsure: list[str]) -> str:
    passed = sum(gate.passed for gate in gates)
    verdict = f"{passed} of {len(gates)} gates passed."
    if unsure:
        verdict += f" {len(unsure)} slices have too few cases to be tested and must be acknowledged."
    return verdict + (" These gates failed:" if passed < len(gates) else "")


def _first(comparison: dict, names: list[str], heard: Path) -> dict:
    """Return the first screen: a few figures of candidate and champion, their curve, and what fools the candidate."""
    operating = {name: comparison["models"][name]["operating"] for name in names}
    limit = operating[CANDIDATE]["false_incidents_per_hour_limit"]
    figures, closest = comparison["figures"], pd.DataFrame(comparison["closest"], columns=list(summary.CLOSEST))
    origin = next((origin for origin in REAL_FIRST if figures[origin][CANDIDATE]["hours"]), "simulated")
    return {
        "beside": shown(_beside("Candidate beside champion", figures, names, FIRST), "beside"),
        "curve": first_screen.curve(pd.DataFrame(comparison["det"]), operating, origin, limit=limit),
        "fools": first_screen.fools(closest[closest["model"] == CANDIDATE], operating[CANDIDATE], heard),
        "excerpts": first_screen.EXCERPTS,
    }


def _beside(title: str, figures: dict, names: list[str], measures: Iterable[str], text: str = "") -> Chapter:
    """Return figures of test streams, which `summary.summary` gives by origin and model, a column for each of these."""
    columns = {
        (f"{origin} streams", name): stream_report.measures(figures[origin][name], measures)
        for origin in REAL_FIRST for name in names
        if figures[origin].get(name, {}).get("hours")
    }  # fmt: skip
    return Chapter(title, text, stream_report.beside(columns)) if columns else Chapter(title, "Not measured.")


def _chapters(facts: dict, names: list[str], p: Sections) -> list[Chapter]:
    comparison = facts["comparison"]
    operating = {name: comparison["models"][name]["operating"] for name in names}
    limit = operating[CANDIDATE]["false_incidents_per_hour_limit"]
    return [
        _headline(comparison, names),
        Chapter("Recall against false incidents per hour",
                "On test streams, at all thresholds. Up and left is better; the dotted line is the limit.",
                figure=stream_report.det(pd.DataFrame(comparison["det"]), operating, limit=limit)),
        Chapter("Recall by distance and peak SNR", "Bars reach down to the 95 % bound.",
                figure=_curves(comparison, names)),
        _slices("Slices: shots found", comparison["slices"], names, p.promotion,
                "Of clear shots; by distance (m) also of farther ones, by SNR (dB) also of fainter ones. Lost and won "
                "are shots that one of the two found alone."),
        _slices("Slices: false incidents by what sounded", comparison["negatives"], names, p.promotion,
                "On streams without shots. Cases are how often such a sound was laid there, background in pieces."),
        quantization_chapter(facts["report"]),
        _int8(facts["streams"]),
        _drift(facts["drift"]),
        *_changes(facts),
        _costs(facts, names),
        _model_card(facts),
    ]  # fmt: skip


def _headline(comparison: dict, names: list[str]) -> Chapter:
    logits = ", ".join(f"{name} {comparison['models'][name]['logit']:g}" for name in names)
    text = (
        f"Each at its own operating point, a mean logit ({logits}), with the params with which that was chosen. A "
        f"clear shot's loudest 10 ms are {CLEAR_DB:g} dB or more above the rest, at most {CLEAR_M:g} m away. Bounds "
        "are exact, 95 %."
    )
    title = "All figures of champion and candidate" if CHAMPION in names else "All figures of the candidate"
    return _beside(title, comparison["figures"], names, stream_report.ROWS, text)


def _curves(comparison: dict, names: list[str]) -> Figure:
    shots = pd.DataFrame(comparison["shots"])
    shots = pd.concat([shots.assign(model=name, found=shots[name].astype(bool)) for name in names])
    loud, near = shots["peak_snr_db"] >= CLEAR_DB, shots["distance_m"] <= CLEAR_M
    by_distance = summary.by(shots[loud & (shots["origin"] == "simulated")], "distance_m", summary.DISTANCES_M)
    return stream_report.recall_curves(by_distance, summary.by(shots[near], "peak_snr_db", summary.SNRS_DB), names)


def _slices(title: str, rows: list[dict], names: list[str], p: params.Promotion, text: str) -> Chapter:
    if not rows:
        return Chapter(title, "The test streams hold none.")
    table = pd.DataFrame(rows)
    columns = {"slice": table["name"].str.replace("=", ": ", n=1), "cases": table["cases"]}
    columns |= {name: table[name] for name in names}
    if CHAMPION in names:
        columns |= {key: table[key] for key in ("lost", "won") if key in table}
        columns["p-value"] = [f"{row['p']:.3f}" for row in rows]
        columns["p-value, Holm"] = [NOTHING if row["small"] else f"{row['p_holm']:.3f}" for row in rows]
    columns["verdict"] = [_verdict(row, p.alpha) for row in rows]
    text += (
        " The p-value is exact and one-sided: how likely so many were lost if the candidate were no worse. Holm's "
        f"holds {p.alpha:g} for all slices of this table together. Under {p.min_cases} cases nothing is tested."
    )
    return Chapter(title, text, pd.DataFrame(columns))


def _verdict(row: dict, alpha: float) -> str:
    if row["small"]:
        return "acknowledge"
    return "" if row["p_holm"] is None else "worse" if row["p_holm"] < alpha else "not worse"


def _int8(on_streams: dict | None) -> Chapter:
    """Return what float and int8 do, each at its own operating point; `on_streams` is of reports/streams.json."""
    figures = on_streams or {origin: {} for origin in tables.ORIGINS}
    return _beside("Float against int8 on test streams", figures, ["float", "int8"], stream_report.ROWS)


def _drift(verdict: dict | None) -> Chapter:
    if not verdict:
        return Chapter("Drift", "No drift report was given: this retraining was not asked for by one.")
    text = f"{'Drift' if verdict['drift'] else 'No drift'}: {verdict['reason']}."
    if "columns" not in verdict:
        return Chapter("Drift", text)
    text += (
        f" {verdict['recordings']} recordings, {verdict['chunks']:,} chunks from the field, against what the champion "
        "was trained on."
    )
    return Chapter("Drift", text, pd.DataFrame(verdict["columns"]))


def _changes(facts: dict) -> list[Chapter]:
    since = f"since {facts['champion']}" if facts["champion"] else "up to here"
    text, log = "", facts["log"]
    if facts["champion_commit"]:
        text = f"From commit {facts['champion_commit'][:12]} to {facts['commit'][:12]}."
    more = f" {len(log) - LOG} earlier ones are left out." if len(log) > LOG else ""
    rows = [dict(zip(("commit", "date", "what"), line.split(" ", 2), strict=True)) for line in log[:LOG]]
    return [
        Chapter(f"What changed {since}: commits", text + more or "No champion to compare with: the latest commits.",
                pd.DataFrame(rows, columns=["commit", "date", "what"])),
        _diff(f"What changed {since}: params", facts["params"]),
        _diff(f"What changed {since}: metrics", facts["metrics"]),
    ]  # fmt: skip


def _diff(title: str, changes: dict | None) -> Chapter:
    """Return a row for each value that changed; `changes` is what `dvc params diff --json`, or `metrics`, printed."""
    if changes is None:
        return Chapter(title, "Not given.")
    rows = [
        {"file": file, "name": name, "old": _plain(change.get("old")), "new": _plain(change.get("new"))}
        | {"difference": _plain(change.get("diff"))}
        for file, names in sorted(changes.items())
        for name, change in sorted(names.items())
    ]
    return Chapter(title, "" if rows else "Nothing.", pd.DataFrame(rows) if rows else None)


def _plain(value) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _costs(facts: dict, names: list[str]) -> Chapter:
    costs = {name: facts["comparison"]["models"][name]["cost"] for name in names}
    rows = [(f"{name}: model", cost["flash"], cost["arena"], None) for name, cost in costs.items()]
    for port, build in sorted((facts["firmware"] or {}).items()):
        total = build.get("instructions", {}).get("total")
        rows.append((f"{CANDIDATE}: firmware on {port}", build.get("flash_bytes"), build.get("ram_bytes"), total))
    text = "Bytes; of a model alone its .tflite and TFLM's arena."
    if not facts["firmware"]:
        text += " No firmware was built and measured for this candidate."
    table = pd.DataFrame(rows, columns=["where", "flash", "RAM", "instructions a window"], dtype=object)
    return Chapter("Costs on the device", text, table)


def _model_card(facts: dict) -> Chapter:
    operating = facts["comparison"]["models"][CANDIDATE]["operating"]
    text = (
        "It listens to 16 kHz mono audio on a microcontroller and says when a gunshot begins, for alerts that a "
        "person checks. It is no evidence; it does not say where a shot came from, who fired or with what."
        f"\n\nOperated at a mean logit of {operating['logit']:g}, chosen on validation streams for at most "
        f"{operating['false_incidents_per_hour_limit']:g} false incidents an hour, {operating['proof']} there. Recall "
        "falls with distance and with the ratio of shot to noise, see above. Figures hold for sounds like those of the "
        "test streams; a new microphone or place is a new population, and is measured there first."
        f"\n\nCode: commit {facts['commit']}. Data: dvc.lock of that commit. Trained and tuned on these recordings, "
        "split by recording group from those of the test:"
    )
    return Chapter("Model card", text, pd.DataFrame(facts["sources"]))


def _differing(comparison: dict, sr: int) -> list[dict]:
    """Return the shots and the false incidents of one model alone: what, where and when, and whether that is better.

    Better is a shot that the candidate found, and a false incident that the champion raised.
    """
    shots = [
        row | {"what": f"shot: {row['weapon']}{_far(row['distance_m'])}, {row['peak_snr_db']:.0f} dB peak SNR",
               "better": row[CANDIDATE], "at_s": row["onset"] / sr}
        for row in comparison["shots"] if row[CANDIDATE] != row[CHAMPION]
    ]  # fmt: skip
    false = [
        row | {"what": f"false incident: {row['label'] or 'nothing laid there'}", "better": row[CHAMPION],
               "at_s": row["onset_s"], "clear": True}
        for row in comparison["raised"] if row[CANDIDATE] != row[CHAMPION]
    ]  # fmt: skip
    return [*shots, *false]


def _far(distance_m: float) -> str:
    return f", {distance_m:.0f} m" if distance_m >= 0 else ""


def _cards(comparison: dict, heard: Path, licence_of: dict[str, str], p: Sections) -> list[dict]:
    """Return PLAYED of the differences as cards with sound and log-mel, clear shots first.

    Half of them speak against the candidate, more where fewer speak for it.
    """
    laid = {name: tables.read(heard / name, tables.STREAM_TABLES[name]) for name in ("shots.csv", "events.csv")}
    differing = sorted(_differing(comparison, p.audio.sr), key=lambda row: not row["clear"])
    against, favour = ([row for row in differing if row["better"] is better] for better in (False, True))
    played = [*against[: max(PLAYED // 2, PLAYED - len(favour))], *favour][:PLAYED]
    return [_card(row, laid, heard, licence_of, p) for row in played]


def _card(row: dict, laid: dict[str, pd.DataFrame], heard: Path, licence_of: dict[str, str], p: Sections) -> dict:
    sr = p.audio.sr
    at, around = round(row["at_s"] * sr), int(AROUND_S * sr)
    card = {"what": row["what"], "better": row["better"], "sound": "", "picture": ""}
    card["who"] = f"{CANDIDATE if row[CANDIDATE] else CHAMPION} alone"
    card["where"] = ", ".join(filter(None, (row["path"], f"{row['at_s']:.2f} s", row["place"])))
    if _clean(row["path"], at, around, laid, licence_of, p.promotion.licences):
        pcm = audio.read_pcm(heard / row["path"], sr=sr)[max(0, at - around) : at + around]
        mel = features.log_mel(pcm, sr=sr, **p.features.model_dump())
        card |= {"sound": media.sound(pcm, sr=sr), "picture": media.picture(mel)}
    return card


def _clean(path: str, at: int, around: int, laid: dict, licence_of: dict[str, str], allowed: list[str]) -> bool:
    """Return whether all recordings that sound around a sample have a licence that is allowed."""
    events, shots = (table[table["path"] == path] for table in (laid["events.csv"], laid["shots.csv"]))
    near = events[(events["start"] < at + around) & (events["stop"] > at - around)]
    used = np.unique([*near["recording"], *shots.loc[shots["onset"] < at + around, "recording"]])
    return all(licence_of.get(name) in allowed for name in used if name)
