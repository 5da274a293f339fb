"""Storage of a live run, also while the disk is full or broken.

The recorder drops the frames that it cannot store, and writes the reason into the ring. The tables
keep their commits in memory, and store them when the disk accepts data again. Capture, analysis and
publishing go on. Two notices are sent: "storage stopped: disk full", and "storage resumed".
"""

from __future__ import annotations

import errno
from multiprocessing.connection import Connection

from livespt.stream.errors import StoreError
from livespt.stream.ring.reader import RingReader
from livespt.stream.sources import handed_over
from livespt.stream.store.frame_log import LogReader
from livespt.stream.store.movie import MovieWriter
from livespt.stream.types import Start
from livespt.tools.runs.options import LiveOrders


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
            reader.report_error(0)
        except StoreError as error:  # this frame is lost; there may be room for the next
            reader.report_error(error.errno or errno.EIO)
            why = why if refused else str(error)
            refused += 1
    try:
        writer.close()
    except StoreError:
        if not refused:
            raise
    if reader.lost + refused:
        raise StoreError(f"{reader.lost + refused} frames could not be recorded: {why}")


def recording(pipe: Connection, live: LiveOrders, start: Start, restarts: int) -> None:
    """Recorder process: every frame into `movie`."""
    writer = MovieWriter(live.out, start, resume=restarts > 0, durability=live.durability)
    with RingReader(live.ring, lossless=True) as reader:
        if restarts:
            reader.pass_over(int(LogReader(live.out).poll()["number"].max(initial=-1)))
        pipe.send("ready")
        store_frames(reader, writer)
    pipe.send("done")
