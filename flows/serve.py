"""The flows on a server, on a schedule: `python -m flows.serve` in the project's folder."""

from prefect import serve
from prefect.deployments.runner import EntrypointType, RunnerDeployment

from flows.monitor import monitor
from flows.retrain import retrain
from flows.review import review
from gunshot.base import params


def deployments() -> list[RunnerDeployment]:
    """Return retrain and monitor with their schedules of params.yaml, and review, which they start."""
    crons = params.load("schedule").schedule
    given = {"entrypoint_type": EntrypointType.MODULE_PATH}
    return [
        retrain.to_deployment("retrain", cron=crons.retrain, parameters={"reason": "schedule"}, **given),
        monitor.to_deployment("monitor", cron=crons.monitor, **given),
        review.to_deployment("review", **given),
    ]


if __name__ == "__main__":
    serve(*deployments())
