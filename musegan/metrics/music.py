"""Phrases as metrics see them: their notes, and what sounds in each bar, beat and step; the tallies that metrics return."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from musegan.ops import notes, pack
from musegan.roll import N_MIDI_PITCHES, Roll, RollSpec


class Tally(NamedTuple):
    """What a metric adds up in each phrase, so that any selection of phrases has its value without counting anew.

    The value over some phrases is the sum of their totals over the sum of their counts: a mean over bars, notes or
    beats, whichever is counted, not over phrases.
    """

    total: Tensor
    """[N, columns] float32."""
    count: Tensor
    """[N, columns] float32; 0 where there is nothing to measure."""

    def value(self, weights: Tensor | None = None) -> Tensor:
        """[columns] float64, NaN where nothing was counted.

        Args:
            weights: [N] how often each phrase counts, or [R, N] for R selections at once, which gives [R, columns].
        """
        total, count = self.total.double(), self.count.double()
        if weights is None:
            return total.sum(0) / count.sum(0)
        return (weights.double() @ total) / (weights.double() @ count)


class Music:
    """N phrases as a table of notes, from which everything else is made when it is asked for.

    A note starts where its onset is, or where a frame begins to sound without one; see `musegan.ops.notes`.

    Args:
        roll: planes [N, K, B, T, P] bool, or packed [N, K, B, T, ceil(P / 8)] uint8.
        spec: what the rolls mean.
    Raises:
        ValueError, TypeError: see `musegan.ops.notes`.
    """

    def __init__(self, roll: Roll, spec: RollSpec):
        table = notes(roll, spec.n_pitches)    # [n, 5]
        self.spec: RollSpec = spec
        self.roll: Roll = roll if roll.frame.dtype == torch.uint8 else roll.map(pack)
        """Packed planes [N, K, B, T, ceil(P / 8)] uint8."""
        self.n, self.n_tracks, self.n_bars, self.steps_per_bar = roll.frame.shape[:4]
        self.n_steps: int = self.n_bars * self.steps_per_bar
        """Of a phrase, B * T."""
        self.n_beats: int = self.n_bars * spec.beats_per_bar
        """Of a phrase."""
        self.is_drum: Tensor = torch.tensor([track.is_drum for track in spec.tracks])
        """[K] bool."""
        self.sample, self.track, pitch_index, self.start, self.end = table.unbind(1)
        """[n] int64 of each note, sorted by sample, track, start and pitch; steps count through the phrase."""
        self.pitch: Tensor = pitch_index + spec.lowest_pitch
        """[n] MIDI pitch."""
        self.voice: Tensor = self.sample * self.n_tracks + self.track
        """[n] sample * K + track."""
        self.pitched: Tensor = ~self.is_drum[self.track]
        """[n] bool, notes of tracks that are no drums."""

    def counts(self, index: Tensor, *shape: int, weights: Tensor | None = None) -> Tensor:
        """How often each number below the product of (N * K, *shape) comes: [N, K, *shape] float32.

        Args:
            index: [m] int64, `voice` as the outermost axis.
            weights: [m], added up instead of 1.
        """
        size = self.n * self.n_tracks * int(np.prod(shape))
        counted = torch.bincount(index, weights, minlength=size)
        return counted.float().view(self.n, self.n_tracks, *shape)

    def spans(self, width_steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """The notes cut at every `width_steps` steps: index of the note, window, steps that it sounds in it; [m] int64."""
        first, last = self.start // width_steps, (self.end - 1) // width_steps
        note = torch.repeat_interleave(last - first + 1)
        ends = (last - first + 1).cumsum(0)
        window = torch.arange(len(note)) - (ends - (last - first + 1))[note] + first[note]
        begin = torch.maximum(self.start[note], window * width_steps)
        stop = torch.minimum(self.end[note], (window + 1) * width_steps)
        return note, window, stop - begin

    @cached_property
    def polyphony(self) -> Tensor:
        """[N, K, B, T] float32, how many pitches sound."""
        width = self.n_steps + 1
        change = self.counts(self.voice * width + self.start, width) - self.counts(self.voice * width + self.end, width)
        return change.cumsum(2)[..., :-1].unflatten(2, (self.n_bars, self.steps_per_bar))

    @cached_property
    def sounds(self) -> Tensor:
        """[N, K, B] bool, bars in which a track sounds."""
        return (self.polyphony > 0).any(3)

    @cached_property
    def starts(self) -> Tensor:
        """[N, K, B, T] float32, how many notes start."""
        index = self.voice * self.n_steps + self.start
        return self.counts(index, self.n_bars, self.steps_per_bar)

    @cached_property
    def start_bits(self) -> np.ndarray:
        """[N, K, B, T, ceil(P / 8)] uint8, the cells in which a note starts, packed."""
        frame, onset = (plane.flatten(2, 3).numpy() for plane in self.roll)    # [N, K, B * T, bytes]
        started = onset | frame
        started[:, :, 1:] &= onset[:, :, 1:] | ~frame[:, :, :-1]
        return started.reshape(self.roll.frame.shape)

    @cached_property
    def bar_pitches(self) -> Tensor:
        """[N, K, B, 128] bool, MIDI pitches that sound in a bar."""
        note, bar, _ = self.spans(self.steps_per_bar)
        index = (self.voice[note] * self.n_bars + bar) * N_MIDI_PITCHES + self.pitch[note]
        return self.counts(index, self.n_bars, N_MIDI_PITCHES) > 0

    @cached_property
    def beat_chroma(self) -> Tensor:
        """[N, K, beats, 12] float32, for how many steps, of all octaves together, each pitch class sounds; 0 is C.

        Drum tracks are 0.
        """
        note, beat, n_steps = self.spans(self.spec.steps_per_beat)
        index = (self.voice[note] * self.n_beats + beat) * 12 + self.pitch[note] % 12
        return self.counts(index, self.n_beats, 12, weights=(n_steps * self.pitched[note]).double())

    @cached_property
    def beat_classes(self) -> Tensor:
        """[N, K, beats] int64, the pitch classes that sound in a beat as 12 bits, class 0 in the lowest."""
        return ((self.beat_chroma > 0) * (1 << torch.arange(12))).sum(-1)

    @cached_property
    def top_notes(self) -> Tensor:
        """[m] int64, indices of the notes that are the highest of those that start with them in their track: its skyline."""
        place = self.voice * self.n_steps + self.start
        return torch.nonzero(torch.cat([place[1:] != place[:-1], place.new_ones(min(len(place), 1)) > 0])).squeeze(1)

    @cached_property
    def steps_of_melody(self) -> tuple[Tensor, Tensor]:
        """Pairs of skyline notes that follow each other in a pitched track: indices of the first and of the second."""
        first, second = self.top_notes[:-1], self.top_notes[1:]
        same = (self.voice[first] == self.voice[second]) & self.pitched[first]
        return first[same], second[same]
