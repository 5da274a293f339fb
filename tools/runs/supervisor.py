"""The supervisor: worker processes of a live run are restarted when they die; capture goes on.

One thread per worker waits for its last message or its death; capture never waits for it. A worker
that reports an error is not restarted, because the error would occur again.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from livespt.stream.errors import LiveSptError
from livespt.stream.host.crash_log import crash_log, crash_log_path

SAID = "said"  # first word of a message to the user: (SAID, text)
RESTARTS, WITHIN_S = 5, 60.0  # most restarts of a worker within this time


class Worker:
    """A child process that is restarted when it dies.

    Parameters
    ----------
    name : str
    target : callable
        Runs in the child. It is called with the pipe to this process and the result of `arguments`.
    arguments : callable
        Returns further arguments of the child, from the number of restarts so far.
    run : Path
        Run of the worker; if the worker crashes, its stacks are written next to the run.

    Attributes
    ----------
    restarts : int
    problem : str
        Error of the worker; empty if there is none.
    on_restart : callable, optional
        Is called with a text at each restart.
    on_said : callable, optional
        Is called with each text that the worker has for the user.
    is_over : callable, optional
        Returns whether the work is done, so that the worker is not restarted.
    """

    def __init__(
        self,
        name: str,
        target: Callable[..., None],
        arguments: Callable[[int], tuple[Any, ...]],
        run: Path,
    ) -> None:
        self.name, self.run, self.restarts, self.problem = name, run, 0, ""
        self.on_restart: Callable[[str], None] | None = None
        self.on_said: Callable[[str], None] | None = None
        self.is_over: Callable[[], bool] = lambda: False
        self._target, self._arguments = target, arguments
        self._last: Any = None  # the message that a restarted worker needs as well
        self._deaths: list[float] = []
        self._lock = threading.Lock()  # guards process and pipe
        self._thread: threading.Thread | None = None
        self._begin()

    def receive(self, within_s: float) -> Any:
        """Receive its next message, before `watch`; raise its error, or that it died."""
        try:
            if not self._pipe.poll(within_s):
                raise LiveSptError(f"the {self.name} did not respond for {within_s:.0f} s")
            message = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise LiveSptError(self._exit_message()) from None
        if isinstance(message, LiveSptError):
            raise message
        return message

    def watch(self) -> None:
        """From now on, restart the worker when it dies, until it reports that it is done."""
        name = f"watch-{self.name}"
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
        self._thread.start()

    def send(self, message: Any, *, last: bool = False) -> None:
        """Send it a message; one with `last` is also sent to the worker after a restart."""
        with self._lock:
            self._last = message if last else self._last
            with suppress(OSError):  # it has just died
                self._pipe.send(message)

    def finish(self, within_s: float) -> str:
        """Wait until it is done; return its error, or an empty text."""
        if self._thread is None:
            return ""
        self._thread.join(within_s)
        if self._thread.is_alive():
            self.problem = self.problem or f"the {self.name} did not respond for {within_s:.0f} s"
        elif not self.problem:
            self._process.join(10)
        return self.problem

    def end(self) -> None:
        """End the process, in whatever state it is."""
        self._deaths = [float("inf")] * RESTARTS  # it is not restarted
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(5)

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            name=f"livespt-{self.name}",
            target=_work,
            args=(self.run, self.name, self._target, theirs, *self._arguments(self.restarts)),
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
                message = self._pipe.recv()
            except (EOFError, OSError):
                if not self._restart():
                    return
                continue
            if type(message) is tuple and message[0] == SAID and self.on_said is not None:
                self.on_said(message[1])
            if isinstance(message, LiveSptError):
                self.problem = str(message)
            if isinstance(message, LiveSptError) or message == "done":
                return

    def _restart(self) -> bool:
        """Restart the worker after its death; False if the work is done, or it died too often."""
        message, now = self._exit_message(), time.monotonic()
        self._deaths = [at for at in self._deaths if at > now - WITHIN_S]
        if self.is_over():
            return False
        if len(self._deaths) >= RESTARTS:
            self.problem = f"{message} again, and is not restarted any more"
            return False
        self._deaths.append(now)
        self.restarts += 1
        self._begin()
        if self.on_restart is not None:
            self.on_restart(f"{message} and was restarted")
        return True

    def _exit_message(self) -> str:
        self._process.join(5)
        text = f"the {self.name} process ended early (exit code {self._process.exitcode})"
        log = crash_log_path(self.run, self.name)
        with suppress(OSError):
            if log.stat().st_size:
                text += f", its stacks are in '{log}',"
        return text


def _work(
    run: Path, name: str, target: Callable[..., None], pipe: Connection, *arguments: Any
) -> None:
    """Run a worker: ignore interrupts, which the parent handles, and send errors to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with crash_log(run, name):
            target(pipe, *arguments)
    except LiveSptError as error:
        with suppress(OSError):
            pipe.send(error)
    except (EOFError, ConnectionError):  # the parent is dead
        pass
    finally:
        pipe.close()
