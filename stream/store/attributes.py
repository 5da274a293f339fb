"""The attributes of a run: its first and last word and the fields of its tables, as JSON.

They stand under `livespt` in the `zarr.json` of the run's root group, which is written last at
creation, so that a run that exists is whole, and replaced in one step when the run ends.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from livespt.stream.errors import InputError
from livespt.stream.host.atomic_files import plain_json, write_json
from livespt.stream.store.checksums import own
from livespt.stream.store.limits import check_file, check_start, check_stop, check_tables
from livespt.stream.store.ome_image import restate_movie
from livespt.stream.types import FORMAT, Start, Stop

SUMMED = 3  # from this format on
RENAMED = {"frames": {"odd": "quality"}}  # columns of formats before 5, and their present names


class Attributes(NamedTuple):
    """What the attributes of a run say."""

    start: Start
    stop: Stop | None  # None: not ended, or cut short
    tables: dict[str, np.dtype[Any]]  # as this run stores them
    named: dict[str, np.dtype[Any]]  # the same bytes, with the present names of the columns
    sums: dict[str, str] | None  # of its files (checksums.py); None: not ended, or format 2
    document: dict[str, Any]  # the whole `zarr.json`


def write_attributes(run: Path, start: Start, tables: dict[str, np.dtype[Any]]) -> None:
    """Write `zarr.json` of the root group of `run`, which has just begun."""
    words = {
        "format": FORMAT,
        "start": asdict(start),
        "stop": None,
        "tables": {name: dtype.descr for name, dtype in tables.items()},
        "sums": None,
    }
    attributes = {"livespt": plain_json(words)}
    _write(run, {"zarr_format": 3, "node_type": "group", "attributes": attributes})


def restate(run: Path, start: Start) -> None:
    """Write the first word of `run` again, whose frames tell its interval; the rest stays."""
    begun = read_attributes(run)
    attributes = begun.document["attributes"]
    words = {"livespt": {**attributes["livespt"], **plain_json({"start": asdict(start)})}}
    _write(run, {**begun.document, "attributes": {**attributes, **words}})
    restate_movie(run, start)


def write_last_word(run: Path, stop: Stop, sums: dict[str, str] | None) -> None:
    """Add the last word of `run` and the sums of its files; the rest stays unchanged."""
    begun = read_attributes(run)
    ended = plain_json({"stop": asdict(stop), "sums": sums})
    attributes = begun.document["attributes"]
    words = {"livespt": {**attributes["livespt"], **ended}}
    _write(run, {**begun.document, "attributes": {**attributes, **words}})


def _write(run: Path, document: dict[str, Any]) -> None:
    document["attributes"]["livespt"]["crc"] = own(document)
    write_json(run / "zarr.json", document)


def read_attributes(run: Path) -> Attributes:
    """Read them back.

    Raises
    ------
    InputError
        `run` does not exist, is not a run, or was written by a newer livespt.
    """
    if not run.exists():
        raise InputError(f"{run} does not exist: check the name of the run")
    try:
        check_file(run, run / "zarr.json")
        document = json.loads((run / "zarr.json").read_text("utf-8"))
        words = document["attributes"]["livespt"]
        if words["format"] > FORMAT:
            raise InputError(
                f"{run} has format {words['format']}, this livespt reads up to {FORMAT}: update it"
            )
        if ("crc" in words or words["format"] >= SUMMED) and words.get("crc") != own(document):
            raise InputError(f"{run} is damaged: its zarr.json is not what was written")
        known = {field.name for field in fields(Start)}
        start = {key: value for key, value in words["start"].items() if key in known}
        start["shape"] = tuple(int(n) for n in start["shape"])
        stop = None if words["stop"] is None else _stop(words["stop"])
        tables = {
            name: np.dtype([(str(field), str(kind)) for field, kind in columns])
            for name, columns in words["tables"].items()
        }
        check_tables(tables, ("spots", "states", "events", "frames"))
        first = Start(**start)
        check_start(first)
        if stop is not None:
            check_stop(stop)
        sums = words.get("sums")
        if sums is not None and not all(isinstance(text, str) for text in sums.values()):
            raise ValueError("sums that are none")
        renamed = RENAMED if words["format"] < 5 else {}
        named = {name: _named(dtype, renamed.get(name, {})) for name, dtype in tables.items()}
        return Attributes(first, stop, tables, named, sums, document)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"{run} is not a run of livespt: it has no readable zarr.json with a first word"
        ) from error


def _stop(words: dict[str, Any]) -> Stop:
    """The last word of any version: earlier ones counted skipped frames as lost."""
    if "recorded" not in words:
        recorded, analyzed = words.pop("frames"), words["analyzed"]
        skipped = max(recorded - analyzed, 0)
        words |= {"recorded": recorded, "skipped": skipped, "lost": max(words["lost"] - skipped, 0)}
    known = {field.name for field in fields(Stop)}
    return Stop(**{name: value for name, value in words.items() if name in known})


def _named(dtype: np.dtype[Any], renamed: dict[str, str]) -> np.dtype[Any]:
    """The same columns, some under another name."""
    return np.dtype([(renamed.get(name, name), dtype[name]) for name in dtype.names or ()])
