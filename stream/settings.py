"""Settings: what the analysis of a run is set to."""

from __future__ import annotations

from dataclasses import dataclass

from livespt.stream.decisions import DEFAULT_RULE, Rule


@dataclass(frozen=True)
class Settings:
    """What the analysis of a run is set to. Stored in `Start`, taken from there by a replay."""

    search_range: float = 5.0  # pixels a particle may move from frame to frame
    memory: int = 3  # frames a particle may be missed and keep its track
    lag: int = 16  # frames of look-ahead of a settled state
    abstain_below: float = 0.0
    rule: Rule = DEFAULT_RULE
    z_scale: float = 1.0  # z step in units of a pixel
    # how the linker foresees motion, see `stream.link.motion_model`; a model loses more of the
    # particles that are suddenly fast, as after uncoating
    motion: str = "none"
    intensity_weight: float = 0.0  # of changes of intensity in the cost of its links
    # what reads tracks is told the intensities of their points, too: where the label is lost with
    # the coat, that shows sooner than the motion
    read_intensity: bool = False
    lineage: bool = False  # tell tracks that merge and split
    # frames after which links are judged once more, see `stream.link.relinker`; 0: never
    refine: int = 0
