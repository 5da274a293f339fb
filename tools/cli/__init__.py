"""The command line: groups, commands, their options; nothing imports it."""

__all__ = [
    "command",
    "evaluate",
    "label",
    "machine",
    "main",
    "options",
    "runs",
    "settings",
    "tables",
    "train",
]
