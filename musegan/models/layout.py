"""Where a roll's cells lie in the vectors a network sees: each track cropped to the pitches it uses.

A network works on *features* [N, B, T, F]: side by side, for each track, the columns of its frame plane
and, for pitched tracks, those of its onset plane, both cropped to the track's own pitch range. Band music
needs about half the cells of the full roll this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from musegan.errors import UserError
from musegan.roll import Roll, RollSpec

Head = Literal["poly", "mono"]


class TrackColumns(NamedTuple):
    """One track's place in the features."""

    pitches: slice
    """Of the P pitches, those the track uses."""
    frame: slice
    """Columns of the frame plane (for drums, of the onsets)."""
    onset: slice | None
    """Columns of the onset plane; None for drums, and where the layout has none."""
    head: Head
    """`poly`: any number of pitches at once; `mono`: one or none."""


@dataclass(frozen=True)
class Layout:
    """The tracks' pitch ranges and heads; everything else about features follows from them."""

    spec: RollSpec
    """The roll that is cropped."""
    first_pitch: tuple[int, ...]
    """[K] index of each track's first pitch, from 0 at `spec.lowest_pitch`."""
    n_pitches: tuple[int, ...]
    """[K] number of pitches of each track."""
    heads: tuple[Head, ...]
    """[K] head of each track."""
    has_onsets: bool = True
    """Whether pitched tracks have an onset plane; without, a note starts where its frame plane rises."""

    def __post_init__(self):
        if isinstance(self.spec, dict):    # of a model's config.json
            object.__setattr__(self, "spec", RollSpec(**self.spec))
        if not isinstance(self.spec, RollSpec):
            raise TypeError(f"spec must be a RollSpec: got {self.spec!r}")
        if not isinstance(self.has_onsets, bool):
            raise TypeError(f"has_onsets must be true or false: got {self.has_onsets!r}")
        for name in ("first_pitch", "n_pitches", "heads"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != self.spec.n_tracks:
                raise ValueError(f"{name} must have one entry for each track: got {getattr(self, name)}")
        for first, n in zip(self.first_pitch, self.n_pitches):
            if any(isinstance(value, bool) or not isinstance(value, int) for value in (first, n)):
                raise TypeError(f"a track's pitches must be whole numbers: first={first!r}, n={n!r}")
            if first < 0 or n < 1 or first + n > self.spec.n_pitches:
                raise ValueError(f"a track's pitches must lie within P={self.spec.n_pitches}: first={first}, n={n}")
        if unknown := set(self.heads) - {"poly", "mono"}:
            raise ValueError(f"heads must be 'poly' or 'mono': got {sorted(unknown)}")

    @classmethod
    def fit(cls, cell_counts: Tensor, spec: RollSpec, mono_tracks: tuple[str, ...] = (), tail: float = 1e-3) -> Layout:
        """The narrowest pitch ranges that hold all but a thin tail of the data.

        Args:
            cell_counts: [K, P] how often each pitch sounds in the training data.
            spec: the data's.
            mono_tracks: names of the tracks that play one note at a time.
            tail: share of a track's cells that may be cut at either end.
        Raises:
            UserError: `mono_tracks` names a track that is not there, or a drum track.
        """
        pitched = [track.name for track in spec.tracks if not track.is_drum]
        if unknown := set(mono_tracks) - set(pitched):
            raise UserError(f"mono_tracks: no pitched track named {sorted(unknown)}; there are {pitched}")
        first_pitch, n_pitches = [], []
        for counts in cell_counts.double():
            below = counts.cumsum(0)    # [P]
            total = float(below[-1])
            first = int((below <= tail * total).sum()) if total else 0
            last = int((below < (1 - tail) * total).sum()) if total else 0
            first_pitch.append(first)
            n_pitches.append(last - first + 1)
        heads = ["mono" if track.name in mono_tracks else "poly" for track in spec.tracks]
        return cls(spec, tuple(first_pitch), tuple(n_pitches), tuple(heads))

    @classmethod
    def whole(cls, spec: RollSpec) -> Layout:
        """Every pitch of every track, frame plane alone: what the networks of the papers see; F is K * P."""
        k = spec.n_tracks
        return cls(spec, (0,) * k, (spec.n_pitches,) * k, ("poly",) * k, has_onsets=False)

    @property
    def columns(self) -> list[TrackColumns]:
        """[K] where each track's columns lie."""
        result, start = [], 0
        for track, first, n, head in zip(self.spec.tracks, self.first_pitch, self.n_pitches, self.heads):
            frame = slice(start, start + n)
            onset = slice(start + n, start + 2 * n) if self.has_onsets and not track.is_drum else None
            start = (onset or frame).stop
            result.append(TrackColumns(slice(first, first + n), frame, onset, head))
        return result

    @property
    def widths(self) -> list[int]:
        """Numbers of columns of the planes, in the order in which they lie side by side; their sum is F."""
        return [n for track, n in zip(self.columns, self.n_pitches) for _ in range(2 if track.onset else 1)]

    @property
    def track_widths(self) -> list[int]:
        """[K] numbers of columns of the tracks, all planes together; their sum is F."""
        return [n * (2 if track.onset else 1) for track, n in zip(self.columns, self.n_pitches)]

    @property
    def planes(self) -> Tensor:
        """[F] int64 the plane of each column: 2 k the frame plane of track k, 2 k + 1 its onset plane."""
        planes = [2 * k + j for k, track in enumerate(self.columns) for j in range(2 if track.onset else 1)]
        return torch.tensor(planes).repeat_interleave(torch.tensor(self.widths), output_size=self.n_features)

    @property
    def n_features(self) -> int:
        """F."""
        last = self.columns[-1]
        return (last.onset or last.frame).stop

    def crop(self, roll: Roll) -> Tensor:
        """Planes [N, K, B, T, P] -> features [N, B, T, F] of the same dtype."""
        parts = []
        for k, track in enumerate(self.columns):
            parts.append(roll.frame[:, k, :, :, track.pitches])
            if track.onset:
                parts.append(roll.onset[:, k, :, :, track.pitches])
        return torch.cat(parts, dim=-1)

    def expand(self, features: Tensor, outside: float) -> tuple[Tensor, Tensor]:
        """Features [N, B, T, F] -> frame and onset planes [N, K, B, T, P], `outside` where no column is.

        A drum track's onset plane is its frame plane; a pitched track's is `outside` where the layout has none.
        """
        n, b, t, _ = features.shape
        shape = (n, self.spec.n_tracks, b, t, self.spec.n_pitches)
        frame, onset = (features.new_full(shape, outside) for _ in range(2))
        for k, track in enumerate(self.columns):
            frame[:, k, :, :, track.pitches] = features[..., track.frame]
            if track.onset or self.spec.tracks[k].is_drum:
                onset[:, k, :, :, track.pitches] = features[..., track.onset or track.frame]
        return frame, onset

    def cells_of(self, tracks: Tensor) -> Tensor:
        """Which features are some tracks': [N, K] bool -> [N, 1, 1, F] bool."""
        widths = torch.tensor(self.track_widths, device=tracks.device)
        return tracks.repeat_interleave(widths, dim=1, output_size=self.n_features)[:, None, None]

    def cosines(self, n: int, tracks: Sequence[int] | None = None) -> Tensor:
        """A basis of what changes slowly from pitch to pitch: the first cosines over each plane of the `mono` tracks.

        Args:
            n: of each plane, the constant not counted; a plane of fewer pitches has as many as can be told apart.
            tracks: which tracks' columns; all F without.
        Returns:
            [J, columns] float32 in [-1, 1], J of all planes together.
        """
        chosen = range(self.spec.n_tracks) if tracks is None else tracks
        blocks = []
        for k in chosen:
            m = self.n_pitches[k]
            place = torch.pi * (torch.arange(m) + 0.5) / m    # [m]
            order = torch.arange(1, 1 + (min(n, m - 1) if self.heads[k] == "mono" else 0))
            blocks += [torch.cos(order[:, None] * place)] * (self.track_widths[k] // m)
        return torch.block_diag(*blocks)

    def transposed_columns(self, semitones: int) -> Tensor:
        """[F] int64: the column that each column comes from when pitched tracks move up by `semitones`.

        F (one past the last) stands for silence: what leaves a track's range is cut, nothing wraps.
        """
        source = torch.arange(self.n_features)
        for spec_track, track in zip(self.spec.tracks, self.columns):
            if spec_track.is_drum:
                continue
            for plane in filter(None, (track.frame, track.onset)):
                moved = source[plane] - semitones
                inside = (moved >= plane.start) & (moved < plane.stop)
                source[plane] = torch.where(inside, moved, self.n_features)
        return source
