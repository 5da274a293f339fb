"""Commands that label tracks, as truth to train with: `livespt label NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from livespt.tools.cli.command import Group
from livespt.tools.cli.options import OVERWRITE, together
from livespt.tools.cli.parameters import (
    COUNT,
    INDEX,
    PATH,
    POSITIVE,
    Integer,
    Number,
    Numbers,
    option,
)
from livespt.tools.cli.printing import report


@click.group(cls=Group)
def label() -> None:
    """Label tracks, as truth to train with."""


_contact_options = together(
    option(
        "--contact-um",
        type=POSITIVE,
        default=0.4,
        help="Distance below which a pair is in contact, micrometres.",
    ),
    option(
        "--contact-frames",
        type=COUNT,
        default=4,
        help="Least number of frames of contact of a pair.",
    ),
    option(
        "--bridge-frames",
        type=INDEX,
        default=2,
        help="Longest interruption of a stretch of contact, frames.",
    ),
    option(
        "--stretch-frames",
        type=Integer(3),
        default=20,
        help="Least length of a stretch of contact, frames.",
    ),
    option(
        "--median-um",
        type=POSITIVE,
        default=0.6,
        help="Greatest median distance in a stretch, micrometres.",
    ),
    option(
        "--correlation",
        type=Number(-1, 1),
        default=0.9,
        help="Least Pearson correlation of the positions in a stretch, on each axis.",
    ),
)
_first_options = together(
    option(
        "--first-contact-um",
        type=POSITIVE,
        default=0.75,
        help="As --contact-um, while the offset is estimated.",
    ),
    option(
        "--first-contact-frames",
        type=COUNT,
        default=5,
        help="As --contact-frames, while the offset is estimated.",
    ),
    option(
        "--first-bridge-frames",
        type=INDEX,
        default=3,
        help="As --bridge-frames, while the offset is estimated.",
    ),
    option(
        "--first-median-um",
        type=POSITIVE,
        default=0.5,
        help="As --median-um, while the offset is estimated.",
    ),
)


@label.command("colocalization")
@click.argument("source", type=PATH)
@click.argument("partners", type=PATH, required=False)
@option("--out", type=PATH, required=True, help="Table to write (.csv).")
@option("--particle-channel", type=INDEX, default=0, help="Channel of the particles in a run.")
@option("--label-channel", type=INDEX, default=1, help="Channel of the lost label in a run.")
@option(
    "--pixel-size-um", type=POSITIVE, unset="that of a run", help="Size of a pixel, micrometres."
)
@option(
    "--z-step-um",
    type=POSITIVE,
    unset="that of a run, or the pixel size",
    help="What 1 in column z is, micrometres.",
)
@option(
    "--offset-um",
    type=Numbers("[Z,]Y,X", 2, 3),
    unset="estimated from the tracks",
    help="Offset to add to the positions of the partners, micrometres.",
)
@_contact_options
@option("--track-frames", type=INDEX, default=20, help="Least number of points of a track.")
@option(
    "--end-frames",
    type=INDEX,
    default=2,
    help="Frames at either end of a track in which no loss is accepted.",
)
@_first_options
@OVERWRITE
def label_colocalization(source: Path, out: Path, **values: Any) -> None:
    """Label particles that lose their partner in another colour.

    They count as uncoated from then on. SOURCE is a run with two channels, or a table of tracks
    (.csv), with the table of its PARTNERS.
    """
    from livespt.models.motion.colocalization import Limits
    from livespt.tools.labels.label import label_colocalization

    stretch, correlation = values.pop("stretch_frames"), values.pop("correlation")

    def limits(prefix: str) -> Limits:
        names = ("contact_um", "contact_frames", "bridge_frames", "median_um")
        own = {name: values.pop(prefix + name) for name in names}
        return Limits(stretch_frames=stretch, correlation=correlation, **own)

    first = limits("first_")
    report(label_colocalization(source, out, limits=limits(""), coarse_limits=first, **values))
