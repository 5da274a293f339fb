"""Storage of a live run where the disk does not take what there is: it stops, says so, goes on.

The recorder drops the frames it cannot store, and tells why in the ring. The tables keep their
commits in memory and go on with the first that is taken. Capture, analysis and publishing go on,
and everybody is told once, "storage stopped: disk full", and once more, "storage resumed".
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from livespt.stream.errors import MicroscopeError, StoreError
from livespt.stream.recovery.reanalysis import Recall
from livespt.stream.ring.ring import RingReader
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import Frame, Stop, Update
from livespt.stream.wire.publisher import Publisher
from livespt.tools.runs.replay import Notices

REASONS = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "quota used up",
    errno.EROFS: "file system read-only",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EFBIG: "file too large",
}


def handed_over(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the frames of a ring, until its writer ends it, or has died and all is read."""
    with suppress(MicroscopeError):
        yield from frames


def store_frames(reader: RingReader, writer: MovieWriter) -> None:
    """Store every frame that comes through the ring, until it ends.

    Raises
    ------
    StoreError
        At the end: some were lost.
    """
    refused, why = 0, "they came faster than the disk takes them"
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
        Whom to tell too.
    refused
        Why the recorder cannot store frames: an error number, 0 where it can.
    recall
        Of a run that is gone on with.
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
        except StoreError as failed:  # what was given waits, and goes with the next
            error = failed.errno or errno.EIO
        self._tell(error or self._refused(), update.t)

    def leave_out(self, frame: Frame, why: str) -> None:
        """Tell of a frame that is not analyzed; the recorder stores it."""
        self._noted(frame.t, self.notices.left_out(frame, why))

    def finish(self, update: Update) -> None:
        """Take the rows that the end of the run settles, if they are not in it already."""
        if self._recall is not None and self._recall.finish(update):
            return
        with suppress(StoreError):  # they wait for `close`
            self.writer.finish(update)

    def close(self, stop: Stop) -> Stop:
        """End the run; StoreError where that, or an update before it, could not be stored."""
        stop = self.writer.close(stop)
        if self.writer.dropped:
            raise StoreError(f"{self.writer.dropped} analyzed frames could not be stored")
        return stop

    def _noted(self, t: int, notices: Iterable[tuple[str, str]]) -> int:
        """Store notices; the error number of one that must wait, 0 where none must."""
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
