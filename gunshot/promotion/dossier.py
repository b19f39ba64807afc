"""The dossier: one page that a reviewer decides from, and the gates beside it as JSON."""

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot import features
from gunshot.alarms import summary
from gunshot.alarms.clear import CLEAR_DB, CLEAR_M
from gunshot.base import audio, tables
from gunshot.promotion.comparison import CANDIDATE, CHAMPION
from gunshot.promotion.gates import Gate
from gunshot.promotion.review import FILE, FINAL, GATES, PAGE
from gunshot.report import media
from gunshot.report import streams as stream_report
from gunshot.report.chunks import quantization_section
from gunshot.report.page import NOTHING, Section, write_page

AROUND_S = 0.75  # of audio, before and after
PLAYED = 12  # shots and false alarms that are shown with audio, at most
LOG = 40  # commits shown, at most
REAL_FIRST = tuple(reversed(tables.ORIGINS))  # real ones first


def small(comparison: dict) -> list[str]:
    """Return the names of the slices that a reviewer must acknowledge: too few cases to test."""
    return [row["name"] for row in [*comparison["slices"], *comparison["negatives"]] if row["small"]]


def write(folder: Path, facts: dict, gates: list[Gate], *, heard: Path, licence_of: dict[str, str], p) -> None:
    """Write PAGE and GATES to the candidate's folder: the same bytes for the same facts.

    Parameters
    ----------
    facts : of `evidence.gather`
    heard : the folder of the test streams
    licence_of : each real recording's licence, by path
    p : the sections audio, features and promotion of params.yaml

    Raises
    ------
    ValueError
        The candidate was reviewed already: what a decision was made from must stay.
    """
    if (folder / FILE).exists():
        raise ValueError(f"{folder / FILE}: it was reviewed; a new dossier needs a folder of its own")
    made, names = facts["comparison"], list(facts["comparison"]["models"])
    unsure = small(made)
    failed = [gate.name for gate in gates if not gate.passed]
    write_page(
        folder / PAGE,
        Path(__file__).with_name("dossier.html.j2"),
        title=f"Dossier: gunshot detector, candidate {facts['commit'][:12]}",
        intro=_asked(facts, gates, failed, unsure),
        sections=_sections(facts, names, p),
        gates=[asdict(gate) | {"figure": _told(gate.figure), "limit": _told(gate.limit)} for gate in gates],
        failed=failed,
        final=FINAL,
        axes={axis: [s for s in unsure if s.startswith(f"{axis}=")] for axis in dict.fromkeys(map(_axis, unsure))},
        cards=_cards(made, heard, licence_of, p) if CHAMPION in names else [],
        differ=len(_differing(made, p.audio.sr)) if CHAMPION in names else 0,
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


def _told(value: float | int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _asked(facts: dict, gates: list[Gate], failed: list[str], unsure: list[str]) -> str:
    """Return the decision asked for, as paragraphs."""
    place = f"in place of {facts['champion']}" if facts["champion"] else "as the first model there"
    state = f"{len(gates) - len(failed)} of {len(gates)} gates passed"
    state += f"; failed: {', '.join(failed)}." if failed else "."
    if unsure:
        state += f" {len(unsure)} slices have too few cases to be tested and must be acknowledged."
    recall, false = facts["comparison"]["recall"], facts["comparison"]["false_alarms"]

    def told(name: str) -> str:
        return f"{recall[name]} of {recall['cases']} clear shots and raises {false[name]} false alarms"

    found = (
        f"On the same test streams, {false['hours']:.2f} h of them without shots, the candidate finds {told(CANDIDATE)}"
    )
    found += f"; the champion finds {told(CHAMPION)}." if facts["champion"] else "."
    asked = f"Decision asked for: put commit {facts['commit'][:12]} into production, {place}, or reject it."
    return "\n\n".join((asked, found, state))


def _sections(facts: dict, names: list[str], p) -> list[Section]:
    made = facts["comparison"]
    return [
        _headline(made, names),
        Section("Recall against false alarms per hour",
                "On test streams, at all thresholds. Up and left is better; the dotted line is the limit.",
                figure=stream_report.det(
                    pd.DataFrame(made["det"]), {n: made["models"][n]["operating"] for n in names})),
        Section("Recall by distance and peak SNR", "Bars reach down to the 95 % bound.",
                figure=_curves(made, names)),
        _slices("Slices: shots found", made["slices"], names, p.promotion,
                "Of clear shots; by distance (m) also of farther ones, by SNR (dB) also of fainter ones. Lost and won "
                "are shots that one of the two found alone."),
        _slices("Slices: false alarms by what sounded", made["negatives"], names, p.promotion,
                "On streams without shots. Cases are how often such a sound was laid there, background in pieces."),
        quantization_section(facts["report"]),
        _int8(facts["streams"]),
        _drift(facts["drift"]),
        *_changes(facts),
        _costs(facts, names),
        _model_card(facts),
    ]  # fmt: skip


def _headline(made: dict, names: list[str]) -> Section:
    columns = {
        (f"{origin} streams", name): stream_report.measures(made["figures"][origin][name])
        | {"operated at a logit of": f"{made['models'][name]['logit']:g}"}
        for origin in REAL_FIRST
        for name in names
        if made["figures"][origin][name]["hours"]
    }
    text = (
        "Each at its own operating point, with the params with which that was chosen. A clear shot's loudest 10 ms are "
        f"{CLEAR_DB:g} dB or more above the rest, at most {CLEAR_M:g} m away. Bounds are exact, 95 %."
    )
    return Section(
        "Champion beside candidate" if CHAMPION in names else "The candidate", text, stream_report.beside(columns)
    )


def _curves(made: dict, names: list[str]):
    shots = pd.DataFrame(made["shots"])
    shots = pd.concat([shots.assign(model=name, found=shots[name].astype(bool)) for name in names])
    loud, near = shots["peak_snr_db"] >= CLEAR_DB, shots["distance_m"] <= CLEAR_M
    by_distance = summary.by(shots[loud & (shots["origin"] == "simulated")], "distance_m", summary.DISTANCES_M)
    return stream_report.recall_curves(by_distance, summary.by(shots[near], "peak_snr_db", summary.SNRS_DB), names)


def _slices(title: str, rows: list[dict], names: list[str], p, text: str) -> Section:
    if not rows:
        return Section(title, "The test streams hold none.")
    table = pd.DataFrame(rows)
    shown = {"slice": table["name"].str.replace("=", ": ", n=1), "cases": table["cases"]}
    shown |= {name: table[name] for name in names}
    if CHAMPION in names:
        shown |= {key: table[key] for key in ("lost", "won") if key in table}
        shown["p"] = [f"{row['p']:.3f}" for row in rows]
        shown["p, Holm"] = [NOTHING if row["small"] else f"{row['p_holm']:.3f}" for row in rows]
    shown["verdict"] = [_verdict(row, p.alpha) for row in rows]
    text += (
        " p is exact and one-sided: how likely so many were lost if the candidate were no worse. Holm's holds "
        f"{p.alpha:g} for all slices of this table together. Under {p.min_cases} cases nothing is tested."
    )
    return Section(title, text, pd.DataFrame(shown))


def _verdict(row: dict, alpha: float) -> str:
    if row["small"]:
        return "acknowledge"
    return "" if row["p_holm"] is None else "worse" if row["p_holm"] < alpha else "not worse"


def _int8(found: dict | None) -> Section:
    """Return what float and int8 do on test streams, each at its own operating point, of reports/streams.json."""
    title = "Float against int8 on test streams"
    columns = {
        (f"{origin} streams", name): stream_report.measures(found[origin][name])
        for origin in REAL_FIRST if found
        for name in ("float", "int8") if found[origin].get(name, {}).get("hours")
    }  # fmt: skip
    return Section(title, "", stream_report.beside(columns)) if columns else Section(title, "Not measured.")


def _drift(found: dict | None) -> Section:
    if not found:
        return Section("Drift", "No drift report was given: this retraining was not asked for by one.")
    text = f"{'Drift' if found['drift'] else 'No drift'}: {found['reason']}."
    if "columns" not in found:
        return Section("Drift", text)
    text += (
        f" {found['recordings']} recordings, {found['chunks']:,} chunks from the field, against what the champion was "
        "trained on."
    )
    return Section("Drift", text, pd.DataFrame(found["columns"]))


def _changes(facts: dict) -> list[Section]:
    since = f"since {facts['champion']}" if facts["champion"] else "up to here"
    text, log = "", facts["log"]
    if facts["champion_commit"]:
        text = f"From commit {facts['champion_commit'][:12]} to {facts['commit'][:12]}."
    more = f" {len(log) - LOG} earlier ones are left out." if len(log) > LOG else ""
    rows = [dict(zip(("commit", "date", "what"), line.split(" ", 2), strict=True)) for line in log[:LOG]]
    return [
        Section(f"What changed {since}: commits", text + more or "No champion to compare with: the latest commits.",
                pd.DataFrame(rows, columns=["commit", "date", "what"])),
        _diff(f"What changed {since}: params", facts["params"]),
        _diff(f"What changed {since}: metrics", facts["metrics"]),
    ]  # fmt: skip


def _diff(title: str, found: dict | None) -> Section:
    """Return what `dvc params diff --json` or `dvc metrics diff --json` gave."""
    if found is None:
        return Section(title, "Not given.")
    rows = [
        {"file": file, "name": name, "old": _plain(of.get("old")), "new": _plain(of.get("new"))}
        | {"difference": _plain(of.get("diff"))}
        for file, names in sorted(found.items())
        for name, of in sorted(names.items())
    ]
    return Section(title, "" if rows else "Nothing.", pd.DataFrame(rows) if rows else None)


def _plain(value) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _costs(facts: dict, names: list[str]) -> Section:
    found = {name: facts["comparison"]["models"][name]["cost"] for name in names}
    rows = [(f"{name}: model", of["flash"], of["arena"], None) for name, of in found.items()]
    for port, of in sorted((facts["firmware"] or {}).items()):
        total = of.get("instructions", {}).get("total")
        rows.append((f"{CANDIDATE}: firmware on {port}", of.get("flash_bytes"), of.get("ram_bytes"), total))
    text = "Bytes; of a model alone its .tflite and TFLM's arena."
    if not facts["firmware"]:
        text += " No firmware was built and measured for this candidate."
    table = pd.DataFrame(rows, columns=["where", "flash", "RAM", "instructions a window"], dtype=object)
    return Section("Costs on the device", text, table)


def _model_card(facts: dict) -> Section:
    operating = facts["comparison"]["models"][CANDIDATE]["operating"]
    text = (
        "It listens to 16 kHz mono audio on a microcontroller and tells when a gunshot begins, for alerts that a "
        "person checks. It is no evidence; it does not say where a shot came from, who fired or with what."
        f"\n\nOperated at a mean logit of {operating['logit']:g}, chosen on validation streams for at most "
        f"{operating['fa_per_hour_limit']:g} false alarms an hour, {operating['proof']} there. Recall falls with "
        "distance and with the ratio of shot to noise, see above. Figures hold for sounds like those of the test "
        "streams; a new microphone or place is a new population, and is measured there first."
        f"\n\nCode: commit {facts['commit']}. Data: dvc.lock of that commit. Trained and tuned on these recordings, "
        "split by recording group from those of the test:"
    )
    return Section("Model card", text, pd.DataFrame(facts["sources"]))


def _differing(made: dict, sr: int) -> list[dict]:
    """Return shots and false alarms that one of the two has alone: what, where, when, and for whom that speaks."""
    shots = [
        row | {"what": f"shot: {row['weapon']}{_far(row['distance_m'])}, {row['peak_snr_db']:.0f} dB peak SNR",
               "better": row[CANDIDATE], "at_s": row["onset"] / sr}
        for row in made["shots"] if row[CANDIDATE] != row[CHAMPION]
    ]  # fmt: skip
    false = [
        row | {"what": f"false alarm: {row['label'] or 'nothing laid there'}", "better": row[CHAMPION],
               "at_s": row["onset_s"], "clear": True}
        for row in made["false"] if row[CANDIDATE] != row[CHAMPION]
    ]  # fmt: skip
    return [*shots, *false]


def _far(distance_m: float) -> str:
    return f", {distance_m:.0f} m" if distance_m >= 0 else ""


def _cards(made: dict, heard: Path, licence_of: dict[str, str], p) -> list[dict]:
    """Return PLAYED of what differs with sound and log-mel, clear shots first; half of it, if there is, against."""
    laid = {name: tables.read(heard / name, tables.STREAM_TABLES[name]) for name in ("shots.csv", "events.csv")}
    differing = sorted(_differing(made, p.audio.sr), key=lambda row: not row["clear"])
    against, favour = ([row for row in differing if row["better"] is better] for better in (False, True))
    shown = [*against[: max(PLAYED // 2, PLAYED - len(favour))], *favour][:PLAYED]
    return [_card(row, laid, heard, licence_of, p) for row in shown]


def _card(row: dict, laid: dict[str, pd.DataFrame], heard: Path, licence_of: dict[str, str], p) -> dict:
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
    """Return whether all that sounds around a sample was simulated or has a licence that is allowed."""
    events, shots = (table[table["path"] == path] for table in (laid["events.csv"], laid["shots.csv"]))
    near = events[(events["start"] < at + around) & (events["stop"] > at - around)]
    used = np.unique([*near["recording"], *shots.loc[shots["onset"] < at + around, "recording"]])
    return all(licence_of.get(name) in allowed for name in used if name)
