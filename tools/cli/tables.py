"""Commands on tables: export the tracks of a run; run linker and motion analysis on their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from livespt.tools.cli.command import Command
from livespt.tools.cli.options import (
    COLUMNS,
    OVERWRITE,
    SEGMENTER,
    UNCOATING,
    setting_option,
    uncoating_of,
)
from livespt.tools.cli.parameters import COUNT, INDEX, PATH, POSITIVE, option
from livespt.tools.cli.printing import report


@click.command(cls=Command)
@click.argument("run", type=PATH)
@click.argument("out", type=PATH)
@option(
    "--for",
    "program",
    type=click.Choice(["trackpy", "saspt", "gemspa", "locan", "napari"]),
    unset="livespt, as trackpy",
    help="Program for which the columns of a table are named.",
)
@option(
    "--cut-gaps",
    is_flag=True,
    help="Cut tracks where a frame is missing, for programs that take rows as frames.",
)
@OVERWRITE
def export(run: Path, out: Path, **values: Any) -> None:
    """Write the tracks of RUN.zarr to a table.

    The extension of OUT chooses the format: .csv, .parquet, .xml (TrackMate) or .geff.
    """
    from livespt.tools.tables.export import export_run

    report(export_run(run, out, **values))


@click.command(cls=Command)
@click.argument("spots", type=PATH)
@click.argument("out", type=PATH)
@setting_option("search_range", 5.0)
@setting_option("memory", 0)
@setting_option("motion", "none")
@setting_option("refine", 0)
@option(
    "--lineage",
    type=click.Choice(["off", "light", "distance"]),
    default="off",
    help="Find tracks that merge and split: by column intensity, which adds up, or by distance "
    "alone; they are written to OUT_lineage.csv.",
)
@option(
    "--lineage-range",
    type=POSITIVE,
    unset="the search range",
    help="Greatest distance of two tracks that merge or split, pixels.",
)
@option(
    "--pixel-size-um",
    type=POSITIVE,
    unset="as stored in the table",
    help="Size of a pixel, micrometres, for positions that are not in pixels.",
)
@COLUMNS
@OVERWRITE
def link(spots: Path, out: Path, **values: Any) -> None:
    """Link the localizations of a table to tracks.

    SPOTS has the columns frame, y, x[, z], or is a table of TrackMate, ThunderSTORM, Picasso or
    another program (docs/tables.md). OUT.csv has the same rows and columns, and `particle`.
    """
    from livespt.tools.tables.link import link_table

    report(link_table(spots, out, say=click.echo, **values))


@click.command(cls=Command)
@click.argument("tracks", type=PATH)
@click.argument("out", type=PATH)
@option("--pixel-size-um", type=POSITIVE, required=True, help="Size of a pixel, micrometres.")
@option(
    "--frame-interval-s",
    type=POSITIVE,
    unset="median step of column time_s",
    help="Time from one frame to the next, seconds.",
)
@option(
    "--z-step-um", type=POSITIVE, unset="pixel size", help="What 1 in column z is, micrometres."
)
@option(
    "--lag",
    type=INDEX,
    unset="that of settled states, 20 with the shipped models",
    help="Look-ahead: a point is classified from its track up to so many frames later. Any number "
    "is accepted: beyond the longest look-ahead of the models (30 with the shipped ones), the "
    "longest answers, and a line says so. Column lag of OUT tells what each row used; it is less "
    "where the track ends sooner.",
)
@option(
    "--offline", is_flag=True, help="Classify each point from its whole track, before and after it."
)
@SEGMENTER
@UNCOATING
@option(
    "--classifier",
    type=PATH,
    unset="none",
    help="Your own classifier (.onnx); adds the columns p_CLASS and task.",
)
@option("--read-intensity", is_flag=True, help="Use column intensity to detect uncoating.")
@COLUMNS
@OVERWRITE
def analyze(tracks: Path, out: Path, **values: Any) -> None:
    """Classify the motion of the tracks in a table.

    TRACKS has the columns frame, particle, y, x[, z], or is a table of TrackMate, Picasso or
    another program (docs/tables.md). OUT.csv has the same rows and columns, and the state of each
    point.
    """
    from livespt.tools.tables.analyze import analyze_table

    model, switch = uncoating_of(values)
    values["look_for_uncoating"] = switch.get("uncoating") != "off"
    report(analyze_table(tracks, out, uncoating=model, say=click.echo, **values))


@click.command(cls=Command)
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@option(
    "--min-points",
    type=COUNT,
    default=5,
    help="Least number of points of a stretch; shorter ones join a neighbour.",
)
@option(
    "--pixel-size-um",
    type=POSITIVE,
    unset="as stored; if it is not, lengths are in pixels",
    help="Size of a pixel, micrometres.",
)
@option(
    "--frame-interval-s",
    type=POSITIVE,
    unset="times as stored; if there are none, in frames",
    help="Time from one frame to the next, seconds; sets the times of all points.",
)
@COLUMNS
@OVERWRITE
def segments(source: Path, out: Path, **values: Any) -> None:
    """List the stretches of constant motion of every track.

    A stretch is a part of a track with one motion state: normal, directed, confined or
    subdiffusive. SOURCE is a run, or a table (.csv) written by `analyze` or `export`; OUT.csv is a
    table of the stretches.
    """
    from livespt.tools.tables.segments import segment_table

    report(segment_table(source, out, say=click.echo, **values))


COMMANDS = (link, analyze, segments, export)
