"""Composition: from options and the facts of a movie to the chain that analyzes it."""

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
from livespt.models.superseded import SUPERSEDED
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
RECORDED, SHIPPED = MODEL_CHOICES = ("as-recorded", "shipped")
SOFTWARE = ("livespt", "numpy", "numba", "zarr", "pyzmq")


@dataclass(frozen=True)
class Options:
    """What a person may choose for an analysis; None: as the replayed run, or the default."""

    localizer: Path | None = None
    segmenter: Path | None = None
    uncoating: Path | None = None
    classifier: Path | None = None  # a user's, of models/task; none otherwise
    search_range: float | None = None  # pixels
    memory: int | None = None  # frames
    motion: str | None = None  # one of `stream.predict.MODELS`
    read_intensity: bool | None = None  # the label is lost with the coat
    lineage: bool | None = None  # tell tracks that merge and split
    refine: int | None = None  # frames after which links are judged once more
    # of a replayed run: the very networks that it recorded, or in place of those that a later
    # release superseded the ones shipped today; its settings stay
    models: str = RECORDED
    provider: str = "cpu"  # "cpu", "cuda" or "auto"
    threads: int = 1


class Facts(NamedTuple):
    """What is known of the frames to come."""

    source: str
    axes: str  # "yx" or "zyx"
    shape: tuple[int, ...]
    dtype: str
    pixel_size_um: float | None = None
    frame_interval_s: float | None = None
    z_step_um: float | None = None


class Chain(NamedTuple):
    """An analyzer ready to run, and the first word of its run."""

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
        First word of the run that is replayed: models and settings come from there unless `options`
        say otherwise.

    Raises
    ------
    ModelError
        A model is missing, corrupt, or refuses these frames.
    SettingError
        A setting out of its range.
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
        models={
            role: _identity(session, origin.models.get(role, {}) if origin else {})
            for role, session in zip(ROLES, sessions, strict=False)
        },
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
    """Refuse values that no run can use."""
    if options.search_range is not None and not 0 < options.search_range < 1000:
        raise SettingError(
            f"search_range must lie between 0 and 1000 px, not {options.search_range}"
        )
    if options.memory is not None and not 0 <= options.memory < 1000:
        raise SettingError(f"memory must lie from 0 to 999 frames, not {options.memory}")
    if options.models not in MODEL_CHOICES:
        raise SettingError(f"models must be {' or '.join(MODEL_CHOICES)}, not {options.models!r}")
    if options.threads < 1:
        raise SettingError(f"threads must be 1 or more, not {options.threads}")


def warm_up(infer: Infer, settings: Settings) -> None:
    """Compile and allocate everything behind the localizer, so that the first frame is not late."""
    spots = np.zeros(2, SPOT)
    spots["y"] = 0, 100
    # long enough for a track to be lost, and another to be born
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
    """Open the localizer that was asked for, or the replayed run's, or the shipped one."""
    from livespt.models.localize import Localizer
    from livespt.models.session import shipped
    from livespt.models.volume import VolumeLocalizer

    path = _named("localizer", options, origin) or shipped("fast")
    kind = VolumeLocalizer if stack else Localizer
    return kind(path, provider=options.provider, threads=options.threads)


def load_infer(options: Options, origin: Start | None = None) -> Infer:
    """Open segmenter and uncoating classifier likewise, and a user's classifier if there is one."""
    from livespt.models.classify import Infer, Uncoating
    from livespt.models.segment import Segmenter
    from livespt.models.session import shipped
    from livespt.models.task import Task

    segmenter = _named("segmenter", options, origin) or shipped("segmenter")
    uncoating = _named("uncoating", options, origin) or shipped("uncoating")
    classifier = _named("classifier", options, origin)
    how: dict[str, Any] = {"provider": options.provider, "threads": options.threads}
    task = Task(classifier, **how) if classifier else None
    return Infer(Segmenter(segmenter, **how), Uncoating(uncoating, **how), task)


def load_whole(options: Options) -> tuple[Whole, Whole]:
    """Open what reads finished tracks both ways: motion and uncoating.

    They lie beside the networks that follow tracks, as NAME_whole.onnx.
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


def _named(role: str, options: Options, origin: Start | None) -> Path | None:
    """File of the model that was asked for, or of the replayed run's; None: neither names one."""
    asked: Path | None = getattr(options, role)
    return asked or _original(role, origin, options.models)


def _original(role: str, origin: Start | None, models: str = RECORDED) -> Path | None:
    """Find the very file that the replayed run used, or where asked for the one that superseded it.

    Raises
    ------
    InputError
        It is not here; the message names the release that holds it, if one of ours did.
    """
    if origin is None or role not in origin.models:
        return None
    from livespt.models.session import shipped

    used = {key: str(origin.models[role].get(key, "")) for key in ("name", "sha256", "file")}
    former = SUPERSEDED.get(used["sha256"])
    if former and models == SHIPPED:
        return shipped(former.name)
    places = [Path(used["file"])]
    with suppress(ModelError):
        places.append(shipped(used["name"]))
    for path in places:
        if _is_file_of(path, used["sha256"]):
            return path
    told = f"the run used {role} '{used['name']}' (sha256 {used['sha256'][:12]})"
    if former:
        raise InputError(
            f"{told}, which a later release replaced; {former} holds it: name that file with "
            f"--{role}, or take today's with --models {SHIPPED}"
        )
    raise InputError(f"{told}, which is not here: name its file with --{role}")


def _is_file_of(path: Path, sha256: str) -> bool:
    """Whether this is that file, and one that a run may name: not one that came with a run.

    Who made the run chose it then; a person who trusts it names it.
    """
    places = path.resolve().parents
    if any((place / name).exists() for place in places for name in METADATA):
        return False
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _settings_of(origin: Start, farthest: int) -> Settings:
    """Settings of the run that is replayed; InputError where no run can have them."""
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
            f"run {origin.run!r:.40} has settings that no analysis can have ({error}): replay its "
            "movie with settings of your own"
        ) from error
    return settings


def _check_like(name: str, value: object, model: object) -> None:
    """Raise TypeError unless `value` is of the kind of `model`, numbers being finite."""
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
    """UTC at which a live run was opened; a replay has that of the run it replays."""
    return origin.time_zero_utc if origin else datetime.now(UTC).isoformat(timespec="milliseconds")


def _software() -> dict[str, str]:
    import onnxruntime

    versions = {name: version(name) for name in SOFTWARE}
    return {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__} | versions


def differences(start: Start, origin: Start) -> list[str]:
    """What may make a replay's bytes differ from the run's, in words: models, machine, software."""
    told = [
        f"{role} '{used['name']}' (sha256 {used['sha256'][:12]}) instead of {used['replaces'][:12]}"
        for role, used in start.models.items()
        if "replaces" in used
    ]
    for ours, theirs in ((start.machine, origin.machine), (start.software, origin.software)):
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                told.append(f"{name} {ours.get(name)} instead of {theirs.get(name)}")
    return told


def _hardware() -> str:
    """Hardware class: networks may round differently on another."""
    model = platform.processor()
    with suppress(OSError):  # Linux says it here
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return f"{platform.system()} {platform.machine()} {model}".strip()


def _identity(session: Session, recorded: dict[str, Any]) -> dict[str, Any]:
    """What `Start` says of a network; `recorded` is what the replayed run says of that role."""
    told = {"name": session.name, "sha256": session.sha256, "file": str(session.path.absolute())}
    before = str(recorded.get("sha256", session.sha256))
    return told if before == session.sha256 else told | {"replaces": before}
