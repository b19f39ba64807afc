"""When a thing runs and what is published: flows type the commands that a person would, and compute nothing."""

import os

# Read by Prefect when it is imported: nothing is sent anywhere, and a busy machine has time to start a server.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")

# It configures logging when it is imported. In the midst of a flow that holds logging's lock and waits for Prefect's
# handler to send what was logged, whose thread waits for that lock: the flow would stand for ever.
import gto  # noqa: F401
