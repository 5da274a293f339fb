"""What commands print: results as aligned lines and, with `--json`, as a file of JSON."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


class RecordedOutput(io.StringIO):
    """Standard output that also keeps its lines if `--json` is given."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._wanted = click.get_current_context().meta.get("livespt.json") is not None

    def write(self, text: str) -> int:
        """Print a text, and keep it."""
        if self._wanted and text.strip():
            self.lines.append(text)
        return sys.stdout.write(text)

    def flush(self) -> None:
        """Flush the standard output."""
        sys.stdout.flush()


def report(result: Any, lines: Sequence[str] | None = None) -> None:
    """Print a result (`lines` in place of it, if given), and write it to the file of `--json`."""
    for line in lines if lines is not None else _lines(result):
        click.echo(line)
    path = click.get_current_context().meta.get("livespt.json")
    if path is not None:
        path.write_text(json.dumps(_plain(result), indent=2, allow_nan=False) + "\n")


def _lines(result: Any, indent: str = "") -> list[str]:
    lines = []
    width = max(map(len, result), default=0) + 2
    for key, value in result.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{indent}{key}", *_table(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key:<{width}}{_shown(value)}".rstrip())
    return lines


def _table(rows: list[dict[str, Any]], indent: str) -> list[str]:
    """Rows of equal keys as aligned columns."""
    cells = [list(rows[0])] + [[_shown(row.get(key)) for key in rows[0]] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """Return plain values without NaN, which is not valid JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
