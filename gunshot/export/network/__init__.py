"""The int8 artifact as C: its weights as one typed block, and a function with one call a layer; no interpreter.

The kernels that it calls are `firmware/src/kernels.c`.
"""

from gunshot.export.network.host import check, windows
from gunshot.export.network.source import sources

__all__ = ["check", "sources", "windows"]
