"""Calibration for a site: what a device hears where it hangs, and the threshold that it needs there."""
