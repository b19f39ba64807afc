"""Waveform and spectrogram on one time axis, the windows over both, and what the mouse does there."""

from collections.abc import Callable

import numpy as np
from bokeh.events import DoubleTap, MouseMove, Tap
from bokeh.layouts import column
from bokeh.models import BoxAnnotation, ColumnDataSource, LinearColorMapper, Range1d, Span, VSpan, VStrip
from bokeh.plotting import figure

from gunshot.pages.drawing import Drawing
from gunshot.tags import Tag

COLUMNS = 1600  # drawn at once, of a view with half of it again on either side
DYNAMIC_DB = 75.0  # of the spectrogram's colours
LEAST_S = 0.02  # of sound in view
OWN, SUGGESTED, CURSOR, HEARD = "#0072b2", "#d55e00", "#d62728", "#009e73"


class Canvas:
    """The two figures; times are in samples towards the page, in seconds on the axis."""

    def __init__(self, sr: int, chunk_length: int, *, on_point, on_click, on_drag, on_drop):
        self.sr, self.chunk_length = sr, chunk_length
        self.drawing: Drawing | None = None
        self.dragging = False
        self._on_point, self._on_click, self._on_drag, self._on_drop = on_point, on_click, on_drag, on_drop
        self._moves = 0  # of the mouse, since the box was last dragged
        self._quiet = False  # while the box is put somewhere, as against dragged
        self._wave = ColumnDataSource({"x": [], "y": []}, name="waveform")
        self._image = ColumnDataSource({"image": [], "x": [], "dw": []})
        self._windows = ColumnDataSource({"x0": [], "x1": [], "color": [], "dash": []})
        self._mapper = LinearColorMapper("Magma256", low=0, high=255)
        self.x_range = Range1d(0, 1)
        self._amplitude = Range1d(-1, 1)
        wave = self._figure(200, self._amplitude, "amplitude")
        wave.line("x", "y", source=self._wave, line_color="#444444", line_width=1)
        spectrogram = self._figure(270, Range1d(0, sr / 2000), "kHz")
        spectrogram.image(
            "image", x="x", y=0, dw="dw", dh=sr / 2000, source=self._image, color_mapper=self._mapper, level="image"
        )
        spectrogram.xaxis.axis_label = "s"
        wave.xaxis.visible = False
        self._cursors, self._heard, self._boxes = [], [], []
        for fig in (wave, spectrogram):
            self._dress(fig)
        self.figure = column(wave, spectrogram, sizing_mode="stretch_width", spacing=2)

    def _figure(self, height: int, y_range: Range1d, label: str):
        fig = figure(
            height=height, sizing_mode="stretch_width", x_range=self.x_range, y_range=y_range,
            tools="xpan,xwheel_zoom", active_scroll="xwheel_zoom", toolbar_location=None, min_border_left=60,
            y_axis_label=label,
        )  # fmt: skip
        fig.ygrid.visible = False
        fig.xgrid.grid_line_alpha = 0.3
        fig.xaxis.ticker.desired_num_ticks = 12
        fig.yaxis.ticker.desired_num_ticks = 4
        return fig

    def _dress(self, fig) -> None:
        """Put the windows, the cursor and the box that can be dragged on a figure, and listen to the mouse."""
        fig.add_glyph(self._windows, VStrip(x0="x0", x1="x1", fill_color="color", fill_alpha=0.08, line_color=None))
        fig.add_glyph(self._windows, VSpan(x="x0", line_color="color", line_width=2, line_dash="dash"))
        box = BoxAnnotation(
            left=0, right=0, visible=False, editable=True, movable="x", resizable="none", use_handles=False,
            fill_alpha=0.15, fill_color=CURSOR, line_color=CURSOR, hover_fill_alpha=0.25,
        )  # fmt: skip
        cursor = Span(location=0, dimension="height", line_color=CURSOR, line_width=1)
        heard = Span(location=0, dimension="height", line_color=HEARD, line_width=2, visible=False, name="heard")
        for layout in (box, cursor, heard):
            fig.add_layout(layout)
        self._boxes.append(box)
        self._cursors.append(cursor)
        self._heard.append(heard)
        box.on_change("left", lambda attr, old, new: self._dragged(new))
        fig.on_event(MouseMove, lambda event: self._moved(event.x))
        for click in (Tap, DoubleTap):  # the second of two quick clicks is no Tap
            fig.on_event(click, lambda event: self._on_click(self._samples(event.x)))

    def _samples(self, x: float) -> int:
        return round(x * self.sr)

    def _moved(self, x: float) -> None:
        # Bokeh does not tell the end of a box's drag: until then each move of the mouse comes beside one of the box.
        self._moves += 1
        if self.dragging and self._moves > 1:
            self.dragging = False
            self._on_drop()
        if not self.dragging:
            self._on_point(self._samples(x))

    def _dragged(self, left: float) -> None:
        if not self._quiet:
            self.dragging, self._moves = True, 0
            self._put(left)
            self._on_drag(self._samples(left))

    def _put(self, left: float) -> None:
        """Put the box somewhere on both figures."""
        self._quiet = True
        for box in self._boxes:
            box.update(left=left, right=left + self.chunk_length / self.sr, visible=True)
        self._quiet = False

    @property
    def span(self) -> int:
        """The length of what is in view."""
        return round((self.x_range.end - self.x_range.start) * self.sr)

    def show(self, drawing: Drawing | None) -> None:
        """Show a recording, the whole of it; None empties the canvas."""
        self.drawing = drawing
        n = len(drawing.pcm) if drawing else self.sr
        if drawing:
            level = drawing.spectrogram(0, n, COLUMNS)
            self._top = max(float(level.max()), -90.0)
            peak = 1.05 * max(float(np.abs(drawing.envelope(0, n, COLUMNS)[1:]).max()), 1e-3)
            self._amplitude.update(start=-peak, end=peak)
        duration = n / self.sr
        self.x_range.update(bounds=(0, duration), min_interval=min(LEAST_S, duration))
        self.x_range.update(start=0, end=duration)
        self.redraw()

    def zoom(self, factor: float, around: int) -> None:
        """Show `factor` times as long a time, with a sample staying where it is."""
        start, end = self.x_range.start, self.x_range.end
        now, at = end - start, around / self.sr
        span = max(now * factor, LEAST_S)
        left = at - (at - start) * span / now
        self._view(left, left + span)

    def follow(self, position: int) -> None:
        """Shift the view so that a sample is in it."""
        start, end, at = self.x_range.start, self.x_range.end, position / self.sr
        if not start <= at <= end:
            self._view(at - (end - start) / 2, at + (end - start) / 2)

    def _view(self, start: float, end: float) -> None:
        low, high = self.x_range.bounds
        span = min(end - start, high - low)
        start = min(max(start, low), high - span)
        self.x_range.update(start=start, end=start + span)

    def redraw(self) -> None:
        """Draw what is in view, and half of it on either side."""
        if self.drawing is None:
            self._wave.data, self._image.data = {"x": [], "y": []}, {"image": [], "x": [], "dw": []}
            return
        margin, n = self.span // 2, len(self.drawing.pcm)
        start = max(0, self._samples(self.x_range.start) - margin)
        stop = min(n, self._samples(self.x_range.end) + margin)
        at, low, high = self.drawing.envelope(start, stop, 2 * COLUMNS)
        alike = low is high or np.array_equal(low, high)
        x, y = (at, low) if alike else (np.repeat(at, 2), np.column_stack([low, high]).ravel())
        self._wave.data = {"x": x / self.sr, "y": y}
        level = self.drawing.spectrogram(start, stop, COLUMNS)
        code = np.clip((level - self._top) / DYNAMIC_DB + 1, 0, 1) * 255
        self._image.data = {
            "image": [code.astype(np.uint8)], "x": [start / self.sr], "dw": [(stop - start) / self.sr],
        }  # fmt: skip

    def mark(self, placed: list[Tag]) -> None:
        """Draw the windows."""
        x0 = np.array([tag.start for tag in placed]) / self.sr
        own = [tag.confidence is None for tag in placed]
        self._windows.data = {
            "x0": x0,
            "x1": x0 + self.chunk_length / self.sr,
            "color": [OWN if person else SUGGESTED for person in own],
            "dash": ["solid" if person else "dashed" for person in own],
        }

    def point(self, position: int, under: Tag | None) -> None:
        """Draw the cursor, and the box around the window under it."""
        for cursor in self._cursors:
            cursor.location = position / self.sr
        if under:
            self._put(under.start / self.sr)
        else:
            for box in self._boxes:
                box.visible = False

    def hear(self, time_s: float | None) -> None:
        """Draw how far the recording has been played; None where it is silent."""
        for heard in self._heard:
            heard.update(location=time_s or 0.0, visible=time_s is not None)

    def on_view(self, callback: Callable[[], None]) -> None:
        """Call back when another part of the recording comes into view."""
        for edge in ("start", "end"):
            self.x_range.on_change(edge, lambda attr, old, new: callback())
