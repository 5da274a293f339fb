"""Options of commands: the kinds of values they take, and how their help shows default and range.

The help text of an option says what the option does and can be read alone. Default, unit and range
follow it in brackets, written here and nowhere else: `[default: 5 pixels; 0.001 to 1000]`.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)


class Number(click.types.FloatParamType):
    """A finite number in a range.

    Parameters
    ----------
    low, high : float
        Least and greatest value.
    exclusive : bool
        `low` itself is not allowed.
    """

    name = "number"
    kind: type[float] = float
    called = "a number"

    def __init__(
        self, low: float = -math.inf, high: float = math.inf, *, exclusive: bool = False
    ) -> None:
        self.low = low
        self.high = high
        self.exclusive = exclusive

    @property
    def range(self) -> str:
        """The range in words; empty if every number is allowed."""
        if self.low == -math.inf:
            return "" if self.high == math.inf else f"{self.high:g} or less"
        if self.high < math.inf:
            return f"{self.low:g} to {self.high:g}"
        return f"greater than {self.low:g}" if self.exclusive else f"{self.low:g} or more"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or say why the text is none."""
        try:
            number = self.kind(value)
        except ValueError:
            self.fail(f"'{value}' is not {self.called}", param, ctx)
        if not math.isfinite(number):
            self.fail(f"'{value}' is not a finite number", param, ctx)
        if not self.low <= number <= self.high or (self.exclusive and number == self.low):
            self.fail(f"{value} is out of range: give {self.called}, {self.range}", param, ctx)
        return number


class Integer(Number):
    """A whole number in a range."""

    name = "integer"
    kind = int
    called = "a whole number"


class Numbers(click.types.StringParamType):
    """Finite numbers separated by commas.

    Parameters
    ----------
    shape : str
        Name of each number, as the help shows them: "Y,X".
    counts : int
        How many there may be.
    """

    def __init__(self, shape: str, *counts: int) -> None:
        self.name = shape
        self.counts = counts

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the numbers as a tuple, or say why the text is not such numbers."""
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) not in self.counts or not all(map(math.isfinite, numbers)):
            example = ",".join(("0.38", "104.5", "88")[-len(self.name.split(",")) :])
            self.fail(f"'{value}' is not {self.name}: give numbers, as in {example}", param, ctx)
        return numbers


FINITE = Number()
INTEGER = Integer()
POSITIVE = Number(0, exclusive=True)
COUNT = Integer(1)
INDEX = Integer(0)  # counted from 0
SEED = Integer(0)
POINT = Numbers("Y,X", 2)  # pixels


class Option(click.Option):
    """An option whose help ends with its default, unit and range.

    Parameters
    ----------
    unset : str
        What holds where the option is not given and has no `default` of its own.
    values : str
        Range of the values, where their type does not state it.
    """

    def __init__(self, *args: Any, unset: str = "", values: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unset = unset
        self.values = values or getattr(self.type, "range", "")

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option as it is typed, and its help."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        facts = "; ".join(self._facts())
        return record[0], f"{self.help}  [{facts}]" if facts else f"{self.help}"

    def _facts(self) -> list[str]:
        """Return what stands in brackets after the help text."""
        facts = ["required"] if self.required else []
        default = self.unset or self._default()
        if default:
            facts.append(f"default: {default}")
        if self.values:
            facts.append(self.values)
        if self.multiple:
            facts.append("may be repeated")
        return facts

    def _default(self) -> str:
        """Return the default as it would be typed, or nothing where there is none."""
        value = self.default
        if self.secondary_opts and isinstance(value, bool):
            return (self.opts if value else self.secondary_opts)[0]
        if self.is_flag or not isinstance(value, int | float | str | Path):
            return ""
        return f"{value:g}" if isinstance(value, float) else f"{value}"


option = functools.partial(click.option, cls=Option)
