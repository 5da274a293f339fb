"""Every format of recordings gives back what was written: by tifffile, zarr, ndstorage, a run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from build import make_start, make_update
from livespt.acquisition.recordings.movie import MovieUnits
from livespt.stream.store.run import RunWriter
from livespt.stream.types import CLOCKS, Frame, Stop
from livespt.tools.conformance.recording import RecordingTests

UNITS = MovieUnits(0.107, 0.05, 0.3)
FLAT = UNITS._replace(z_step_um=None)
OME = {
    "PhysicalSizeX": 107, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 107,
    "PhysicalSizeYUnit": "nm", "TimeIncrement": 50, "TimeIncrementUnit": "ms",
}  # fmt: skip


class TestTiff(RecordingTests):
    """Pixels that follow each other in the file: what is missing is its end."""

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        tifffile.imwrite(folder / "a.tif", pixels)
        return folder / "a.tif"

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        with tifffile.TiffFile(path) as file:
            begin = file.pages[0].dataoffsets[0]
        path.write_bytes(path.read_bytes()[: begin + i * pixels[0].nbytes])


class Compressed(RecordingTests):
    """A TIFF with a compressed page a frame, which can be damaged alone."""

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        with tifffile.TiffFile(path) as file:
            page = file.pages[i]
            begin, count = page.dataoffsets[0], page.databytecounts[0]
        data = bytearray(path.read_bytes())
        data[begin : begin + count] = bytes(count)
        path.write_bytes(data)


class TestTiffPages(Compressed):
    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        with tifffile.TiffWriter(folder / "a.tif") as writer:
            for image in pixels:
                writer.write(image, compression="zlib", metadata=None)
        return folder / "a.tif"


class TestImageFolder(RecordingTests):
    dtypes = ("uint8", "uint16")

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        for t, image in enumerate(pixels):
            tifffile.imwrite(folder / f"frame_{t + 7}.tif", image)
        return folder

    def truncate(self, path: Path) -> None:
        last = max(path.iterdir(), key=lambda file: int(file.stem.rpartition("_")[2]))
        last.write_bytes(last.read_bytes()[:-100])

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        (path / f"frame_{i + 7}.tif").unlink()


class TestImageJ(RecordingTests):
    axes = "tzcyx"
    units = UNITS

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        facts = {"unit": "um", "finterval": 0.05, "spacing": 0.3, "axes": "TZCYX"}
        tifffile.imwrite(
            folder / "a.tif", pixels, imagej=True, resolution=(1 / 0.107,) * 2, metadata=facts
        )
        return folder / "a.tif"

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        with tifffile.TiffFile(path) as file:
            begin = file.pages[0].dataoffsets[0]
        # channel 1 of time point 1 is the first frame with pixels beyond those of time point 0
        path.write_bytes(path.read_bytes()[: begin + pixels[0].nbytes + pixels[0, 0].nbytes])


class TestOmeTiff(Compressed):
    axes = "tcyx"
    units = FLAT

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        facts = {"axes": "TCYX", **OME}
        tifffile.imwrite(folder / "a.ome.tif", pixels, ome=True, compression="zlib", metadata=facts)
        return folder / "a.ome.tif"


class TestOmeTiffSet(RecordingTests):
    """A file for each time point, named in the OME-XML of the first."""

    XML = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="{dtype}" '
        'SizeX="{x}" SizeY="{y}" SizeZ="1" SizeC="1" SizeT="{t}" PhysicalSizeX="107" '
        'PhysicalSizeXUnit="nm" PhysicalSizeY="107" PhysicalSizeYUnit="nm" TimeIncrement="50" '
        'TimeIncrementUnit="ms"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{parts}</Pixels>'
        "</Image></OME>"
    )
    PART = (
        '<TiffData FirstT="{t}" FirstC="0" FirstZ="0" IFD="0" PlaneCount="1">'
        '<UUID FileName="a{t}.ome.tif">urn:uuid:{uuid}</UUID></TiffData>'
    )
    units = FLAT
    NAMES: ClassVar[dict[str, str]] = {"float32": "float"}

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        uuids = [f"00000000-0000-4000-8000-{t:012d}" for t in range(len(pixels))]
        parts = "".join(self.PART.format(t=t, uuid=uuid) for t, uuid in enumerate(uuids))
        t, y, x = pixels.shape
        kind = self.NAMES.get(pixels.dtype.name, pixels.dtype.name)
        for k, image in enumerate(pixels):
            xml = self.XML.format(own=uuids[k], dtype=kind, t=t, y=y, x=x, parts=parts)
            tifffile.imwrite(folder / f"a{k}.ome.tif", image, description=xml, metadata=None)
        return folder / "a0.ome.tif"

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        path.with_name(f"a{i}.ome.tif").unlink()


class TestZarr(RecordingTests):
    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        chunks = (1, *pixels.shape[1:])
        stored = zarr.create_array(
            folder / "a.zarr", shape=pixels.shape, dtype=pixels.dtype, chunks=chunks
        )
        stored[...] = pixels
        return folder / "a.zarr"

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        (path / "c" / f"{i}" / "0" / "0").write_bytes(b"noise")  # none at all would mean zeros


class TestOmeZarr(RecordingTests):
    axes = "tczyx"
    units = UNITS
    VERSION: ClassVar[str] = "0.5"
    SCALES: ClassVar[dict[str, float]] = {"t": 50.0, "c": 1.0, "z": 300.0, "y": 107.0, "x": 107.0}

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        kinds: dict[str, dict[str, str]] = {
            "t": {"type": "time", "unit": "millisecond"}, "c": {"type": "channel"},
        }  # fmt: skip
        space = {"type": "space", "unit": "nanometer"}
        axes = [{"name": axis, **kinds.get(axis, space)} for axis in self.axes]
        scale = {"type": "scale", "scale": [self.SCALES[axis] for axis in self.axes]}
        dataset = {"path": "0", "coordinateTransformations": [scale]}
        facts: dict[str, Any] = {
            "multiscales": [{"version": self.VERSION, "axes": axes, "datasets": [dataset]}]
        }
        form = 2
        if self.VERSION == "0.5":
            facts, form = {"ome": {"version": "0.5", **facts}}, 3
        group = zarr.create_group(folder / "a.zarr", attributes=facts, zarr_format=form)
        chunks = (1, 1, *pixels.shape[2:])
        stored = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=chunks)
        stored[...] = pixels
        return folder / "a.zarr"

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        t, c = divmod(i, pixels.shape[1])
        chunk = f"c/{t}/{c}/0/0/0" if self.VERSION == "0.5" else f"{t}.{c}.0.0.0"
        (path / "0" / chunk).write_bytes(b"noise")


class TestOmeZarr4(TestOmeZarr):
    VERSION = "0.4"


class TestNdTiff(RecordingTests):
    axes = "tcyx"
    dtypes = ("uint8", "uint16")
    units = MovieUnits(0.107, 0.05, 0.25)  # its `Interval_ms` is wrong

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        from ndstorage import NDTiffDataset

        data = NDTiffDataset(str(folder), name="a", writable=True)
        data.initialize({"Interval_ms": 40.0, "z-step_um": 0.25})
        for t, c in np.ndindex(*pixels.shape[:2]):
            facts = {"PixelSizeUm": 0.107, "ElapsedTime-ms": 1000.0 + 50 * t}
            data.put_image({"time": t, "channel": ("DAPI", "GFP")[c]}, pixels[t, c], facts)
        with warnings.catch_warnings():  # its writer leaves files to the garbage collector
            warnings.simplefilter("ignore", ResourceWarning)
            data.finish()
            data.close()
        return Path(data.path)

    def times(self, n: int) -> list[float]:
        return [0.05 * t for t in range(n)]

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        t, c = divmod(i, pixels.shape[1])
        (file,) = path.glob("*.tif")
        data = file.read_bytes()
        begin = data.index(pixels[t, c].tobytes())
        file.write_bytes(data[:begin])


class TestRun(RecordingTests):
    """A live run of ours, of which one exposure was lost."""

    units = FLAT

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        facts = {"dtype": pixels.dtype.str, "pixel_size_um": 0.107}
        start = make_start(pixels.shape[1:], mode="live", **facts)
        writer = RunWriter(folder / "a.zarr", start)
        for t, number in enumerate(self.numbers(len(pixels))):
            frame = Frame(number, t, 0, 0, 0.05 * t, pixels[t], CLOCKS.index("camera"))
            writer.add_frame(frame)
            writer.commit(frame, make_update(frame))
        writer.close(Stop("r", "complete"))
        return folder / "a.zarr"

    def numbers(self, n: int) -> list[int]:
        return [0, 1, *range(3, n + 1)]

    def truncate(self, path: Path) -> None:
        shard, begin = self.place(path, 5)
        shard.write_bytes(shard.read_bytes()[: begin + 100])

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        shard, begin = self.place(path, i)
        data = bytearray(shard.read_bytes())
        data[begin + 50] ^= 255
        shard.write_bytes(data)

    def place(self, path: Path, i: int) -> tuple[Path, int]:
        """The file of frame i, and where in it the frame begins, from the index at its end."""
        (shard,) = (p for p in (path / "movie" / "0" / "c").rglob("*") if p.is_file())
        data, n = shard.read_bytes(), zarr.open_array(path / "movie" / "0", mode="r").shards[0]
        index = np.frombuffer(data[-16 * n - 4 : -4], "<u8").reshape(n, 2)
        return shard, int(index[i, 0])
