"""What was taken of a movie, and from where, in lines for a person."""

from __future__ import annotations

from livespt.acquisition.recordings.movie import Movie

UNITS = {  # name, factor, unit
    "pixel_size_um": ("pixel size", 1.0, "um"),
    "z_step_um": ("z step", 1.0, "um"),
    "frame_interval_s": ("interval", 1000.0, "ms"),
    "exposure_s": ("exposure", 1000.0, "ms"),
}


def summary(movie: Movie) -> list[str]:
    """Return lines: axes and units with their origins, then what a person has to know."""
    counts = [f"{n} {name}" for name, n in movie.counts().items()]
    sides = " x ".join(f"{n} {axis}" for n, axis in zip(movie.shape, movie.axes, strict=True))
    lines = [_line("axes", f"{', '.join(counts)} of {sides}", movie.origins.get("axes", ""))]
    for field, (name, factor, unit) in UNITS.items():
        value = getattr(movie, field)
        if value is not None:
            lines.append(_line(name, f"{value * factor:.6g} {unit}", movie.origins.get(field, "")))
        elif field in ("pixel_size_um", "frame_interval_s"):
            cure = f"unknown: give --{field.replace('_', '-')} where it is needed"
            lines.append(_line(name, cure, ""))
    return lines + [f"note: {notice}" for notice in movie.notices]


def _line(name: str, value: str, origin: str) -> str:
    return f"{name:<11} {value}" + (f"  (from {origin})" if origin else "")
