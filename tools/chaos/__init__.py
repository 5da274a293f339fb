"""Accidents tried out: kills, damaged files, full disks, power cuts, hostile peers, long runs."""

__all__ = [
    "cut_relay",
    "damage",
    "disk",
    "files",
    "good_files",
    "hostile_publisher",
    "kill_checks",
    "kills",
    "latency",
    "messages",
    "power",
    "soak",
    "subscribers",
    "suite",
    "trial_publisher",
    "trial_subscriber",
]
