"""Great Expectations between the stages: `facts` measures, `suites` declares what must hold, `data_docs` shows it."""

import os

# Read by Great Expectations when it is imported, which `expectations` alone does, and late.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

from gunshot.validation.data_docs import page
from gunshot.validation.expectations import field, report, validate

__all__ = ["field", "page", "report", "validate"]
