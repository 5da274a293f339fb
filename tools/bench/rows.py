"""Rows: what `livespt bench` measures, and how large each is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from livespt.stream.errors import SettingError, nearest


class Row(NamedTuple):
    """One job at one size."""

    name: str
    job: str  # of `worker.JOBS`
    side: int  # pixels, of a frame
    n: int  # particles in a frame
    share: float = 1.0  # frames of a chunk, in units of those asked for: short jobs take more
    others: tuple[str, ...] = ()  # programs that do the same, of `others.JOBS`

    @property
    def needs_images(self) -> bool:
        """Its inputs are images, not positions."""
        return self.job in ("localizer", "replay")


LOCALIZERS = ("trackpy-numba", "trackpy-python", "picasso")
LINKERS = ("trackpy-link", "trackpy-link-python", "laptrack")

ROWS = (
    Row("localizer-100", "localizer", 512, 100, others=LOCALIZERS),
    Row("localizer-500", "localizer", 512, 500, others=LOCALIZERS),
    Row("linker-100", "linker", 512, 100, share=25, others=LINKERS),
    Row("linker-1000", "linker", 512, 1000, share=10, others=LINKERS),
    Row("states-100", "states", 512, 100, share=2),
    Row("states-1000", "states", 512, 1000),
    Row("states-5000", "states", 512, 5000),
    Row("replay-512-100", "replay", 512, 100),
    Row("replay-512-1000", "replay", 512, 1000),
    Row("replay-1024-1000", "replay", 1024, 1000),
    Row("replay-2048-1000", "replay", 2048, 1000, share=0.25),
    Row("overlay-5000", "overlay", 512, 5000, share=0.25),
)


def chosen(names: Sequence[str]) -> list[Row]:
    """The rows of these names, or that begin with them: `replay` is all of `replay-...`.

    Raises
    ------
    SettingError
        A name that no row has.
    """
    known = dict.fromkeys([row.job for row in ROWS] + [row.name for row in ROWS])
    for name in names:
        if name not in known:
            raise SettingError(f"no row '{name}'{nearest(name, known)}: {', '.join(known)}")
    return [row for row in ROWS if not names or row.name in names or row.job in names]
