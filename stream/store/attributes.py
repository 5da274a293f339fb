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
from livespt.stream.types import FORMAT, Start, Stop

SUMMED = 3  # from this format on


class Attributes(NamedTuple):
    """What the attributes of a run say."""

    start: Start
    stop: Stop | None  # None: not ended, or cut short
    tables: dict[str, np.dtype[Any]]  # as this run stores them
    sums: dict[str, str] | None  # of its files (checksums.py); None: not ended, or format 2


def write_attributes(
    run: Path,
    start: Start,
    tables: dict[str, np.dtype[Any]],
    stop: Stop | None = None,
    sums: dict[str, str] | None = None,
) -> None:
    """Write `zarr.json` of the root group of `run`."""
    words = {
        "format": FORMAT,
        "start": asdict(start),
        "stop": None if stop is None else asdict(stop),
        "tables": {name: dtype.descr for name, dtype in tables.items()},
        "sums": sums,
    }
    attributes = {"livespt": plain_json(words)}
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    attributes["livespt"]["crc"] = own(document)
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
        stop = None if words["stop"] is None else Stop(**words["stop"])
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
        return Attributes(first, stop, tables, sums)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"{run} is not a run of livespt: it has no readable zarr.json with a first word"
        ) from error
