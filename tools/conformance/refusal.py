"""A refusal: an error of this package with one line that says what was seen."""

from __future__ import annotations

from collections.abc import Callable

from livespt.stream.errors import LiveSptError


def refusal(error: type[LiveSptError], call: Callable[[], object]) -> str:
    """Return the message with which `call` refuses.

    Parameters
    ----------
    error : type
        What it must raise.
    call : callable
        Takes no arguments.

    Returns
    -------
    str

    Raises
    ------
    AssertionError
        It raised nothing, or its message is empty or has more than one line. What else it raised
        passes through.
    """
    try:
        call()
    except error as raised:
        text = str(raised)
        assert text and "\n" not in text, f"not one line: {text!r}"
        return text
    raise AssertionError(f"nothing was refused; expected {error.__name__}")
