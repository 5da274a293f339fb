"""Provenance: the models, software and machine of a run, and where they differ from another."""

from __future__ import annotations

import hashlib
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livespt.models.runtime.onnx_file import MAX_BYTES
from livespt.models.runtime.superseded import SUPERSEDED
from livespt.stream.errors import InputError, ModelError
from livespt.stream.types import Start
from livespt.tools.runs.options import RECORDED, SHIPPED

if TYPE_CHECKING:
    from livespt.models.runtime.session import Session


METADATA = ("zarr.json", ".zgroup", ".zarray")
# of a processor, by which networks of 8-bit weights and sums of floats may round otherwise
INSTRUCTION_SETS = (
    "avx", "f16c", "fma", "avx2", "avxvnni", "avxvnniint8", "avx512f", "avx512bw", "avx512vnni",
    "avx512bf16", "amx-int8", "amx-bf16", "neon", "dotprod", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
SOFTWARE = ("livespt", "numpy", "numba", "zarr", "pyzmq")


def original(role: str, origin: Start | None, models: str = RECORDED) -> Path | None:
    """Find the model file that the replayed run used, or, if `models` says so, its successor.

    Raises
    ------
    InputError
        The file is not here; the message names the release that contains it, if it was shipped.
    """
    if origin is None or role not in origin.models:
        return None
    from livespt.models.runtime.session import shipped

    used = {key: str(origin.models[role].get(key, "")) for key in ("name", "sha256", "file")}
    former = SUPERSEDED.get(used["sha256"])
    if former and models == SHIPPED:
        return shipped(former.name)
    paths = [Path(used["file"])]
    with suppress(ModelError):
        paths.append(shipped(used["name"]))
    for path in paths:
        if _is_file_of(path, used["sha256"]):
            return path
    text = f"the run used {role} '{used['name']}' (sha256 {used['sha256'][:12]})"
    if former:
        raise InputError(
            f"{text}, which a later release replaced; {former} holds it: name that file with "
            f"--{role}, or take today's with --models {SHIPPED}"
        )
    raise InputError(f"{text}, which is not here: name its file with --{role}")


def _is_file_of(path: Path, sha256: str) -> bool:
    """Whether the file has this SHA-256, and is not part of a run.

    A model that came with a run from somebody else is not used unless the user names it.
    """
    folders = path.resolve().parents
    if any((place / name).exists() for place in folders for name in METADATA):
        return False
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def opened(origin: Start | None) -> str:
    """Time (UTC) at which the run was opened; that of the live run for a replay of it."""
    return origin.time_zero_utc if origin else datetime.now(UTC).isoformat(timespec="milliseconds")


def software() -> dict[str, str]:
    import onnxruntime

    versions = {name: version(name) for name in SOFTWARE}
    return {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__} | versions


def differences(start: Start, origin: Start) -> list[str]:
    """Differences of models, machine and software, because of which the bytes may differ."""
    found = [
        f"{role} '{used['name']}' (sha256 {used['sha256'][:12]}) instead of {used['replaces'][:12]}"
        for role, used in start.models.items()
        if "replaces" in used
    ]
    found += _other_instructions(start.machine, origin.machine)
    for ours, theirs in ((start.machine, origin.machine), (start.software, origin.software)):
        for name in sorted((ours.keys() | theirs.keys()) - {"instructions"}):
            if ours.get(name) != theirs.get(name):
                found.append(f"{name} {ours.get(name)} instead of {theirs.get(name)}")
    return found


def hardware() -> str:
    """Hardware class; on another one, networks may round differently."""
    model = platform.processor()
    with suppress(OSError):  # Linux says it here
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return f"{platform.system()} {platform.machine()} {model}".strip()


def instructions() -> str:
    """Instruction sets of the processor that change how networks and sums round, by LLVM's names.

    LLVM, which compiles for this processor, knows them on every system; empty: it does not.
    """
    from llvmlite import binding

    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:
        return ""
    return " ".join(name for name in INSTRUCTION_SETS if features.get(name))


def _other_instructions(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Instruction sets that one of two machines lacks; none where one does not tell its own."""
    here, there = (set(str(machine.get("instructions", "")).split()) for machine in (ours, theirs))
    if not here or not there or here == there:
        return []
    told = [f"without {', '.join(sorted(there - here))}"] if there - here else []
    told += [f"with {', '.join(sorted(here - there))}"] if here - there else []
    return [f"a processor {' and '.join(told)}"]


def identity(session: Session, recorded: dict[str, Any]) -> dict[str, Any]:
    """Entry of `Start.models` for a network; `recorded` is that of the replayed run, or empty."""
    facts = {"name": session.name, "sha256": session.sha256, "file": str(session.path.absolute())}
    before = str(recorded.get("sha256", session.sha256))
    return facts if before == session.sha256 else facts | {"replaces": before}
