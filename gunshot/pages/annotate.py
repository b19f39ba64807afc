"""gunshot annotate: a page on which a person places, moves and confirms the tags of recordings."""

import asyncio
import html
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import panel as pn

from gunshot import tags
from gunshot.pages.canvas import Canvas
from gunshot.pages.editing import Desk, Editor
from gunshot.pages.keys import Keys
from gunshot.pages.sounds import Sound, Sounds

REDRAW_MS = 60  # after the view changed: no drawing for each step of a wheel
SUGGESTING = ("o", "a", "A")
FINE_S, COARSE_S = 0.001, 0.01  # by which keys move a window


class Page:
    """What one browser shows of a desk."""

    def __init__(self, desk: Desk, sounds: Sounds, out: Path):
        self.desk, self.sounds, self.out = desk, sounds, out
        self.keys = list(desk.catalogue.recordings)
        self.key: str | None = None
        self.sound = None
        self.cursor = 0
        self._due = False
        self.canvas = Canvas(
            desk.sr, desk.chunk_length,
            on_point=self._point, on_click=self._click, on_drag=self._drag, on_drop=self._drop,
        )  # fmt: skip
        self.canvas.on_view(self._view)
        self.actions = self._actions()
        self._title, self._message = (
            pn.pane.HTML(sizing_mode="stretch_width"),
            pn.pane.HTML(sizing_mode="stretch_width"),
        )
        self._player = pn.pane.Audio(sizing_mode="stretch_width", height=50, throttle=100)
        self._player.param.watch(lambda *events: self._hear(), ["time", "paused"])
        self._window = pn.pane.Audio(sample_rate=desk.sr, autoplay=True, visible=False)  # of a single one
        self._theirs = pn.widgets.Button(label="Take what is on disk", button_type="primary", on_click=self._take)
        self._mine = pn.widgets.Button(label="Overwrite it", button_type="danger", on_click=self._overwrite)
        self._conflict = pn.Row(self._theirs, self._mine, visible=False, margin=0)
        self._list = self._table()

    def _actions(self) -> dict[str, tuple[str, str | None, Callable]]:
        """Return by key what it does: a name, the name of a button where there is one, the function."""
        fine, coarse = round(FINE_S * self.desk.sr), round(COARSE_S * self.desk.sr)
        actions = {
            " ": ("play or pause the whole", "Play", self._play),
            "w": ("play the window under the cursor", "Play window", self._play_window),
            "Enter": ("place a window at the cursor", None, lambda: self._click(self.cursor)),
            "Delete": ("delete the window under the cursor, reject a suggestion", "Delete", self._delete),
            "Backspace": ("as Delete", None, self._delete),
            ",": ("move the window 1 ms to the left", None, lambda: self._shift(-fine)),
            ".": ("move it 1 ms to the right", None, lambda: self._shift(fine)),
            "<": ("move it 10 ms to the left", None, lambda: self._shift(-coarse)),
            ">": ("move it 10 ms to the right", None, lambda: self._shift(coarse)),
            "ArrowLeft": ("cursor to the left, a fiftieth of the view", None, lambda: self._step(-1)),
            "ArrowRight": ("cursor to the right", None, lambda: self._step(1)),
            "[": ("cursor to the window before", None, lambda: self._jump(-1)),
            "]": ("cursor to the next window", None, lambda: self._jump(1)),
            "+": ("zoom in around the cursor", "+", lambda: self.canvas.zoom(0.5, self.cursor)),
            "-": ("zoom out", "−", lambda: self.canvas.zoom(2.0, self.cursor)),
            "0": ("show the whole", "All", lambda: self.canvas.zoom(1e9, self.cursor)),
            "o": ("suggest onsets, found automatically", "Suggest", self._suggest),
            "a": ("accept the suggestion under the cursor", "Accept", self._accept),
            "A": ("accept all suggestions", "Accept all", self._accept_all),
            "u": ("undo", "Undo", self._undo),
            "Control+z": ("as u", None, self._undo),
            "s": ("confirm what is shown, and save", "Confirm & save", self._save),
            "x": ("save, and write each window as a wav", "Split & save", self._split),
            "p": ("previous recording", "Previous", lambda: self._go(-1)),
            "n": ("next recording", "Next", lambda: self._go(1)),
            "N": ("next recording that is not confirmed", None, lambda: self._go(1, unconfirmed=True)),
        }
        return actions if self.desk.onset else {key: act for key, act in actions.items() if key not in SUGGESTING}

    def _table(self) -> pn.widgets.Tabulator:
        table = pn.widgets.Tabulator(
            pd.DataFrame(self.desk.rows()), show_index=False, disabled=True, selectable=1, height=560, width=430,
            header_filters={"recording": {"type": "input", "func": "like", "placeholder": "filter"}, "state": True},
            widths={"state": 105, "tags": 70, "score": 75}, pagination="local", page_size=200, theme="simple",
            layout="fit_columns",
        )  # fmt: skip
        table.on_click(lambda event: self._start(self.keys[event.row]))
        return table

    def layout(self) -> pn.viewable.Viewable:
        """Return the page."""
        buttons = [
            pn.widgets.Button(label=label, description=f"{what} ({key if key != ' ' else 'space'})",
                              on_click=lambda event, key=key: self._press(key))
            for key, (what, label, _) in self.actions.items() if label
        ]  # fmt: skip
        keyboard = Keys(keys=list(self.actions), width=0, height=0)
        keyboard.on_msg(lambda event: self._press(event.data))
        lines = "".join(
            f"<tr><td><kbd>{html.escape('space' if key == ' ' else key)}</kbd></td><td>{html.escape(what)}</td></tr>"
            for key, (what, _, _) in self.actions.items()
        )
        mouse = (
            "<p>Click: place a window. Drag the marked window: move it. Wheel: zoom. Drag elsewhere: shift the view. "
            "Blue: a person's; orange, dashed: a suggestion.</p>"
        )
        keys = pn.Card(pn.pane.HTML(f"{mouse}<table>{lines}</table>"), title="Mouse and keys", collapsed=True)
        main = pn.Column(
            self._title, pn.Row(self._message, self._conflict, height=45),
            pn.pane.Bokeh(self.canvas.figure, sizing_mode="stretch_width"),
            self._player, self._window, pn.FlexBox(*buttons), keys, keyboard, sizing_mode="stretch_width",
        )  # fmt: skip
        self._document = pn.state.curdoc
        self._server = f"http://{pn.state.headers['Host']}"
        self._end = self.desk.subscribe(self._told)
        pn.state.on_session_destroyed(lambda context: self._end())
        pn.state.onload(partial(self._start, self.keys[0]))
        more = pn.widgets.FileDropper(multiple=True, width=430, height=90, visible=self.desk.open_to_more)
        more.param.watch(lambda event: self._add(more), "value")
        return pn.Row(pn.Column(self._list, more), main, sizing_mode="stretch_width")

    # What the person does.

    def _press(self, key: str) -> None:
        what, _, act = self.actions[key]
        if self.sound is None and key not in ("n", "p", "N"):
            return self._say(f"Nothing to {what}: no recording is shown", bad=True)
        try:
            act()
        except (OSError, ValueError) as e:
            self._say(str(e), bad=True)

    def _point(self, position: int) -> None:
        if self.sound is not None:
            self.cursor = min(max(position, 0), self.editor.length - 1)
            self.canvas.point(self.cursor, self.editor.under(self.cursor))

    def _click(self, position: int) -> None:
        if self.sound is not None:
            self.cursor = min(max(position, 0), self.editor.length - 1)
            self.editor.place(self.cursor)
            self._changed()

    def _drag(self, start: int) -> None:
        if under := self.editor.under(self.cursor):
            self.cursor = self.editor.move(under, start)
            self._changed()

    def _drop(self) -> None:
        self.editor.rest()

    def _shift(self, by: int) -> None:
        if under := self.editor.under(self.cursor):
            self.cursor = self.editor.move(under, under.start + by)
            self._changed()

    def _step(self, direction: int) -> None:
        self._point(self.cursor + direction * max(1, self.canvas.span // 50))
        self.canvas.follow(self.cursor)

    def _jump(self, direction: int) -> None:
        self._point(self.editor.beside(self.cursor, direction))
        self.canvas.follow(self.cursor)

    def _delete(self) -> None:
        if under := self.editor.under(self.cursor):
            self.editor.delete(under)
            self._changed()

    def _accept(self) -> None:
        if under := self.editor.under(self.cursor):
            self.editor.accept(under)
            self._changed()

    def _accept_all(self) -> None:
        self.editor.accept(*self.editor.suggested)
        self._changed()

    def _undo(self) -> None:
        self.editor.undo()
        self._changed()

    def _suggest(self) -> None:
        count = self.desk.suggest(self.key, self.sound.drawing.pcm)
        self._say(f"{count} onsets found automatically" if count else "No onset found")

    def _play(self) -> None:
        self._player.paused = not self._player.paused

    def _play_window(self) -> None:
        self._player.paused = True
        if under := self.editor.under(self.cursor):
            pcm = self.editor.windows(self.sound.drawing.pcm)[under.start]
            self._window.object = pcm
            self._window.param.update(time=0, paused=False)

    def _save(self, *, force: bool = False) -> bool:
        accepted = len(self.editor.suggested)
        try:
            placed = self.desk.save(self.key, force=force)
        except tags.ChangedError as e:
            self._conflict.visible = True
            self._say(f"{e}. Nothing is saved yet: which of the two counts?", bad=True)
            return False
        self._conflict.visible = False
        suggestions = f", {accepted} of them suggestions" if accepted else ""
        shots = f"{len(placed)} shots{suggestions}" if placed else "no shot in it"
        self._say(f"Confirmed and saved: {shots}")
        return True

    def _split(self) -> None:
        self.editor.windows(self.sound.drawing.pcm)  # what cannot be cut is not saved either
        if self._save():
            files = self.desk.split(self.key, self.sound.drawing.pcm, self.out)
            self._say(f"Confirmed and saved; {len(files)} windows written to {self.out}")

    def _take(self, event) -> None:
        self.desk.reload(self.key)
        self._conflict.visible = False
        self._say("What is on disk is shown")

    def _overwrite(self, event) -> None:
        self._save(force=True)

    def _add(self, dropper: pn.widgets.FileDropper) -> None:
        sent = dict(dropper.value)
        dropper.value.clear()  # in place, which tells nobody
        for name, content in sent.items():
            try:
                key = self.desk.add(name, content if isinstance(content, bytes) else content.encode())
            except (OSError, ValueError) as e:
                return self._say(str(e), bad=True)
            self._start(key)

    def _go(self, direction: int, *, unconfirmed: bool = False) -> None:
        place = self.keys.index(self.key) if self.key else -1
        ahead = self.keys[place + 1 :] if direction > 0 else self.keys[:place][::-1]
        if unconfirmed:
            ahead = [key for key in ahead if self.desk.row(key)["state"] != "confirmed"]
        if not ahead:
            return self._say("There is no further recording" if direction > 0 else "This is the first recording")
        self._start(ahead[0])

    # What follows from it.

    @property
    def editor(self) -> Editor:
        """The editor of the recording that is shown."""
        return self.desk.editor(self.key)

    def _start(self, key: str) -> None:
        """Show a recording once it is there: a long one, or one to be resampled, takes seconds."""
        self.key, self.sound = key, None
        self._player.paused = True
        self._conflict.visible = False
        self._list.selection = [self.keys.index(key)]
        self._say("Loading")
        self._refresh()
        pn.state.execute(partial(self._load, key))

    async def _load(self, key: str) -> None:
        try:
            sound, fault = await asyncio.to_thread(self.sounds.get, key), None
        except (OSError, ValueError) as e:
            sound, fault = None, e
        # After waiting, this no longer holds the document.
        self._document.add_next_tick_callback(partial(self._show, key, sound, fault))

    def _show(self, key: str, sound: Sound | None, fault: Exception | None) -> None:
        if self.key != key:
            return  # the person has gone on
        self.sound, self.cursor = sound, 0
        if sound:
            self.desk.open(key, len(sound.drawing.pcm))
        self.canvas.show(sound and sound.drawing)
        self._player.object = f"{self._server}/sound/{sound.name}" if sound else None
        self._player.time = 0
        self._say(str(fault) if fault else "", bad=bool(fault))
        self._refresh()

    def _changed(self) -> None:
        self.desk.tell(self.key)

    def _told(self, key: str) -> None:
        """Show what was changed, here or in another browser."""
        if pn.state.curdoc is self._document:
            self._update(key)
        else:
            self._document.add_next_tick_callback(lambda: self._update(key))

    def _update(self, key: str) -> None:
        if key not in self.keys:
            self.keys.append(key)
            self._list.value = pd.DataFrame([self.desk.row(key) for key in self.keys])
        row = self.desk.row(key)
        self._list.patch({column: [(self.keys.index(key), value)] for column, value in row.items()})
        if key == self.key:
            self._refresh()

    def _refresh(self) -> None:
        placed = self.editor.placed if self.sound else []
        self.canvas.mark(placed)
        if self.sound and not self.canvas.dragging:
            self._point(self.cursor)
        suggested = sum(tag.confidence is not None for tag in placed)
        rest = f", {suggested} suggested" if suggested else ""
        count = f" · {len(placed)} windows{rest}" if self.sound else ""  # unknown until it is loaded
        self._title.object = f"<b>{html.escape(self.key)}</b> · {self.desk.row(self.key)['state']}{count}"

    def _say(self, text: str, *, bad: bool = False) -> None:
        style = "color:#b00020" if bad else "color:#555"
        self._message.object = f'<span role="status" style="{style}">{html.escape(text)}&nbsp;</span>'

    def _view(self) -> None:
        if not self._due:
            self._due = True
            pn.state.curdoc.add_timeout_callback(self._redraw, REDRAW_MS)

    def _redraw(self) -> None:
        self._due = False
        self.canvas.redraw()

    def _hear(self) -> None:
        self.canvas.hear(None if self._player.paused else self._player.time)
