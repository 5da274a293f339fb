"""Errors: one small family, each also the builtin it refines.

Every message says what was seen and what to do, in one line: the command line prints it as it is.
"""


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
