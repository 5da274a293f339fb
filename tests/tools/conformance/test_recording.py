"""The suite of recordings finds out what is wrong with a format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tifffile
from numpy.typing import NDArray

from livespt.tools.conformance.recording import RecordingTests


class Plain(RecordingTests):
    """A plain TIFF, which states no units."""

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        tifffile.imwrite(folder / "a.tif", pixels)
        return folder / "a.tif"

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        """Nothing: then nothing is refused."""

    def truncate(self, path: Path) -> None:
        with tifffile.TiffFile(path) as file:
            begin = file.pages[0].dataoffsets[0]
        data = bytearray(path.read_bytes())
        data[begin : begin + 100] = bytes(100)  # other pixels, instead of none
        path.write_bytes(data)


class Swapped(Plain):
    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        return super().write(folder, pixels.swapaxes(1, 2))


class Timed(Plain):
    units = Plain.units._replace(frame_interval_s=0.05)


RECORDINGS: dict[str, tuple[RecordingTests, str]] = {
    "y and x swapped": (Swapped(), "test_frames_are_those_that_were_written"),
    "no units": (Timed(), "test_units_and_times_are_those_that_were_written"),
    "wrong pixels": (Plain(), "test_a_truncated_file_is_refused"),
    "nothing told": (Plain(), "test_a_missing_frame_is_told"),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_faulty_recording_is_found_out(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    suite, test = RECORDINGS[name]
    given = (tmp_path, capfd) if test == "test_a_truncated_file_is_refused" else (tmp_path,)
    with pytest.raises(AssertionError):
        getattr(suite, test)(*given)
