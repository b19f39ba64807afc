"""Which shots a detector should find: the clear ones."""

import pandas as pd

CLEAR_DB, CLEAR_M = 10.0, 200.0  # of a shot that a detector should find: its least peak SNR, its largest distance


def is_clear(shots: pd.DataFrame) -> pd.Series:
    """Return which shots a detector should find: at least CLEAR_DB of peak SNR, at most CLEAR_M away where known."""
    return (shots["peak_snr_db"] >= CLEAR_DB) & (shots["distance_m"] <= CLEAR_M)
