"""What every generator is to the rest of the package: latents in, the planes of a roll out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from musegan.errors import UserError
from musegan.models.layout import Layout
from musegan.roll import RollSpec

MAX_BARS = 1024    # of a phrase, and of a piece
MAX_COUNT = 1 << 53    # of phrases; larger ones are no exact float64
CALIBRATED = ("thresholds", "given_thresholds", "steadiness")    # buffers that are not trained


class RollLogits(NamedTuple):
    """What a generator gives before binarization; both planes [N, K, B, T, P] float32."""

    frame: Tensor
    """Log-odds that a cell sounds; -inf outside a track's range."""
    onset: Tensor
    """Log-odds that a cell that sounds is a start; +inf for drums, where every cell that sounds is one."""


class Given(NamedTuple):
    """Tracks that a generator is given, to make the others."""

    features: Tensor
    """[N, B, T, F] in [0, 1]; what it holds of other tracks does not count."""
    tracks: Tensor
    """[N, K] bool, which tracks are given."""


@dataclass(frozen=True)
class Facts:
    """What a generator keeps of the data it was trained on."""

    frame_density: tuple[float, ...] = ()
    """[K] pitches that sound at a step, in the mean; the output starts there. Empty: unknown."""
    onset_density: tuple[float, ...] = ()
    """[K] share of sounding cells that start a note."""
    key_shifts: tuple[int, ...] = ()
    """[12] how many training phrases lay -5 .. +6 semitones from C major or A minor; generated phrases, made in these
    keys, are moved back by shifts drawn from it. Empty: they are left where they are."""
    tempo_bpm: float = 120.0
    """Median tempo in quarter notes a minute, the default of what is generated."""
    median_pitch: tuple[int, ...] = ()
    """[K] MIDI pitch above and below which a track sounds equally long, in the training key; 0 where it never sounds, and
    for drums. Empty: unknown."""

    def __post_init__(self):
        for name in ("frame_density", "onset_density", "key_shifts", "median_pitch"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if isinstance(self.tempo_bpm, bool) or not isinstance(self.tempo_bpm, (int, float)):
            raise TypeError(f"tempo_bpm must be a number: got {self.tempo_bpm!r}")
        for name in ("frame_density", "onset_density"):
            if not all(math.isfinite(value) and value >= 0 for value in getattr(self, name)):
                raise ValueError(f"{name} must be numbers from 0 up: got {list(getattr(self, name))}")
        if not all(type(pitch) is int and 0 <= pitch <= 127 for pitch in self.median_pitch):
            raise ValueError(f"median_pitch must be MIDI pitches: got {list(self.median_pitch)}")
        shifts = self.key_shifts
        if len(shifts) not in (0, 12) or shifts and not (min(shifts) >= 0 < sum(shifts) <= MAX_COUNT):
            raise ValueError(f"key_shifts must be 12 counts, or none: got {list(shifts)}")


class Generator(nn.Module, PyTorchModelHubMixin):
    """Base of all generators: what the loop, sampling and model folders know of one.

    Args:
        layout: of the features it makes.
        n_bars: B, bars in a phrase of training.
        facts: of the training data.
        latent_shape: of one sample's latents, standard normal.
        slope: by which cells, or binary neurons, multiply their input at the start; training may raise it.
        accompaniment: it takes given tracks.
    """

    family: ClassVar[str] = "gan"
    kind: ClassVar[str]
    """Its name in a config and in a model folder."""

    def __init__(
        self,
        layout: Layout,
        n_bars: int,
        facts: Facts,
        latent_shape: tuple[int, ...],
        slope: float = 1.0,
        accompaniment: bool = False,
    ):
        super().__init__()
        check_positive(n_bars=n_bars)
        if n_bars > MAX_BARS:
            raise UserError(f"a phrase has 1 to {MAX_BARS} bars: got n_bars={n_bars}")
        for name in ("frame_density", "onset_density", "median_pitch"):
            if len(getattr(facts, name)) not in (0, layout.spec.n_tracks):
                raise ValueError(f"{name} must have one entry for each track, or none: got {list(getattr(facts, name))}")
        self.layout, self.n_bars, self.facts, self.latent_shape = layout, n_bars, facts, tuple(latent_shape)
        self.register_buffer("slope", torch.tensor(slope))
        n_tracks = layout.spec.n_tracks
        self.register_buffer("thresholds", torch.full((2, n_tracks), 0.5))
        """[2, K] in (0, 1), of each track's frame and onset probabilities, from which a cell sounds or starts a note."""
        self.register_buffer("given_thresholds", torch.full((n_tracks + 1, 2, n_tracks), 0.5) if accompaniment else None)
        """[K + 1, 2, K] row k: the same to track k alone; the last row, of each track: to all the others. None where it takes
        none."""
        self.register_buffer("steadiness", torch.zeros(n_tracks))
        """[K] from 0, in log-odds: how much it counts for a cell that its pitch sounds at the step before and the one after;
        see `musegan.decoding.scores`."""

    @classmethod
    def arguments(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """What `__init__` takes, of what `config.json` holds."""
        return {**settings, "layout": Layout(**settings["layout"]), "facts": Facts(**settings["facts"])}

    def check_weights(self) -> None:
        """Raises ValueError for thresholds, a steadiness or a slope that no training gives."""
        thresholds = [value for value in (self.thresholds, self.given_thresholds) if value is not None]
        if not all(((value > 0) & (value < 1)).all() for value in thresholds) or not self.slope > 0:
            raise ValueError("thresholds must lie between 0 and 1, and the slope above 0")
        if not (self.steadiness >= 0).all():
            raise ValueError("steadiness must be at least 0")

    @property
    def spec(self) -> RollSpec:
        """Of the rolls it makes."""
        return self.layout.spec

    @property
    def is_binary(self) -> bool:
        """Whether the discriminator sees it decide each cell at one half: its thresholds then stay there."""
        return False

    @property
    def accompanies(self) -> bool:
        """Whether it takes given tracks."""
        return self.given_thresholds is not None

    @property
    def any_length(self) -> bool:
        """Whether it makes any number of bars.

        Its latents are then [rows, 1 + B, Z], column 0 common to all bars and column 1 + b bar b's own; or
        [rows, 2, B, Z], where [:, 0, b] is what bar b has in place of the common one and [:, 1, b] its own.
        """
        return False

    @property
    def has_track_latents(self) -> bool:
        """Whether row 1 + k of its latents is track k's own and changes no other track; row 0 is shared."""
        return False

    def prior(self, noise: Tensor) -> Tensor:
        """Latents of samples at standard normal noise [N, ...] of their shape, each of them standard normal, too."""
        return noise

    def thresholds_for(self, tracks: Tensor | None) -> Tensor:
        """Thresholds of phrases by what each is given.

        Between one track and all the others they are interpolated, in log-odds: the more are given, the less those to each
        of them, and the more those to all, say of the rest.

        Args:
            tracks: [N, K] bool, which are given.
        Returns:
            [N, 2, K] float64 in (0, 1); [2, K] without tracks, and of a generator that takes none.
        """
        if tracks is None or not self.accompanies:
            return self.thresholds.double()
        *alone, together = self.given_thresholds.double().logit()    # K + 1 of [2, K]
        n_given = tracks.sum(1)[:, None, None]    # [N, 1, 1]
        mean = (torch.stack(alone) * tracks[:, :, None, None]).sum(1) / n_given    # [N, 2, K]
        share = ((n_given - 1) / max(tracks.shape[1] - 2, 1)).clamp(0, 1).double()
        return torch.where(n_given > 0, mean.lerp(together.expand_as(mean), share).sigmoid(), self.thresholds.double())

    def nothing_given(self, latents: Tensor, n_bars: int) -> Given:
        """What an encoder is told where no tracks are given, to latents [N, ...] of B bars."""
        n, spec = len(latents), self.spec
        features = latents.new_zeros(n, n_bars, spec.steps_per_bar, self.layout.n_features)
        return Given(features, torch.zeros(n, spec.n_tracks, dtype=torch.bool, device=latents.device))

    def probabilities(self, latents: Tensor, given: Given | None = None) -> Tensor:
        """What the discriminator sees: the probability of each cell of the layout's features.

        Args:
            latents: [N, *latent_shape], standard normal.
            given: tracks that are as they are, where the generator `accompanies`.
        Returns:
            [N, B, T, F] in [0, 1]; of given tracks, what was given.
        """
        raise NotImplementedError

    def forward(self, latents: Tensor, given: Given | None = None) -> RollLogits:
        """Latents [N, *latent_shape] -> logits [N, K, B, T, P]; the same numbers as `probabilities`."""
        raise NotImplementedError


def check_positive(**sizes: int) -> None:
    """Checks sizes by name.

    Raises:
        ValueError: one is not a whole number above 0.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be a whole number above 0: got {size!r}")


def check_variant(variant: str) -> None:
    """Checks the name of whose latents there are: `composer` shared ones, `jamming` each track's own, `hybrid` both.

    Raises:
        ValueError: another name.
    """
    if variant not in ("composer", "jamming", "hybrid"):
        raise ValueError(f"variant must be composer, jamming or hybrid: got {variant!r}")
