"""Commands on tables: tracks out of runs, and the linker and the motion analysis alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from livespt.tools.cli.command import FINITE, PATH, POSITIVE, Command, report
from livespt.tools.cli.options import setting_option


@click.command(cls=Command)
@click.argument("run", type=PATH)
@click.argument("out", type=PATH)
@click.option("--overwrite", is_flag=True)
def export(run: Path, out: Path, overwrite: bool) -> None:
    """Write the tracks of RUN.zarr to OUT: .csv, .parquet, .xml (TrackMate) or .geff."""
    from livespt.tools.tables.export import export_run

    report(export_run(run, out, overwrite=overwrite))


@click.command(cls=Command)
@click.argument("spots", type=PATH)
@click.argument("out", type=PATH)
@setting_option("search_range", 5.0)
@setting_option("memory", 0)
@setting_option("motion", "none")
@setting_option("refine", 0)
@click.option("--overwrite", is_flag=True)
def link(spots: Path, out: Path, **values: Any) -> None:
    """Link the localizations of SPOTS.csv (frame, y, x[, z]): adds `particle`."""
    from livespt.tools.tables.link import link_table

    report(link_table(spots, out, **values))


@click.command(cls=Command)
@click.argument("tracks", type=PATH)
@click.argument("out", type=PATH)
@click.option("--pixel-size-um", type=POSITIVE, required=True)
@click.option("--frame-interval-s", type=POSITIVE, required=True)
@click.option("--z-step-um", type=FINITE, help="Of `z`; default: the pixel size.")
@click.option("--lag", type=int, help="Look-ahead, frames. Default: the settled lag.")
@click.option("--offline", is_flag=True, help="Look both ways along whole tracks.")
@click.option("--segmenter", type=PATH, help="Motion model (.onnx). Default: shipped.")
@click.option("--uncoating", type=PATH, help="Uncoating model (.onnx). Default: shipped.")
@click.option("--classifier", type=PATH, help="Task classifier (.onnx): adds p_CLASS and task.")
@click.option("--read-intensity", is_flag=True, help="Uncoating shows in the column `intensity`.")
@click.option("--overwrite", is_flag=True)
def analyze(tracks: Path, out: Path, **values: Any) -> None:
    """Motion states of the tracks in TRACKS.csv (frame, particle, y, x[, z])."""
    from livespt.tools.tables.analyze import analyze_table

    report(analyze_table(tracks, out, **values))


@click.command(cls=Command)
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@click.option("--min-points", type=int, default=5, show_default=True, help="Of a segment.")
@click.option("--pixel-size-um", type=POSITIVE, help="Of a table; a run knows its own.")
@click.option("--frame-interval-s", type=POSITIVE, help="Likewise.")
@click.option("--overwrite", is_flag=True)
def segments(source: Path, out: Path, **values: Any) -> None:
    """Stretches of one motion of every track in SOURCE: a run, or a .csv with states."""
    from livespt.tools.tables.segments import segment_table

    report(segment_table(source, out, **values))


COMMANDS = (link, analyze, segments, export)
