"""Intact files for chaos to damage, and for each, everything that reads it."""

from __future__ import annotations

import hashlib
import json
import shutil
import traceback
import warnings
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import LiveSptError
from livespt.stream.store import checksums
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.run import RunReader, create_run, open_run
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.store.verify import verify
from livespt.stream.types import EVENT, SPOT, STATE, Frame, Start, Stop, Update

TABLES = ("spots", "states", "events", "frames", "status")
FRAMES = 24
READ = 40  # frames of a movie, at most: one that says it has 10^12 is no hang of ours


class WrongValue(Exception):
    """What was returned is not what was stored."""


class SampleFile:
    """A file or folder that can be opened, with all that reads it.

    Parameters
    ----------
    path : Path
    readers : sequence of callables
        Each reads it in one way; given whether the file was forged, so that its truth is another.
    faults : callable, optional
        Faults that verify finds.
    """

    def __init__(
        self,
        path: Path,
        readers: Sequence[Callable[[bool], object]],
        faults: Callable[[], Sequence[object]] | None = None,
    ) -> None:
        self.path = path
        self._readers, self._faults = readers, faults

    def open(self, forged: bool) -> tuple[str, str]:
        """Read it in every way; the worst outcome and what it was."""
        refused = ""
        for read in self._readers:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    read(forged)
            except LiveSptError as error:
                refused = str(error)
                if "\n" in refused:
                    return "foreign", f"more than one line: {refused!r:.200}"
            except WrongValue as error:
                return "wrong", str(error)
            except Exception as error:  # what must never come out
                last = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{Path(last.filename).name}:{last.lineno}"
                return "foreign", f"{type(error).__name__} at {where}: {error!s:.200}"
        return ("refused", refused) if refused else ("read", "")

    def noticed(self) -> bool:
        """Whether verify finds something wrong; True where there are no sums."""
        if self._faults is None:
            return True
        try:
            return bool(self._faults())
        except LiveSptError:
            return True


def prepare(kind: str, folder: Path) -> list[SampleFile]:
    """Make good files of a kind in `folder`."""
    return {"stores": _stores, "models": _models, "tiff": _tiffs, "zarr": _zarrs}[kind](folder)


# runs


def _stores(folder: Path) -> list[SampleFile]:
    return [_store(folder / "closed.zarr", True), _store(folder / "cut.zarr", False)]


def _store(path: Path, closed: bool) -> SampleFile:
    """A run whose tables take several chunks; closed, or cut short."""
    start = Start("r", "live", "chaos", "yx", (12, 10), "<u2", 0.1, 0.05)
    rng = np.random.default_rng(0)
    create_run(path, start, chunk_rows=32)
    movie, tables = MovieWriter(path, start), TableWriter(path, segment_bytes=20_000)
    for i in range(FRAMES):
        frame = Frame(i, i, 0, 0, 0.05 * i, rng.integers(0, 4000, start.shape).astype("<u2"))
        spots, states, events = (_rows(dtype, rng) for dtype in (SPOT, STATE, EVENT))
        movie.add_frame(frame)
        tables.commit(frame, Update(i, i, 0, 0, frame.time_s, 0, spots, states, events))
    tables.status("note", 3, "something to say")
    if closed:
        movie.close()
        tables.close(Stop("r", "complete"))
    run = open_run(path)
    rows = {name: getattr(run, name) for name in TABLES}
    frames = {run.frame(i).number: run.frame(i).image for i in range(run.n_frames)}

    def tables_of(forged: bool) -> None:
        run = open_run(path)
        for name in TABLES:
            _compare(name, run, rows[name], forged)

    def frames_of(forged: bool) -> None:
        run = open_run(path)
        for i in range(min(run.n_frames, READ)):
            frame = run.frame(i)
            truth = frames.get(frame.number)
            if not forged and (truth is None or not np.array_equal(frame.image, truth)):
                raise WrongValue(f"frame {frame.number}")

    def movie_of(_: bool) -> None:
        _read_movie(path)

    def checked(_: bool) -> None:
        list(verify(path))

    readers = [tables_of, frames_of, movie_of, checked]
    return SampleFile(path, readers, (lambda: list(verify(path))) if closed else None)


def _rows(dtype: np.dtype[np.void], rng: np.random.Generator) -> NDArray[np.void]:
    rows = np.zeros(7, dtype)
    for name in dtype.names or ():
        rows[name] = rng.integers(0, 100, len(rows))
    return rows


def _compare(name: str, run: RunReader, truth: NDArray[np.void], forged: bool) -> None:
    """Raise Wrong unless a table holds the first rows of the truth, all of them in a closed run."""
    rows = getattr(run, name)
    if forged:
        return
    if rows.dtype != truth.dtype or rows.tobytes() != truth[: len(rows)].tobytes():
        raise WrongValue(f"table {name}")
    if run.stop is not None and len(rows) != len(truth):
        raise WrongValue(f"table {name} has {len(rows)} of {len(truth)} rows")


def _read_movie(path: Path) -> None:
    from livespt.acquisition.recordings.open_movie import open_movie

    movie = open_movie(path)
    for _ in islice(movie, READ):
        pass
    movie.frame(len(movie) - 1)


def _sign_run(path: Path, target: Path) -> bool:
    """Sum up the first word again, if that is what was changed."""
    if target != path / "zarr.json" or not target.is_file():
        return False
    try:
        document = json.loads(target.read_bytes())
        document["attributes"]["livespt"]["crc"] = checksums.own(document)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False  # no document of ours any more
    target.write_text(json.dumps(document))
    return True


# models


def _models(folder: Path) -> list[SampleFile]:
    from livespt.models.runtime.session import shipped

    files = []
    for name in ("fast", "segmenter", "spots", "uncoating", "hologram", "segmenter_whole"):
        path = folder / f"{name}.onnx"
        for suffix in (".onnx", ".json"):
            shutil.copy(shipped(name).with_suffix(suffix), path.with_suffix(suffix))
        files.append(SampleFile(path, [_reader(path, name)]))
    return files


def _reader(path: Path, name: str) -> Callable[[bool], object]:
    from livespt.models.localize.localizer import Localizer
    from livespt.models.motion.follower import TrackFollower
    from livespt.models.motion.segmenter import Segmenter
    from livespt.models.motion.uncoating import Uncoating
    from livespt.models.motion.whole_tracks import WholeReader

    ramp = (np.arange(2 * 32 * 32) % 199).astype(np.uint16).reshape(2, 32, 32)
    points, slots = np.ones((3, 3)), np.arange(3, dtype=np.int32)

    def localize(_: bool) -> object:
        localizer = Localizer(path, provider="cpu")
        image = ramp.astype(np.float32) if name == "hologram" else ramp[0]
        axes = "cyx" if name == "hologram" else "yx"
        if localizer.refuses(axes, image.shape, image.dtype.str):
            return None
        return localizer(image)

    def follow(_: bool) -> object:
        kind = Segmenter if name == "segmenter" else Uncoating
        model = kind(path, provider="cpu")
        following = TrackFollower([model.network], model.farthest, 0.1)
        for t in range(3):
            following.push(slots, np.full(3, t), points + t)
        return following.read(slots, np.ones(3, np.int64))

    def whole(_: bool) -> object:
        model = WholeReader(path, "segment_whole", provider="cpu")
        return model(np.array([0, 3]), np.arange(3), points, 0.1), model.abstain_below

    return {"segmenter": follow, "uncoating": follow, "segmenter_whole": whole}.get(name, localize)


def _sign_model(path: Path, target: Path) -> bool:
    """Make the card name the file as it is now."""
    if target != path or not path.is_file():
        return False
    card = json.loads(path.with_suffix(".json").read_bytes())
    card["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card))
    return True


# movies


def _tiffs(folder: Path) -> list[SampleFile]:
    import tifffile

    stack = _stack()
    written: dict[str, dict[str, Any]] = {
        "ome.ome.tif": {"metadata": {"axes": "TYX"}, "photometric": "minisblack"},
        "imagej.tif": {"imagej": True, "metadata": {"axes": "TYX", "finterval": 0.1}},
        "packed.tif": {"compression": "zlib", "photometric": "minisblack"},
        "tiled.tif": {"tile": (16, 16), "photometric": "minisblack", "bigtiff": True},
    }
    for name, options in written.items():
        tifffile.imwrite(folder / name, stack, **options)
    return [_movie_file(folder / name) for name in written]


def _zarrs(folder: Path) -> list[SampleFile]:
    import zarr

    stack = _stack()
    made = []
    for form, version in ((3, "0.5"), (2, "0.4")):
        path = folder / f"image{form}.zarr"
        axes = [{"name": "t", "type": "time", "unit": "second"}]
        axes += [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
        scale = [{"type": "scale", "scale": [0.1, 0.2, 0.2]}]
        dataset = {"path": "0", "coordinateTransformations": scale}
        image: dict[str, Any] = {"axes": axes, "datasets": [dataset], "version": version}
        facts: dict[str, Any] = {"multiscales": [image]}
        attributes = {"ome": facts | {"version": version}} if form == 3 else facts
        group = zarr.create_group(path, attributes=attributes, zarr_format=form)  # type: ignore[arg-type]
        array = group.create_array("0", shape=stack.shape, dtype=stack.dtype, chunks=(1, 24, 20))
        array[...] = stack
        made.append(path)
    plain = zarr.create_array(
        folder / "plain.zarr", shape=stack.shape, dtype=stack.dtype, chunks=(2, 24, 20)
    )
    plain[...] = stack
    return [_movie_file(path) for path in (*made, folder / "plain.zarr")]


def _stack() -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 4000, (5, 24, 20)).astype(np.uint16)


def _movie_file(path: Path) -> SampleFile:
    def read(_: bool) -> None:
        _read_movie(path)

    return SampleFile(path, [read])


def _unsigned(path: Path, target: Path) -> bool:
    """Movies of others have no sums."""
    return False


SIGN = {"stores": _sign_run, "models": _sign_model, "tiff": _unsigned, "zarr": _unsigned}
