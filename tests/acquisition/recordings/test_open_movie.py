"""Recorded movies of every kind open as the same frames, or are refused with one clear line."""

from __future__ import annotations

import json
import resource
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from build import make_start, make_update
from livespt.acquisition.recordings.movie import Movie
from livespt.acquisition.recordings.open_movie import open_movie
from livespt.acquisition.recordings.units import micrometers, seconds
from livespt.stream.errors import InputError
from livespt.stream.store.run import RunWriter, open_run
from livespt.stream.types import Frame, Stop

T, C, Z, Y, X = 5, 2, 3, 16, 20  # tifffile takes four images for colours


def pixels(*shape: int, dtype: str = "uint16") -> NDArray[Any]:
    return np.random.default_rng(1).integers(0, 255, shape).astype(dtype)


def tif(data: NDArray[Any] | None = None, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        tifffile.imwrite(folder / "a.tif", data, **options)
        return folder / "a.tif"

    return write


def pages(*images: NDArray[Any], **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        with tifffile.TiffWriter(folder / "a.tif") as writer:
            for image in images:
                writer.write(image, **options)
        return folder / "a.tif"

    return write


def array(data: NDArray[Any], **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        chunks = (1, *data.shape[1:]) if data.size else data.shape
        chunks = tuple(max(n, 1) for n in chunks)
        stored = zarr.create_array(
            folder / "a.zarr", shape=data.shape, dtype=data.dtype, chunks=chunks, **options
        )
        if data.size:
            stored[...] = data
        return folder / "a.zarr"

    return write


def ngff(data: NDArray[Any], axes: str, version: str = "0.5") -> Callable[[Path], Path]:
    units = {"t": ("time", "millisecond"), "c": ("channel", None)}
    scales = {"t": 50.0, "c": 1.0, "z": 300.0, "y": 107.0, "x": 107.0}

    def write(folder: Path) -> Path:
        listed: list[dict[str, str]] = []
        for name in axes:
            kind, unit = units.get(name, ("space", "nanometer"))
            listed.append({"name": name, "type": kind} | ({"unit": unit} if unit else {}))
        scale = {"type": "scale", "scale": [scales[name] for name in axes]}
        dataset = {"path": "0", "coordinateTransformations": [scale]}
        scaled = {"version": version, "axes": listed, "datasets": [dataset]}
        facts: dict[str, Any] = {"multiscales": [scaled]}
        if version == "0.5":
            facts = {"ome": {"version": "0.5", **facts}}
        form = 3 if version == "0.5" else 2
        group = zarr.create_group(folder / "a.zarr", attributes=facts, zarr_format=form)
        stored = group.create_array("0", shape=data.shape, dtype=data.dtype, chunks=data.shape)
        stored[...] = data
        return folder / "a.zarr"

    return write


def ndtiff(axes: str, times: bool = True) -> Callable[[Path], Path]:
    sizes = {"t": T, "c": C, "z": Z}

    def write(folder: Path) -> Path:
        from ndstorage import NDTiffDataset

        data = NDTiffDataset(str(folder), name="a", writable=True)
        data.initialize({"Interval_ms": 40.0, "z-step_um": 0.25})
        outer = [sizes[axis] for axis in axes]
        stack = pixels(*outer, Y, X)
        names = {"t": "time", "c": "channel", "z": "z"}
        for index in np.ndindex(*outer):
            at: dict[str, Any] = {names[a]: int(k) for a, k in zip(axes, index, strict=True)}
            facts: dict[str, Any] = {"PixelSizeUm": 0.107}
            if times:
                facts["ElapsedTime-ms"] = 1000.0 + 50 * at.get("time", 0)
            if "channel" in at:
                at["channel"] = ("DAPI", "GFP")[at["channel"]]
            data.put_image(at, stack[index], facts)
        with warnings.catch_warnings():  # its writer leaves files to the garbage collector
            warnings.simplefilter("ignore", ResourceWarning)
            data.finish()
            data.close()
        return Path(data.path)

    return write


# what is written, what the frames are: axes and a (t, c, ...) array, and the scale
NONE = (None, None, None)
OME = {
    "PhysicalSizeX": 107, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 107,
    "PhysicalSizeYUnit": "nm", "TimeIncrement": 50, "TimeIncrementUnit": "ms",
}  # fmt: skip
TYX, TCYX, TZYX = pixels(T, Y, X), pixels(T, C, Y, X), pixels(T, Z, Y, X)
TCZYX = pixels(T, C, Z, Y, X)
IMAGEJ: dict[str, Any] = {
    "imagej": True,
    "resolution": (1 / 0.107, 1 / 0.107),
    "metadata": {"unit": "um", "finterval": 0.05, "spacing": 0.3, "axes": "TZCYX"},
}
READABLE: dict[str, tuple[Callable[[Path], Path], str, NDArray[Any], tuple[float | None, ...]]] = {
    "one image": (tif(TYX[0]), "yx", TYX[:1, None], NONE),
    "plain stack": (tif(TYX), "yx", TYX[:, None], NONE),
    "no metadata": (tif(TYX, metadata=None), "yx", TYX[:, None], NONE),
    "one page": (tif(TYX[:1]), "yx", TYX[:1, None], NONE),
    "page by page": (pages(*TYX, metadata=None, contiguous=False), "yx", TYX[:, None], NONE),
    "written one by one": (pages(*TYX), "yx", TYX[:, None], NONE),
    "compressed": (tif(TYX, compression="zlib"), "yx", TYX[:, None], NONE),
    "big-endian": (tif(TYX, byteorder=">"), "yx", TYX[:, None], NONE),
    "big-endian, compressed": (
        tif(TYX, byteorder=">", compression="zlib"), "yx", TYX[:, None], NONE,
    ),
    "bigtiff uint8": (
        tif(TYX.astype("u1"), bigtiff=True), "yx", TYX.astype("u1")[:, None], NONE,
    ),
    "float32": (tif(TYX.astype("f4")), "yx", TYX.astype("f4")[:, None], NONE),
    "tiled": (tif(TYX, tile=(16, 16)), "yx", TYX[:, None], NONE),
    "OME TYX": (
        tif(TYX, ome=True, metadata={"axes": "TYX", **OME}),
        "yx", TYX[:, None], (0.107, 0.05, None),
    ),
    "OME TCYX": (tif(TCYX, ome=True, metadata={"axes": "TCYX"}), "yx", TCYX, NONE),
    "OME CTYX": (
        tif(TCYX.transpose(1, 0, 2, 3), ome=True, metadata={"axes": "CTYX"}), "yx", TCYX, NONE,
    ),
    "OME ZYX": (tif(TZYX[0], ome=True, metadata={"axes": "ZYX"}), "zyx", TZYX[:1, None], NONE),
    "OME TCZYX, compressed": (
        tif(TCZYX, ome=True, compression="zlib",
            metadata={"axes": "TCZYX", "PhysicalSizeZ": 0.3, **OME}),
        "zyx", TCZYX, (0.107, 0.05, 0.3),
    ),
    "OME ZTYX": (
        tif(TZYX.transpose(1, 0, 2, 3), ome=True, metadata={"axes": "ZTYX"}),
        "zyx", TZYX[:, None], NONE,
    ),
    "OME plane times": (
        tif(TYX, ome=True, metadata={"axes": "TYX", "Plane": {"DeltaT": [0, 0.2, 0.4, 0.6, 0.8]}}),
        "yx", TYX[:, None], (None, 0.2, None),
    ),
    "OME not square": (
        tif(TYX, ome=True, metadata={"axes": "TYX", "PhysicalSizeX": 1, "PhysicalSizeY": 2}),
        "yx", TYX[:, None], NONE,
    ),
    "ImageJ TZCYX": (
        tif(TCZYX.transpose(0, 2, 1, 3, 4), **IMAGEJ), "zyx", TCZYX, (0.107, 0.05, 0.3),
    ),
    "ImageJ fps": (
        tif(TYX, imagej=True, metadata={"axes": "TYX", "fps": 25}),
        "yx", TYX[:, None], NONE,
    ),
    "ImageJ hyperstack ZYX": (
        tif(TZYX[0], imagej=True, metadata={"axes": "ZYX"}), "zyx", TZYX[:1, None], NONE,
    ),
    "ImageJ plain stack": (
        tif(TYX, imagej=True, metadata={"axes": "ZYX", "hyperstack": False}),
        "yx", TYX[:, None], NONE,
    ),
    "zarr TYX": (array(TYX), "yx", TYX[:, None], NONE),
    "zarr v2, big-endian": (array(TYX.astype(">u2"), zarr_format=2), "yx", TYX[:, None], NONE),
    "zarr YX": (array(TYX[0]), "yx", TYX[:1, None], NONE),
    "zarr named": (
        array(TZYX, dimension_names=("time", "z", "y", "x")), "zyx", TZYX[:, None], NONE,
    ),
    "zarr 5-D": (array(TCZYX), "zyx", TCZYX, NONE),
    "OME-Zarr 0.5": (ngff(TYX, "tyx"), "yx", TYX[:, None], (0.107, 0.05, None)),
    "OME-Zarr 0.4": (ngff(TCZYX, "tczyx", "0.4"), "zyx", TCZYX, (0.107, 0.05, 0.3)),
    "OME-Zarr, one plane": (
        ngff(TCZYX[:, :, :1], "tczyx"), "yx", TCZYX[:, :, 0], (0.107, 0.05, 0.3),
    ),
    "NDTiff t": (ndtiff("t"), "yx", TYX[:, None], (0.107, 0.05, 0.25)),
    "NDTiff t c z": (ndtiff("tcz"), "zyx", TCZYX, (0.107, 0.05, 0.25)),
}  # fmt: skip


def check(movie: Movie, axes: str, frames: NDArray[Any]) -> None:
    """`frames` is (t, channel, *frame)."""
    n_t, n_c, *shape = frames.shape
    assert (movie.axes, movie.shape, movie.dtype) == (axes, tuple(shape), frames.dtype)
    assert len(movie) == movie.n_frames == n_t * n_c
    for i, frame in enumerate(movie):
        assert (frame.number, frame.t, frame.channel, frame.position) == (i, i // n_c, i % n_c, 0)
        assert np.array_equal(frame.image, frames[frame.t, frame.channel])


@pytest.mark.parametrize("case", READABLE)
def test_a_movie_opens(case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write, axes, frames, scale = READABLE[case]
    path = write(tmp_path)
    capfd.readouterr()
    movie = open_movie(path)
    check(movie, axes, frames)
    assert (movie.pixel_size_um, movie.frame_interval_s, movie.z_step_um) == pytest.approx(scale)
    times = [frame.time_s for frame in movie]
    clocks = {frame.clock for frame in movie}
    if movie.frame_interval_s is None:
        assert (set(times), clocks) == ({0.0}, {0})
    else:  # NDTiff tells the time of each image
        step = 0.05 if case.startswith("NDTiff") else movie.frame_interval_s
        assert times == pytest.approx([frame.t * step for frame in movie])
        assert clocks == {4}
    assert capfd.readouterr() == ("", "")


def test_ndtiff_without_times_uses_its_interval(tmp_path: Path) -> None:
    movie = open_movie(ndtiff("t", times=False)(tmp_path))
    assert [frame.time_s for frame in movie] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


def test_a_frame_unlike_the_first_is_refused_when_it_is_reached(tmp_path: Path) -> None:
    path = ndtiff("t")(tmp_path)
    index = (path / "NDTiff.index").read_bytes()
    wide, tall = X.to_bytes(4, "little"), Y.to_bytes(4, "little")
    assert index.count(wide + tall) == T
    place = index.rindex(wide + tall)
    (path / "NDTiff.index").write_bytes(index[:place] + tall + wide + index[place + 8 :])
    movie = open_movie(path)
    movie.frame(T - 2)
    with pytest.raises(InputError, match=r"frame 4 .* but the first is"):
        movie.frame(T - 1)


def test_images_of_one_kind_are_stage_positions(tmp_path: Path) -> None:
    data = pixels(3, T, Y, X)
    path = pages(*data, metadata={"axes": "TYX"})(tmp_path)
    movie = open_movie(path)
    assert len(movie) == 3 * T
    for frame in movie:
        assert np.array_equal(frame.image, data[frame.position, frame.t])


def truncated(folder: Path, **options: Any) -> Path:
    path = tif(TYX, **options)(folder)
    path.write_bytes(path.read_bytes()[:-900])
    return path


def content(name: str, data: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def folder_of(**files: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        for name, data in files.items():
            (folder / name.replace("_", ".")).write_bytes(data)
        return folder

    return write


def evil_group(path: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        facts = {"multiscales": [{"axes": ["t", "y", "x"], "datasets": [{"path": path}]}]}
        zarr.create_group(folder / "a.zarr", attributes={"ome": facts})
        return folder / "a.zarr"

    return write


def damaged_ndtiff(folder: Path) -> Path:
    path = ndtiff("t")(folder)
    (path / "NDTiff.index").write_bytes((path / "NDTiff.index").read_bytes()[:-7])
    return path


def damaged_zarr(folder: Path) -> Path:
    path = array(TYX)(folder)
    (path / "zarr.json").write_text("{")
    return path


UNREADABLE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "a.tif", "does not exist"),
    "text": (content("a.txt", b"hello"), "not a movie that livespt reads"),
    "video": (content("a.mp4", b"\0\0\0\x20ftypisom"), "is truncated, 20 bytes"),
    "nothing": (content("a.tif", b""), "not a movie that livespt reads"),
    "only a header": (content("a.tif", b"II*\0\x08\0\0\0"), "cannot be read|damaged|no frames"),
    "noise after a header": (
        content("a.tif", b"II*\0\x08\0\0\0" + bytes(range(256)) * 9),
        "cannot be read|damaged|no frames",
    ),
    "cut short after a page": (
        lambda folder: truncated(folder, metadata=None, compression="zlib"),
        "truncated after page 4",
    ),
    "colour": (tif(pixels(T, Y, X, 3, dtype="u1"), photometric="rgb"), "in colour"),
    "colour with alpha": (
        tif(pixels(T, Y, X, 4, dtype="u1"), photometric="rgb", metadata=None, extrasamples=[2]),
        "in colour",
    ),
    "zarr in colour": (array(pixels(T, Y, X, 3, dtype="u1")), "in colour"),
    "four axes without names": (tif(TZYX, photometric="minisblack"), "4 axes.*named axes"),
    "zarr, four axes without names": (array(TZYX), "4 axes.*named axes"),
    "six axes": (array(pixels(2, 1, 2, 2, 4, 4)), "6 axes"),
    "one axis": (array(pixels(9)), "1 axes"),
    "strange axes": (array(TYX, dimension_names=("angle", "q", "x")), "3 axes"),
    "two kinds": (pages(TYX[0], pixels(Y, X + 1), metadata=None), "different kinds"),
    "float64": (tif(TYX.astype("f8")), "float64 pixels.*convert it to float32"),
    "int16": (tif(TYX.astype("i2")), "int16 pixels.*convert it to uint16 or float32"),
    "uint32": (array(TYX.astype("u4")), "uint32 pixels.*convert it to uint16 or float32"),
    "int32": (array(TYX.astype("i4")), "int32 pixels"),
    "complex": (array(TYX.astype("c8")), "complex64 pixels"),
    "masks": (tif(TYX > 99), "bool pixels.*convert it to uint8"),
    "zarr masks": (array(TYX > 99), "bool pixels"),
    "no frames": (array(pixels(0, Y, X)), "holds no frames"),
    "no pixels": (array(pixels(T, 0, X)), "holds no frames"),
    "a group": (lambda folder: Path(zarr.create_group(folder / "a.zarr").store.root), "Zarr group"),
    "an escape": (evil_group("../b"), "outside it"),
    "an absolute path": (evil_group("/etc"), "outside it"),
    "no such array": (evil_group("7"), "cannot be read as Zarr"),
    "damaged zarr": (damaged_zarr, "cannot be read as Zarr"),
    "damaged NDTiff": (damaged_ndtiff, "damaged|cannot be read"),
    "noise as NDTiff": (folder_of(NDTiff_index=b"noise" * 50), "cannot be read as NDTiff|damaged"),
    "empty NDTiff": (folder_of(NDTiff_index=b""), "no frames|damaged|cannot be read"),
    "a folder": (folder_of(a_tif=b"", b_txt=b""), "a folder, not a movie: name a movie .* a.tif"),
    "an empty folder": (folder_of(), "a folder, not a movie: livespt reads"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_no_movie_is_refused(
    case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write, says = UNREADABLE[case]
    path = write(tmp_path)
    capfd.readouterr()
    with pytest.raises(InputError, match=says) as raised:
        open_movie(path)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_a_movie_larger_than_memory_opens(tmp_path: Path) -> None:
    path, n = tmp_path / "a.tif", 60_000  # 8 GB, almost all of it a hole in the file
    stack = tifffile.memmap(path, shape=(n, 256, 256), dtype="uint16", bigtiff=True)
    stack[-1] = 7
    stack.flush()
    del stack
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    movie = open_movie(path)
    assert len(movie) == n and (movie.frame(n - 1).image == 7).all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


# Runs


def store(path: Path, *, movie: bool = True, close: bool = True) -> list[Frame]:
    """A run that lost frame 2 and skipped 3; its frames."""
    start = make_start((Y, X), source="microscope", frame_interval_s=None)
    writer, frames = RunWriter(path, start, movie=movie), []
    for number in (0, 1, 3, 4):
        frame = Frame(number, number // 2, number % 2, 1, 0.1 + number, TYX[number], 2)
        frames.append(frame)
        writer.add_frame(frame)
        if number != 3:
            writer.commit(frame, make_update(frame))
    if close:
        writer.close(Stop("r", "complete"))
    return frames


@pytest.mark.parametrize("inside", ["", "movie"])
@pytest.mark.parametrize("close", [True, False])
def test_a_run_replays_as_recorded(inside: str, close: bool, tmp_path: Path) -> None:
    frames = store(tmp_path / "a.zarr", close=close)
    movie = open_movie(tmp_path / "a.zarr" / inside)
    assert len(movie) == 4 and movie.run is not None
    assert (movie.axes, movie.shape, movie.dtype) == ("yx", (Y, X), np.dtype("uint16"))
    assert (movie.pixel_size_um, movie.frame_interval_s, movie.z_step_um) == (0.1, 2.0, None)
    assert movie.analyzed.tolist() == [True, True, False, True]
    for true, frame in zip(frames, movie, strict=True):
        assert frame[:5] == true[:5] and frame.clock == true.clock
        assert np.array_equal(frame.image, true.image)


def test_frames_of_a_cut_run_without_a_row_count_as_to_be_analyzed(tmp_path: Path) -> None:
    start = make_start((Y, X))
    writer = RunWriter(tmp_path / "a.zarr", start)
    for number in range(3):
        writer.add_frame(Frame(number, number, 0, 0, 0.0, TYX[number]))
    assert open_movie(tmp_path / "a.zarr").analyzed.tolist() == [True] * 3
    assert len(open_run(tmp_path / "a.zarr").frames) == 0


def test_runs_without_frames_are_refused(tmp_path: Path) -> None:
    store(tmp_path / "a.zarr", movie=False)
    with pytest.raises(InputError, match=r"without its movie \(--no-movie\): replay microscope"):
        open_movie(tmp_path / "a.zarr")
    start = make_start((Y, X), source="")
    RunWriter(tmp_path / "b.zarr", start).close(Stop("r", "complete"))
    with pytest.raises(InputError, match="holds no frames"):
        open_movie(tmp_path / "b.zarr")
    document = json.loads((tmp_path / "a.zarr/zarr.json").read_text())
    document["attributes"]["livespt"] |= {"start": 3, "format": 2}
    del document["attributes"]["livespt"]["crc"]
    (tmp_path / "a.zarr/zarr.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="not a run of livespt"):
        open_movie(tmp_path / "a.zarr")


# Units and real files


@pytest.mark.parametrize(
    ("value", "unit", "um"),
    [
        (107, "nm", 0.107), ("0.1", "µm", 0.1), (0.1, "μm", 0.1), (0.1, "\\u00B5m", 0.1),
        (1, "MICRON", 1.0), (2, "mm", 2000.0), (2, "m", 2e6), (1, "inch", 25400.0),
        (1, "pixel", None), (1, "", None), (1, None, None), (None, "um", None),
        (0, "um", None), (-1, "um", None), ("inf", "um", None), ("nan", "um", None),
        ("much", "um", None),
    ],
)  # fmt: skip
def test_lengths(value: object, unit: object, um: float | None) -> None:
    assert micrometers(value, unit) == (None if um is None else pytest.approx(um))


def test_times() -> None:
    assert [seconds(2, unit) for unit in ("s", "ms", "sec", "min", "h", "frames")] == [
        2, 0.002, 2, 120, 7200, None,
    ]  # fmt: skip


def test_real_recordings(real_data: Path) -> None:
    water = open_movie(real_data / "bulk_water" / "bulk_water.ome.tif")
    assert (len(water), water.axes, water.shape, water.dtype) == (300, "yx", (424, 640), "uint8")
    assert water.pixel_size_um == pytest.approx(100 / 285)
    assert water.frame_interval_s == pytest.approx(1 / 24)
    beads = open_movie(real_data / "stuck_beads" / "stuck.tif")
    assert (len(beads), beads.axes, beads.shape, beads.dtype) == (5, "yx", (512, 512), "uint16")
    assert all(100 < frame.image.mean() < 2000 for frame in beads)
