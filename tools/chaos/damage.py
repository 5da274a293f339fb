"""Damage to files: what accidents and malice do to one file of a store, a model or a movie.

It knows nothing of how they lie on disk: any file may be flipped, cut, grown, emptied, deleted or
exchanged for another, and what is JSON may say something else.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

# Takes the path of the whole and of the changed file; sums it up again as who knows how would.
Sign = Callable[[Path, Path], bool]

WAYS = ("flip", "flip", "flip", "cut", "grow", "zeros", "gone", "empty", "swap", "folder")
ABSURD: tuple[Any, ...] = (
    0, -1, 2**31, 2**62, 10**30, 1e308, 0.5, True, None, "", "a" * 5000, "../../etc/passwd",
    "/dev/zero", "<U99999999", "|O", [], {}, [[[[[[]]]]]], [2**40, 2**40], [1] * 2000, {"a": {}},
)  # fmt: skip


class Damage(NamedTuple):
    """What was done."""

    what: str
    forged: bool  # another whole file or document: what it says may be returned
    visible: bool  # checksums show it: bytes or JSON values changed, and no new sum was written


@contextmanager
def damaged(path: Path, seed: int, sign: Sign) -> Iterator[Damage]:
    """Damage one file of `path`, a folder or file, chosen by `seed`; restore it afterwards."""
    chance = random.Random(seed)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    card = path.with_suffix(".json")  # a model's card
    if path.is_file() and card.exists():
        files.append(card)
    documents = [p for p in files if p.suffix == ".json" or p.name.startswith(".z")]
    target = chance.choice(documents if documents and chance.random() < 0.4 else files)
    before = {file: file.read_bytes() for file in {target, *_signed(path, card)}}
    try:
        yield _damage_one(path, target, files, chance, sign)
    finally:
        if target.is_dir():
            shutil.rmtree(target)
        for file, data in before.items():
            file.write_bytes(data)


def _signed(path: Path, card: Path) -> list[Path]:
    """Files that `sign` may write."""
    return [p for p in (path / "zarr.json", card) if p.is_file()]


def _damage_one(
    path: Path, target: Path, files: list[Path], chance: random.Random, sign: Sign
) -> Damage:
    before = target.read_bytes()
    name = target.name if target == path else target.relative_to(path.parent).as_posix()
    is_json = target.suffix == ".json" or target.name.startswith(".z")
    signed = chance.random() < 0.5
    if is_json and chance.random() < 0.7:
        what, data = _change_json(before, chance)
        target.write_bytes(data)
    else:
        what = chance.choice(WAYS)
        _damage_bytes(target, what, files, chance)
    signed = signed and sign(path, target)
    after = target.read_bytes() if target.is_file() else None
    same = after == before or (after is not None and is_json and _json(after) == _json(before))
    forged = signed or what == "swap" or (is_json and what not in WAYS)
    return Damage(f"{what} {name}{' (signed)' if signed else ''}", forged, not (signed or same))


def _damage_bytes(target: Path, way: str, files: list[Path], chance: random.Random) -> None:
    """Damage a file in a way that does not depend on what it holds."""
    data = bytearray(target.read_bytes())
    if way in ("gone", "folder"):
        target.unlink()
        if way == "folder":
            target.mkdir()
        return
    if way == "flip" and data:
        for _ in range(chance.choice((1, 1, 1, 2, 8))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif way == "cut":
        del data[chance.randrange(len(data) + 1) :]
    elif way == "grow":
        data += chance.randbytes(chance.choice((1, 64, 5000)))
    elif way == "zeros" and data:
        first = chance.randrange(len(data))
        data[first : first + 64] = bytes(len(data[first : first + 64]))
    elif way == "empty":
        data.clear()
    elif way == "swap":
        data = bytearray(chance.choice(files).read_bytes())
    target.write_bytes(bytes(data))


def _change_json(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Change one to three values of a JSON document; return what was changed, and the text."""
    if chance.random() < 0.05:
        return "nested", b"[" * 100_000
    document = json.loads(data)
    changes = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        entries = list(_entries(document))
        if not entries:
            break
        holder, key = chance.choice(entries)
        if isinstance(holder, dict) and chance.random() < 0.2:
            del holder[key]
            changes.append(f"without {key}")
            continue
        holder[key] = json.loads(json.dumps(chance.choice(ABSURD)))
        changes.append(f"{key}={holder[key]!r:.30}")
    return " ".join(changes), json.dumps(document).encode()


def _entries(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every value of a document: what holds it, and its key or index there."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if _is_list(node) else []
    for key in keys:
        yield node, key
        yield from _entries(node[key])


def _is_list(node: Any) -> bool:
    return isinstance(node, list)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data
