"""The figures of the explore page, in Bokeh."""

import numpy as np
import pandas as pd
from bokeh.layouts import column
from bokeh.models import CDSView, ColumnDataSource, GroupFilter, TabPanel, Tabs
from bokeh.palettes import Category20_20, Viridis256
from bokeh.plotting import figure
from bokeh.transform import linear_cmap

GUN, ENV = "#d55e00", "#0072b2"
SIDE_COLORS = {"train": "#4b2e83", "val": "#9a86c4", "test": "#c9bfe0"}
MANY = 18  # categories with a colour of their own


def counts(chunks: pd.DataFrame, column_: str):
    """Return bars of the chunks by a column, stacked by side, the largest above."""
    table = (
        chunks.groupby([column_, "side"]).size().unstack(fill_value=0).reindex(columns=list(SIDE_COLORS), fill_value=0)
    )
    table = table.loc[table.sum(axis=1).sort_values().index]
    names = [str(name) for name in table.index]
    fig = figure(
        y_range=names, height=90 + 22 * len(names), sizing_mode="stretch_width", toolbar_location=None, tools="hover",
        tooltips="@name: @$name $name", x_axis_label="chunks",
    )  # fmt: skip
    source = ColumnDataSource({"name": names, **{side: table[side].tolist() for side in SIDE_COLORS}})
    fig.hbar_stack(
        list(SIDE_COLORS),
        y="name",
        height=0.75,
        color=list(SIDE_COLORS.values()),
        source=source,
        legend_label=list(SIDE_COLORS),
    )
    fig.legend.location, fig.legend.orientation = "bottom_right", "horizontal"
    fig.x_range.start = 0
    fig.ygrid.visible = False
    return fig


def levels(recordings: pd.DataFrame):
    """Return the recordings by duration and level, a colour a source; a click on the legend hides one."""
    fig = figure(
        height=420, sizing_mode="stretch_width", x_axis_type="log", tools="pan,wheel_zoom,box_zoom,reset,hover",
        tooltips=[("", "@path"), ("", "@duration_s{0.0} s, @rms_db{0.0} dBFS RMS, @peak_db{0.0} dBFS peak")],
        x_axis_label="duration, s", y_axis_label="level, dBFS RMS",
    )  # fmt: skip
    _by_category(fig, recordings, "source", "duration_s", "rms_db", size=5)
    return fig


def embedding(chunks: pd.DataFrame):
    """Return the chunks on two axes of no meaning, in tabs that colour them by class, label, source, side and score."""
    panels = []
    for by in ("class", "label", "source", "side"):
        fig = _plane()
        _by_category(fig, chunks, by, "x", "y", size=4)
        panels.append(TabPanel(child=fig, title=by))
    if "score" in chunks:
        fig, scored = _plane(), ColumnDataSource(_plain(chunks[chunks["score"].notna()]))
        fig.scatter(
            "x", "y", source=scored, size=5, line_color=None, color=linear_cmap("score", Viridis256, 0, 1), name="score"
        )
        panels.append(TabPanel(child=fig, title="score (test)"))
    return column(Tabs(tabs=panels, sizing_mode="stretch_width"), sizing_mode="stretch_width")


def _plane():
    fig = figure(
        height=560, sizing_mode="stretch_width", tools="pan,wheel_zoom,box_zoom,reset,hover",
        tooltips=[("", "@chunk"), ("", "@label, @source, @side")], active_scroll="wheel_zoom",
    )  # fmt: skip
    fig.axis.visible = False
    fig.grid.visible = False
    return fig


def _by_category(fig, table: pd.DataFrame, by: str, x: str, y: str, *, size: int) -> None:
    """Draw a scatter with a legend entry a category; those beyond MANY share one."""
    order = table[by].value_counts().index.tolist()
    shown = table[by].where(table[by].isin(order[:MANY]), "other")
    source = ColumnDataSource(_plain(table.assign(shown=shown)))
    colors = {"gun": GUN, "env": ENV, **SIDE_COLORS}
    for i, name in enumerate([*order[:MANY], *(["other"] if len(order) > MANY else [])]):
        fig.scatter(
            x, y, source=source, view=CDSView(filter=GroupFilter(column_name="shown", group=str(name))), size=size,
            fill_alpha=0.7, line_color=None, color=colors.get(name, Category20_20[i % 20]), legend_label=str(name),
        )  # fmt: skip
    fig.toolbar.logo = None
    fig.legend.click_policy = "hide"
    fig.legend.label_text_font_size = "11px"
    fig.legend.spacing, fig.legend.padding = 0, 4
    fig.add_layout(fig.legend[0], "right")


def _plain(table: pd.DataFrame) -> dict:
    """Return columns as Bokeh stores them small: numbers as float32, all else as text."""
    return {
        name: table[name].to_numpy(np.float32) if table[name].dtype.kind == "f" else table[name].astype(str).tolist()
        for name in table
    }
