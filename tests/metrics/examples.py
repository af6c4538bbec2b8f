"""Phrases for tests of metrics: on several grids, drawn note by note or at random, and as plain lists for scalar loops."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache, cached_property

import torch

from musegan.metrics.music import Music
from musegan.ops import roll_from_notes
from musegan.roll import PRESETS, Roll, RollSpec, Track

DRUMS, PIANO, BASS = Track("drums", is_drum=True), Track("piano"), Track("bass", program=33)
SPECS = {
    "lpd5": RollSpec(PRESETS["lpd5"]),
    "twelve steps a beat": RollSpec((PIANO, DRUMS, BASS), steps_per_beat=12, lowest_pitch=30, n_pitches=24),
    "24 steps a beat": RollSpec((DRUMS, BASS), steps_per_beat=24, lowest_pitch=35, n_pitches=9),
    "3/4": RollSpec((BASS, PIANO), beats_per_bar=3, lowest_pitch=40, n_pitches=30),
    "6/8": RollSpec((DRUMS, PIANO), steps_per_beat=3, beats_per_bar=6, beat_unit=8, lowest_pitch=33, n_pitches=20),
    "7/8, a step each": RollSpec((DRUMS, PIANO), 1, beats_per_bar=7, beat_unit=8, lowest_pitch=35, n_pitches=8),
    "12 pitches from an odd one": RollSpec((DRUMS, PIANO, BASS), lowest_pitch=37, n_pitches=12),
    "a step a beat": RollSpec((DRUMS, PIANO), steps_per_beat=1, lowest_pitch=35, n_pitches=13),
    "all MIDI": RollSpec((PIANO, BASS), lowest_pitch=0, n_pitches=128),
}
N_BARS = {"twelve steps a beat": 1, "24 steps a beat": 2, "all MIDI": 1}    # 3 elsewhere


def drawn(spec: RollSpec, *notes: tuple[int, int, int, int], n_bars: int = 2, n: int = 1, sample: int = 0) -> Roll:
    """Notes of one phrase, the others silent: track, MIDI pitch, start step, end step."""
    table = [(sample, track, pitch - spec.lowest_pitch, start, end) for track, pitch, start, end in notes]
    table = torch.tensor(table, dtype=torch.int64).view(-1, 5)
    return roll_from_notes(table, n, spec.n_tracks, n_bars, spec.steps_per_bar, spec.n_pitches)


def music_of(spec: RollSpec, *notes: tuple[int, int, int, int], n_bars: int = 2) -> Music:
    """One phrase as `drawn`."""
    return Music(drawn(spec, *notes, n_bars=n_bars), spec)


def random_roll(spec: RollSpec, n: int = 6, n_bars: int = 3, seed: int = 0) -> Roll:
    """Phrases of some notes in each bar, chords among them; some bars, a track of a phrase and the last phrase are silent.

    Notes may be held over bar lines, be struck again while they sound, and come in from before the phrase. Drums play bass
    drums, snares and their neighbours where the grid has them, half of them on a beat.
    """
    rng = random.Random(seed)
    table = []
    kit = [pitch - spec.lowest_pitch for pitch in range(34, 42) if 0 <= pitch - spec.lowest_pitch < spec.n_pitches]
    for sample in range(n - 1):
        for k, track in enumerate(spec.tracks):
            if (sample + k) % 5 == 4:
                continue
            pitches = kit if track.is_drum else range(spec.n_pitches)
            for bar in range(n_bars):
                for _ in range(rng.choice((0, 3, 6))):
                    start = bar * spec.steps_per_bar + rng.randrange(spec.steps_per_bar)
                    if track.is_drum and rng.random() < 0.5:
                        start -= start % spec.steps_per_beat
                    length = 1 if track.is_drum else rng.choice((1, 2, 3, spec.steps_per_beat, spec.steps_per_bar))
                    end = min(start + length, n_bars * spec.steps_per_bar)
                    chord = rng.sample(pitches, rng.choice((1, 1, 3)))
                    table += [(sample, k, pitch, start, end) for pitch in chord]
    table = torch.tensor(table, dtype=torch.int64).view(-1, 5)
    roll = roll_from_notes(table, n, spec.n_tracks, n_bars, spec.steps_per_bar, spec.n_pitches)
    pitched = [k for k, track in enumerate(spec.tracks) if not track.is_drum]
    roll.onset[1::2, pitched, 0, 0] = False    # cut: sounds from the first step on, without an onset
    return roll


@cache
def random_music(grid: str) -> tuple[Roll, Music]:
    """Random phrases on one of `SPECS`."""
    roll = random_roll(SPECS[grid], n_bars=N_BARS.get(grid, 3))
    return roll, Music(roll, SPECS[grid])


@cache
def random_voices(grid: str) -> list[list[Voice]]:
    """Those of `random_music`, [N][K]."""
    return voices(random_music(grid)[0], SPECS[grid])


@dataclass(frozen=True)
class Voice:
    """One track of one phrase as plain Python, for loops that are slow and plain to see."""

    spec: RollSpec
    is_drum: bool
    frame: list[list[bool]]
    """[steps of the phrase][P]."""
    onset: list[list[bool]]

    @cached_property
    def bars(self) -> list[list[list[bool]]]:
        """[B][T][P], what sounds."""
        width = self.spec.steps_per_bar
        return [self.frame[i : i + width] for i in range(0, len(self.frame), width)]

    @cached_property
    def notes(self) -> list[tuple[int, int, int]]:
        """MIDI pitch, start step, end step."""
        found = []
        for p in range(self.spec.n_pitches):
            start = None
            for step in range(len(self.frame) + 1):
                sounds = step < len(self.frame) and self.frame[step][p]
                struck = sounds and (self.onset[step][p] or start is None)
                if start is not None and (struck or not sounds):
                    found.append((p + self.spec.lowest_pitch, start, step))
                    start = None
                if struck:
                    start = step
        return found


def voices(roll: Roll, spec: RollSpec) -> list[list[Voice]]:
    """[N][K]."""
    frame, onset = (plane.flatten(2, 3).tolist() for plane in roll)
    return [
        [Voice(spec, track.is_drum, frame[n][k], onset[n][k]) for k, track in enumerate(spec.tracks)]
        for n in range(len(frame))
    ]
