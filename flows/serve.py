"""The flows on a server, on a schedule: `python -m flows.serve` in the project's folder."""

import sys

from prefect import serve
from prefect.client.orchestration import get_client
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.settings import get_current_settings
from tenacity import retry, retry_if_result, stop_after_delay, wait_exponential

from flows import heartbeats
from flows.monitor import monitor
from flows.receive import receive
from flows.retrain import retrain
from flows.review import review
from gunshot.base import params

WAIT_S = 300  # for the server to answer


def deployments() -> list[RunnerDeployment]:
    """Return retrain and monitor with their schedules of params.yaml, review, which they start, and receive."""
    crons = params.load("schedule").schedule
    given = {"entrypoint_type": EntrypointType.MODULE_PATH}
    return [
        retrain.to_deployment("retrain", cron=crons.retrain, parameters={"reason": "schedule"}, **given),
        monitor.to_deployment("monitor", cron=crons.monitor, **given),
        review.to_deployment("review", **given),
        receive.to_deployment("receive", **given),
    ]


@retry(
    stop=stop_after_delay(WAIT_S),
    wait=wait_exponential(min=1, max=10),
    retry=retry_if_result(lambda fault: fault is not None),
    before_sleep=lambda state: print(f"waiting for Prefect's server: {state.outcome.result()}", file=sys.stderr),
    retry_error_callback=lambda state: state.outcome.result(),
)
def fault() -> Exception | None:
    """Return why the server cannot be reached, None once it answers; it is asked for WAIT_S."""
    with get_client(sync_client=True) as client:
        return client.api_healthcheck()


if __name__ == "__main__":
    at = get_current_settings().api.url
    if at and (reason := fault()):
        print(f"error: {at}: no answer in {WAIT_S} s ({reason}); start it with `prefect server start`", file=sys.stderr)
        sys.exit(2)
    if at:
        heartbeats.watch()
    if not params.load("schedule").schedule.notify:
        print("schedule.notify in params.yaml is empty: nobody is told of a run that fails", file=sys.stderr)
    serve(*deployments())
