"""The first screen of a page: a verdict in one sentence, figures with bounds, what fools a model, what is unproven."""

import math
from pathlib import Path

import pandas as pd

from gunshot.alarms.clear import CLEAR_DB, CLEAR_M
from gunshot.base import tables
from gunshot.models.scores import metrics
from gunshot.report import media, streams
from gunshot.report.page import Chapter, percent, shown

FOOLS = 4  # sounds that are shown
CURVE_WIDTH = 4.9  # inches, of the curve: its words can be read on a telephone
HEARD = {"simulated": "simulated audio", "real": "real recordings"}
PROVEN, UNPROVEN, EXCEEDED = "proven", "not proven", "exceeded"
CURVE = (
    "Recall of clear gunshots at all thresholds. Up and left is better; the dotted line is the limit. Where none was "
    "false, the curve stands at half a false incident."
)
EXCERPTS = (
    f"Excerpts are {media.BEFORE_S + media.AFTER_S:g} s long, made equally loud, and of simulated sounds alone: no "
    "person was recorded."
)


def limit_state(row: dict, point: dict, limit: float) -> str:
    """Return whether a model keeps a limit of false incidents an hour on test streams: PROVEN, UNPROVEN or EXCEEDED.

    A proof takes two upper bounds within the limit: that of the test streams, and that of the validation streams, on
    which the threshold was chosen.

    Parameters
    ----------
    row : what `summary.summary` gives of the model, of at least some hours
    point : the model's operating.json
    """
    if row["false_incidents_per_hour"] > limit:
        return EXCEEDED
    return PROVEN if row["false_incidents_per_hour_upper"] <= limit and point["proof"] == "proven" else UNPROVEN


def duration(hours: float) -> str:
    """Return a duration in words: minutes below one hour, else hours."""
    return f"{60 * hours:.0f} minutes" if hours < 1 else f"{hours:.1f} hours"


def verdict(row: dict, point: dict, *, origin: str, limit: float) -> str:
    """Return the verdict in one sentence, for whoever is to live with the detector; arguments as for `limit_state`."""
    recall, count = row["recall"], row["shots"]
    if not row["hours"]:
        return "Nothing is known yet: the test streams hold no audio without shots."
    if recall is None or pd.isna(recall):
        finds = "Whether the detector finds gunshots is not known: the test streams hold no clear one. It"
    elif recall == 0:
        finds = f"The detector finds none of the {count:,} clear gunshots; it"
    else:
        finds = f"The detector finds {percent(recall)} of clear gunshots; it"
    rate = row["false_incidents_per_hour"]
    raised = f"raised {rate:.2f} false incidents an hour" if rate else "raised no false incident"
    heard = f"in {duration(row['hours'])} of {HEARD[origin]}"
    match limit_state(row, point, limit):
        case "exceeded":
            end = f"more than its limit of {limit:g} an hour"
        case "proven":
            end = f"which proves that it keeps its limit of {limit:g} an hour"
        case _ if row["false_incidents_per_hour_upper"] > limit:
            end = f"too little to prove that it keeps its limit of {limit:g} an hour"
        case _:
            end = f"but its limit of {limit:g} an hour was not proven where its threshold was chosen"
    return f"{finds} {raised} {heard}, {end}."


def _tile(name: str, value: str, note: str, state: str = "") -> dict[str, str]:
    return {"name": name, "value": value, "note": note, "state": state.replace(" ", "-")}


def tiles(row: dict, point: dict, cost: dict[str, int | None], *, limit: float) -> list[dict[str, str]]:
    """Return the figures of the first screen: name, value, note and state of each.

    Parameters
    ----------
    row, point, limit : as for `limit_state`
    cost : what `model_cost` gives
    """
    text = streams.measures(row)
    hits = "" if row["recall"] is None else f"{round(row['recall'] * row['shots']):,} of {row['shots']:,}; "
    state = limit_state(row, point, limit) if row["hours"] else UNPROVEN
    arena = "" if cost["arena"] is None else f"and {cost['arena'] / 1000:.1f} kB of working memory"
    at_least, at_most = text[streams.ROWS["recall_lower"][0]], text[streams.ROWS["false_incidents_per_hour_upper"][0]]
    firings_at_least = text[streams.ROWS["recall_of_firings_lower"][0]]
    return [
        _tile("Clear gunshots found", text[streams.ROWS["recall"][0]], f"{hits}at least {at_least}"),
        _tile("Firings found, by one of their shots", text[streams.ROWS["recall_of_firings"][0]],
              f"of {row['firings']:,}; at least {firings_at_least}"),
        _tile("False incidents an hour", text[streams.ROWS["false_incidents_per_hour"][0]],
              f"at most {at_most}; limit {limit:g}: {state}", state),
        _tile("Seconds until it says so", text[streams.ROWS["delay_p50_s"][0]],
              f"in 95 of 100 cases {text[streams.ROWS['delay_p95_s'][0]]} at most"),
        _tile("Size on the device", f"{cost['flash'] / 1000:.1f} kB", arena),
    ]  # fmt: skip


def unproven(figures: dict, causes: pd.DataFrame, point: dict, *, model: str) -> list[str]:
    """Return what a model's figures on test streams leave unproven, each in a sentence or two.

    Parameters
    ----------
    figures : of reports/streams.json
    causes : of `summary.figures`
    point : the model's operating.json
    """
    limit, rows = figures["limit"], {origin: figures[origin][model] for origin in tables.ORIGINS}
    rows = {origin: row for origin, row in rows.items() if row["hours"]}
    items = [
        _limit_item(row, origin, limit) for origin, row in rows.items() if row["false_incidents_per_hour_upper"] > limit
    ]
    if point["proof"] != "proven":
        items.append(f"The same on the validation streams, where the threshold was chosen: {point['proof']} there.")
    if "real" not in rows:
        items.append("Any real place: no real recordings were imported, all of this is simulation.")
    seldom = causes[
        (causes["model"] == model) & (causes["of"] == "event") & (causes["false_incidents_per_event_upper"] > 1)
    ]
    if len(seldom):
        kinds = (causes["model"].eq(model) & causes["of"].eq("event")).sum()
        names = ", ".join(kind.replace("_", " ") for kind in seldom["label"].head(5))
        more = f" and {len(seldom) - 5} more" if len(seldom) > 5 else ""
        items.append(
            f"Single kinds of sounds: {len(seldom)} of {kinds} were heard so seldom that each may open an incident "
            f"every time ({names}{more})."
        )
    for origin, row in rows.items():
        if row.get("recall_of_any_level") is not None and row["shots_of_any_level"] > row["shots"]:
            items.append(
                f"Shots farther away than {CLEAR_M:g} m, or less than {CLEAR_DB:g} dB above all else: "
                f"with them it finds {percent(row['recall_of_any_level'])} of {row['shots_of_any_level']:,} in "
                f"{HEARD[origin]}."
            )
    return items


def _limit_item(row: dict, origin: str, limit: float) -> str:
    least_hours = metrics.rate_upper(0, 1.0) / limit
    proof = f"a proof takes {math.ceil(10 * least_hours) / 10:g} hours without one, or more hours with some."
    return (
        f"That it raises at most {limit:g} false incidents an hour: {duration(row['hours'])} of {HEARD[origin]} leave "
        f"up to {row['false_incidents_per_hour_upper']:.2f} possible (95 % bound); {proof}"
    )


def fools(closest: pd.DataFrame, point: dict, folder: Path) -> list[dict]:
    """Return FOOLS sounds without a shot that opened an incident, or came closest, with excerpts of simulated ones.

    Each has title, place, where (file and time), says (what the model said), woke, sound (a data URI) and waveform
    (SVG points), both empty where the sound is of a real recording.

    Parameters
    ----------
    closest : rows of one model, of `summary.figures`
    point : the model's operating.json
    folder : of the test streams
    """
    rows = closest.sort_values("logit", ascending=False, kind="stable").head(FOOLS)
    rows = rows.fillna({"label": "", "cause": "", "place": ""})  # what a CSV leaves empty
    return [_fool(row, point, folder) for row in rows.to_dict("records")]


def _fool(row: dict, point: dict, folder: Path) -> dict:
    woke = row["logit"] >= point["logit"]
    label, place = (str(row[key] or "").replace("_", " ") for key in ("label", "place"))
    card = {
        "title": (f"background: {label.replace('+', ', ')}" if row["cause"] == "bed" else label)
        or "nothing laid there",
        "place": place,
        "where": f"{row['path']}, {row['onset_s']:.1f} s",
        "says": "false incident" if woke else f"no incident: score {row['score']:.2f}, it takes {point['score']:.2f}",
        "woke": woke,
        "sound": "",
        "waveform": "",
    }
    if row["origin"] == "simulated":
        pcm, sr = media.excerpt(folder / row["path"], onset_s=row["onset_s"])
        card |= {"sound": media.sound(pcm, sr=sr), "waveform": media.waveform(pcm)}
    return card


def curve(det: pd.DataFrame, operating: dict[str, dict], origin: str, *, limit: float) -> dict:
    """Return the curve of models on one origin's streams as `page.shown` does; arguments as for `streams.det`."""
    part = det[det["origin"] == origin]
    figure = streams.det(part, operating, limit=limit, width=CURVE_WIDTH) if part["hours"].gt(0).any() else None
    return shown(
        Chapter("Recall against false incidents", CURVE if figure else "No audio without shots.", figure=figure),
        "first",
    )


def screen(
    figures: dict,
    stream_tables: dict[str, pd.DataFrame],
    operating: dict[str, dict],
    costs: dict[str, dict],
    folder: Path,
    *,
    model: str,
) -> dict:
    """Return the first screen on one model as the template report.html.j2 takes it.

    It speaks of real streams where there are some, else of simulated ones.

    Parameters
    ----------
    figures, stream_tables, operating, costs : as for `streams.chapters`
    folder : of the test streams
    """
    origin = "real" if figures["real"][model]["hours"] else "simulated"
    row, point, limit = figures[origin][model], operating[model], figures["limit"]
    closest = stream_tables["closest"]
    return {
        "verdict": verdict(row, point, origin=origin, limit=limit),
        "meaning": f"The detector is the model {model}. A gunshot is clear where its loudest 10 ms are {CLEAR_DB:g} dB "
        f"or more above all else, and it is {CLEAR_M:g} m away at most. “At least” and “at most” are 95 % bounds.",
        "tiles": tiles(row, point, costs[model], limit=limit),
        "curve": curve(stream_tables["det"], operating, origin, limit=limit),
        "fools": fools(closest[closest["model"] == model], point, folder),
        "excerpts": EXCERPTS,
        "unproven": unproven(figures, stream_tables["causes"], point, model=model),
    }
