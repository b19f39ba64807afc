"""gunshot locate, as a person types it."""

import json

import pytest
from typer.testing import CliRunner

from gunshot.cli.app import app
from gunshot.hub import plane

SHOT_M, SPEED = (60.0, 40.0), 342.0
PLACE_M = {
    "north": (0.0, 300.0),
    "south": (0.0, -280.0),
    "east": (310.0, 0.0),
    "west": (-300.0, 20.0),
    "mill": (200, 250),
}


@pytest.fixture
def file(tmp_path):
    rows = ["device,lat,lon,onset,clock_error_ms"]
    for name, (east, north) in PLACE_M.items():
        lat, lon = plane.degrees((east, north), origin=(52.5, 13.4))
        second = 3 + ((east - SHOT_M[0]) ** 2 + (north - SHOT_M[1]) ** 2) ** 0.5 / SPEED
        rows.append(f"{name},{lat:.7f},{lon:.7f},2026-05-01T22:10:{second:09.6f}Z,3")
    rows.append(f"cellar,{lat:.7f},{lon:.7f},2026-05-01T22:09:00Z,")
    (tmp_path / "shot.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "shot.csv"


def run(*command) -> tuple[int, str, Exception | None]:
    result = CliRunner().invoke(app, ["locate", *map(str, command)])
    return result.exit_code, result.output, result.exception


def test_a_place_its_ellipse_and_a_row_a_device(file):
    code, text, _ = run(file, "--temperature", 18)
    lines = text.splitlines()
    assert (
        code == 0 and lines[0].startswith("position  52.500") and lines[1] == "time      2026-05-01T22:10:03.000+00:00"
    )
    lat, lon = (float(part) for part in lines[0].split("  ")[1].split(", "))
    assert plane.metres(lat, lon, origin=(52.5, 13.4)) == pytest.approx(SHOT_M, abs=2)
    assert "half axes, 95 %" in lines[2]
    assert [line.split()[0] for line in lines[5:]] == [*PLACE_M, "cellar"]
    assert lines[-1].endswith("its clock is not disciplined")


def test_geojson_beside_it(file, tmp_path):
    code, text, _ = run(file, "--geojson", tmp_path / "shot.geojson")
    feature = json.loads((tmp_path / "shot.geojson").read_text())
    assert code == 0 and text.splitlines()[-1] == f"see {tmp_path / 'shot.geojson'}"
    assert feature["geometry"]["type"] == "Polygon" and feature["properties"]["left_out"].keys() == {"cellar"}


def test_no_place_is_an_answer(file):
    file.write_text("\n".join(file.read_text().splitlines()[:3]) + "\n")
    code, text, _ = run(file)
    assert code == 0 and text.startswith("no position: 2 devices with a disciplined clock")


def test_a_temperature_that_nobody_read_is_less_sure(file):
    def major_m(*options) -> float:
        return float(run(file, *options)[1].splitlines()[2].split()[1])

    assert major_m() > major_m("--temperature", 18) > major_m("--temperature", 18, "--temperature-error", 0.5)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("--temperature", -300), "temperature_c=-300.0 must be above -273.15"),
        (("--temperature-error", 0), "temperature_error_c=0.0 must be above 0"),
    ],
)
def test_an_error_names_file_value_and_rule(file, options, rule):
    code, _, error = run(file, *options)
    assert code == 1 and str(error) == f"{file}: {rule}"


def test_a_device_named_twice(file):
    file.write_text(file.read_text() + file.read_text().splitlines()[1] + "\n")
    assert str(run(file)[2]) == f"{file}: device north has 2 onsets, it must have one of a shot"
