"""Gates that a candidate must pass, each with the figure that decided; pure functions of what was gathered."""

from dataclasses import dataclass

from gunshot.base import params
from gunshot.promotion.comparison import CANDIDATE, CHAMPION

NOT_MEASURED = "not measured"
NO_CHAMPION = "There is no champion to compare with."


@dataclass(frozen=True)
class Gate:
    """A gate: whether it passed, the figure that decided, its limit, and the same in words."""

    name: str
    passed: bool
    figure: float | int | str
    limit: float | int | str
    text: str


def new(comparison: dict) -> Gate:
    """Return whether the candidate differs from the champion at all."""
    same = comparison["same"]
    text = "The candidate is the champion, to the byte: nothing to promote." if same else "It is not the champion."
    return Gate("new", not same, "the champion" if same else "another", "another", text)


def validation(suites: list[dict]) -> Gate:
    """Return whether no suite of reports/validation has a critical failure."""
    failed = sum(suite["failed"]["critical"] for suite in suites)
    if not suites:
        return Gate("validation", False, NOT_MEASURED, 0, "No suite's result is there; run `dvc repro`.")
    bad = ", ".join(suite["suite"] for suite in suites if suite["failed"]["critical"] or not suite["success"])
    text = f"Critical failures; suites: {len(suites)}" + (f", failed: {bad}." if bad else ".")
    return Gate("validation", not bad, failed, 0, text)


def _p(p: float) -> str:
    return f"p={p:.2g}"


def recall(comparison: dict, *, alpha: float) -> Gate:
    """Return whether the candidate's recall is not below the champion's, by the exact paired test."""
    counts = comparison["recall"]
    if not counts["cases"]:
        return Gate("recall", False, NOT_MEASURED, f"p≥{alpha:g}", "The test streams hold no clear shot.")
    mine = f"{counts[CANDIDATE]} of {counts['cases']} clear shots"
    if counts["p"] is None:
        return Gate("recall", True, mine, "no champion", NO_CHAMPION)
    text = (
        f"{mine}, the champion {counts[CHAMPION]}: {counts['lost']} lost, {counts['won']} won. "
        f"Recall changes by at least {100 * counts['difference_lower']:+.1f} points (95 % bound).".replace(
            " -", " \u2212"
        )
    )
    return Gate("recall", counts["p"] >= alpha, _p(counts["p"]), f"p≥{alpha:g}", text)


def slices(name: str, rows: list[dict], what: str, *, alpha: float) -> Gate:
    """Return whether no slice with enough cases is worse, at one level for all of them (Holm)."""
    if rows and all(row["p"] is None for row in rows):
        return Gate(name, True, "no champion", "no champion", NO_CHAMPION)
    large = [row for row in rows if not row["small"]]
    small = len(rows) - len(large)
    rest = f" {small} of {len(rows)} have too few cases and must be acknowledged." if small else ""
    if not large:
        return Gate(name, True, "no test", f"p≥{alpha:g}", f"No slice can be tested.{rest}")
    least = min(large, key=lambda row: row["p_holm"])
    bad = [row["name"] for row in large if row["p_holm"] < alpha]
    text = f"{what} worse: {', '.join(bad)}." if bad else f"None of {len(large)} is worse; least: {least['name']}."
    return Gate(name, not bad, _p(least["p_holm"]), f"p≥{alpha:g}", text + rest)


def false_incidents(comparison: dict, *, alpha: float) -> Gate:
    """Return whether the candidate raises no more false incidents than the champion, by the exact conditional test."""
    counts = comparison["false_incidents"]
    if counts["p"] is None:
        return Gate("false-incidents", True, counts[CANDIDATE], "no champion", NO_CHAMPION)
    text = f"{counts[CANDIDATE]} in {counts['hours']:.2f} h, the champion {counts[CHAMPION]}."
    return Gate("false-incidents", counts["p"] >= alpha, _p(counts["p"]), f"p≥{alpha:g}", text)


def false_incident_bound(comparison: dict, *, limit: float) -> Gate:
    """Return whether the 95 % upper bound of false incidents an hour keeps the limit on every origin's streams."""
    by_origin = {
        origin: figures[CANDIDATE]
        for origin, figures in comparison["figures"].items()
        if figures.get(CANDIDATE, {}).get("hours")
    }
    if not by_origin:
        return Gate("false-incident-bound", False, NOT_MEASURED, limit, "The test streams hold no hour without shots.")
    upper = max(figures["false_incidents_per_hour_upper"] for figures in by_origin.values())
    each = "; ".join(
        f"{origin} {figures['false_incidents']} in {figures['hours']:.2f} h, at most "
        f"{figures['false_incidents_per_hour_upper']:.2f}/h"
        for origin, figures in by_origin.items()
    )
    text = f"False incidents: {each}." + ("" if "real" in by_origin else " None of it is of a real place.")
    return Gate("false-incident-bound", upper <= limit, round(upper, 3), limit, text)


def int8(streams: dict | None, *, limit: float) -> Gate:
    """Return whether int8 keeps float's recall and its bound of false incidents, by reports/streams.json."""
    by_origin = (streams or {}).get("int8_against_float")
    if not by_origin:
        return Gate("int8", False, NOT_MEASURED, limit, "No reports/streams.json compares int8 with float.")
    drop = max(change["recall_drop"] for change in by_origin.values())
    loud = [origin for origin, change in by_origin.items() if not change["false_incidents_per_hour_within_bound"]]
    text = f"Recall lost from float to int8 on {', '.join(by_origin)} streams; false incidents "
    text += f"beyond float's bound on {', '.join(loud)}." if loud else "within float's bound."
    return Gate("int8", drop <= limit and not loud, round(drop, 4), limit, text)


def parity_gates(firmware: dict | None, *, max_differing_codes: float) -> list[Gate]:
    """Return whether the firmware computes what Python does on all ports: logits to the byte, log-mel codes, onsets.

    Parameters
    ----------
    firmware : by port what reports/firmware.json holds; None: there is none of this model, and the gates fail
    """
    by_port = {port: stated["parity"] for port, stated in (firmware or {}).items() if "parity" in stated}
    if not by_port:
        text = "No reports/firmware.json of this model states it."
        return [Gate(f"parity-{what}", False, NOT_MEASURED, 0, text) for what in ("model", "features", "onsets")]
    ports = ", ".join(by_port)
    wrong = max(port["mismatched_bytes"] for port in by_port.values())
    onsets = max(port["differing_onsets"] for port in by_port.values())
    share = max(port["differing_codes"] / max(port["cells"], 1) for port in by_port.values())
    least = min(port["windows"] for port in by_port.values())
    heard = min(port["onsets"] for port in by_port.values())
    return [
        Gate("parity-model", wrong == 0 < least, wrong, 0, f"Bytes that differ, of {least:,} windows; {ports}."),
        Gate("parity-features", share <= max_differing_codes, float(f"{share:.3g}"), max_differing_codes,
             f"Share of log-mel codes that differ from Python's; {ports}."),
        Gate("parity-onsets", onsets == 0 < heard, onsets, 0, f"Of {heard} onsets, those of one side alone; {ports}."),
    ]  # fmt: skip


def budgets(
    report: dict, firmware: dict | None, *, max_bytes: int, max_arena_bytes: int, board: str, max_instructions: int
) -> list[Gate]:
    """Return whether the int8 model's bytes, its arena and a window's instructions on a board keep their limits."""
    size, arena = report["bytes"], report["arena_bytes"]
    total = (firmware or {}).get(board, {}).get("instructions", {}).get("total")
    counted = "Of a window, from samples to decision, on " + board + "."
    if total is None:
        counted = f"No reports/firmware.json of this model counts them on {board}."
    return [
        Gate("bytes", size <= max_bytes, size, max_bytes, "Of the .tflite."),
        Gate("arena", arena <= max_arena_bytes, arena, max_arena_bytes, "Bytes that TFLM allocates."),
        Gate("instructions", total is not None and total <= max_instructions,
             NOT_MEASURED if total is None else total, max_instructions, counted),
    ]  # fmt: skip


def seeds(measured: dict | None, *, min_seeds: int, max_seed_spread: float) -> Gate:
    """Return whether networks that differ by the seed alone have about the same recall; unmeasured, the gate fails.

    Without it nobody knows whether a gain is the data's or the seed's; who takes that risk says so by overruling it.

    Parameters
    ----------
    measured : ``recall``, by origin of streams a list, one for each seed; the origin that they differ most on counts
    """
    by_origin = (measured or {}).get("recall", {})
    count = min(map(len, by_origin.values()), default=0)
    if count < min_seeds:
        text = f"{count} seeds were trained, {min_seeds} are asked for."
        return Gate("seeds", False, NOT_MEASURED, max_seed_spread, text)
    spread = round(max(max(values) - min(values) for values in by_origin.values()), 6)
    ranges = "; ".join(f"{origin} {min(values):.3f} to {max(values):.3f}" for origin, values in by_origin.items())
    return Gate("seeds", spread <= max_seed_spread, spread, max_seed_spread, f"Recall of {count} seeds: {ranges}.")


def groups(sides: dict[str, set[str]]) -> Gate:
    """Return whether no recording group is on two sides; `sides` are train, val and test with their streams."""
    seen: dict[str, str] = {}
    leaked = set()
    for side, members in sides.items():
        leaked |= {group for group in members if seen.setdefault(group, side) != side}
    if not all(sides.values()):
        empty = ", ".join(side for side, members in sides.items() if not members)
        return Gate("groups", False, NOT_MEASURED, 0, f"No recording group is on the side {empty}.")
    names = f": {', '.join(sorted(leaked)[:3])}." if leaked else "."
    text = f"Of {len(seen):,} recording groups, those on two sides{names}"
    return Gate("groups", not leaked, len(leaked), 0, text)


def licences(sources: list[dict], *, allowed: list[str]) -> Gate:
    """Return whether all recordings of the training and validation sides have a licence that is allowed.

    Parameters
    ----------
    sources : rows of source, upstream, licence and recordings
    """
    bad = [row for row in sources if row["licence"] not in allowed]
    count = sum(row["recordings"] for row in bad)
    names = "; ".join(f"{row['source']}: {row['licence'] or 'none stated'}" for row in bad)
    total = sum(row["recordings"] for row in sources)
    text = f"Of {total:,} recordings trained or tuned on, those under another licence than {', '.join(allowed)}"
    return Gate("licences", total > 0 and not bad, count, 0, text + (f": {names}." if names else "."))


def versions(changed: list[str], stale: list[str]) -> list[Gate]:
    """Return whether the commit holds all code and data: nothing is changed for Git, nor for DVC."""

    def listing(names: list[str]) -> str:
        return ": " + ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else ""

    return [
        Gate("code", not changed, len(changed), 0, f"Files that the commit does not have so{listing(changed)}."),
        Gate("data", not stale, len(stale), 0, f"Stages and data that dvc.lock does not have so{listing(stale)}."),
    ]


def judge(facts: dict, p: params.Promotion) -> list[Gate]:
    """Return all gates, judged by what `evidence.gather` returns."""
    comparison = facts["comparison"]
    return [
        new(comparison),
        *versions(facts["changed"], facts["stale"]),
        validation(facts["validation"]),
        groups(facts["groups"]),
        licences(facts["sources"], allowed=p.licences),
        recall(comparison, alpha=p.alpha),
        slices("recall-slices", comparison["slices"], "Recall is", alpha=p.alpha),
        false_incidents(comparison, alpha=p.alpha),
        slices("false-incident-slices", comparison["negatives"], "False incidents are", alpha=p.alpha),
        false_incident_bound(comparison, limit=p.max_false_incidents_per_hour),
        int8(facts["streams"], limit=p.max_int8_drop),
        seeds(facts["seeds"], min_seeds=p.min_seeds, max_seed_spread=p.max_seed_spread),
        *parity_gates(facts["firmware"], max_differing_codes=p.max_differing_codes),
        *budgets(facts["report"], facts["firmware"], max_bytes=p.max_bytes, max_arena_bytes=p.max_arena_bytes,
                 board=p.board, max_instructions=p.max_instructions),
    ]  # fmt: skip
