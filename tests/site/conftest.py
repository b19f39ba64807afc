"""A project with a forest that takes bangs for shots, an operator's key, and a site to record."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from gunshot.signing import keys, record
from gunshot.site.heard import Heard
from tests.cli.test_commands import forest, project  # noqa: F401 - fixtures

SR = 16000


def sound(starts_s: list[float], duration_s: float, seed: int = 0) -> np.ndarray:
    """Bangs in faint noise."""
    rng = np.random.default_rng(seed)
    y = 1e-4 * rng.standard_normal(int(duration_s * SR))
    for start_s in starts_s:
        part = y[round(start_s * SR) :][:1600]
        part += 0.5 * rng.standard_normal(len(part)) * np.exp(-np.arange(len(part)) / 400)
    return y


def write(file: Path | str, starts_s: list[float], duration_s: float, seed: int = 0) -> None:
    Path(file).parent.mkdir(exist_ok=True)
    sf.write(file, sound(starts_s, duration_s, seed), SR)


def recording(
    name: str = "a.wav", duration_s: float = 600.0, alerts: tuple[float, ...] = (), onsets: tuple = (), began=None
) -> Heard:
    """A recording that was heard, with one threshold."""
    began = began and datetime.fromisoformat(began).replace(tzinfo=UTC)
    every = [np.array(each, float) for each in onsets]
    return Heard(name, Path(name), "0" * 64, began, int(duration_s * SR), [np.array(alerts, float)], every)


@pytest.fixture
def site(forest, project, monkeypatch) -> Path:  # noqa: F811
    """The project's folder, with forest.joblib and a key that is trusted there."""
    monkeypatch.setenv(keys.VARIABLE, str(project / "operator" / "key.pem"))
    keys.create("operator", project / record.KEYS)
    return project
