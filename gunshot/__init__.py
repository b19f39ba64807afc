"""From a pile of wav files to a gunshot detector on a microcontroller."""

from gunshot.base import processor  # noqa: F401 - first: it sets what NumPy and others read when they load
