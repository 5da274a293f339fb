"""Which recipe trains a localizer: that for marked particles, or that of the shipped networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from livespt.stream.errors import SettingError
from livespt.tools.train_localizer import localizer, student

OF_STUDENT = ("out", "steps", "seed", "device", "overwrite")  # settings that both recipes have
MARKS = ("frame", "at", "clicks")  # settings that mark particles


def make_localizer(
    movie: str | Path,
    *,
    size: int | None = None,
    preset: str | None = None,
    resume: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Train a localizer on marked particles or, with a preset, on simulated spots.

    Parameters
    ----------
    movie : path, or "simulated".
    size : side of the crop of a particle, pixels; needed without a preset.
    preset : name in `PRESETS` of student.py, for movie "simulated" and without marked particles.
    resume : continue the training of a preset from its checkpoint.
    settings : further ones of `localizer.train`; with a preset, those of `student.train`.

    Raises
    ------
    SettingError : the settings belong to the other recipe, or the size is missing; or as raised by
        the recipe.
    """
    if preset is None:
        if resume:
            raise SettingError("--resume needs --preset: other training cannot be continued")
        if size is None:
            raise SettingError("the size of the crop is missing: give --size, in pixels")
        return localizer.train(movie, size=size, **settings)
    marked = size is not None or any(settings.get(name) for name in MARKS)
    if str(movie) != student.SIMULATED or not settings.get("fast") or marked:
        raise SettingError(
            "--preset trains on simulated spots: give 'simulated --fast' and no particle"
        )
    own = {name: settings[name] for name in OF_STUDENT if name in settings}
    return student.train(preset=preset, resume=resume, **own)
