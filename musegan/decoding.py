"""From a generator's logits to notes: thresholds or draws, then cleaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from musegan.errors import UserError
from musegan.models import Layout, RollLogits
from musegan.models.layout import Head
from musegan.ops import bernoulli, cleanup, threshold
from musegan.roll import Roll, RollSpec
from musegan.seeding import derived_seed

Method = Literal["threshold", "bernoulli"]
_MANY = 1 << 63


@dataclass(frozen=True)
class Decoding:
    """How a generator's logits become notes."""

    method: Method = "threshold"
    """`threshold` takes what is likelier than `at`, `bernoulli` draws each cell."""
    at: float | None = None
    """Probability in (0, 1) above which a cell sounds; lower gives more notes. None: the model's own thresholds, one for
    each track, by what is given."""
    density: float = 1.0
    """So many times as many cells sound, in the mean of what the model makes: each track's threshold is moved to where
    this holds with nothing given, and as far where tracks are. Only for `threshold`."""
    min_steps: int = 1
    """Shortest note of pitched tracks that stays."""
    max_gap_steps: int = 0
    """Longest gap between two notes on one pitch of a pitched track that is closed."""
    max_pitches: int | dict[str, int] | None = None
    """How many pitches sound at once, those of the largest logits: in pitched tracks, or in each track by its name."""

    def __post_init__(self):
        if self.method not in ("threshold", "bernoulli"):
            raise UserError(f"the method must be threshold or bernoulli: got {self.method!r}")
        if self.at is not None and not 0 < self.at < 1:
            raise UserError(f"threshold must lie between 0 and 1: got {self.at}")
        if not 0 < self.density < float("inf"):
            raise UserError(f"density must be above 0, and finite: got {self.density}")
        if self.method == "bernoulli" and (self.at is not None or self.density != 1):
            raise UserError(
                "threshold and density are for sampling by threshold: bernoulli draws each cell by its probability"
            )
        for name, least in (("min_steps", 1), ("max_gap_steps", 0)):
            if not least <= getattr(self, name) < _MANY:
                raise UserError(f"{name} must be at least {least}, and below 2^63: got {getattr(self, name)}")
        limits = self.max_pitches.values() if isinstance(self.max_pitches, dict) else [self.max_pitches]
        if any(limit is not None and not 0 <= limit < _MANY for limit in limits):
            raise UserError(f"max_pitches must be at least 0, and below 2^63: got {self.max_pitches}")

    def cleaned(self, roll: Roll, logits: Tensor, spec: RollSpec) -> Roll:
        """The roll after `musegan.ops.cleanup`; drums are strokes, of which only the number at once is limited.

        Raises:
            UserError: `max_pitches` names a track that is not there.
        """
        if self.min_steps == 1 and self.max_gap_steps == 0 and self.max_pitches is None:
            return roll
        names = [track.name for track in spec.tracks]
        if isinstance(self.max_pitches, dict):
            if unknown := set(self.max_pitches) - set(names):
                raise UserError(f"max_pitches: no track {min(unknown)!r}; there are {', '.join(names)}")
            limits = [self.max_pitches.get(name) for name in names]
        else:
            limits = [None if track.is_drum else self.max_pitches for track in spec.tracks]
        return cleanup(
            roll, logits,
            min_steps=[1 if track.is_drum else self.min_steps for track in spec.tracks],
            max_gap_steps=[0 if track.is_drum else self.max_gap_steps for track in spec.tracks],
            max_pitches=limits,
        )    # fmt: skip


def binarize(
    logits: RollLogits,
    layout: Layout,
    method: Method,
    thresholds: Tensor | None = None,
    seed: int = 0,
    first_sample: int = 0,
    steadiness: Sequence[float] | None = None,
) -> Roll:
    """Logits to a roll, frames first: a start is where the onset is likely or nothing sounded before.

    Args:
        logits: planes [N, K, B, T, P].
        layout: says which tracks play one note at a time.
        method: as in `sample`.
        thresholds: [2, K] or [N, 2, K] in (0, 1), of each track's frame and onset probabilities, for the method `threshold`;
            0.5 without.
        seed: of the Bernoulli draws.
        first_sample: number of the first sample, which decides its place in the random stream.
        steadiness: [K] of each track for the method `threshold`, see `scores`; 0 without.
    Returns:
        planes [N, K, B, T, P] bool.
    """
    if thresholds is None:
        thresholds = torch.full((2, len(layout.heads)), 0.5, dtype=torch.float64)
    cuts = thresholds.to(logits.frame).logit()[..., None, None, None]    # [..., 2, K, 1, 1, 1]
    frame_logits = logits.frame.clone()
    for k, head in enumerate(layout.heads):
        if method == "threshold":
            frame_logits[:, k] = scores(frame_logits[:, k], head, 0.0 if steadiness is None else steadiness[k])
        elif head == "mono":
            frame_logits[:, k] = _hazards(frame_logits[:, k])
    if method == "threshold":
        frame_cuts, onset_cuts = cuts.unbind(-5)
        frame, onset = threshold(frame_logits - frame_cuts), threshold(logits.onset - onset_cuts)
    else:
        offset = first_sample * logits.frame[0].numel()
        frame = bernoulli(frame_logits, derived_seed(seed, "frames"), offset)
        onset = bernoulli(logits.onset, derived_seed(seed, "onsets"), offset)
    for k, head in enumerate(layout.heads):
        if head == "mono" and method == "bernoulli":
            frame[:, k] &= frame[:, k].cumsum(-1) == 1
    return Roll(frame, frame & (onset | ~sounding_before(frame)))


def sounding_before(frame: Tensor) -> Tensor:
    """Whether each cell's pitch sounds at the step before, across bar lines: [N, K, B, T, P] bool -> the same."""
    sounding = frame.flatten(2, 3)    # [N, K, B * T, P]
    before = torch.zeros_like(sounding)
    before[:, :, 1:] = sounding[:, :, :-1]
    return before.view_as(frame)


def scores(logits: Tensor, head: Head, steadiness: float = 0.0) -> Tensor:
    """What is compared with a track's threshold: how likely cells are, by themselves and by the steps beside them.

    Networks decide each cell by itself. Where one is unsure, its pitch falls silent, or sounds, for a step: a note breaks
    into fragments. A step that is like its neighbours is likelier, as in a chain of cells in which a change costs
    `steadiness` (one step of its mean-field solution).

    Args:
        logits: [N, B, T, P] log-odds of a track's cells.
        head: in a `mono` track the likeliest pitch has its log-odds against the rest, and all others -inf.
        steadiness: from 0, in log-odds; so much is gained by a cell whose pitch sounds for sure at both steps beside it.
    Returns:
        [N, B, T, P] log-odds.
    """
    p = logits.sigmoid()
    if head == "poly":
        return logits if steadiness == 0 else logits + steadiness * (_beside(p) - _beside(1 - p)) / 2
    rest = (1 - p.sum(-1, keepdim=True)).clamp(min=1e-12)
    odds = (p / rest).log()
    if steadiness:
        odds = odds + steadiness * (_beside(p) - _beside(rest)) / 2
    best, pitch = odds.max(-1, keepdim=True)
    return torch.full_like(p, -torch.inf).scatter(-1, pitch, best)


def _beside(x: Tensor) -> Tensor:
    """The sum of the values at the step before and the step after, across bar lines; 0 past the ends. [N, B, T, P]."""
    steps = F.pad(x.flatten(1, 2), (0, 0, 1, 1))    # [N, 1 + B * T + 1, P]
    return (steps[:, :-2] + steps[:, 2:]).view_as(x)


def _hazards(logits: Tensor) -> Tensor:
    """Log-odds of one pitch or none -> log-odds of each pitch given that no lower one was drawn. [..., P].

    The first success of independent draws with these odds is a draw from the original distribution, so a track
    that plays one note at a time is sampled by the same Bernoulli op as any other.
    """
    p = logits.sigmoid()
    left = 1 - p.cumsum(-1) + p    # not drawn below this pitch
    return torch.logit((p / left.clamp(min=1e-12)).clamp(0, 1))
