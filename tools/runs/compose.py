"""Composition: from options and the facts of a movie to the chain that analyzes it."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np

from livespt.stream.analyzer import Analyzer
from livespt.stream.decisions import Rule
from livespt.stream.errors import InputError, ModelError
from livespt.stream.link import motion_model, relinker
from livespt.stream.settings import Settings
from livespt.stream.timing import Stages, Timed, TimedInfer
from livespt.stream.types import SPOT, Frame, Start
from livespt.tools.runs.options import Facts, Options, check_options
from livespt.tools.runs.provenance import hardware, identity, opened, original, software

if TYPE_CHECKING:
    from livespt.models.infer import Infer
    from livespt.models.localize.localizer import Localizer
    from livespt.models.localize.stack_localizer import StackLocalizer
    from livespt.models.motion.whole_tracks import WholeReader

ROLES = ("localizer", "segmenter", "uncoating", "classifier")


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
        time_zero_utc=opened(origin),
        camera={"known": "unknown"},
        settings=asdict(settings) | {"rule": settings.rule._asdict()},
        models=dict(zip(ROLES, map(identity, sessions), strict=False)),
        software=software(),
        machine={
            "provider": localizer.provider,
            "threads": options.threads,
            "hardware": hardware(),
        },
        source_run=origin.run if origin else "",
    )
    stages = Stages(Timed(localizer), TimedInfer(infer))
    return Chain(Analyzer(stages.localize, stages.infer, settings), stages, start)


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
        relinker.rehearse(motion_model.MODELS.index(settings.motion), 2)


def load_localizer(
    options: Options, origin: Start | None = None, *, stack: bool = False
) -> Localizer | StackLocalizer:
    """Open the localizer that was asked for, or the replayed run's, or the shipped one."""
    from livespt.models.localize.localizer import Localizer
    from livespt.models.localize.stack_localizer import StackLocalizer
    from livespt.models.runtime.session import shipped

    path = options.localizer or original("localizer", origin) or shipped("fast")
    kind = StackLocalizer if stack else Localizer
    return kind(path, provider=options.provider, threads=options.threads)


def load_infer(options: Options, origin: Start | None = None) -> Infer:
    """Open segmenter and uncoating classifier likewise, and a user's classifier if there is one."""
    from livespt.models.fingerprint.classifier import TrackClassifier
    from livespt.models.infer import Infer
    from livespt.models.motion.segmenter import Segmenter
    from livespt.models.motion.uncoating import Uncoating
    from livespt.models.runtime.session import shipped

    segmenter = options.segmenter or original("segmenter", origin) or shipped("segmenter")
    uncoating = options.uncoating or original("uncoating", origin) or shipped("uncoating")
    classifier = options.classifier or original("classifier", origin)
    how: dict[str, Any] = {"provider": options.provider, "threads": options.threads}
    task = TrackClassifier(classifier, **how) if classifier else None
    return Infer(Segmenter(segmenter, **how), Uncoating(uncoating, **how), task)


def load_whole(options: Options) -> tuple[WholeReader, WholeReader]:
    """Open what reads finished tracks both ways: motion and uncoating.

    They lie beside the networks that follow tracks, as NAME_whole.onnx.
    """
    from livespt.models.motion.whole_tracks import WholeReader
    from livespt.models.runtime.session import shipped

    how: dict[str, Any] = {"provider": options.provider, "threads": options.threads}
    named = {"segment": options.segmenter or shipped("segmenter")}
    named["uncoating"] = options.uncoating or shipped("uncoating")
    opened = [
        WholeReader(path.with_name(f"{path.stem}_whole.onnx"), f"{task}_whole", **how)
        for task, path in named.items()
    ]
    return opened[0], opened[1]


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
            and settings.motion in motion_model.MODELS
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
