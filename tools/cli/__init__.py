"""The command line: groups, commands, their options; nothing imports it."""

__all__ = ["classifier", "command", "evaluate", "label", "main", "settings", "train"]
