"""Build the analyzer of a run from its options and the properties of its frames."""

from __future__ import annotations

import hashlib
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np

from livespt.models.onnx_file import MAX_BYTES
from livespt.stream import predict, refine
from livespt.stream.analyzer import Analyzer, Settings
from livespt.stream.decide import Rule
from livespt.stream.errors import InputError, ModelError, SettingError
from livespt.stream.pipeline import Stages, Timed, TimedInfer
from livespt.stream.types import SPOT, Frame, Start

if TYPE_CHECKING:
    from livespt.models.classify import Infer
    from livespt.models.localize import Localizer
    from livespt.models.segment import Whole
    from livespt.models.session import Session
    from livespt.models.volume import VolumeLocalizer

METADATA = ("zarr.json", ".zgroup", ".zarray")
ROLES = ("localizer", "segmenter", "uncoating", "classifier")
SOFTWARE = ("livespt", "numpy", "numba", "zarr", "pyzmq")


@dataclass(frozen=True)
class Options:
    """Options of a user for an analysis; None: as in the replayed run, or the default."""

    localizer: Path | None = None
    segmenter: Path | None = None
    uncoating: Path | None = None
    classifier: Path | None = None  # classifier of a user (models/fingerprint/classifier.py)
    search_range: float | None = None  # pixels
    memory: int | None = None  # frames
    motion: str | None = None  # motion model of the linker (stream/link/motion_model.py)
    read_intensity: bool | None = None  # use intensities for uncoating
    lineage: bool | None = None  # report tracks that merge and split
    refine: int | None = None  # frames after which each link is reconsidered
    provider: str = "cpu"  # "cpu", "cuda" or "auto"
    threads: int = 1


class Facts(NamedTuple):
    """Properties of the frames of a run."""

    source: str
    axes: str  # "yx" or "zyx"
    shape: tuple[int, ...]
    dtype: str
    pixel_size_um: float | None = None
    frame_interval_s: float | None = None
    z_step_um: float | None = None


class Chain(NamedTuple):
    """An analyzer that is ready to run, and the description of its run (`Start`)."""

    analyzer: Analyzer
    stages: Stages
    start: Start


def compose(facts: Facts, options: Options, mode: str, origin: Start | None = None) -> Chain:
    """Build the analyzer of one run.

    Parameters
    ----------
    facts : Facts
    options : Options
    mode : str
        "live" or "replay".
    origin : Start, optional
        `Start` of the run that is replayed: its models and settings are used unless `options`
        give others.

    Raises
    ------
    ModelError
        A model is missing, corrupt, or refuses these frames.
    SettingError
        A setting is out of range.
    """
    check_options(options)
    localizer = load_localizer(options, origin, stack=facts.axes == "zyx")
    infer = load_infer(options, origin)
    infer.measure(facts.pixel_size_um, facts.frame_interval_s, len(facts.axes))
    reason = localizer.refuses(facts.axes, facts.shape, facts.dtype)
    if reason is not None:
        raise ModelError(f"model '{localizer.session.name}' refuses {facts.source}: {reason}")
    localizer.warm_up(facts.shape, facts.dtype)
    settings = _settings(options, facts, infer, origin)
    if settings.read_intensity:
        infer.uncoating.check_intensity()
    warm_up(infer, settings)

    sessions = [localizer.session, infer.segmenter.session, infer.uncoating.session]
    sessions += [infer.task.session] if infer.task else []
    start = Start(
        run=uuid4().hex,
        mode=mode,
        source=facts.source,
        axes=facts.axes,
        shape=facts.shape,
        dtype=facts.dtype,
        pixel_size_um=facts.pixel_size_um,
        frame_interval_s=facts.frame_interval_s,
        z_step_um=facts.z_step_um,
        time_zero_utc=_opened(origin),
        camera={"known": "unknown"},
        settings=asdict(settings) | {"rule": settings.rule._asdict()},
        models=dict(zip(ROLES, map(_identity, sessions), strict=False)),
        software=_software(),
        machine={
            "provider": localizer.provider,
            "threads": options.threads,
            "hardware": _hardware(),
        },
        source_run=origin.run if origin else "",
    )
    stages = Stages(Timed(localizer), TimedInfer(infer))
    return Chain(Analyzer(stages.localize, stages.infer, settings), stages, start)


def check_options(options: Options) -> None:
    """Raise SettingError for values out of range."""
    if options.search_range is not None and not 0 < options.search_range < 1000:
        raise SettingError(
            f"search_range must be between 0 and 1000 px, not {options.search_range}"
        )
    if options.memory is not None and not 0 <= options.memory < 1000:
        raise SettingError(f"memory must be from 0 to 999 frames, not {options.memory}")
    if options.threads < 1:
        raise SettingError(f"threads must be 1 or more, not {options.threads}")


def warm_up(infer: Infer, settings: Settings) -> None:
    """Compile and allocate all stages after the localizer, so that the first frame is not late."""
    spots = np.zeros(2, SPOT)
    spots["y"] = 0, 100
    # long enough for a track to be lost and for another to be born
    gone = settings.memory + 2 + (settings.refine + 1 if settings.refine else 0)
    seen = [2, 2, *[1] * gone, 2, 2]
    rehearsal = Analyzer(lambda image: spots[: int(image[0, 0])].copy(), infer, settings)
    for t, n in enumerate(seen):
        rehearsal(Frame(t, t, 0, 0, 0.0, np.full((1, 1), n, np.uint8)))
    rehearsal.finish()
    if settings.refine:
        refine.rehearse(predict.MODELS.index(settings.motion), 2)


def load_localizer(
    options: Options, origin: Start | None = None, *, stack: bool = False
) -> Localizer | VolumeLocalizer:
    """Open the localizer of the options, of the replayed run, or the shipped one, in this order."""
    from livespt.models.localize import Localizer
    from livespt.models.session import shipped
    from livespt.models.volume import VolumeLocalizer

    path = options.localizer or _original("localizer", origin) or shipped("fast")
    kind = VolumeLocalizer if stack else Localizer
    return kind(path, provider=options.provider, threads=options.threads)


def load_infer(options: Options, origin: Start | None = None) -> Infer:
    """Open segmenter and uncoating classifier in the same way, and a user's classifier, if any."""
    from livespt.models.classify import Infer, Uncoating
    from livespt.models.segment import Segmenter
    from livespt.models.session import shipped
    from livespt.models.task import Task

    segmenter = options.segmenter or _original("segmenter", origin) or shipped("segmenter")
    uncoating = options.uncoating or _original("uncoating", origin) or shipped("uncoating")
    classifier = options.classifier or _original("classifier", origin)
    how: dict[str, Any] = {"provider": options.provider, "threads": options.threads}
    task = Task(classifier, **how) if classifier else None
    return Infer(Segmenter(segmenter, **how), Uncoating(uncoating, **how), task)


def load_whole(options: Options) -> tuple[Whole, Whole]:
    """Open the networks for finished tracks, for motion and for uncoating.

    They are next to the networks that follow tracks, with the name NAME_whole.onnx.
    """
    from livespt.models.segment import Whole
    from livespt.models.session import shipped

    how: dict[str, Any] = {"provider": options.provider, "threads": options.threads}
    named = {"segment": options.segmenter or shipped("segmenter")}
    named["uncoating"] = options.uncoating or shipped("uncoating")
    opened = [
        Whole(path.with_name(f"{path.stem}_whole.onnx"), f"{task}_whole", **how)
        for task, path in named.items()
    ]
    return opened[0], opened[1]


def _original(role: str, origin: Start | None) -> Path | None:
    """Find the model file that the replayed run used."""
    if origin is None or role not in origin.models:
        return None
    from livespt.models.session import shipped

    used = {key: str(origin.models[role].get(key, "")) for key in ("name", "sha256", "file")}
    places = [Path(used["file"])]
    with suppress(ModelError):
        places.append(shipped(used["name"]))
    for path in places:
        if _is_file_of(path, used["sha256"]):
            return path
    raise InputError(
        f"the run used {role} '{used['name']}' (sha256 {used['sha256'][:12]}), which was not "
        f"found: name its file with --{role}"
    )


def _is_file_of(path: Path, sha256: str) -> bool:
    """Whether the file has this SHA-256, and is not part of a run.

    A model that came with a run from somebody else is not used unless the user names it.
    """
    places = path.resolve().parents
    if any((place / name).exists() for place in places for name in METADATA):
        return False
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _settings_of(origin: Start, farthest: int) -> Settings:
    """Settings of the run that is replayed; InputError if they are invalid."""
    known = {field.name for field in fields(Settings)}  # older runs have more
    kept = {name: value for name, value in origin.settings.items() if name in known}
    try:
        rule = Rule(**kept.pop("rule"))
        default = Settings()
        for values, model in ((kept, asdict(default)), (rule._asdict(), Rule()._asdict())):
            for name, value in values.items():
                _check_like(name, value, model[name])
        settings = Settings(**kept, rule=rule)
        in_range = (
            0 < settings.search_range < 1000
            and 0 <= settings.memory < 1000
            and 0 <= settings.lag <= farthest
            and 0 <= settings.refine
            and 0 < settings.z_scale < 1e6
            and settings.motion in predict.MODELS
        )
        if not in_range:
            raise ValueError("out of range")
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(
            f"run {origin.run!r:.40} has invalid settings ({error}): replay its movie with your "
            "own settings"
        ) from error
    return settings


def _check_like(name: str, value: object, model: object) -> None:
    """Raise TypeError unless `value` has the type of `model`, and numbers are finite."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(model, float):
        good = number and isfinite(value)  # type: ignore[arg-type]
    else:
        good = type(value) is type(model)
    if not good:
        raise TypeError(f"{name} is {value!r:.40}")


def _settings(options: Options, facts: Facts, infer: Infer, origin: Start | None) -> Settings:
    settings = Settings()
    if origin is not None and origin.settings:
        settings = _settings_of(origin, infer.farthest)
    elif facts.z_step_um and facts.pixel_size_um:
        settings = replace(settings, z_scale=facts.z_step_um / facts.pixel_size_um)
    if origin is None or options.segmenter is not None or options.uncoating is not None:
        settings = replace(
            settings,
            lag=infer.lag,
            abstain_below=infer.abstain_below,
            rule=Rule(threshold=infer.decision["threshold"], hold=infer.decision["hold"]),
        )
    names = ("search_range", "memory", "motion", "read_intensity", "lineage", "refine")
    chosen = {name: getattr(options, name) for name in names}
    return replace(settings, **{name: value for name, value in chosen.items() if value is not None})


def _opened(origin: Start | None) -> str:
    """Time (UTC) at which the run was opened; that of the live run for a replay of it."""
    return origin.time_zero_utc if origin else datetime.now(UTC).isoformat(timespec="milliseconds")


def _software() -> dict[str, str]:
    import onnxruntime

    versions = {name: version(name) for name in SOFTWARE}
    return {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__} | versions


def differences(start: Start, origin: Start) -> list[str]:
    """Differences of machine and software, because of which the bytes of a replay may differ."""
    told = []
    for ours, theirs in ((start.machine, origin.machine), (start.software, origin.software)):
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                told.append(f"{name} {ours.get(name)} instead of {theirs.get(name)}")
    return told


def _hardware() -> str:
    """Hardware class; on another one, networks may round differently."""
    model = platform.processor()
    with suppress(OSError):  # the source on Linux
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return f"{platform.system()} {platform.machine()} {model}".strip()


def _identity(session: Session) -> dict[str, Any]:
    return {"name": session.name, "sha256": session.sha256, "file": str(session.path.absolute())}
