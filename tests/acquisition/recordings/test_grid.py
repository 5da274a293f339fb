"""Grids of images: axes, holes, unequal positions, sets of files, folders of single images."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from livespt.acquisition.recordings.movie import Stated
from livespt.acquisition.recordings.open_movie import open_movie
from livespt.acquisition.recordings.summary import summary
from livespt.stream.errors import InputError

RNG = np.random.default_rng(1)
IMAGES = RNG.integers(0, 200, (24, 16, 21)).astype(np.uint16)
PIXELS = (
    '<Image ID="Image:{i}" Name="Pos{i}"><Pixels ID="Pixels:{i}" DimensionOrder="XYCZT" '
    'Type="uint16" SizeX="21" SizeY="16" SizeC="1" SizeZ="1" SizeT="{t}"><Channel '
    'ID="Channel:{i}:0" SamplesPerPixel="1"/>{data}</Pixels></Image>'
)
PAGE = '<TiffData FirstT="{t}" IFD="{ifd}" PlaneCount="1"/>'


def ome(path: Path, pages: NDArray[Any], images: list[tuple[int, list[tuple[int, int]]]]) -> Path:
    """OME-TIFF of images that say how many time points they have, and which page is which."""
    text = "".join(
        PIXELS.format(i=i, t=n, data="".join(PAGE.format(t=t, ifd=page) for t, page in places))
        for i, (n, places) in enumerate(images)
    )
    head = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    with tifffile.TiffWriter(path) as file:
        for k, page in enumerate(pages):
            what = head + text + "</OME>" if k == 0 else None
            file.write(page, description=what, metadata=None, contiguous=False)
    return path


def ndtiff(folder: Path, places: list[dict[str, Any]], **facts: Any) -> Path:
    from ndstorage import NDTiffDataset

    data = NDTiffDataset(str(folder), name="a", writable=True)
    data.initialize(facts)
    for i, at in enumerate(places):
        data.put_image(at, IMAGES[i], {"ElapsedTime-ms": 50.0 * at["time"], "Exposure-ms": 20.0})
    with warnings.catch_warnings():  # its writer leaves files to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        data.finish()
        data.close()
    return Path(data.path)


@pytest.mark.parametrize("kind", ["imagej", "ome", "zarr"])
def test_a_time_series_under_another_name_is_asked_about(kind: str, tmp_path: Path) -> None:
    if kind == "zarr":  # what a common writer does with a (t, y, x) array without names
        path = tmp_path / "a.zarr"
        zarr.save_array(path, IMAGES, dimension_names=("z", "y", "x"))
    else:
        path = tmp_path / "a.tif"
        axes = {"metadata": {"axes": "CYX" if kind == "imagej" else "ZYX"}}
        tifffile.imwrite(path, IMAGES, **{kind: True}, **axes)
    movie = open_movie(path)
    (notice,) = movie.notices
    assert notice.startswith("1 time point and 24 ") and notice.endswith("give --axes tyx")
    movie = open_movie(path, Stated(axes="tyx"))
    assert movie.notices == () and [frame.t for frame in movie] == list(range(24))
    assert all(np.array_equal(frame.image, IMAGES[frame.t]) for frame in movie)


@pytest.mark.parametrize("axes", ["yx", "tzyx", "qyx", "tty", "zyxt"])
def test_axes_that_do_not_fit_are_one_line(axes: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGES, metadata={"axes": "TYX"})
    with pytest.raises(InputError, match=r"such as tyx|save it with named axes"):
        open_movie(tmp_path / "a.tif", Stated(axes=axes))


def test_a_recording_that_stopped_early_has_the_frames_that_are_there(tmp_path: Path) -> None:
    places = [(t, t) for t in range(24)]
    movie = open_movie(ome(tmp_path / "a.ome.tif", IMAGES, [(60, places)]))
    assert [frame.number for frame in movie] == list(range(24))
    assert movie.notices == ("24 of 60 time points are there: it stopped early",)


def test_a_missing_page_is_a_lost_exposure(tmp_path: Path) -> None:
    places = [(t, t - (t > 7)) for t in range(24) if t != 7]
    movie = open_movie(ome(tmp_path / "a.ome.tif", np.delete(IMAGES, 7, 0), [(24, places)]))
    assert [frame.number for frame in movie] == [n for n in range(24) if n != 7]
    assert all(np.array_equal(frame.image, IMAGES[frame.t]) for frame in movie)
    assert movie.notices == (
        "1 of 24 frames are missing in a.ome.tif, the first at time point 7: they count as lost",
    )


def test_positions_may_end_at_different_times(tmp_path: Path) -> None:
    first, second = [(t, t) for t in range(12)], [(t, 12 + t) for t in range(9)]
    movie = open_movie(ome(tmp_path / "a.ome.tif", IMAGES[:21], [(12, first), (9, second)]))
    assert [frame.number for frame in movie] == list(range(21))  # nothing was lost
    assert np.bincount([frame.position for frame in movie]).tolist() == [12, 9]
    assert all(
        np.array_equal(frame.image, IMAGES[frame.t + 12 * frame.position]) for frame in movie
    )
    assert movie.positions == ("Pos0", "Pos1")
    assert movie.notices == ("positions or channels have 9, 12 time points",)


def test_each_page_of_a_set_is_read_from_the_file_that_holds_it(tmp_path: Path) -> None:
    """One file a position, pixels one after the other: the second is not the first again."""
    part = (
        '<Image ID="Image:{i}" Name="{i}"><Pixels ID="Pixels:{i}" DimensionOrder="XYCZT" '
        'Type="uint16" SizeX="21" SizeY="16" SizeC="1" SizeZ="1" SizeT="6"><Channel '
        'ID="Channel:{i}:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="6"><UUID '
        'FileName="p{i}.ome.tif">urn:uuid:{uuid}</UUID></TiffData>{planes}</Pixels></Image>'
    )
    uuids = [f"00000000-0000-4000-8000-{i:012d}" for i in range(2)]
    for i, uuid in enumerate(uuids):
        # each file tells the times of its own planes
        planes = "".join(
            f'<Plane TheT="{t}" TheC="0" TheZ="0" DeltaT="{0.05 * t + 0.02 * i}"/>'
            for t in range(6)
        )
        images = "".join(
            part.format(i=k, uuid=one, planes=planes if k == i else "")
            for k, one in enumerate(uuids)
        )
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{uuid}">{images}</OME>'
        )
        pixels = IMAGES[6 * i : 6 * i + 6]
        tifffile.imwrite(tmp_path / f"p{i}.ome.tif", pixels, description=xml, metadata=None)
    for name in ("p0.ome.tif", "p1.ome.tif"):  # opened by any of its files
        movie = open_movie(tmp_path / name)
        assert len(movie) == 12
        for frame in movie:
            assert np.array_equal(frame.image, IMAGES[6 * frame.position + frame.t])
            assert frame.time_s == pytest.approx(0.05 * frame.t + 0.02 * frame.position)
        assert movie.frame_interval_s == pytest.approx(0.05) and movie.notices == ()


def test_named_positions_of_ndtiff(tmp_path: Path) -> None:
    places = [{"time": t, "position": name} for t in range(3) for name in ("well-7", "well-3")]
    movie = open_movie(ndtiff(tmp_path, places))
    assert movie.positions == ("well-7", "well-3")
    assert [(frame.t, frame.position) for frame in movie] == [
        (t, p) for t in range(3) for p in (0, 1)
    ]
    assert movie.frame_interval_s == pytest.approx(0.05)
    assert movie.exposure_s == pytest.approx(0.02)


def test_a_channel_without_a_stack_beside_one_with(tmp_path: Path) -> None:
    places = [{"time": t, "channel": "GFP", "z": z} for t in range(3) for z in range(3)]
    places += [{"time": t, "channel": "BF"} for t in range(3)]
    path = ndtiff(tmp_path, places)
    with pytest.raises(InputError, match=r"'GFP' has 3, 'BF' has 1.*choose one with --channel"):
        open_movie(path)
    assert open_movie(path, Stated(channel="GFP")).axes == "zyx"
    movie = open_movie(path, Stated(channel="BF"))
    assert movie.axes == "yx" and [frame.number for frame in movie] == [0, 1, 2]
    assert np.array_equal(movie.frame(2).image, IMAGES[11])
    with pytest.raises(InputError, match="no channel 'DIC'; it has GFP, BF"):
        open_movie(path, Stated(channel="DIC"))


def test_a_time_point_that_ndtiff_lacks_is_lost(tmp_path: Path) -> None:
    movie = open_movie(ndtiff(tmp_path, [{"time": t} for t in (0, 1, 3, 4)], Interval_ms=0))
    assert [frame.number for frame in movie] == [0, 1, 3, 4]
    assert [frame.time_s for frame in movie] == pytest.approx([0, 0.05, 0.15, 0.2])
    assert movie.frame_interval_s == pytest.approx(0.05)
    assert "1 of 5 frames are missing" in movie.notices[0]


def test_a_header_that_names_fewer_images_than_there_are(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGES, imagej=True, metadata={"axes": "TYX"})
    data = (tmp_path / "a.tif").read_bytes()
    data = data.replace(b"images=24", b"images=12").replace(b"frames=24", b"frames=12")
    (tmp_path / "a.tif").write_bytes(data)
    movie = open_movie(tmp_path / "a.tif")
    assert len(movie) == 24 and "names 12 images, the file holds 24" in movie.notices[0]
    assert all(np.array_equal(frame.image, IMAGES[frame.t]) for frame in movie)


def test_a_folder_of_single_images_is_a_movie(tmp_path: Path) -> None:
    for t in (8, 9, 10, 12, 100):
        tifffile.imwrite(tmp_path / f"img_{t}.tif", IMAGES[t % 24])
    (tmp_path / "notes.txt").write_text("not an image")
    movie = open_movie(tmp_path)
    assert [frame.number for frame in movie] == [0, 1, 2, 4, 92]  # the order of the numbers
    assert np.array_equal(movie.frame(2).image, IMAGES[10])
    assert "88 of 93 frames are missing" in movie.notices[0]
    tifffile.imwrite(tmp_path / "img_11.tif", IMAGES[:, :8])
    with pytest.raises(InputError, match=r"img_11.tif holds several images"):
        list(open_movie(tmp_path))
    tifffile.imwrite(tmp_path / "img_11.tif", IMAGES[0, :8])
    with pytest.raises(
        InputError, match=r"frame 3 .* is uint16 \(8, .* but the first is uint16 \("
    ):
        list(open_movie(tmp_path))


def test_numbers_may_count_along_in_a_name(tmp_path: Path) -> None:
    """As the image writer of pymmcore-plus names them: number of the event, then time point."""
    for t in (0, 1, 2, 4):
        tifffile.imwrite(tmp_path / f"run7_{t + 3:05d}_t{t:04d}.tif", IMAGES[t])
    movie = open_movie(tmp_path)
    assert [frame.number for frame in movie] == [0, 1, 2, 4]
    assert np.array_equal(movie.frame(3).image, IMAGES[4])
    tifffile.imwrite(tmp_path / "run7_00100_t0003.tif", IMAGES[3])
    with pytest.raises(InputError, match="no series"):
        open_movie(tmp_path)


def test_a_folder_of_movies_is_none(tmp_path: Path) -> None:
    for name in ("cell_1.tif", "cell_2.tif"):
        tifffile.imwrite(tmp_path / name, IMAGES)
    with pytest.raises(InputError, match=r"name a movie in it, such as cell_1\.tif"):
        open_movie(tmp_path)
    tifffile.imwrite(tmp_path / "control_3.tif", IMAGES[0])
    with pytest.raises(InputError, match="no series"):
        open_movie(tmp_path)


def ome_zarr(path: Path, scale: list[float], written: int, **attributes: Any) -> None:
    group = zarr.open_group(path, mode="w")
    array = group.create_array("0", shape=(6, 16, 21), chunks=(1, 16, 21), dtype="u2")
    array[:written] = IMAGES[:written]
    axes = [{"name": "t", "type": "time", "unit": "second"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    image = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    group.attrs.update({"ome": image, **attributes})


def test_a_scale_that_nobody_measured_is_none(tmp_path: Path) -> None:
    ome_zarr(tmp_path / "a.zarr", [1.0, 1.0, 1.0], 6)
    movie = open_movie(tmp_path / "a.zarr")
    assert movie.pixel_size_um is None and movie.frame_interval_s is None
    assert "stands for unknown" in movie.notices[0]
    ome_zarr(tmp_path / "b.zarr", [1.0, 0.1, 0.1], 6)
    movie = open_movie(tmp_path / "b.zarr")
    assert (movie.pixel_size_um, movie.frame_interval_s, movie.notices) == (0.1, 1.0, ())


def test_frames_of_an_acquisition_that_stopped_early_are_those_it_tells_of(tmp_path: Path) -> None:
    times = [0, 0.05, 0.1, 0.4]
    frames = [{"delta_t": time, "storage_index": [t]} for t, time in enumerate(times)]
    told = {"ome_writers": {"version": "0.3.2", "frame_metadata": frames}}
    ome_zarr(tmp_path / "a.zarr", [1.0, 0.1, 0.1], 4, **told)
    movie = open_movie(tmp_path / "a.zarr")
    assert [frame.time_s for frame in movie] == pytest.approx(times)
    assert movie.frame_interval_s == pytest.approx(0.05)
    assert any("4 of 6 time points" in notice for notice in movie.notices)


def test_what_was_taken_is_said_with_its_origin(tmp_path: Path) -> None:
    facts = {"axes": "TYX", "unit": "um", "finterval": 0.05}
    tifffile.imwrite(tmp_path / "a.tif", IMAGES, imagej=True, resolution=(10, 10), metadata=facts)
    assert summary(open_movie(tmp_path / "a.tif", Stated(pixel_size_um=0.2))) == [
        "axes        24 time points of 16 y x 21 x  (from the file)",
        "pixel size  0.2 um  (from what you state)",
        "interval    50 ms  (from finterval)",
    ]
