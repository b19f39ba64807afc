"""Which runs are marked crashed: those that run, and whose heartbeat has not changed for long; by our own clock."""

import importlib
from uuid import uuid4

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(prefect):
    """A client, and a function that makes a run of a deployment in a state, on the server of this process's flows."""
    from prefect import states
    from prefect.client.orchestration import get_client

    retrain = importlib.import_module("flows.retrain").retrain
    with get_client(sync_client=True) as client:

        def make(state: str):
            run = client.create_flow_run(retrain, state=states.Pending())
            client.set_flow_run_state(run.id, getattr(states, state)(), force=True)
            return run.id

        yield client, make


def test_a_run_that_has_fallen_silent_has_crashed_and_no_other(runs, monkeypatch):
    heartbeats = importlib.import_module("flows.heartbeats")
    client, make = runs
    silent, beating, without = (make("Running") for _ in range(3))
    suspended = make("Suspended")
    clock, beats = [0.0], {silent: uuid4(), suspended: uuid4()}
    monkeypatch.setattr(heartbeats.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(heartbeats, "latest", lambda _, run: uuid4() if run == beating else beats.get(run))
    watch = heartbeats.Watch()
    for clock[0] in (0.0, 50.0, heartbeats.WITHIN_S):
        assert watch.look(client) == []
    clock[0] = heartbeats.WITHIN_S + 1.0
    assert watch.look(client) == [client.read_flow_run(silent).name]
    state = client.read_flow_run(silent).state
    assert (state.type.value, state.message) == ("CRASHED", "no heartbeat for 75 s")
    kept = {run: client.read_flow_run(run).state_type.value for run in (beating, without, suspended)}
    assert kept == {beating: "RUNNING", without: "RUNNING", suspended: "PAUSED"}
    clock[0] = 1000.0
    assert watch.look(client) == []  # it was told once; and after a time without a server all begin anew
    for run in (beating, without, suspended):
        client.delete_flow_run(run)


def test_the_server_knows_the_last_heartbeat_of_a_run(prefect):
    from prefect import flow, runtime
    from prefect.client.orchestration import get_client

    @flow
    def beats_once() -> str:
        return runtime.flow_run.id

    heartbeats = importlib.import_module("flows.heartbeats")
    run = beats_once()
    with get_client(sync_client=True) as client:
        end = heartbeats.time.monotonic() + 30
        while not (beat := heartbeats.latest(client, run)):
            assert heartbeats.time.monotonic() < end
            heartbeats.time.sleep(0.2)
        assert heartbeats.latest(client, run) == beat and heartbeats.latest(client, uuid4()) is None
