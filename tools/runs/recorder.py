"""Recorder of a live run, where the disk does not take what there is: it stops, says so, goes on.

The recorder drops the frames it cannot store, and tells why in the ring. The tables keep their
commits in memory and go on with the first that is taken. Capture, analysis and publishing go on,
and everybody is told once, "storage stopped: disk full", and once more, "storage resumed".
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


def recording(pipe: Connection, live: LiveOrders, start: Start, restarts: int) -> None:
    """Recorder process: every frame into `movie`."""
    writer = MovieWriter(live.out, start, resume=restarts > 0, durability=live.durability)
    with RingReader(live.ring, lossless=True) as reader:
        if restarts:
            reader.pass_over(int(LogReader(live.out).poll()["number"].max(initial=-1)))
        pipe.send("ready")
        store_frames(reader, writer)
    pipe.send("done")
