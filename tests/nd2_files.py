"""ND2 files as NIS-Elements 3 lays them out, as far as the package nd2 reads them.

No program but the microscope's own writes this format; the parts, their names and their encoding
are those that readers of it agree on. The pixels and metadata of these files are right because the
package nd2, which knows real files, reads them so.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = 0x0ABECEDA
MAP, END = b"ND2 FILEMAP SIGNATURE NAME 0001!", b"ND2 CHUNK MAP SIGNATURE 0000001!"
HEADER = struct.Struct("<IIQ")
ALIGNED = 4072  # length of an image's name: its pixels begin 4096 bytes behind its header
KINDS = {bool: (1, "<?"), int: (3, "<I"), float: (6, "<d")}


def variant(**values: Any) -> bytes:
    """Encode named values; a list holds values without a name."""
    return b"".join(_value(name, value) for name, value in values.items())


def _value(name: str, value: Any) -> bytes:
    named = (name + "\0").encode("utf-16-le")
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else (("", one) for one in value)
        parts = [_value(key, one) for key, one in pairs]
        head = bytes((11, len(name) + 1)) + named
        size = len(head) + 12 + sum(map(len, parts))
        body = struct.pack("<IQ", len(parts), size) + b"".join(parts)
        return head + body + bytes(8 * len(parts))  # offsets of the parts, which nobody reads
    if isinstance(value, str):
        return bytes((8, len(name) + 1)) + named + (value + "\0").encode("utf-16-le")
    code, form = KINDS[type(value)]
    return bytes((code, len(name) + 1)) + named + struct.pack(form, value)


def experiment(loops: Sequence[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    """Nest loops, the slowest first."""
    kind, parameters = loops[0]
    inner = {"ppNextLevelEx": [experiment(loops[1:])]} if len(loops) > 1 else {}
    return {"eType": kind, "uLoopPars": parameters, **inner}


def write_nd2(
    path: Path,
    pixels: NDArray[Any],
    axes: str,
    *,
    times_ms: Sequence[float] | None = None,
    period_ms: float = 0.0,
    pixel_size_um: float | None = None,
    z_step_um: float = 0.0,
    exposure_ms: float | None = None,
    positions: Sequence[str] = (),
    channels: Sequence[str] = ("",),
    missing: Sequence[int] = (),
    facts: str = "",
) -> Path:
    """Write pixels with axes from "tpzcyx", channels last before y, x.

    Times are those of the images, which are numbered over all axes before the channels; images
    whose numbers are `missing` are left out of the file. `facts` is the text of its settings.
    """
    outer = axes[: -3 if "c" in axes else -2]
    size = dict(zip(axes, pixels.shape, strict=True))
    images = pixels.reshape(-1, size.get("c", 1), size["y"], size["x"])
    loop = {
        "t": (1, {"uiCount": size.get("t", 1), "dStart": 0.0, "dPeriod": period_ms,
                  "dDuration": 0.0}),
        "p": (2, {"bUseZ": False, "Points": [
            {"dPosX": 1.0, "dPosY": 2.0, "dPosZ": 0.0, "dPosName": name} for name in positions]}),
        "z": (4, {"uiCount": size.get("z", 1), "dZLow": 0.0, "dZHigh": 1.0, "dZStep": z_step_um,
                  "dZHome": 0.0, "bZInverted": False, "iType": 0}),
    }  # fmt: skip
    bits = 8 * pixels.itemsize
    attributes = {
        "uiWidth": size["x"], "uiWidthBytes": size["x"] * images.shape[1] * pixels.itemsize,
        "uiHeight": size["y"], "uiComp": images.shape[1], "uiBpcInMemory": bits,
        "uiBpcSignificant": bits, "uiSequenceCount": len(images), "eCompression": 2,
    }  # fmt: skip
    planes = {
        f"a{i}": {"sDescription": name, "uiCompCount": 1, "pFluorescentProbe": {"m_sName": ""}}
        for i, name in enumerate(channels)
    }
    metadata = {
        "bCalibrated": pixel_size_um is not None, "dCalibration": pixel_size_um or 1.0,
        "sPicturePlanes": {"uiCount": len(planes), "sPlaneNew": planes},
    }  # fmt: skip
    parts = {
        "ImageAttributesLV!": variant(SLxImageAttributes=attributes),
        "ImageMetadataSeqLV|0!": variant(SLxPictureMetadata=metadata),
        "ImageTextInfoLV!": variant(SLxImageTextInfo={"TextInfoItem_6": facts}),
    }
    if outer:
        loops = experiment([loop[axis] for axis in outer])
        parts["ImageMetadataLV!"] = variant(SLxExperiment=loops)
    if times_ms is not None:
        parts["CustomData|AcqTimesCache!"] = np.array(times_ms, "<f8").tobytes()
    if exposure_ms is not None:
        tag = {"ID": "Camera_ExposureTime1", "Type": 3, "Group": 0, "Size": len(images),
               "Desc": "Exposure Time", "Unit": "ms"}  # fmt: skip
        parts["CustomDataVar|CustomDataV2_0!"] = variant(
            **{"CustomTagDescription_v1.0": {"Tag0": tag}}
        )
        parts["CustomData|Camera_ExposureTime1!"] = np.full(len(images), exposure_ms).tobytes()
    for number, image in enumerate(images):
        if number not in missing:
            data = np.ascontiguousarray(np.moveaxis(image, 0, -1)).tobytes()
            parts[f"ImageDataSeq|{number}!"] = bytes(8) + data
    _write(path, parts)
    return path


def _write(path: Path, parts: dict[str, bytes]) -> None:
    entries = b""
    with path.open("wb") as file:
        file.write(HEADER.pack(MAGIC, 32, 64) + b"ND2 FILE SIGNATURE CHUNK NAME01!")
        file.write(b"Ver3.0".ljust(64, b"\0"))
        for name, data in parts.items():
            entries += name.encode() + struct.pack("<QQ", file.tell(), len(data))
            length = ALIGNED if name.startswith("ImageDataSeq") else len(name)
            file.write(HEADER.pack(MAGIC, length, len(data)) + name.encode().ljust(length, b"\0"))
            file.write(data)
        begin = file.tell()
        entries += END + struct.pack("<Q", begin)
        file.write(HEADER.pack(MAGIC, len(MAP), len(entries)) + MAP + entries)
