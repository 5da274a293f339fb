"""Keys: who may follow a run from another machine, by CURVE (RFC 26) and ZAP (RFC 27).

    FOLDER/publisher.key     secret of the machine that publishes
    FOLDER/NAME.key          for one who follows: it goes to that machine, and only there
    FOLDER/known/NAME.public by which the publisher knows that one; a run begun after it was deleted
                             knows that one no more

A key file is JSON of Z85 text, readable by its owner alone.
"""

from __future__ import annotations

import json
import os
import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

import zmq
from zmq.utils import z85

from livespt.stream.errors import SettingError

ZAP = "inproc://zeromq.zap.01"  # where libzmq asks, within one context
DOMAIN = b"livespt"
PUBLISHER = "publisher"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


class Pair(NamedTuple):
    """A key of one's own, and of a follower the public one of the publisher."""

    public: bytes  # Z85
    secret: bytes
    server: bytes = b""


def make(folder: Path, name: str) -> list[Path]:
    """Make the key of one who follows, and first that of the publisher; return the files made.

    Raises
    ------
    SettingError
        A name that is none, or is taken; a folder that cannot be used.
    """
    if not _NAME.fullmatch(name) or name == PUBLISHER:
        raise SettingError(f"{name!r} names no key: use letters, digits, - and _")
    made = []
    try:
        (folder / "known").mkdir(parents=True, exist_ok=True)
        own = folder / f"{PUBLISHER}.key"
        if not own.exists():
            _write(own, dict(zip(("public", "secret"), _pair(), strict=True)))
            made.append(own)
        known = folder / "known" / f"{name}.public"
        public, secret = _pair()
        with known.open("x", encoding="ascii") as file:  # a taken name stays whose it is
            file.write(public + "\n")
        server = _read(own, ("public", "secret"))["public"]
        _write(folder / f"{name}.key", {"public": public, "secret": secret, "server": server})
    except FileExistsError as error:
        raise SettingError(f"{error.filename} exists already: choose another name") from error
    except OSError as error:
        raise SettingError(f"keys cannot be written to {folder}: {error.strerror}") from error
    return [*made, folder / f"{name}.key", known]


def of_publisher(folder: Path) -> Pair:
    """The publisher's key, of a folder that `make` filled."""
    words = _read(folder / f"{PUBLISHER}.key", ("public", "secret"))
    return Pair(words["public"].encode(), words["secret"].encode())


def of_follower(path: Path) -> Pair:
    """The key of one who follows."""
    words = _read(path, ("public", "secret", "server"))
    return Pair(words["public"].encode(), words["secret"].encode(), words["server"].encode())


def known(folder: Path) -> frozenset[bytes]:
    """Public keys of those who may follow, as binary."""
    keys = []
    for path in sorted((folder / "known").glob("*.public")):
        try:
            keys.append(_binary(path.read_text(encoding="ascii").strip()))
        except (ValueError, struct.error) as error:
            raise SettingError(f"{path} holds no public key: make a new one") from error
    if not keys:
        raise SettingError(f"no one may follow: make a key with `livespt keys {folder} NAME`")
    return frozenset(keys)


def protect(socket: zmq.Socket[Any], pair: Pair) -> None:
    """Let this socket speak CURVE only; a pair without `server` is the publisher's."""
    socket.curve_publickey, socket.curve_secretkey = pair.public, pair.secret
    if pair.server:
        socket.curve_serverkey = pair.server
    else:
        socket.curve_server = True
        socket.zap_domain = DOMAIN
        socket.zap_enforce_domain = True  # no one is let in while no one judges


def judged(request: list[bytes], allowed: frozenset[bytes]) -> tuple[list[bytes], str]:
    """Answer to a ZAP request, and the address of the one it refuses ("": none)."""
    version, number, _, address, _, mechanism, *credentials = [*request, *[b""] * 7][:7]
    good = version == b"1.0" and mechanism == b"CURVE" and credentials[0] in allowed
    code, why = (b"200", b"OK") if good else (b"400", b"unknown key")
    refused = "" if good else address.decode("ascii", "replace")
    return [b"1.0", number, code, why, b"", b""], refused


def _binary(text: str) -> bytes:
    if not _Z85.fullmatch(text):
        raise ValueError("no Z85 text of 40 characters")
    return z85.decode(text.encode())


def _pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def _write(path: Path, words: dict[str, str]) -> None:
    """A new file that only its owner may read, from its first moment on."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="ascii", newline="\n") as file:
        json.dump(words, file, indent=2)


def _read(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    try:
        words = json.loads(path.read_text(encoding="ascii"))
        if all(_Z85.fullmatch(words[name]) for name in names):
            return {name: words[name] for name in names}
    except FileNotFoundError:
        raise SettingError(f"no key {path}: make it with `livespt keys`") from None
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise SettingError(f"{path} is no key file: make it again with `livespt keys`")
