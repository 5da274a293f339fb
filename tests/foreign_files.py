"""Files of other makers for the tests of recordings: PNG, films, CZI."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray


def png(image: NDArray[Any], color: int = 0) -> bytes:
    """A PNG of grey values, made by hand; `color` 2 calls three columns one pixel in colour."""
    y, x = image.shape
    depth, stored = 8 * image.itemsize, image.astype(image.dtype.newbyteorder(">"))
    header = struct.pack(">IIBBBBB", x // (3 if color else 1), y, depth, color, 0, 0, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in stored)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def write_film(path: Path, images: NDArray[Any], codec: str = "ffv1", *options: str) -> Path:
    """Write a film of grey values (t, y, x), uint8 or uint16."""
    kind = "gray" if images.itemsize == 1 else "gray16le"
    writer = imageio_ffmpeg.write_frames(
        str(path), images.shape[:0:-1], pix_fmt_in=kind, pix_fmt_out=kind, fps=25, codec=codec,
        macro_block_size=1, output_params=["-loglevel", "error", *options],
    )  # fmt: skip
    writer.send(None)
    for image in images:
        writer.send(np.ascontiguousarray(image))
    writer.close()
    return path


def frame_of_film(data: bytes, i: int) -> int:
    """Where frame i of an AVI begins."""
    begin = data.index(b"movi")
    for _ in range(i + 1):
        begin = data.index(b"00dc", begin + 4)
    return begin


def write_czi(
    path: Path, pixels: NDArray[Any], scenes: int = 1, times_s: Sequence[float] = ()
) -> Path:
    """Write a movie (t, c, z, y, x) by Zeiss's library, with times of its time points.

    A plane is taken 1 ms after the plane before it. A second scene is brighter by one, and lacks
    the last time point.
    """
    from pylibCZIrw import czi

    with czi.create_czi(str(path)) as file:
        for scene in range(scenes):
            for t, c, z in np.ndindex(len(pixels) - scene, *pixels.shape[1:3]):
                file.write(
                    pixels[t, c, z, ..., None] + pixels.dtype.type(scene),
                    plane={"T": t, "C": c, "Z": z}, scene=scene, location=(500 * scene, 0),
                )  # fmt: skip
        file.write_metadata(
            document_name="a", channel_names={0: "red", 1: "green"},
            scale_x=0.107e-6, scale_y=0.107e-6, scale_z=0.3e-6,
        )  # fmt: skip
    named = "".join(f'<Scene Index="{i}" Name="A{i + 1}"/>' for i in range(scenes))
    with czi.edit_czi(str(path)) as file, file.edit_session() as session:
        xml = session.get_xml()
        session.set_xml(xml.replace("</Channels>", f"</Channels><S><Scenes>{named}</Scenes></S>"))
    if times_s:
        _add_times(path, times_s)
    return path


def _add_times(path: Path, times_s: Sequence[float]) -> None:
    """Write each part of a CZI again, with its acquisition time, which the library does not store.

    The directory of the file then refers to the new parts.
    """
    data = bytearray(path.read_bytes())
    (directory,) = struct.unpack_from("<q", data, 84)
    (n,) = struct.unpack_from("<i", data, directory + 32)
    at = directory + 32 + 128
    for _ in range(n):
        (begin,) = struct.unpack_from("<q", data, at + 6)
        (dimensions,) = struct.unpack_from("<i", data, at + 28)
        places = [struct.unpack_from("<4si", data, at + 32 + 20 * i) for i in range(dimensions)]
        axes = {name.rstrip(b"\0"): start for name, start in places}
        time = times_s[axes[b"T"]] + 0.001 * axes[b"Z"]
        stamp = datetime.fromtimestamp(1_700_000_000 + time, UTC).isoformat()
        xml = f"<METADATA><Tags><AcquisitionTime>{stamp}</AcquisitionTime></Tags></METADATA>"
        entry = 32 + 20 * dimensions
        head = begin + 32 + max(256, 16 + entry)
        old, _, size = struct.unpack_from("<iiq", data, begin + 32)
        part = data[begin:head] + xml.encode() + data[head + old :][:size]
        struct.pack_into("<qqii", part, 16, len(part) - 32, len(part) - 32, len(xml), 0)
        data += bytes(-len(data) % 32)
        struct.pack_into("<q", data, at + 6, len(data))
        struct.pack_into("<q", part, 48 + 6, len(data))
        data += part
        at += entry
    path.write_bytes(data)
