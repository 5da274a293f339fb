"""Options of an analysis and facts of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from livespt.stream.errors import SettingError
from livespt.stream.host.atomic_files import Durability


@dataclass(frozen=True)
class Options:
    """What a person may choose for an analysis; None: as the replayed run, or the default."""

    localizer: Path | None = None
    segmenter: Path | None = None
    uncoating: Path | None = None
    classifier: Path | None = None  # a user's, of models/task; none otherwise
    search_range: float | None = None  # pixels
    memory: int | None = None  # frames
    motion: str | None = None  # one of `stream.link.motion_model.MODELS`
    read_intensity: bool | None = None  # the label is lost with the coat
    lineage: bool | None = None  # tell tracks that merge and split
    refine: int | None = None  # frames after which links are judged once more
    provider: str = "cpu"  # "cpu", "cuda" or "auto"
    threads: int = 1


class Facts(NamedTuple):
    """What is known of the frames to come."""

    source: str
    axes: str  # "yx" or "zyx"
    shape: tuple[int, ...]
    dtype: str
    pixel_size_um: float | None = None
    frame_interval_s: float | None = None
    z_step_um: float | None = None


def check_options(options: Options) -> None:
    """Refuse values that no run can use."""
    if options.search_range is not None and not 0 < options.search_range < 1000:
        raise SettingError(
            f"search_range must lie between 0 and 1000 px, not {options.search_range}"
        )
    if options.memory is not None and not 0 <= options.memory < 1000:
        raise SettingError(f"memory must lie from 0 to 999 frames, not {options.memory}")
    if options.threads < 1:
        raise SettingError(f"threads must be 1 or more, not {options.threads}")


class LiveOrders(NamedTuple):
    """What the workers of a run are told."""

    ring: str
    out: Path
    facts: Facts
    options: Options
    endpoint: str
    keys: Path | None
    durability: Durability
    checkpoint_s: float
