"""Names of the bins of `musegan.metrics.histograms`, and which of them an axis shows."""

from __future__ import annotations

from typing import NamedTuple

from musegan.data.facts import NOTE_NAMES, drum_name, pitch_name
from musegan.metrics.histograms import MAX_INTERVAL, MAX_NOTES
from musegan.metrics.pairs import chord_type_names
from musegan.pages.html import plural
from musegan.roll import RollSpec

TITLES = {
    "pitch": "Pitches",
    "pitch class": "Pitch classes, as in C major or A minor",
    "length": "Length of notes, in beats",
    "position": "Where in the bar notes start",
    "interval": "Steps and leaps of the top line, in semitones",
    "chord type": "Chords, by type",
    "notes": "Notes that start in a bar",
    "repetition": "How alike neighbouring bars are",
    "beat": "Beat on which notes start",
    "kick": "Where bass drums start",
    "snare": "Where snare drums start",
}
"""What a family counts, in plain words."""


class Bins(NamedTuple):
    """Of one histogram."""

    names: list[str]
    ticks: dict[int, str]
    """Labels on the axis, by index of the bin."""


def bins(family: str, spec: RollSpec, is_drum: bool, n_bins: int) -> Bins:
    """The bins of a family.

    Args:
        is_drum: whether pitches are drums.
        n_bins: as many as the histogram has.
    Raises:
        ValueError: no such family.
    """
    steps, beats = spec.steps_per_beat, spec.beats_per_bar
    match family:
        case "pitch":
            pitches = range(spec.lowest_pitch, spec.lowest_pitch + n_bins)
            names = [f"{drum_name(p) if is_drum else pitch_name(p)} ({p})" for p in pitches]
            return Bins(names, {i: pitch_name(p) for i, p in enumerate(pitches) if p % 12 == 0})
        case "pitch class":
            return Bins(list(NOTE_NAMES), dict(enumerate(NOTE_NAMES)))
        case "length":
            names = [f"{plural(i, 'step')}, {i / steps:.4g} beats" for i in range(1, n_bins)]
            every = 1 + 2 * beats // 9
            return Bins([*names, f"{n_bins} steps or more"], {n * steps - 1: str(n) for n in range(1, 2 * beats + 1, every)})
        case "position" | "kick" | "snare":
            names = [f"beat {t // steps + 1}, step {t % steps + 1} of {steps}" for t in range(n_bins)]
            return Bins(names, {beat * steps: str(beat + 1) for beat in range(0, beats, 1 + beats // 13)})
        case "beat":
            names = [f"beat {beat + 1}" for beat in range(n_bins)]
            return Bins(names, {beat: str(beat + 1) for beat in range(0, n_bins, 1 + n_bins // 13)})
        case "interval":
            inner = [_interval(semitones) for semitones in range(-MAX_INTERVAL, MAX_INTERVAL + 1)]
            shown = (-12, -7, -2, 0, 2, 7, 12)
            ticks = {semitones + MAX_INTERVAL + 1: f"{semitones:+d}" if semitones else "0" for semitones in shown}
            return Bins(["farther down", *inner, "farther up"], ticks)
        case "chord type":
            return Bins(chord_type_names(), {})
        case "notes":
            names = [plural(n, "note") for n in range(MAX_NOTES)]
            return Bins([*names, f"{MAX_NOTES} notes or more"], {n: str(n) for n in range(0, n_bins, 4)})
        case "repetition":
            names = [f"{n / (n_bins - 1):.0%} to {(n + 1) / (n_bins - 1):.0%} alike" for n in range(n_bins - 1)]
            return Bins([*names, "equal"], {0: "0%", n_bins // 2: "50%", n_bins - 1: "equal"})
    raise ValueError(f"no bins are known of the family {family!r}")


def _interval(semitones: int) -> str:
    return f"{plural(abs(semitones), 'semitone')} {'up' if semitones > 0 else 'down'}" if semitones else "the same note"
