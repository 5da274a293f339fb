"""Architecture: rooms and their imports, read from the sources, as the picture in the docs.

`python -m livespt.tools.architecture` prints the picture for docs/architecture.md; a test compares
the two. The tests of the design (tests/whole/test_design.py) read the sources with these functions.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ORDER = ("stream", "models", "acquisition", "tools")  # each may import from those before it
FREE = {"stream/types", "stream/errors", "stream/compiled"}  # everyone may import these
WIDTH = 62  # characters of a list of imports


class Room(NamedTuple):
    """A folder of files, or a single file next to the rooms."""

    name: str  # "stream/link"
    files: int  # without its door
    owns: str  # first sentence of its docstring
    imports: frozenset[str]  # other rooms, without those of FREE


@functools.cache
def sources() -> tuple[Path, ...]:
    """Return the files of the four folders, sorted."""
    return tuple(sorted(path for folder in ORDER for path in (ROOT / folder).rglob("*.py")))


def name_of(path: Path) -> str:
    """Return the path of a file below the root, as in "stream/types.py"."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def module(path: Path) -> str:
    """Return the dotted name of a file below livespt, as in "stream.types"."""
    return name_of(path.with_suffix("")).replace("/", ".").removesuffix(".__init__")


@functools.cache
def modules() -> dict[str, Path]:
    """Return all files by their dotted names."""
    return {module(path): path for path in sources()}


def room_of(name: str) -> str:
    """Return the room of a module, or the file if it stands next to the rooms: "stream/link"."""
    return "/".join(name.split(".")[:2])


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports anywhere, in functions too.

    Raises
    ------
    ValueError
        The file has a relative import.
    """
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}: relative import")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported(path: Path) -> set[str]:
    """Return the modules of livespt that a file imports anywhere, as `module` names them."""
    names = {name.removeprefix("livespt.") for name in imports(path) if name[:8] == "livespt."}
    return {name if name in modules() else name.rpartition(".")[0] for name in names}


def rooms() -> list[Room]:
    """Return all rooms, so that each imports only from those after it."""
    files: dict[str, list[Path]] = {}
    for name, path in modules().items():
        if "." in name:
            files.setdefault(room_of(name), []).append(path)
    found = {name: _room(name, paths, files.keys()) for name, paths in files.items()}
    heights: dict[str, int] = {}

    def height(name: str) -> int:
        """Return the length of the longest way down from a room, within its folder."""
        if name not in heights:
            below = [one for one in found[name].imports if one.split("/")[0] == name.split("/")[0]]
            heights[name] = 1 + max(map(height, below), default=0)
        return heights[name]

    return sorted(
        found.values(),
        key=lambda one: (
            -ORDER.index(one.name.split("/")[0]),
            one.name in FREE,
            -height(one.name),
            one.name,
        ),
    )


def _room(name: str, paths: list[Path], known: Iterable[str]) -> Room:
    """Read one room from its files, the door among them if there is one."""
    inside = [path for path in paths if not path.stem.startswith("__")]
    door = min(paths, key=lambda path: (len(path.parts), path.stem != "__init__"))
    text = " ".join((ast.get_docstring(tree(door)) or "").split("\n\n")[0].split())
    used = {room_of(one) for path in paths for one in imported(path)} & set(known)
    return Room(name, len(inside), text.split(". ")[0].rstrip("."), frozenset(used - {name} - FREE))


def picture() -> str:
    """Return the rooms as text: a line each, by folder, with files, imports and what it owns."""
    lines, folder = [], ""
    for room in rooms():
        here, _, name = room.name.partition("/")
        if here != folder:
            folder = here
            lines.append(f"{folder:<22}files  {'imports':<{WIDTH}}  owns")
        lines.append(f"  {name:<20}{room.files:>5}  {_shown(room):<{WIDTH}}  {room.owns}")
    return "\n".join(lines)


def _shown(room: Room) -> str:
    """List the imports of a room; where they are too many, a folder and their number in it."""
    own = room.name.split("/")[0]
    lists: dict[str, list[str]] = {folder: [] for folder in reversed(ORDER)}
    for name in sorted(room.imports):
        folder, _, one = name.partition("/")
        lists[folder].append(one)
    for folder in sorted(lists, key=lambda one: (one == own, -len(", ".join(lists[one])))):
        if len(_joined(lists)) > WIDTH and len(lists[folder]) > 1:
            lists[folder] = [f"{len(lists[folder])} of {folder}"]
    return _joined(lists)


def _joined(lists: dict[str, list[str]]) -> str:
    return ", ".join(name for names in lists.values() for name in names)


if __name__ == "__main__":
    print(picture())
