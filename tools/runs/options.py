"""Options of an analysis and facts of its frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from livespt.stream.errors import SettingError
from livespt.stream.host.atomic_files import Durability
from livespt.stream.settings import check
from livespt.stream.types import Start

RECORDED, SHIPPED = MODEL_CHOICES = ("as-recorded", "shipped")


@dataclass(frozen=True)
class Options:
    """What a user may choose for an analysis; None: as in the replayed run, or the default.

    Settings that are not named in `settings` are those of the replayed run, or the defaults.

    Raises
    ------
    SettingError
        A value is out of its range.
    """

    localizer: Path | None = None
    segmenter: Path | None = None
    uncoating: Path | None = None
    classifier: Path | None = None  # a user's, of models/task; none otherwise
    settings: Mapping[str, Any] = field(default_factory=dict)  # some of `stream.settings.Settings`
    # for a replayed run: the networks that it recorded, or, where a later release replaced one, the
    # one that is shipped now; the settings are those of the run
    models: str = RECORDED
    provider: str = "cpu"  # "cpu", "cuda" or "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        check(self.settings)
        if self.models not in MODEL_CHOICES:
            raise SettingError(f"models must be {' or '.join(MODEL_CHOICES)}, not {self.models!r}")
        if self.threads < 1:
            raise SettingError(f"threads must be 1 or more, not {self.threads}")


class Facts(NamedTuple):
    """Properties of the frames of a run."""

    source: str
    axes: str  # "yx" or "zyx"
    shape: tuple[int, ...]
    dtype: str
    pixel_size_um: float | None = None
    frame_interval_s: float | None = None
    z_step_um: float | None = None
    exposure_s: float | None = None
    recording: dict[str, Any] | None = None  # as of `Start`

    @classmethod
    def of(cls, start: Start) -> Self:
        """Return the properties of the frames of a run, from its first word."""
        return cls(*(getattr(start, name) for name in cls._fields))


class LiveOrders(NamedTuple):
    """What the workers of a run are started with."""

    ring: str
    out: Path
    facts: Facts
    options: Options
    endpoint: str
    keys: Path | None
    durability: Durability
    checkpoint_s: float
