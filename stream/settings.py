"""Settings of an analysis: the one table of their names, units, ranges, defaults and meanings.

The options of the command line, the keys of TOML files, the check of a replayed run, `Start` and
`docs/settings.md` are all made from this table. A new setting is one more field of `Settings`, and
the code that uses it; `tools/cli/settings_page.py` then writes `docs/settings.md` anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, NamedTuple, Self

from livespt.stream.errors import SettingError

MOTION_MODELS = ("none", "brownian", "velocity", "auto")  # numbered in this order when compiled
ON_OFF = ("on", "off")


class Range(NamedTuple):
    """Values that a number may have; the ends are allowed."""

    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"{self.low:g} or more"
        return f"{self.low:g} to {self.high:g}"


# who chooses a setting: the user by an option; the cards of both motion networks, of the segmenter
# or of the uncoating model; the movie; or the program, which has the same value in every run
Chooser = Literal["user", "models", "segmenter", "uncoating", "movie", "program"]


class About(NamedTuple):
    """What is known of a setting beside its name and default."""

    help: str  # what it does, to be read alone
    unit: str = ""
    range: Range = Range()
    choices: tuple[str, ...] = ()
    chosen_by: Chooser = "user"

    @property
    def values(self) -> str:
        """The values that a number or a choice may have, in words."""
        return ", ".join(self.choices) or str(self.range)


def setting(default: Any, help: str, **about: Any) -> Any:
    """Declare a field of `Settings` or `Rule`; `about` are further fields of `About`."""
    return field(default=default, metadata={"about": About(help, **about)})


def described(table: type[Any]) -> Iterator[tuple[str, About, Any]]:
    """Yield name, description and default of each setting of a table, in order."""
    for one in fields(table):
        assert one.default is not MISSING
        yield one.name, one.metadata["about"], one.default


def check(values: Mapping[str, Any]) -> None:
    """Refuse values that no analysis can have, each by itself.

    Raises
    ------
    SettingError
        An unknown setting, or a value of another kind or out of its range.
    """
    known = {name: (about, default) for name, about, default in described(Settings)}
    for name, value in values.items():
        if name not in known:
            raise SettingError(f"unknown setting '{name}'; known are {', '.join(known)}")
        _check(name, *known[name], value)


def _check(name: str, about: About, default: Any, value: Any) -> None:
    """Raise SettingError unless `value` is of the kind of `default` and one of its values."""
    if isinstance(default, float):
        kind, fits = "a number", _is_number(value) and math.isfinite(value)
    elif isinstance(default, int) and not isinstance(default, bool):
        kind, fits = "a whole number", type(value) is int
    else:
        kind, fits = f"of kind {type(default).__name__}", type(value) is type(default)
    if not fits:
        raise SettingError(f"{name} is {value!r:.40}; it must be {kind}")
    if about.choices and value not in about.choices:
        raise SettingError(f"{name} is {value!r:.40}; choose one of {', '.join(about.choices)}")
    if _is_number(value) and not about.range.low <= value <= about.range.high:
        unit = f" {about.unit}" if about.unit else ""
        raise SettingError(f"{name} is {value:g}; it must lie in {about.range}{unit}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Table:
    """Base of the tables of settings: every value is checked when one is made.

    Raises
    ------
    SettingError
        A value of another kind, or out of its range.
    """

    def __post_init__(self) -> None:
        for name, about, default in described(type(self)):
            _check(name, about, default, getattr(self, name))


@dataclass(frozen=True)
class Rule(Table):
    """When an uncoating and a changepoint are announced."""

    threshold: float = setting(
        0.8,
        "Probability above which a settled point counts as uncoated.",
        range=Range(0, 1),
        chosen_by="uncoating",
    )
    hold: int = setting(
        5,
        "Settled points in a row that must count as uncoated.",
        unit="points",
        range=Range(1, 999),
        chosen_by="uncoating",
    )
    change_hold: int = setting(
        8,
        "Settled points in a row in another motion that make a changepoint.",
        unit="points",
        range=Range(1, 999),
        chosen_by="program",
    )


DEFAULT_RULE = Rule()


@dataclass(frozen=True)
class Settings(Table):
    """What the analysis of a run is set to. `Start` stores it, and a replay takes it from there."""

    search_range: float = setting(
        5.0,
        "Greatest distance that a particle moves from one frame to the next.",
        unit="pixels",
        range=Range(1e-3, 1000),
    )
    memory: int = setting(
        3,
        "Frames for which a particle may be missing and still keep its track.",
        unit="frames",
        range=Range(0, 999),
    )
    motion: str = setting(
        "none",
        "Motion model by which the linker predicts where each track goes next.",
        choices=MOTION_MODELS,
    )
    refine: int = setting(
        0,
        "Later frames after which each link is reconsidered; 0: never; needs a motion model.",
        unit="frames",
        range=Range(0, 999),
    )
    lineage: bool = setting(False, "Report tracks that merge and split.")
    uncoating: str = setting(
        "on",
        "Look for uncoating; off: p_uncoated is NaN, and no uncoating is announced.",
        choices=ON_OFF,
    )
    read_intensity: bool = setting(
        False,
        "Let the uncoating model use the intensity of spots, if the label is lost with the coat.",
    )
    intensity_weight: float = setting(
        0.0,
        "Weight of intensity changes in the cost of a link; needs a motion model.",
        range=Range(0, 1000),
    )
    drift: str = setting(
        "report",
        "Common drift of all tracks: not measured, told and stored, or also taken off before "
        "motion is read and from exports; spots keep their places.",
        choices=("off", "report", "correct"),
    )
    lag: int = setting(
        16,
        "Look-ahead: frames beyond a point that are known when its state is settled.",
        unit="frames",
        range=Range(0, 999),
        chosen_by="models",
    )
    abstain_below: float = setting(
        0.0,
        "Probability of the most likely motion below which no motion is named.",
        range=Range(0, 1),
        chosen_by="segmenter",
    )
    rule: Rule = setting(  # noqa: RUF009
        DEFAULT_RULE, "When an uncoating and a changepoint are announced.", chosen_by="models"
    )
    z_scale: float = setting(
        1.0,
        "Distance between the planes of a stack.",
        unit="pixels",
        range=Range(1e-6, 1e6),
        chosen_by="movie",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.intensity_weight and self.motion == "none":
            raise SettingError(
                f"intensity_weight is {self.intensity_weight:g} with motion 'none'; choose a "
                "motion model (brownian, velocity, auto), whose links have a cost it counts in"
            )
        if self.read_intensity and self.uncoating == "off":
            raise SettingError(
                "read_intensity is for the uncoating model, and uncoating is off: leave one out"
            )

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Self:
        """Make the settings of a stored run; names that this version does not know are left out.

        Raises
        ------
        SettingError
            A value that no analysis can have.
        """
        known = {name: values[name] for name, _, _ in described(cls) if name in values}
        rule = known.get("rule", {})
        names = {name for name, _, _ in described(Rule)}
        if not isinstance(rule, Mapping) or not rule.keys() <= names:
            raise SettingError(f"rule is {rule!r:.40}; it must be a table of {', '.join(names)}")
        known["rule"] = Rule(**rule)
        return cls(**known)


def user_settings() -> list[tuple[str, About, Any]]:
    """Return name, description and default of the settings that a user chooses."""
    return [entry for entry in described(Settings) if entry[1].chosen_by == "user"]
