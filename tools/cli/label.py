"""Label commands: `livespt label NAME`, their arguments."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from livespt.tools.cli.command import PATH, POSITIVE, Finite, Group, report

COUNT = click.IntRange(min=0)


def _vector(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
        if len(numbers) not in (2, 3) or not math.isfinite(sum(numbers)):
            raise ValueError
    except ValueError:
        raise click.BadParameter(f"'{text}' is not Z,Y,X or Y,X: as in 0.38,0.05,0.01") from None
    return numbers


@click.group(cls=Group)
def label() -> None:
    """Make truth to train with."""


@label.command("colocalization")
@click.argument("source", type=PATH)
@click.argument("partners", type=PATH, required=False)
@click.option("--out", type=PATH, required=True, help="Table to write (.csv).")
@click.option("--particle-channel", type=COUNT, default=0, show_default=True, help="Of a run.")
@click.option("--label-channel", type=COUNT, default=1, show_default=True, help="Likewise.")
@click.option("--pixel-size-um", type=POSITIVE, help="Of a table; a run knows its own.")
@click.option("--z-step-um", type=POSITIVE, help="Of `z`; default: the run's, or the pixel size.")
@click.option(
    "--offset-um",
    callback=_vector,
    metavar="[Z,]Y,X",
    help="To add to the partners' positions. Default: as pairs of tracks tell.",
)
@click.option(
    "--contact-um", type=POSITIVE, default=0.4, show_default=True, help="Nearer is contact."
)
@click.option(
    "--contact-frames",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Of contact that a pair needs at least.",
)
@click.option(
    "--bridge-frames",
    type=COUNT,
    default=2,
    show_default=True,
    help="Without contact that a stretch survives.",
)
@click.option(
    "--stretch-frames",
    type=click.IntRange(min=3),
    default=20,
    show_default=True,
    help="Length of a stretch of contact at least.",
)
@click.option(
    "--median-um", type=POSITIVE, default=0.6, show_default=True, help="Distance in it at most."
)
@click.option(
    "--correlation",
    type=Finite(min=-1, max=1),
    default=0.9,
    show_default=True,
    help="Pearson's r of the positions in it, on each axis, at least.",
)
@click.option(
    "--track-frames", type=COUNT, default=20, show_default=True, help="Points of a track at least."
)
@click.option(
    "--end-frames",
    type=COUNT,
    default=2,
    show_default=True,
    help="From either end of a track, where no change is believed.",
)
@click.option(
    "--first-contact-um",
    type=POSITIVE,
    default=0.75,
    show_default=True,
    help="Contact, while the offset is looked for.",
)
@click.option("--first-contact-frames", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--first-bridge-frames", type=COUNT, default=3, show_default=True)
@click.option("--first-median-um", type=POSITIVE, default=0.5, show_default=True)
@click.option("--overwrite", is_flag=True)
def label_colocalization(source: Path, out: Path, **values: Any) -> None:
    """Particles of SOURCE that lose their partner in another channel: uncoated from then on.

    SOURCE is a run with two channels, or a table of tracks (.csv) beside that of its PARTNERS.
    """
    from livespt.models.motion.colocalization import Limits
    from livespt.tools.tables.label import label_colocalization

    stretch, correlation = values.pop("stretch_frames"), values.pop("correlation")

    def limits(prefix: str) -> Limits:
        names = ("contact_um", "contact_frames", "bridge_frames", "median_um")
        own = {name: values.pop(prefix + name) for name in names}
        return Limits(stretch_frames=stretch, correlation=correlation, **own)

    first = limits("first_")
    report(label_colocalization(source, out, limits=limits(""), coarse_limits=first, **values))
