"""Films: MP4, AVI, MOV and MKV through ffmpeg, as grey values."""

from __future__ import annotations

import gc
import os
import subprocess
import warnings
import weakref
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.recordings.grid import FileFacts, movie_of_array
from livespt.acquisition.recordings.movie import NOTHING, Movie, Stated
from livespt.stream.errors import InputError

DAMAGE = (OSError, RuntimeError, ValueError, IndexError, KeyError, AttributeError)


EBML = b"\x1a\x45\xdf\xa3"  # MKV, WebM


def is_video(begin: bytes) -> bool:
    """Whether the first bytes (12 or more) of a file are those of a film."""
    if begin[4:8] == b"ftyp" or begin[:4] == EBML:
        return True
    return begin[:4] == b"RIFF" and begin[8:12] == b"AVI "


def open_video(path: Path, stated: Stated = NOTHING) -> Movie:
    """Open a film; its frames are decoded one after the other.

    Its rate is a speed of play, and no interval of a recording.

    Raises
    ------
    InputError
        ffmpeg cannot read it, or it holds no frames.
    """
    from imageio_ffmpeg import count_frames_and_secs

    _check_whole(path)
    try:
        images = _Film(path, int(count_frames_and_secs(str(path))[0]))
    except DAMAGE as error:
        line = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise InputError(f"{path} cannot be read as a film: {line}") from error
    notices = [
        f"{images.rate:g} frames per second are the speed at which {path.name} plays, no interval"
    ]
    if not images.source.startswith("gray"):
        notices.append(f"its pixels ({images.source}) are read as grey values")
    if images.codec not in ("ffv1", "rawvideo", "huffyuv"):
        notices.append(
            f"{images.codec} compression correlates neighbouring pixels: noise may look like spots"
        )
    return movie_of_array(path, images, "tyx", FileFacts(notices=tuple(notices)), stated)


def _check_whole(path: Path) -> None:
    """Raise InputError if a part of an AVI or MP4 file reaches beyond its end.

    ffmpeg takes the frames that are left for a shorter film.
    """
    size = path.stat().st_size
    at = 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            head = file.read(16)
            if head[:4] == b"RIFF":
                at += 8 + int.from_bytes(head[4:8], "little")
                at += at % 2
            elif head[:4] == EBML:
                return  # parts without a length are allowed
            else:
                length = int.from_bytes(head[:4], "big")
                length = int.from_bytes(head[8:16], "big") if length == 1 else length
                at = at + length if length >= 8 else size  # 0: up to the end
    if at > size:
        raise InputError(f"{path} is truncated, {at - size} bytes are missing: copy it again")


class _Film:
    """Frames of a film, decoded in order; an earlier one is decoded from the beginning again."""

    def __init__(self, path: Path, n: int) -> None:
        self._path = path
        about = _about(path)
        self.source = str(about.get("pix_fmt", "")).partition("(")[0]
        self.codec = str(about.get("codec", "unknown"))
        self.rate = float(about["fps"])
        deep = self.source.startswith("gray") and self.source[4:6] in ("16", "12", "10")
        self._kind = "gray16le" if deep else "gray"
        self.dtype = np.dtype("<u2" if deep else "u1")
        x, y = about["source_size"]
        self.shape = (n, int(y), int(x))
        self._decoder = _Decoder(path, self._kind)
        weakref.finalize(self, self._decoder.close)
        self._next = 0
        self._image: NDArray[Any] = np.zeros(self.shape[1:], self.dtype)

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        at = int(key[0])
        if at < self._next - 1:
            self._decoder.begin()
            self._next = 0
        while self._next <= at:
            size = self._image.nbytes
            data = self._decoder.read(size)
            if len(data) < size:
                raise InputError(f"{self._path} ends at frame {self._next}: copy it again")
            self._image = np.frombuffer(data, self.dtype).reshape(self.shape[1:])
            self._next += 1
        image: NDArray[Any] = self._image[key[1:]]
        return image


class _Decoder:
    """A process of ffmpeg that decodes a film from its first frame on."""

    def __init__(self, path: Path, kind: str) -> None:
        from imageio_ffmpeg import get_ffmpeg_exe

        how = ["-f", "rawvideo", "-pix_fmt", kind, "-fps_mode", "passthrough", "-"]
        self._command = [get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path), *how]
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = TemporaryFile()  # a pipe that nobody reads would fill and stop the process

    def begin(self) -> None:
        """Go back to the first frame."""
        self._end()
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors
        )

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes of pixels; fewer at the end.

        ffmpeg makes up what it cannot decode, and says so before it hands it over.
        """
        if self._process is None:
            self.begin()
        assert self._process is not None and self._process.stdout is not None
        data = self._process.stdout.read(size)
        if os.fstat(self._errors.fileno()).st_size:
            self._errors.seek(0)
            line = self._errors.readline().decode("utf-8", "replace").strip()
            raise InputError(f"{self._path} is damaged: {line}: copy it again, or convert it")
        return data

    def close(self) -> None:
        """End the process."""
        self._end()
        self._errors.close()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process.wait()
            self._process = None


def _about(path: Path) -> dict[str, Any]:
    """Size, rate and pixels of a film."""
    from imageio_ffmpeg import read_frames

    with warnings.catch_warnings():  # it leaves the pipes of its process to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        frames = read_frames(str(path), output_params=["-frames:v", "1"])
        about: dict[str, Any] = next(frames)
        for _ in frames:  # up to its end: a process that is stopped before takes ten seconds
            pass
        del frames
        gc.collect()
    return about
