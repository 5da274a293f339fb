"""Units of length and time, in the spellings that recordings use."""

from __future__ import annotations

import math

_UM = {
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("å", "angstrom"), 1e-4),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-6),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("inch", "in"), 25400.0),
}
_S = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond"), 1e-3),
    **dict.fromkeys(("us", "µs", "μs", "microsecond"), 1e-6),
    **dict.fromkeys(("min", "minute"), 60.0),
    **dict.fromkeys(("h", "hour"), 3600.0),
}


def micrometers(value: object, unit: object) -> float | None:
    """Length in micrometers; None if it is not a number, not positive, or in an unknown unit."""
    return _convert(value, unit, _UM)


def seconds(value: object, unit: object) -> float | None:
    """Time in seconds; None if it is not a number, not positive, or in an unknown unit."""
    return _convert(value, unit, _S)


def _convert(value: object, unit: object, units: dict[str, float]) -> float | None:
    # ImageJ writes the micro sign as an escape
    name = str(unit).replace("\\u00B5", "µ").strip()
    factor = units.get(name, units.get(name.lower()))
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if factor is None or not math.isfinite(number) or number <= 0:
        return None
    return number * factor
