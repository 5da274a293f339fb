"""Build the analyzer of a run from its options and the properties of its frames."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np

from livespt.stream.analyzer import Analyzer
from livespt.stream.errors import InputError, ModelError, SettingError
from livespt.stream.link import relinker
from livespt.stream.sample.known import Known, LearnedRange
from livespt.stream.settings import MOTION_MODELS, Rule, Settings
from livespt.stream.timing import Stages, Timed, TimedInfer
from livespt.stream.types import SPOT, Frame, Start
from livespt.tools.runs.options import Facts, Options
from livespt.tools.runs.provenance import (
    hardware,
    identity,
    instructions,
    opened,
    original,
    software,
)

if TYPE_CHECKING:
    from pathlib import Path

    from livespt.models.infer import Infer
    from livespt.models.localize.localizer import Localizer
    from livespt.models.localize.stack_localizer import StackLocalizer
    from livespt.models.motion.whole_tracks import WholeReader


ROLES = ("localizer", "segmenter", "uncoating", "classifier")


class Chain(NamedTuple):
    """An analyzer that is ready to run, and the description of its run (`Start`)."""

    analyzer: Analyzer
    stages: Stages
    start: Start
    infer: Infer


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
    localizer = load_localizer(options, origin, stack=facts.axes == "zyx")
    infer = load_infer(options, origin)
    infer.pixel_size_um = facts.pixel_size_um
    if facts.frame_interval_s or mode == "replay" or origin:  # else its first frames will tell
        infer.measure(facts.pixel_size_um, facts.frame_interval_s, len(facts.axes))
    reason = localizer.refuses(facts.axes, facts.shape, facts.dtype)
    if reason is not None:
        raise ModelError(f"model '{localizer.session.name}' refuses {facts.source}: {reason}")
    localizer.warm_up(facts.shape, facts.dtype)
    settings = settings_of(options, facts, infer, origin)
    if settings.read_intensity and infer.uncoating is not None:
        infer.uncoating.check_intensity()
    warm_up(infer, settings)

    opened_models = (localizer, infer.segmenter, infer.uncoating, infer.task)
    start = Start(
        run=uuid4().hex,
        mode=mode,
        **facts._asdict() | {"recording": facts.recording or {}},
        time_zero_utc=opened(origin),
        camera={"known": "unknown"},
        settings=asdict(settings),
        models={
            role: identity(model.session, origin.models.get(role, {}) if origin else {})
            for role, model in zip(ROLES, opened_models, strict=True)
            if model is not None
        },
        software=software(),
        machine={
            "provider": localizer.provider,
            "threads": options.threads,
            "hardware": hardware(),
            "instructions": instructions(),
        },
        source_run=origin.run if origin else "",
    )
    stages = Stages(Timed(localizer), TimedInfer(infer))
    known = known_of(facts, localizer, infer)
    return Chain(Analyzer(stages.localize, stages.infer, settings, known), stages, start, infer)


def known_of(facts: Facts, localizer: Localizer | StackLocalizer, infer: Infer) -> Known:
    """What the cards of the models and the frames say, by which the sample is judged."""
    card, learned = localizer.session.card, infer.segmenter.learned
    return Known(
        localizer=localizer.session.name,
        sigma_px=tuple(card["sigma_px"]) if "sigma_px" in card else None,
        segmenter=infer.segmenter.session.name,
        learned=tuple(LearnedRange(name, *ends) for name, ends in learned.items()),
        pixel_size_um=facts.pixel_size_um,
        frame_interval_s=facts.frame_interval_s,
    )


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
        relinker.rehearse(MOTION_MODELS.index(settings.motion), 2)


def load_localizer(
    options: Options, origin: Start | None = None, *, stack: bool = False
) -> Localizer | StackLocalizer:
    """Open the localizer of the options, of the replayed run, or the shipped one, in this order."""
    from livespt.models.localize.localizer import Localizer
    from livespt.models.localize.stack_localizer import StackLocalizer
    from livespt.models.runtime.session import shipped

    path = _named("localizer", options, origin) or shipped("fast")
    kind = StackLocalizer if stack else Localizer
    return kind(path, provider=options.provider, threads=options.threads)


def load_infer(options: Options, origin: Start | None = None) -> Infer:
    """Open segmenter and uncoating classifier in the same way, and a user's classifier, if any.

    The uncoating classifier is left out where the setting `uncoating` is off.
    """
    from livespt.models.fingerprint.classifier import TrackClassifier
    from livespt.models.infer import Infer
    from livespt.models.motion.segmenter import Segmenter
    from livespt.models.motion.uncoating import Uncoating
    from livespt.models.runtime.session import shipped

    segmenter = _named("segmenter", options, origin) or shipped("segmenter")
    classifier = _named("classifier", options, origin)
    how: dict[str, Any] = {"provider": options.provider, "threads": options.threads}
    task = TrackClassifier(classifier, **how) if classifier else None
    uncoating = None
    stored = origin.settings if origin else {}
    if (dict(stored) | dict(options.settings)).get("uncoating", "on") != "off":
        path = _named("uncoating", options, origin) or shipped("uncoating")
        uncoating = Uncoating(path, **how)
    return Infer(Segmenter(segmenter, **how), uncoating, task)


def _named(role: str, options: Options, origin: Start | None) -> Path | None:
    """File of the model that was asked for, or of the replayed run's; None: neither names one."""
    chosen: Path | None = getattr(options, role)
    return chosen or original(role, origin, options.models)


def load_whole(options: Options) -> tuple[WholeReader, WholeReader | None]:
    """Open the networks for finished tracks, for motion and, unless it is off, for uncoating.

    They are next to the networks that follow tracks, with the name NAME_whole.onnx.
    """
    from livespt.models.motion.whole_tracks import WholeReader
    from livespt.models.runtime.session import shipped

    how: dict[str, Any] = {"provider": options.provider, "threads": options.threads}

    def opened(task: str, path: Path) -> WholeReader:
        return WholeReader(path.with_name(f"{path.stem}_whole.onnx"), f"{task}_whole", **how)

    segmenter = opened("segment", options.segmenter or shipped("segmenter"))
    if options.settings.get("uncoating") == "off":
        return segmenter, None
    return segmenter, opened("uncoating", options.uncoating or shipped("uncoating"))


def stored_settings(origin: Start, farthest: int) -> Settings:
    """Settings of the run that is replayed; InputError where no analysis can have them."""
    try:
        settings = Settings.stored(origin.settings)
        if settings.lag > farthest:
            raise SettingError(f"lag is {settings.lag}; the models look {farthest} frames ahead")
    except SettingError as error:
        raise InputError(
            f"run {origin.run!r:.40} has invalid settings ({error}): replay its movie with your "
            "own settings"
        ) from error
    return settings


def settings_of(
    options: Options, facts: Facts, infer: Infer, origin: Start | None = None
) -> Settings:
    """Settings by rank: those of the options, of the models, of the run or movie, the defaults."""
    values: dict[str, Any] = {}
    if origin is not None and origin.settings:
        stored = stored_settings(origin, infer.farthest)
        values = {one.name: getattr(stored, one.name) for one in fields(stored)}
    elif facts.z_step_um and facts.pixel_size_um:
        values["z_scale"] = facts.z_step_um / facts.pixel_size_um
    renewed = options.segmenter is not None or options.uncoating is not None
    if origin is None or renewed or origin.settings.get("uncoating") == "off":
        values["lag"] = infer.lag
        values["abstain_below"] = infer.abstain_below
        if infer.decision is not None:
            rule = {name: infer.decision[name] for name in ("threshold", "hold")}
            values["rule"] = Rule(**rule)
    return Settings(**(values | dict(options.settings)))
