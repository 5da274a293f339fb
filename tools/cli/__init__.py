"""The command line: groups, commands, their options; nothing imports it."""

__all__ = [
    "command",
    "evaluate",
    "label",
    "machine",
    "main",
    "options",
    "parameters",
    "printing",
    "runs",
    "settings",
    "settings_page",
    "tables",
    "train",
]
