"""A run in the place of another one, which stays until the new one is whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from livespt.stream.errors import InputError, StoreError
from livespt.stream.store.attributes import read_attributes


@contextmanager
def replacing(run: Path, overwrite: bool) -> Iterator[Path]:
    """Yield the path at which a run is to be made; at the end it takes the place of `run`.

    Without `overwrite`, or where there is no `run`, this is `run` itself. If making the new one
    fails, the old one is as it was and the new one is removed.

    Raises
    ------
    StoreError
        What would be replaced is no run, or one that has not ended; or a new one is left from
        before.
    """
    if not overwrite or not run.exists():
        yield run
        return
    try:
        stop = read_attributes(run).stop
    except InputError as error:
        raise StoreError(f"'{run}' is no run of livespt and is not replaced: {error}") from error
    if stop is None:
        raise StoreError(f"'{run}' has not ended: finish it with `livespt resume {run}` first")
    new, old = run.with_name(f"{run.name}.new"), run.with_name(f"{run.name}.old")
    for path in (new, old):
        if path.exists():
            raise StoreError(f"'{path}' is left from an interrupted exchange: move it away first")
    try:
        yield new
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    run.rename(old)
    new.rename(run)
    shutil.rmtree(old)
