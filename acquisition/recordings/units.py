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


def unknown_unit(value: object, unit: object) -> str:
    """Say that a positive number has a unit that is not known; empty: it is none, or is known."""
    number = _positive(value)
    name = str(unit).strip()
    if number is None or not name or name.lower() in ("pixel", "pixels", "px", "none"):
        return ""
    if _factor(name, _UM | _S) is not None:
        return ""
    return f"the unit {name!r:.30} is not known: a size or interval in it is left out"


def _convert(value: object, unit: object, units: dict[str, float]) -> float | None:
    factor, number = _factor(unit, units), _positive(value)
    return None if factor is None or number is None else number * factor


def _factor(unit: object, units: dict[str, float]) -> float | None:
    """Factor of a unit, in the singular or the plural."""
    # ImageJ writes the micro sign as an escape
    name = str(unit).replace("\\u00B5", "µ").strip()
    for spelling in (name, name.lower(), name.lower().removesuffix("s")):
        if spelling in units:
            return units[spelling]
    return None


def _positive(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
