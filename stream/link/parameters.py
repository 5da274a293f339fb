"""Parameters of the linker, refused where no linking can be done with them."""

from __future__ import annotations

import math

from livespt.stream.errors import SettingError
from livespt.stream.settings import MOTION_MODELS


def check_parameters(
    search_range: float,
    memory: int,
    ndim: int,
    *,
    motion: str,
    intensity_weight: float,
    refine: int,
) -> None:
    """Refuse parameters out of their range.

    Raises
    ------
    SettingError
        It says which one, and what to give instead.
    """
    if motion not in MOTION_MODELS:
        raise SettingError(f"no motion model {motion!r}; choose one of {', '.join(MOTION_MODELS)}")
    if not (math.isfinite(intensity_weight) and intensity_weight >= 0):
        raise SettingError(f"intensity_weight is {intensity_weight}; give 0 or more")
    if not (math.isfinite(search_range) and search_range > 0):
        raise SettingError(f"search_range is {search_range}; give a distance above 0 (pixels)")
    if memory < 0:
        raise SettingError(f"memory is {memory}; give 0 or more frames")
    if refine < 0 or (refine and motion == "none"):
        raise SettingError(
            f"refine is {refine} with motion {motion!r}; give 0 or more frames, and a motion "
            "model (auto, brownian, velocity) to judge links by"
        )
    if ndim not in (2, 3):
        raise SettingError(f"ndim is {ndim}; points have 2 or 3 coordinates")
