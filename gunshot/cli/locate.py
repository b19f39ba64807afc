"""gunshot locate: where a shot was fired that several devices heard."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gunshot.base.files import shown
from gunshot.cli.app import app
from gunshot.cli.options import given

if TYPE_CHECKING:
    from gunshot.hub.interchange import Onsets
    from gunshot.hub.location import Location


@app.command()
def locate(
    file: Annotated[
        Path,
        typer.Argument(parser=given, help="A CSV with the columns device, lat, lon, onset, clock_error_ms."),
    ],
    temperature: Annotated[
        float | None,
        typer.Option(help="Of the air, degrees Celsius. Default: 15, with an error of 15."),
    ] = None,
    temperature_error: Annotated[
        float | None, typer.Option(help="Of --temperature, one standard deviation. Default: 5.")
    ] = None,
    geojson: Annotated[
        Path | None, typer.Option(parser=given, help="Write the ellipse as a GeoJSON Feature, for any map.")
    ] = None,
) -> None:
    """Print where a shot was fired, with the ellipse that holds it 95 times in 100; or why that cannot be said.

    One row a device that heard this one shot. lat and lon are degrees. onset is when it arrived: ISO 8601 (UTC where
    no zone is named), or seconds by a clock that all devices share. clock_error_ms is one standard deviation of that
    device's clock; where it is empty the clock is not disciplined, and the device is not used.

    Two devices give no place, three give one that nothing checks, from four on they check each other: one whose onset
    is late (an echo, no line of sight) or early (a shock wave) is named and left out. A residual is how late an onset
    is against the place, in ms. The half axes of the ellipse are in m, its bearing is that of the longer one.
    """
    from gunshot.base import tables
    from gunshot.hub import interchange, location

    onsets = interchange.read(file)
    unread = interchange.UNREAD_C, interchange.UNREAD_ERROR_C
    temperature_c, error_c = unread if temperature is None else (temperature, interchange.READ_ERROR_C)
    error_c = error_c if temperature_error is None else temperature_error
    try:
        at = location.locate(onsets.arrivals, temperature_c=temperature_c, temperature_error_c=error_c)
    except ValueError as e:
        raise ValueError(f"{file}: {e}") from None
    print(_text(at, onsets))
    if geojson:
        tables.write_json(geojson, interchange.feature(at, onsets))
        print(f"see {geojson}")


def _text(at: "Location", onsets: "Onsets") -> str:
    """Return a place and its ellipse, or the reason for none, and a row a device."""
    from gunshot.hub import plane

    if at.reason:
        lines = [f"no position: {at.reason}"]
    else:
        lat, lon = plane.degrees(at.position_m, origin=onsets.origin)
        e = at.ellipse
        check = "" if at.checked else "; three devices, so that nothing checks it"
        lines = [
            f"position  {lat:.6f}, {lon:.6f}{check}",
            f"time      {onsets.time(at.time_s)}",
            f"ellipse   {e.major_m:.1f} m x {e.minor_m:.1f} m, bearing {e.bearing_deg:.0f} degrees (half axes, 95 %)",
        ]
    width = max(6, *(len(shown(a.device)) for a in onsets.arrivals))
    lines += ["", f"{'device':{width}}  residual_ms"]
    for each in onsets.arrivals:
        late_ms = 1000 * at.residuals_s[each.device] if each.device in at.residuals_s else None
        shown_ms = f"{'-' if late_ms is None else f'{late_ms:.1f}':>11}"
        lines.append(f"{shown(each.device):{width}}  {shown_ms}  {at.left_out.get(each.device, '')}".rstrip())
    return "\n".join(lines)
