"""Errors: one small family, each also the builtin it refines.

Every message says what was seen and what to do, in one line: the command line prints it as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LiveSptError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(LiveSptError, ValueError):
    """A movie, table or run that cannot be used as given."""


class SettingError(LiveSptError, ValueError):
    """An option or setting that is unknown or has a bad value."""


class ModelError(LiveSptError, ValueError):
    """A model file that is corrupt, not trusted, or does not fit the frames."""


class StoreError(LiveSptError, OSError):
    """A run that cannot be created, read or written."""


class WireError(LiveSptError, ValueError):
    """A message that does not follow the wire format."""


class MicroscopeError(LiveSptError, ConnectionError):
    """Micro-Manager cannot be reached or refuses what was asked."""


class MissingError(LiveSptError, ImportError):
    """An optional part (torch, OpenGL, ...) is not installed."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean X?)`, or an empty text if no known word is similar."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
