"""Load: how busy other programs keep the processors, by the system's own count."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from livespt.stream.errors import LiveSptError, SettingError
from livespt.tools.bench.worker import cpu_s

MOST = 0.2  # of a core
LOOK_S = 1.0
STAT = Path("/proc/stat")


class OtherLoad:
    """Cores that others kept busy since the last call, or since this was made.

    What a hypervisor took away counts, too: that is another's work on these cores.
    """

    def __init__(self) -> None:
        self._at = _now()

    def __call__(self) -> float:
        """Cores, on average; 0 where nothing else ran."""
        (clock, busy, own), self._at = self._at, _now()
        past_s = max(self._at[0] - clock, 1e-9)
        return max(0.0, (self._at[1] - busy - (self._at[2] - own)) / past_s)


def other_load() -> float:
    """Cores that others keep busy, from a look of a second.

    Raises
    ------
    LiveSptError
        This system does not tell.
    """
    look = OtherLoad()
    time.sleep(LOOK_S)
    return look()


def check_quiet(measure: Callable[[], float] = other_load) -> None:
    """Refuse to measure beside other load.

    Raises
    ------
    SettingError
        Other programs use more than a fifth of a core.
    """
    load = measure()
    if load > MOST:
        raise SettingError(
            f"other programs use {load:.2f} of a core and {MOST:g} is the most that a comparison "
            "bears: end them, or give --busy to measure beside them"
        )


def _now() -> tuple[float, float, float]:
    """Clock, busy time of all processors and of our own processes, seconds."""
    try:
        words = STAT.read_text().split("\n", 1)[0].split()
    except OSError as error:
        raise LiveSptError(
            "this system does not say how busy its processors are (no /proc/stat): close other "
            "programs and give --busy"
        ) from error
    user, nice, system, _, _, irq, softirq, steal = map(int, words[1:9])
    busy = user + nice + system + irq + softirq + steal
    return time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), cpu_s()
