"""Supervisor: worker processes of a live run, begun again when they die while capture goes on.

A thread a worker waits for its last word or its death; nothing that feeds the ring waits for it. A
worker that says what is wrong is not begun again: it would say so again.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from livespt.stream.errors import LiveSptError

RESTARTS, WITHIN_S = 5, 60.0  # more than so many deaths in so long a time are not bad luck


class Worker:
    """A child process that is begun again when it dies.

    Parameters
    ----------
    name : str
    target : callable
        Runs in the child, called with the pipe to this process and what `words` returns.
    words : callable
        Arguments of the child, of how often it was begun before.

    Attributes
    ----------
    restarts : int
    problem : str
        What it failed at, empty while it has not.
    on_restart : callable, optional
        Told of each restart, in words.
    is_over : callable, optional
        Says that nothing is left for it to do: it is not begun again.
    """

    def __init__(
        self, name: str, target: Callable[..., None], words: Callable[[int], tuple[Any, ...]]
    ) -> None:
        self.name, self.restarts, self.problem = name, 0, ""
        self.on_restart: Callable[[str], None] | None = None
        self.is_over: Callable[[], bool] = lambda: False
        self._target, self._words = target, words
        self._last: Any = None  # the order that a new one must hear too
        self._deaths: list[float] = []
        self._lock = threading.Lock()  # guards process and pipe
        self._thread: threading.Thread | None = None
        self._begin()

    def hear(self, within_s: float) -> Any:
        """Wait for its next word, before `watch`; raise what it raised, or that it died."""
        try:
            if not self._pipe.poll(within_s):
                raise LiveSptError(f"the {self.name} said nothing for {within_s:.0f} s")
            word = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise LiveSptError(self._obituary()) from None
        if isinstance(word, LiveSptError):
            raise word
        return word

    def watch(self) -> None:
        """From now on it is begun again when it dies, until it says that it is done."""
        name = f"watch-{self.name}"
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
        self._thread.start()

    def tell(self, word: Any, *, last: bool = False) -> None:
        """Send it a word; the last one is also for those that are begun after."""
        with self._lock:
            self._last = word if last else self._last
            with suppress(OSError):  # it has just died
                self._pipe.send(word)

    def finish(self, within_s: float) -> str:
        """Wait until it is done; what it failed at, empty for nothing."""
        if self._thread is None:
            return ""
        self._thread.join(within_s)
        if self._thread.is_alive():
            self.problem = self.problem or f"the {self.name} said nothing for {within_s:.0f} s"
        elif not self.problem:
            self._process.join(10)
        return self.problem

    def end(self) -> None:
        """End the process, however it is."""
        self._deaths = [float("inf")] * RESTARTS  # not begun again
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(5)

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            name=f"livespt-{self.name}",
            target=_work,
            args=(self._target, theirs, *self._words(self.restarts)),
            daemon=True,
        )
        process.start()
        theirs.close()
        with self._lock:
            self._process, self._pipe = process, ours
            if self._last is not None:
                ours.send(self._last)

    def _watch(self) -> None:
        while True:
            try:
                word = self._pipe.recv()
            except (EOFError, OSError):
                if not self._restart():
                    return
                continue
            if isinstance(word, LiveSptError):
                self.problem = str(word)
            if isinstance(word, LiveSptError) or word == "done":
                return

    def _restart(self) -> bool:
        """Begin again after a death; False: it is over, or died too often."""
        told, now = self._obituary(), time.monotonic()
        self._deaths = [at for at in self._deaths if at > now - WITHIN_S]
        if self.is_over():
            return False
        if len(self._deaths) >= RESTARTS:
            self.problem = f"{told} once more, and is not begun again"
            return False
        self._deaths.append(now)
        self.restarts += 1
        self._begin()
        if self.on_restart is not None:
            self.on_restart(f"{told} and was restarted")
        return True

    def _obituary(self) -> str:
        self._process.join(5)
        return f"the {self.name} process ended early (exit code {self._process.exitcode})"


def _work(target: Callable[..., None], pipe: Connection, *words: Any) -> None:
    """Run a worker; an interrupt is the parent's to handle, an error is told to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        target(pipe, *words)
    except LiveSptError as error:
        with suppress(OSError):
            pipe.send(error)
    except (EOFError, ConnectionError):  # the parent is dead: nobody to tell
        pass
    finally:
        pipe.close()
