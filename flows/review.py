"""A person's decision about a candidate, carried out: `python -m flows.review FOLDER` in the project's folder."""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from prefect import flow, get_run_logger, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.settings import get_current_settings
from pydantic import Field

from flows.commands import GUNSHOT, run
from flows.failures import command, notify
from flows.promote import promote
from flows.promote import publish as publish_decision
from flows.worktree import TIME
from gunshot.base import params, tables
from gunshot.promotion import registry
from gunshot.promotion import review as library
from gunshot.promotion.repository import Repository
from gunshot.signing import record

REVIEW = "review/review"  # the deployment
AUTO, NOBODY = "promotion.auto", "nobody"
DAY_S = 86400


class Decision(RunInput):
    """What a reviewer fills in, as the options of `gunshot review`."""

    decision: Literal["approve", "reject"]
    by: str
    reason: str
    overrule: list[str] = Field(default_factory=list)
    acknowledge: list[str] = Field(default_factory=list)


def decide(folder: Path, given: Decision) -> None:
    """Run `gunshot review`; RuntimeError where it refuses the decision."""
    more = [
        text for name in ("overrule", "acknowledge") for value in getattr(given, name) for text in (f"--{name}", value)
    ]
    run(GUNSHOT, "review", folder, given.decision, "--by", given.by, "--reason", given.reason, *more)


def asked(folder: Path) -> str:
    """Return what the form says above its fields: where the dossier is, and what an approval must name."""
    judged = tables.read_json(folder / library.GATES)
    failed = [
        f"- {g['name']}: {g['figure']}, limit {g['limit']}. {g['text']}" for g in judged["gates"] if not g["passed"]
    ]
    axes = sorted({name.partition("=")[0] for name in judged["small"]})
    counts = f"{len(judged['gates']) - len(failed)} of {len(judged['gates'])} gates passed"
    lines = [f"{counts}. Read {os.path.relpath(folder / library.PAGE)}."]
    if failed:
        lines += ["These failed; to approve, overrule each with a reason of its own, GATE=REASON:", "\n".join(failed)]
    if axes:
        lines.append(f"Too few cases to test, to be acknowledged: {', '.join(axes)}.")
    return "\n\n".join(lines)


def settle(folder: Path) -> dict | None:
    """Promote or archive a candidate as review.json says, and return the record's entry; None without a decision.

    Where it is on the record already, from another reviewer or from a run that could not publish it, only publish it.
    """
    decision = library.decided(folder)
    if decision is None:
        return None
    entry = recorded(decision["call"])
    if entry is None and decision["decision"] == "approve":
        return promote(decision["call"])
    entry = entry or registry.reject(**decision["call"])
    publish_decision()
    return entry


def recorded(call: dict) -> dict | None:
    """Return the entry of a decision that is on the record with its commit and tags."""
    event, registry_stage = ("promoted", "prod") if "overrule" in call else ("rejected", registry.ARCHIVED)
    asked = {"event": event, "stage": registry_stage, "commit": call["candidate"], "by": call["by"]}
    asked["dossier"] = call["review"]["dossier"]
    entry = next((e for e in reversed(record.read()) if asked.items() <= e.items()), None)
    return entry if entry and registry.settled(Repository(Path()), entry) else None


@flow(on_failure=[notify], on_crashed=[notify])
def review(folder: str, auto: bool = False) -> dict | None:
    """Wait for a decision where there is none, carry it out, and return the record's entry.

    A run of a deployment is suspended, which holds no process, until someone has filled in `Decision` in Prefect's
    pages; a decision that is refused is asked for again. Elsewhere it returns None where nobody has decided.

    auto : approve where every gate passed and no slice is small
    """
    path, log = Path(folder), get_run_logger()
    if auto and not (path / library.FILE).exists():
        try:
            decide(path, Decision(decision="approve", by=AUTO, reason="all gates passed"))
        except RuntimeError as error:
            log.warning("left to a person: %s", error)
    while runtime.deployment.id and not (path / library.FILE).exists():
        days = params.load("promotion").promotion.review_days
        given = suspend_flow_run(
            wait_for_input=Decision.with_initial_data(description=asked(path)), timeout=int(days * DAY_S)
        )
        try:
            decide(path, given)
        except RuntimeError as error:
            log.error("%s", error)
    return settle(path)


def waiting(candidates: Path) -> list[Path]:
    """Return the folders of the candidates that nobody has decided on, oldest first."""
    return [
        path.parent
        for path in sorted(candidates.glob(f"*Z/{library.GATES}"))
        if not (path.parent / library.FILE).exists()
    ]


def expire(candidates: Path, now: datetime | None = None) -> None:
    """Reject, on the record, the candidates that nobody decided on within promotion.review_days.

    Prefect fails a suspended review by then, and runs nothing that could.
    """
    days = params.load("promotion").promotion.review_days
    for folder in sorted(path.parent for path in candidates.glob(f"*Z/{library.GATES}")):
        asked_at = datetime.strptime(folder.name, TIME).replace(tzinfo=UTC)
        try:
            if not (folder / library.FILE).exists() and (now or datetime.now(UTC)) - asked_at > timedelta(days=days):
                decide(folder, Decision(decision="reject", by=NOBODY, reason=f"no decision within {days:g} days"))
            decision = library.decided(folder)
            # Also where an earlier run decided, and could not record it.
            if decision and decision["call"]["by"] == NOBODY and not recorded(decision["call"]):
                settle(folder)
        except (RuntimeError, ValueError) as error:  # no key here, a remote not reached: no reason not to retrain
            get_run_logger().error("%s: %s", folder, error)


def resume(folder: Path) -> None:
    """Let the runs end that wait in Prefect's pages for a decision on a candidate that was made by the command.

    They find it in the folder, ask no more and publish it once more. Without a server none waits.
    """
    if not get_current_settings().api.url:
        return
    written = tables.read_json(folder / library.FILE)
    given = {key: written[key] for key in ("decision", "by", "reason")}
    of_reviews = FlowFilter(name=FlowFilterName(any_=[review.name]))
    paused = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(
            flow_filter=of_reviews, flow_run_filter=paused, limit=200, sort="START_TIME_DESC"
        ):
            if Path(run.parameters["folder"]).resolve() == folder.resolve():
                client.resume_flow_run(run.id, run_input=given)
                print(f"Prefect's run {run.name} waited for this decision and goes on with it")


if __name__ == "__main__":
    if command(review, *sys.argv[1:]) is None:
        print(f"error: {sys.argv[1]}: nobody has decided; see `gunshot review --help`", file=sys.stderr)
        sys.exit(2)
    resume(Path(sys.argv[1]))
