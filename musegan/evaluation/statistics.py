"""Which metrics an evaluation computes, and those of a corpus, phrase by phrase."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from musegan.evaluation.corpus import Corpus
from musegan.metrics import pairs, released, structure, tracks
from musegan.metrics.histograms import histograms
from musegan.metrics.music import Music, Tally
from musegan.roll import RollSpec

ALL = "all"    # the column of all tracks together
FLAG_POINTS = 0.20    # by which a share of empty bars may be off
Columns = Literal["track", "pair", "pitched pair", "all"]


class Statistic(NamedTuple):
    """A metric as a report shows it."""

    name: str
    function: Callable[[Music], Tally]
    columns: Columns
    """What the tally's columns are."""
    unit: str
    """Empty for shares and other plain numbers."""
    meaning: str
    """In a few words."""


def statistics(spec: RollSpec, n_bars: int, with_released: bool = False) -> list[Statistic]:
    """The metrics that phrases of this spec and length have.

    Args:
        with_released: the faulty ones of the released code too, for comparison with the papers.
    """
    shortest, divisions = tracks.qualified_min_steps(spec), tracks.pattern_divisions(spec)
    found = [
        Statistic("empty bars", tracks.empty_bar_rate, "track", "share", "bars in which the track is silent"),
        Statistic("used pitches", tracks.used_pitches, "track", "a bar", "different pitches in a bar with sound"),
        Statistic("used pitch classes", tracks.used_pitch_classes, "track", "a bar",
                  "different pitch classes in a bar with sound"),
        Statistic("notes", tracks.notes_per_bar, "track", "a bar", "note starts in a bar with sound"),
        Statistic("note density", tracks.note_density, "track", "a beat", "note starts in a beat, silent ones too"),
        Statistic("note length", tracks.note_length, "track", "beats", "mean length of notes"),
        Statistic("qualified notes", tracks.qualified_note_rate, "track", "share", f"notes of {shortest} steps or more"),
        Statistic("polyphonic steps", tracks.polyphonic_rate, "track", "share", "steps at which two pitches or more sound"),
        Statistic("polyphony", tracks.polyphony, "track", "pitches", "pitches at a time, where there is sound"),
        Statistic("mean pitch", tracks.mean_pitch, "track", "MIDI", "register"),
        Statistic("pitch range", tracks.pitch_range, "track", "semitones", "from lowest to highest in a phrase"),
        Statistic("scale", tracks.scale_consistency, "track", "share", "notes in the scale that fits the track best"),
        Statistic("pitch class entropy", tracks.pitch_class_entropy, "track", "bits", "how evenly pitch classes are used"),
        Statistic("joint scale", tracks.joint_scale_consistency, ALL, "share",
                  "notes in the scale that fits all tracks best"),
        Statistic("joint pitch class entropy", tracks.joint_pitch_class_entropy, ALL, "bits",
                  "how evenly all tracks together use pitch classes"),
        Statistic("drum pattern", tracks.drum_pattern_rate, "track", "share",
                  f"drum notes on {'sixteenths' if divisions == 4 else 'eighths' if divisions == 2 else 'quarters'}"),
        Statistic("kick on 1", tracks.kick_on_first_beat, "track", "share", "bars with drums that begin with the bass drum"),
        Statistic("snare on 2 and 4", tracks.snare_on_even_beats, "track", "share", "even beats with a snare drum"),
        Statistic("tonal distance", pairs.tonal_distance, "pitched pair", "", "between tonal centroids of a beat"),
        Statistic("tonal distance, shuffled", partial(pairs.tonal_distance, shuffled=True), "pitched pair", "",
                  "between a track and another phrase's other track"),
        Statistic("onset coincidence", pairs.onset_coincidence, "pair", "share",
                  "steps with starts in both, of those in either"),
        Statistic("chord tones", pairs.chord_tone_rate, "track", "share", "pitch classes that fit the other tracks' chord"),
        *(
            Statistic(f"self-similarity, {lag} {'bar' if lag == 1 else 'bars'}", partial(structure.self_similarity, lag=lag),
                      "track", "share", f"note starts that come back after {lag} {'bar' if lag == 1 else 'bars'}")
            for lag in structure.LAGS if lag < n_bars
        ),
        Statistic("groove", structure.groove_consistency, "track", "share", "steps alike in neighbouring bars"),
        Statistic("held over", structure.held_over_rate, "track", "share", "bar lines that a note is held across"),
        Statistic("leap at bar lines", structure.leap_at_bar_lines, "track", "semitones",
                  "from the last note to the next bar's first"),
        Statistic("leap at bar lines, shuffled", partial(structure.leap_at_bar_lines, shuffled=True), "track", "semitones",
                  "from the last note to the first of bars that do not follow"),
        Statistic("leap within bars", structure.leap_within_bars, "track", "semitones", "from note to note"),
    ]    # fmt: skip
    if with_released:
        for name, function, columns in (
            ("empty bars", tracks.empty_bar_rate, "track"),    # right in v1 and v2, whose tables these are
            ("used pitch classes", released.used_pitch_classes, "track"),
            ("qualified notes", released.bar_qualified_note_rate, "track"),
            ("drum pattern", released.drum_pattern_rate, "track"),
            ("tonal distance", released.tonal_distance, "pitched pair"),
        ):    # fmt: skip
            found.append(Statistic(f"released: {name}", function, columns, "", "as the papers' code computes it"))
    return found


RATIOS = {
    "tonal distance over shuffled": ("tonal distance", "1 where tracks fit each other no better than by chance"),
    "leap at bar lines over shuffled": ("leap at bar lines", "1 where bars follow each other no better than by chance"),
}
"""Statistics over what chance gives, which the statistic `..., shuffled` is: name, its numerator and its meaning."""


def column_names(columns: Columns, spec: RollSpec) -> list[str]:
    """What a statistic's columns are called, that of all together included; a track of that name is told from it."""
    names = [f"{ALL} (track)" if track.name == ALL else track.name for track in spec.tracks]
    match columns:
        case "track":
            return [*names, ALL]
        case "all":
            return [ALL]
        case "pair" | "pitched pair":
            found = pairs.pairs(spec, pitched=columns == "pitched pair")
            return [*(f"{names[i]} - {names[j]}" for i, j in found), ALL]


class Measured(NamedTuple):
    """What was counted in each phrase of a corpus."""

    tallies: dict[str, Tally]
    """By the statistic's name: [N, columns], and last, where they are tracks or pairs, a column of them all, pooled."""
    columns: dict[str, list[str]]
    """Names of these columns."""
    histograms: dict[str, Tensor]
    """By name as in `musegan.metrics.histograms`: [N, bins] int16, or int32 where it must be."""

    def counts(self, weights: Tensor | None = None) -> dict[str, Tensor]:
        """Histograms over the phrases: [bins] float64, or [R, bins] for weights [R, N]."""
        if weights is None:
            return {name: counts.sum(0).double() for name, counts in self.histograms.items()}
        return {name: weights.float() @ counts.float() for name, counts in self.histograms.items()}


def measure(corpus: Corpus, with_released: bool = False) -> Measured:
    """Counts everything in every phrase.

    Args:
        with_released: the faulty metrics of the released code too.
    Raises:
        ValueError: there are no phrases.
    """
    return measure_chunks(corpus.chunks(), len(corpus), with_released)


def measure_chunks(chunks: Iterable[Corpus], n: int, with_released: bool = False) -> Measured:
    """`measure` of a corpus of `n` phrases that is made as it is measured."""
    tallies: dict[str, Tally] = {}
    columns: dict[str, list[str]] = {}
    counted: dict[str, Tensor] = {}
    first = 0
    for corpus in chunks:
        music, rows = Music(corpus.roll, corpus.spec), slice(first, first + len(corpus))
        for statistic in statistics(corpus.spec, corpus.n_bars, with_released):
            tally = statistic.function(music)
            pooled = tally if statistic.columns == ALL else Tally(*map(_with_pool, tally))
            if statistic.name not in tallies:    # in one piece from the start: joined parts leave holes in memory
                tallies[statistic.name] = Tally(*(part.new_empty(n, part.shape[1]) for part in pooled))
                columns[statistic.name] = column_names(statistic.columns, corpus.spec)
            for whole, part in zip(tallies[statistic.name], pooled):
                whole[rows] = part
        for name, counts in histograms(music).items():
            if name not in counted:
                counted[name] = torch.empty(n, counts.shape[1], dtype=torch.int16)
            if counts.max() > torch.iinfo(counted[name].dtype).max:    # long phrases that are full of notes
                counted[name] = counted[name].int()
            counted[name][rows] = counts
        first += len(corpus)
    if first == 0 or first != n:
        raise ValueError(f"expected {n} phrases, one at least: got {first}")
    return Measured(tallies, columns, counted)


def values_by_name(measured: Measured) -> dict[str, float]:
    """Each statistic over all phrases, by `name: column`; NaN where there is nothing to measure."""
    return {
        f"{name}: {column}": value
        for name, tally in measured.tallies.items()
        for column, value in zip(measured.columns[name], tally.value().tolist())
    }


def flagged(generated: dict[str, float], real: dict[str, float]) -> list[str]:
    """Tracks whose share of empty bars is off by more than `FLAG_POINTS`, in words: what must not be averaged away.

    Args:
        generated, real: as `values_by_name` gives them.
    """
    prefix = "empty bars: "
    return [
        f"{name.removeprefix(prefix)} is silent in {value:.0%} of the bars, in the data in {real[name]:.0%}"
        for name, value in generated.items()
        if name.startswith(prefix) and name != prefix + ALL and abs(value - real[name]) > FLAG_POINTS
    ]


def _with_pool(part: Tensor) -> Tensor:
    return torch.cat([part, part.sum(1, keepdim=True)], 1)
