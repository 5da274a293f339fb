"""Sinks: what takes the updates of a run: published, or stored."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from contextlib import suppress

from livespt.stream.errors import StoreError
from livespt.stream.notices import Notices, QualityNotices
from livespt.stream.recovery.reanalysis import Reanalysis
from livespt.stream.store.run import RunWriter
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import Frame, Stop, Update
from livespt.stream.wire.publisher import Publisher


class Published:
    """Sink that publishes, and measures the latency from hook to published."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.notices = Notices()
        self.close = publisher.close

    def __call__(self, frame: Frame, update: Update) -> Update:
        for kind, text in self.notices(update):
            self.publisher.status(kind, text)
        sent_ns = self.publisher(frame, update)
        if not frame.captured_ns:
            return update
        latency = (sent_ns - frame.captured_ns) / 1e6
        return update._replace(timings=update.timings._replace(latency_ms=latency))

    def finish(self, update: Update) -> None:
        """Publish what the end of the run settles, and the last notices about the sample."""
        for kind, text in update.notices:
            self.publisher.status(kind, text)
        self.publisher.finish(update)

    def leave_out(self, frame: Frame, why: str) -> None:
        """Publish a notice about a frame that is not analyzed."""
        for kind, text in self.notices.left_out(frame, why):
            self.publisher.status(kind, text)


class StoredReplay:
    """Sink that stores frames and tables of a replay."""

    def __init__(self, writer: RunWriter) -> None:
        self.writer = writer
        self.notices = QualityNotices()
        self.close = writer.close

    def __call__(self, frame: Frame, update: Update) -> None:
        self.writer.add_frame(frame)
        for kind, text in self.notices(update):
            self.writer.status(kind, update.t, text)
        self.writer.commit(frame, update)

    def finish(self, update: Update) -> None:
        """Store what the end of the run settles, and the last notices about the sample."""
        for kind, text in update.notices:
            self.writer.status(kind, update.t, text)
        self.writer.finish(update)

    def leave_out(self, frame: Frame, why: str) -> None:
        """Store a frame that is not analyzed."""
        self.writer.add_frame(frame)
        for kind, text in self.notices.left_out(frame, why):
            self.writer.status(kind, frame.t, text)


class Said:
    """Sink that hands the notices about the sample to a person.

    Parameters
    ----------
    say
        Is called with each text.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def __call__(self, frame: Frame, update: Update) -> None:
        self.finish(update)

    def finish(self, update: Update) -> None:
        """Say the notices of an update."""
        for _, text in update.notices:
            self.say(f"note: {text}")

    def close(self, stop: Stop) -> None:
        """Say nothing more."""


REASONS = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "quota used up",
    errno.EROFS: "file system read-only",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EFBIG: "file too large",
}


class StoredTables:
    """Sink that stores the tables; the recorder stores the frames.

    Parameters
    ----------
    writer
    publisher
        Publishes the notices as well.
    refused
        Returns why the recorder cannot store frames: an error number, or 0 if it can.
    reanalysis
        For a run that is continued.
    """

    def __init__(
        self,
        writer: TableWriter,
        publisher: Publisher,
        refused: Callable[[], int],
        reanalysis: Reanalysis | None = None,
    ) -> None:
        self.writer = writer
        self.notices = Notices()
        self._publisher = publisher
        self._refused = refused
        self._reanalysis = reanalysis
        self._stopped = False

    def __call__(self, frame: Frame, update: Update) -> None:
        error = self._noted(update.t, self.notices(update))
        try:
            self.writer.commit(frame, update)
        except StoreError as failed:  # what was given waits, and goes with the next
            error = failed.errno or errno.EIO
        self._report_storage(error or self._refused(), update.t)

    def leave_out(self, frame: Frame, why: str) -> None:
        """Store a notice about a frame that is not analyzed; the recorder stores the frame."""
        self._noted(frame.t, self.notices.left_out(frame, why))

    def finish(self, update: Update) -> None:
        """Store the rows that the end of the run settles, if it does not hold them already."""
        if self._reanalysis is not None and self._reanalysis.finish(update):
            return
        self._noted(update.t, update.notices)
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

    def _report_storage(self, error: int, t: int) -> None:
        if bool(error) == self._stopped:
            return
        self._stopped = bool(error)
        why = f"storage stopped: {REASONS.get(error, 'disk error')}"
        text = why if error else "storage resumed"
        self._publisher.status("storage", text)
        self._noted(t, [("storage", text)])
