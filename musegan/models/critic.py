"""The discriminator of the papers: private streams of the tracks, shared layers, streams of chroma and of onsets.

Source: Dong and Yang 2018 (BinaryMuseGAN) and the third release of MuseGAN, which differ as `Seen` and `Channels` say.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musegan.models.generator import check_positive
from musegan.models.layout import Layout
from musegan.models.streams import SEMITONES, Shape, active, check_whole, linear
from musegan.models.strided import overlapping

_BATCH = 8    # samples at a time: exact, since no sample sees another, and what they need stays in the cache


class Channels(NamedTuple):
    """Numbers of channels."""

    private: tuple[int, int, int]
    """First and second layer of each stream of a track, and their merge."""
    shared: tuple[int, int]
    chroma: tuple[int, int]
    edges: tuple[int, int, int]
    """Of the stream of onsets and offsets."""
    merged: int
    """Of two neighbouring bars, all streams together."""


class Seen(NamedTuple):
    """What of the features the streams see."""

    silence: float
    """What a cell that does not sound is to them; one that sounds is 1."""
    tracks_together: bool
    """Each track's private streams see all tracks, not their own alone."""
    drum_edges: bool
    """Drums too have onsets and offsets; else what counts for them is what sounds."""


class StreamDiscriminator(nn.Module):
    """Features to a score.

    Args:
        layout: must be `Layout.whole`.
        n_bars: B.
        channels, seen: say which network of which paper.
        score_pairs: score each pair of neighbouring bars by the same weights and take the mean, instead of all at once.
    """

    def __init__(self, layout: Layout, n_bars: int, channels: Channels, seen: Seen, score_pairs: bool = False):
        super().__init__()
        check_positive(n_bars=n_bars)
        check_whole(layout)
        self.layout, self.shape, self.seen, self.score_pairs = layout, Shape(layout.spec, n_bars), seen, score_pairs
        s, k = self.shape, layout.spec.n_tracks
        # Of each track
        first, second, third = channels.private
        self.pitch_1 = linear(SEMITONES * k, k * first) if seen.tracks_together else TrackLinear(k, SEMITONES, first)
        self.time_1 = TrackLinear(k, s.inner * first, second)
        self.time_2 = linear(s.inner * k, k * first) if seen.tracks_together else TrackLinear(k, s.inner, first)
        self.pitch_2 = TrackLinear(k, SEMITONES * first, second)
        self.merged = TrackLinear(k, 2 * second, third)
        # Shared by the tracks
        self.from_octaves = linear(s.outer * s.group_octaves * k * third, channels.shared[0])
        self.from_beats = linear(s.beats * s.groups * channels.shared[0], channels.shared[1])
        self.chroma_1 = linear(SEMITONES * k, channels.chroma[0])
        self.chroma_2 = linear(s.beats * channels.chroma[0], channels.chroma[1])
        self.edges_1 = linear(s.inner * k, channels.edges[0])
        self.edges_2 = linear(s.outer * channels.edges[0], channels.edges[1])
        self.edges_3 = linear(s.beats * channels.edges[1], channels.edges[2])
        # Of all streams
        n_streams = channels.shared[-1] + channels.chroma[-1] + channels.edges[-1]
        self.from_bars = linear(s.bars_seen * n_streams, channels.merged)
        self.score = linear((1 if score_pairs else n_bars + 1 - s.bars_seen) * channels.merged, 1)
        if not seen.drum_edges:
            drums = torch.tensor([track.is_drum for track in layout.spec.tracks])
            self.register_buffer("drums", drums, persistent=False)

    def forward(self, features: Tensor, semitones: int = 0, rotation: int = 0) -> Tensor:
        """Scores a batch of phrases.

        Args:
            features: [N, B, T, F] in [0, 1].
            semitones: pitched tracks are seen this much higher; drums never move.
            rotation: bars are seen rotated by this many.
        Returns:
            [N], higher for more real.
        """
        return torch.cat([self._scores(part, semitones, rotation) for part in features.split(_BATCH)])

    def _scores(self, features: Tensor, semitones: int, rotation: int) -> Tensor:
        s, silence = self.shape, self.seen.silence
        if semitones:
            features = F.pad(features, (0, 1))[..., self.layout.transposed_columns(semitones)]
        x = features.unflatten(-1, (s.n_tracks, s.n_pitches))    # [N, B, T, K, P]
        x = F.pad(silence + (1 - silence) * x, (0, s.octaves * SEMITONES - s.n_pitches), value=silence)
        h = [self._shared(self._private(x)), self._chroma(x), self._edges(x.sum(4))]    # [N, B, C] each
        h = torch.cat(h, dim=-1).roll(rotation, dims=1)
        h = torch.cat([h[:, i : s.n_bars + 1 - s.bars_seen + i] for i in range(s.bars_seen)], dim=-1)
        h = active(self.from_bars(h))    # [N, B - 1, 512]
        return self.score(h).mean((1, 2)) if self.score_pairs else self.score(h.flatten(1)).squeeze(1)

    def _private(self, x: Tensor) -> Tensor:
        """[N, B, T, K, P] -> [N, B, beats * outer, octaves, K, C]."""
        s, (n, b, _, k, _) = self.shape, x.shape
        places = (n, b, s.beats * s.outer, s.octaves)
        if self.seen.tracks_together:
            x = x.transpose(3, 4).contiguous()    # [N, B, T, P, K]
            h = self.pitch_1(x.unflatten(3, (s.octaves, -1)).flatten(4))    # [N, B, T, octaves, K * C]
            h = active(h).unflatten(2, (-1, s.inner)).unflatten(5, (k, -1))    # [N, B, .., inner, octaves, K, C]
            first = h.permute(5, 0, 1, 2, 4, 3, 6)    # [K, N, B, .., octaves, inner, C]
            h = self.time_2(x.unflatten(2, (-1, s.inner)).transpose(3, 4).flatten(4))    # [N, B, .., P, K * C]
            h = active(h).unflatten(4, (k, -1)).unflatten(3, (s.octaves, -1))    # [N, B, .., octaves, 12, K, C]
            second = h.permute(5, 0, 1, 2, 3, 4, 6)    # [K, N, B, .., octaves, 12, C]
        else:
            x = x.permute(3, 0, 1, 2, 4).contiguous()    # [K, N, B, T, P]
            h = active(self.pitch_1(x.reshape(k, -1, SEMITONES)))    # [K, N * B * T * octaves, C]
            first = h.view(k, *places[:3], s.inner, s.octaves, -1).transpose(4, 5)    # [K, N, B, .., octaves, inner, C]
            h = x.unflatten(3, (-1, s.inner)).transpose(4, 5).reshape(k, -1, s.inner)    # [K, .. * P, inner]
            second = active(self.time_2(h)).view(k, *places, SEMITONES, -1)    # [K, N, B, .., octaves, 12, C]
        n_rows = first.shape[1:5].numel()
        first = active(self.time_1(first.reshape(k, n_rows, -1)))    # [K, R, C]
        second = active(self.pitch_2(second.reshape(k, n_rows, -1)))    # [K, R, C]
        h = active(self.merged(torch.cat([first, second], dim=-1)))    # [K, R, C]
        return h.transpose(0, 1).unflatten(0, places)

    def _shared(self, h: Tensor) -> Tensor:
        """[N, B, beats * outer, octaves, K, C] -> [N, B, C]."""
        s = self.shape
        h = h.flatten(4).unflatten(2, (s.beats, s.outer))    # [N, B, beats, outer, octaves, K * C]
        if s.octaves > 2 and s.octaves % 2 == 0:
            h = F.pad(h, (0, 0, 0, 1))
        h = overlapping(h, s.groups).transpose(3, 4)    # [N, B, beats, groups, outer, 3, K * C]
        h = active(self.from_octaves(h.flatten(4)))    # [N, B, beats, groups, C]
        return active(self.from_beats(h.flatten(2)))

    def _chroma(self, x: Tensor) -> Tensor:
        """[N, B, T, K, P] -> [N, B, C]: how often each pitch class sounds in each beat."""
        x = x.unflatten(4, (self.shape.octaves, SEMITONES)).sum(4)    # [N, B, T, K, 12]
        x = x.unflatten(2, (self.shape.beats, -1)).sum(3)    # [N, B, beats, K, 12]
        h = active(self.chroma_1(x.transpose(3, 4).flatten(3)))    # [N, B, beats, C]
        return active(self.chroma_2(h.flatten(2)))

    def _edges(self, n_sounding: Tensor) -> Tensor:
        """[N, B, T, K] -> [N, B, C]: how many pitches more sound at each step than at the one before in the bar.

        Before a bar's first step stands 0, as released.
        """
        before = F.pad(n_sounding[:, :, :-1], (0, 0, 1, 0))
        if not self.seen.drum_edges:
            before = before.masked_fill(self.drums, 0.0)
        x = (n_sounding - before).unflatten(2, (-1, self.shape.inner))    # [N, B, beats * outer, inner, K]
        h = active(self.edges_1(x.flatten(3))).unflatten(2, (self.shape.beats, -1))    # [N, B, beats, outer, C]
        return active(self.edges_3(active(self.edges_2(h.flatten(3))).flatten(2)))


class TrackLinear(nn.ModuleList):
    """A linear layer for each track, all in one product: [K, R, C] -> [K, R, D]."""

    def __init__(self, n_tracks: int, n_in: int, n_out: int):
        super().__init__(linear(n_in, n_out) for _ in range(n_tracks))

    def forward(self, h: Tensor) -> Tensor:
        weight = torch.stack([layer.weight.mT for layer in self])    # [K, C, D]
        bias = torch.stack([layer.bias for layer in self])    # [K, D]
        return torch.baddbmm(bias.unsqueeze(1), h, weight)
