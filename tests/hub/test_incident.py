"""A real incident: seven shots, ten seconds of six street sensors, heard by this project's own detector."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gunshot.base import params
from gunshot.detect import listener, recording
from gunshot.hub.location import Arrival, Location, locate
from gunshot.models.model import load_model

REPO = Path(__file__).parents[2]
SHARED, MODEL = REPO.parent / "shared" / "location", REPO / "models" / "quantized" / "model.tflite"
SHOTS, RHYTHM, FURTHEST = 7, 1, 4  # a sensor that hears these and nothing else, and the one 920 m away
SCORE = 0.2  # at the operating point none of the six hears anything
CLOCK_S = 0.001  # disciplined by satellites
MOVES_S = 0.15  # by which an onset shifts against another sensor's as the gun moves

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="no recordings of a real incident beside the repository"),
]


def of_shots(onset_s: np.ndarray, other_s: np.ndarray) -> np.ndarray:
    """Each shot's onset at a sensor, NaN where it has none [shape=(SHOTS,)], by the rhythm that another heard."""

    def gaps(shift_s: float) -> np.ndarray:
        return np.abs(onset_s[:, None] - other_s - shift_s)

    def worth(shift_s: float) -> float:
        return float(np.maximum(0, 1 - gaps(shift_s).min(axis=0) / MOVES_S).sum())

    gap = gaps(max((onset_s[:, None] - other_s).ravel(), key=worth))
    return np.where(gap.min(axis=0) < MOVES_S, onset_s[gap.argmin(axis=0)], np.nan)


@pytest.fixture(scope="module")
def sensors() -> pd.DataFrame:
    return pd.read_csv(SHARED / "six_sensors.csv")


@pytest.fixture(scope="module")
def onset_s(sensors) -> np.ndarray:
    """Onsets by sensor and shot [shape=(6, SHOTS)]."""
    p = params.load("audio", "chunks", "context", "features", "detector", path=REPO / "params.yaml")
    model = load_model(MODEL)

    def heard(row, logit: float) -> np.ndarray:
        ear = listener.Listener(model, [logit], p)
        return row.start_s + recording.joined(recording.listen(SHARED / row.file, ear)).onset_s

    every = [heard(row, model.threshold(SCORE)) for row in sensors.itertuples()]
    assert len(every[RHYTHM]) == SHOTS
    return np.array([of_shots(own_s, every[RHYTHM]) for own_s in every])


@pytest.fixture(scope="module")
def places(sensors, onset_s) -> list[Location]:
    return [
        locate(
            [
                Arrival(Path(row.file).stem, row.east_m, row.north_m, t, CLOCK_S)
                for row, t in zip(sensors.itertuples(), shot, strict=True)
                if np.isfinite(t)
            ],
            temperature_c=float(sensors.temperature_c[0]),
            temperature_error_c=2.0,
        )
        for shot in onset_s.T
    ]


def test_five_sensors_agree_on_six_shots(places):
    agree = [at for at in places if sum(abs(r) <= 0.01 for r in at.residuals_s.values()) >= 5 and not at.reason]
    assert len(agree) >= 6


def test_the_sixth_is_named_each_time_for_the_same_error(places):
    """The one furthest away hears each shot 20 to 30 ms sooner than the others' place has it."""
    named = [at for at in places if list(at.left_out) == [f"sensor{FURTHEST + 1}"]]
    assert len(named) >= 6
    error_s = np.array([at.residuals_s[f"sensor{FURTHEST + 1}"] for at in named])
    assert np.all((error_s > -0.035) & (error_s < -0.015))
    assert np.quantile(error_s, 0.8) - np.quantile(error_s, 0.2) < 0.005


def test_the_gun_moves_by_tens_of_metres(places):
    place = np.array([at.position_m for at in places if not at.reason])
    way_m = np.hypot(*np.diff(place, axis=0).T)
    assert way_m.max() < 30 and 20 < np.hypot(*(place[-1] - place[0])) < 60
