"""A run whose process is gone is marked crashed, from the heartbeats of Prefect's runs: every 30 s, by pyproject.toml.

Not by an automation of Prefect's, which goes by the order in which events arrive: a heartbeat that is sent as a run is
suspended arrives after that, and the automation then marks a run crashed that waits for a person.
"""

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from prefect.states import Crashed

BEAT = "prefect.flow-run.heartbeat"
WITHIN_S, LOOK_S = 75, 10
RUNNING = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))


def latest(client: SyncPrefectClient, run: UUID) -> UUID | None:
    """Return the last heartbeat that the server has of a run, None where it has none."""
    occurred = EventOccurredFilter(until=datetime.now(UTC) + timedelta(days=1))  # by its machine's clock
    resource = EventResourceFilter(id=[f"prefect.flow-run.{run}"])
    given = EventFilter(occurred=occurred, event=EventNameFilter(name=[BEAT]), resource=resource)
    events = client.read_events(given, limit=1).events
    return events[0].id if events else None


class Watch:
    """What is known of the heartbeats of the runs that run; by this machine's clock alone, whatever theirs say."""

    def __init__(self):
        self.beats: dict[UUID, tuple[UUID, float]] = {}

    def look(self, client: SyncPrefectClient) -> list[str]:
        """Mark the running runs crashed whose last heartbeat is WITHIN_S old; return their names."""
        running = client.read_flow_runs(flow_run_filter=RUNNING, limit=200, sort="START_TIME_DESC")
        before, self.beats, now = self.beats, {}, time.monotonic()
        crashed = []
        for run in running:
            beat = latest(client, run.id)
            if beat is None:
                continue
            known, since = before.get(run.id, (None, now))
            self.beats[run.id] = beat, since if beat == known else now
            if now - self.beats[run.id][1] > WITHIN_S:
                client.set_flow_run_state(run.id, Crashed(message=f"no heartbeat for {WITHIN_S} s"))
                crashed.append(run.name)
        return crashed

    def go_on(self) -> None:
        """Look every LOOK_S, as long as this process lives; after a time without the server begin anew."""
        log = logging.getLogger(__name__)
        with get_client(sync_client=True) as client:
            while True:
                try:
                    for name in self.look(client):
                        log.warning("the run %s has crashed: no heartbeat for %s s", name, WITHIN_S)
                except Exception as error:  # the server is away: silence says nothing then
                    log.warning("heartbeats are not seen: %s", error)
                    self.beats = {}
                time.sleep(LOOK_S)


def watch() -> None:
    """Watch the heartbeats in a thread that ends with this process."""
    threading.Thread(target=Watch().go_on, name="heartbeats", daemon=True).start()
