"""Storage of a live run, also while the disk is full or broken.

The recorder drops the frames that it cannot store, and writes the reason into the ring. The tables
keep their commits in memory, and store them when the disk accepts data again. Capture, analysis and
publishing go on. Two notices are sent: "storage stopped: disk full", and "storage resumed".
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from livespt.stream.errors import MicroscopeError, StoreError
from livespt.stream.movie import MovieWriter
from livespt.stream.publish import Publisher
from livespt.stream.recall import Recall
from livespt.stream.ring import RingReader
from livespt.stream.tables import TableWriter
from livespt.stream.types import Frame, Stop, Update
from livespt.tools.replay import Notices

REASONS = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "quota used up",
    errno.EROFS: "file system read-only",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EFBIG: "file too large",
}


def handed_over(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the frames of a ring until its writer ends it, or has died and all frames are read."""
    with suppress(MicroscopeError):
        yield from frames


def store_frames(reader: RingReader, writer: MovieWriter) -> None:
    """Store every frame of the ring, until it ends.

    Raises
    ------
    StoreError
        Some frames were lost; it is raised at the end.
    """
    refused, why = 0, "they came faster than the disk can store them"
    for frame in handed_over(reader):
        try:
            writer.add_frame(frame)
            reader.tell(0)
        except StoreError as error:  # this frame is lost; there may be room for the next
            reader.tell(error.errno or errno.EIO)
            why = why if refused else str(error)
            refused += 1
    try:
        writer.close()
    except StoreError:
        if not refused:
            raise
    if reader.lost + refused:
        raise StoreError(f"{reader.lost + refused} frames could not be recorded: {why}")


class StoredTables:
    """Sink that stores the tables; the recorder stores the frames.

    Parameters
    ----------
    writer
    publisher
        Publishes the notices as well.
    refused
        Returns why the recorder cannot store frames: an error number, or 0 if it can.
    recall
        For a run that is continued.
    """

    def __init__(
        self,
        writer: TableWriter,
        publisher: Publisher,
        refused: Callable[[], int],
        recall: Recall | None = None,
    ) -> None:
        self.writer = writer
        self.notices = Notices()
        self._publisher = publisher
        self._refused = refused
        self._recall = recall
        self._stopped = False

    def __call__(self, frame: Frame, update: Update) -> None:
        error = self._noted(update.t, self.notices(update))
        try:
            self.writer.commit(frame, update)
        except StoreError as failed:  # the update waits, and is stored with the next one
            error = failed.errno or errno.EIO
        self._tell(error or self._refused(), update.t)

    def leave_out(self, frame: Frame, why: str) -> None:
        """Store a notice about a frame that is not analyzed; the recorder stores the frame."""
        self._noted(frame.t, self.notices.left_out(frame, why))

    def finish(self, update: Update) -> None:
        """Store the rows that the end of the run settles, if it does not hold them already."""
        if self._recall is not None and self._recall.finish(update):
            return
        with suppress(StoreError):  # they wait for `close`
            self.writer.finish(update)

    def close(self, stop: Stop) -> Stop:
        """End the run; raise StoreError if this, or an update before it, could not be stored."""
        stop = self.writer.close(stop)
        if self.writer.dropped:
            raise StoreError(f"{self.writer.dropped} analyzed frames could not be stored")
        return stop

    def _noted(self, t: int, notices: Iterable[tuple[str, str]]) -> int:
        """Store notices; return the error number if one must wait, otherwise 0."""
        error = 0
        for kind, text in notices:
            try:
                self.writer.status(kind, t, text)
            except StoreError as failed:
                error = failed.errno or errno.EIO
        return error

    def _tell(self, error: int, t: int) -> None:
        if bool(error) == self._stopped:
            return
        self._stopped = bool(error)
        why = f"storage stopped: {REASONS.get(error, 'disk error')}"
        text = why if error else "storage resumed"
        self._publisher.status("storage", text)
        self._noted(t, [("storage", text)])
