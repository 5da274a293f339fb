"""Subscribers that come late, stall, are cut off or killed, of a publisher that is killed as well.

Each keeps every event as the bytes it got; at the end of the run all must have the same ones. The
updates that most of them follow too are so large that a stall of ten seconds overflows the queues
of the publisher and of the system, so that events are lost on PUB and must be fetched again.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from livespt.stream.errors import LiveSptError
from livespt.stream.types import EVENT
from livespt.tools.chaos import latency
from livespt.tools.chaos.cut_relay import Relay
from livespt.tools.chaos.trial_publisher import Child, Plan, free_endpoint
from livespt.tools.chaos.trial_subscriber import PATIENCE_S, Seen, TrialSubscriber

HARDSHIPS = ("late", "stalled 10 s", "stalled 60 s", "killed", "cut off")
MAX_FOLLOWERS = 50  # of one run
RUN_S = 75.0  # a run
KILLS_S = (22.0, 47.0)  # of the publisher
PLAN = Plan(frame_hz=25.0, tracks=600)  # 92 kB an update: 23 MB in ten seconds
NOTICED_S = 0.2
MEASURED = 40  # subscribers for each pair of phases in which latency is measured


class Deed(NamedTuple):
    """Something done at a time."""

    at_s: float  # from the beginning of the run
    do: Callable[[], object]


class Run:
    """One published run and those who follow it.

    Parameters
    ----------
    n : int
        Followers, of the hardships in turn.
    folder : Path
        For the files of the followers; exists.
    pace : float
        All times are multiplied by it.
    """

    def __init__(self, n: int, folder: Path, pace: float, chance: random.Random) -> None:
        self._plan = PLAN._replace(endpoint=free_endpoint(), noted=str(folder / "noted"))
        self._folder, self._pace, self._chance = folder, pace, chance
        self._child = Child(self._plan)
        self._relay = Relay(self._child.endpoint)
        self.hardships = [HARDSHIPS[i % len(HARDSHIPS)] for i in range(n)]
        self.followers: dict[int, TrialSubscriber] = {}
        self._deeds = [deed for i in range(n) for deed in self._deeds_to(i)]
        self._deeds += [Deed(at_s, self._restart) for at_s in KILLS_S]

    def play(self) -> int:
        """Do what is to be done when it is due, end the run; return how many events it had."""
        begin = time.monotonic()
        end = Deed(RUN_S, lambda: None)
        for deed in sorted([*self._deeds, end], key=lambda deed: deed.at_s):
            time.sleep(max(0.0, begin + deed.at_s * self._pace - time.monotonic()))
            deed.do()
        self._await_all(self._child.health().events)
        return self._child.stop()

    def _await_all(self, events: int) -> None:
        """Wait until all have so many: whoever was just started again might miss the end."""
        deadline = time.monotonic() + PATIENCE_S
        paths = [follower.path for follower in self.followers.values()]
        while any(path.stat().st_size < events * EVENT.itemsize for path in paths):
            if time.monotonic() > deadline:
                return  # what is missing is found soon
            time.sleep(0.1)

    def close(self) -> None:
        """Leave no process behind."""
        self._child.kill()
        for follower in self.followers.values():
            follower.process.kill()
            follower.process.join()
        self._relay.close()

    def _deeds_to(self, i: int) -> list[Deed]:
        hardship, some_time = self.hardships[i], self._chance.uniform
        begin_s = some_time(20, 60) if hardship == "late" else some_time(0, 3)
        deeds = [Deed(begin_s, lambda: self._begin(i))]
        if hardship.startswith("stalled"):
            for_s = float(hardship.split()[1])
            stop_s = some_time(6, 68 - for_s)
            deeds += [
                Deed(stop_s, lambda: self._stop(i)),
                Deed(stop_s + for_s, lambda: self.followers[i].signal(signal.SIGCONT)),
            ]
        elif hardship == "killed":
            deeds += [Deed(some_time(6, 68), lambda: self._kill(i)) for _ in range(3)]
        elif hardship == "cut off":
            deeds += [Deed(some_time(6, 68), self._relay.cut_connections)]
        return deeds

    def _begin(self, i: int) -> None:
        """Start a follower; who is cut off gets events only, and so misses none but by the cut."""
        cut_off = self.hardships[i] == "cut off"
        endpoint = self._relay.endpoint if cut_off else self._plan.endpoint
        topics = ("event",) if cut_off else ("event", "update")
        self.followers[i] = TrialSubscriber(endpoint, self._folder / f"{i}.events", topics)

    def _stop(self, i: int) -> None:
        """Stop a follower that has joined: one that has not would give up when it wakes."""
        self.followers[i].has_joined()
        self.followers[i].signal(signal.SIGSTOP)

    def _kill(self, i: int) -> None:
        follower = self.followers[i]
        follower.process.kill()
        follower.process.join()
        follower.start()

    def _restart(self) -> None:
        """Kill the publisher, and start the next one where it was."""
        self._child.kill()
        self._plan = self._plan._replace(epoch=self._plan.epoch + 1)
        self._child = Child(self._plan)


def one_run(
    n: int, folder: Path, pace: float, chance: random.Random
) -> tuple[list[tuple[str, Seen]], list[str]]:
    """A run with `n` followers: what those went through, and what is wrong."""
    followed = Run(n, folder, pace, chance)
    seen, failed = [], []
    try:
        events = followed.play()
        for i, follower in followed.followers.items():
            hardship = followed.hardships[i]
            if fault := follower.fault(events):
                failed.append(f"follower {i} ({hardship}): {fault}")
            else:
                seen.append((hardship, follower.seen))
    finally:
        followed.close()
    return seen, failed


def run(times: int, folder: Path, say: Callable[[str], None], pace: float = 1.0) -> dict[str, Any]:
    """Let `times` subscribers follow runs in which everything goes wrong.

    Parameters
    ----------
    times : int
        Followers, up to `MAX_FOLLOWERS` of one run.
    folder : Path
        For what they write.
    say : callable
        Told how it goes.
    pace : float
        All times are multiplied by it: below 1 the stalls are shorter than their names say.

    Returns
    -------
    dict
        What was measured; `failed` lists what went wrong, in words. How fast gaps were noticed
        depends on what else the machine does: it is reported and decides nothing.
    """
    chance = random.Random(1)
    seen: list[tuple[str, Seen]] = []
    failed: list[str] = []
    for begin in range(0, times, MAX_FOLLOWERS):
        n = min(MAX_FOLLOWERS, times - begin)
        place = folder / f"run {begin}"
        place.mkdir()
        try:
            these, wrong = one_run(n, place, pace, chance)
        except LiveSptError as error:
            these, wrong = [], [str(error)]
        seen, failed = seen + these, failed + wrong
        say(f"{begin + n} of {times} subscribers, {len(seen)} with every event once and in order")
    by_hardship = {
        kind: _figures([one for hardship, one in seen if hardship == kind]) for kind in HARDSHIPS
    }
    noticed = np.array([one.noticed_s for _, one in seen if one.gaps] or [0.0])
    figures = {
        "subscribers": times,
        "identical": len(seen),
        "by_hardship": by_hardship,
        "noticed_ms": {
            "median": round(1000 * float(np.median(noticed)), 1),
            "max": round(1000 * float(noticed.max()), 1),
            "within_200_ms": int((noticed <= NOTICED_S).sum()),
            "of": len(noticed),
        },
    }
    if times >= MEASURED:
        figures["latency"] = latency.run(times // MEASURED, folder, say)
    return figures | {"failed": failed}


def _figures(seen: list[Seen]) -> dict[str, int]:
    """Sums over followers of one hardship."""
    names = ("events", "refetched", "gaps", "restarts", "malformed", "lost_updates")
    slowest = max((one.noticed_s for one in seen), default=0.0)
    sums = {name: sum(getattr(one, name) for one in seen) for name in names}
    return {"subscribers": len(seen), **sums, "noticed_ms": round(1000 * slowest)}


if __name__ == "__main__":
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        pace = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
        print(json.dumps(run(int(sys.argv[1]), Path(name), print, pace), indent=2))
