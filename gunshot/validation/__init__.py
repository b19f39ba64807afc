"""Great Expectations between the stages: `facts` measures the data, `suites` declares what must hold of it."""

import os

# Read by Great Expectations when it is imported, which `expectations` alone does, and late.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

from gunshot.validation.expectations import report, validate

__all__ = ["report", "validate"]
