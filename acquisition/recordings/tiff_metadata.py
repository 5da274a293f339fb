"""What the metadata of a TIFF file says: OME-XML, or the description that ImageJ writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.recordings.grid import FileFacts
from livespt.acquisition.recordings.movie import MovieUnits, one_pixel_size
from livespt.acquisition.recordings.units import micrometers, seconds, unknown_unit

PLANES = "DeltaT of the planes"


def ome_facts(xml: str, series: Sequence[tuple[str, tuple[int, ...]]]) -> FileFacts:
    """Read units, times and names from the OME-XML of a file or a set of files.

    Parameters
    ----------
    xml
        The document, which declares no entities.
    series
        Axes and shape of each image, in the order of the document.
    """
    root = ElementTree.fromstring(xml)
    images = root.findall("{*}Image")
    pixels = [found for image in images if (found := image.find("{*}Pixels")) is not None]
    if not pixels:
        return FileFacts()
    first = pixels[0]
    sizes = [first.get(f"PhysicalSize{axis}") for axis in "YXZ"]
    units = [first.get(f"PhysicalSize{axis}Unit", "µm") for axis in "YXZ"]
    y, x, z = (micrometers(*one) for one in zip(sizes, units, strict=True))
    planes = [(one, plane) for one in range(len(pixels)) for plane in pixels[one].iter()
              if plane.tag.rpartition("}")[2] == "Plane"]  # fmt: skip
    exposures = [
        exposure
        for _, plane in planes
        if (exposure := seconds(plane.get("ExposureTime"), plane.get("ExposureTimeUnit", "s")))
    ]
    increment = first.get("TimeIncrementUnit", "s")
    names = [channel.get("Name", "") for channel in first.findall("{*}Channel")]
    return FileFacts(
        MovieUnits(
            one_pixel_size(y, x),
            seconds(first.get("TimeIncrement"), increment),
            z,
            float(np.median(exposures)) if exposures else None,
        ),
        units_origin="OME-XML",
        interval_origin="TimeIncrement",
        time_s=_plane_times(planes, series),
        time_origin=PLANES,
        notices=tuple(
            unknown_unit(*one) for one in {*zip(sizes, units, strict=True)} if unknown_unit(*one)
        ),
        positions=tuple(image.get("Name", "") for image in images) if len(series) > 1 else (),
        channels=tuple(names) if all(names) else (),
    )


def _plane_times(
    planes: list[tuple[int, Any]], series: Sequence[tuple[str, tuple[int, ...]]]
) -> NDArray[np.float64] | None:
    """Seconds of each image of the file, by its axes but y, x and samples; NaN: none; or None."""
    axes = [axis for axis in series[0][0].upper() if axis not in "YXS"]
    shapes = [shape[: len(axes)] for _, shape in series]
    longest = tuple(map(max, zip(*shapes, strict=True))) if axes else ()
    times = np.full((len(series), *longest), np.nan)
    for image, plane in planes:
        value = _delta(plane)
        at = tuple(int(plane.get(f"The{axis}", 0)) for axis in axes)
        inside = image < len(series) and all(i < n for i, n in zip(at, longest, strict=True))
        if value is not None and inside:
            times[(image, *at)] = value
    if not np.isfinite(times).any():
        return None
    return times if len(series) > 1 else times[0]


def _delta(plane: Any) -> float | None:
    """DeltaT of a plane in seconds, which may be 0 or below."""
    factor = seconds(1, plane.get("DeltaTUnit", "s"))
    try:
        value = float(plane.get("DeltaT", "nan"))
    except ValueError:
        return None
    return value * factor if factor is not None and np.isfinite(value) else None


def imagej_facts(facts: dict[str, Any], tags: Any) -> FileFacts:
    """Read the units that ImageJ or a writer in its name has stored.

    `fps` is the speed at which ImageJ plays a stack, and no interval of a recording.
    """
    unit = facts.get("unit", "")
    sizes: list[float | None] = []
    notices = []
    for name in ("YResolution", "XResolution"):
        pixels, units = tags[name].value if name in tags else (0, 1)
        own = facts.get(f"{name[0].lower()}unit", unit)
        sizes.append(micrometers(units / pixels, own) if pixels else None)
        if pixels and sizes[-1] is None and (told := unknown_unit(units / pixels, own)):
            notices.append(told)
    interval = seconds(facts.get("finterval"), facts.get("tunit", "s"))
    if interval is None and facts.get("finterval"):
        notices.append(unknown_unit(facts["finterval"], facts.get("tunit", "s")))
    if interval is None and facts.get("fps"):
        notices.append(
            f"fps = {facts['fps']:g} is the speed at which ImageJ plays it, no frame interval"
        )
    z_step = micrometers(facts.get("spacing"), facts.get("zunit", unit))
    return FileFacts(
        MovieUnits(one_pixel_size(*sizes), interval, z_step),
        units_origin="ImageJ's description",
        interval_origin="finterval",
        notices=tuple(dict.fromkeys(filter(None, notices))),
    )
