"""The metrics of the papers as their released code computes them, faults included: for comparison with the papers only.

Each docstring names the code that it mirrors and what that computes instead of what its name says; where `tracks.py` has
the name, it has the correct metric. Codes: MuseGAN v1, v2 and v3 (salu133445/musegan, folders v1, v2 and src), bmusegan
(salu133445/bmusegan), pypianoroll 1.0.4. They know no onsets: what is struck again while it sounds is one note to them.

Each function takes `Music` and returns a `Tally` with the columns of `tracks.py`, or one for each of `pitched_pairs`. Rolls
are unpacked here, 1 byte a cell: pass thousands of phrases, not all of a data set, at a time.
"""

from __future__ import annotations

from itertools import combinations
from math import pi

import torch
from torch import Tensor

from musegan.metrics.music import Music, Tally
from musegan.metrics.tracks import pattern_divisions
from musegan.ops import unpack
from musegan.roll import RollSpec

_C_MAJOR = (1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1)
_RADII = (1.0, 1.0, 0.5)    # of the circles of fifths, minor and major thirds; Harte et al. 2006, as all released code
_TOLERANCE = 0.1    # what a drum note a step beside the pattern counts; `drum_filter` of v2's config


def pitched_pairs(spec: RollSpec) -> list[tuple[int, int]]:
    """Pairs of different pitched tracks, by index, in order: the columns of `tonal_distance` and `harmonicity`."""
    return list(combinations([k for k, track in enumerate(spec.tracks) if not track.is_drum], 2))


def chroma(music: Music, padded: bool = False) -> Tensor:
    """Twelve bands of neighbouring semitones, under the name of pitch classes: [N, K, B, T, 12] uint8, pitches that sound.

    The fault: the pitch axis is split as (12, octaves) where (octaves, 12) was meant. Of 84 pitches, band 0 holds the lowest
    7, band 1 the next 7; octaves of one note fall into different bands, C and C# mostly into one.

    Args:
        padded: as in v2 and bmusegan, which add 12 silent pitches if P is a multiple of 12 already: of 84 pitches 10 full
            bands of 8, half a one and a silent one. False: v1 and v3 (v1 takes such P only).
    Mirrors: `to_chroma` of v1, v2, v3 and bmusegan. pypianoroll has bands of 10 for P = 128, and adds the upper 8
        pitches to every band.
    """
    frame = _frame(music)
    n_pitches = frame.shape[-1]
    missing = 12 - n_pitches % 12 if padded else -n_pitches % 12
    bands = torch.nn.functional.pad(frame, (0, missing)).unflatten(-1, (12, -1))    # [N, K, B, T, 12, width]
    return bands.sum(-1, dtype=torch.uint8)    # [N, K, B, T, 12]


def used_pitch_classes(music: Music, padded: bool = False) -> Tally:
    """Bands of `chroma` that sound in a bar, over the bars in which the track sounds. Not of drums.

    C3, C4 and C5 together are 3 "pitch classes", C and C# one.

    Args:
        padded: see `chroma`; False for the figures of Dong et al. 2018 (AAAI), UPC.
    Mirrors: `metric_num_chroma_used` of v1, `chroma_used` of v2 and bmusegan.
    """
    used = chroma(music, padded).amax(3) > 0    # [N, K, B, 12]
    return _of(~music.is_drum, used.sum((2, 3)), music.sounds.sum(2))


def n_pitches_used(music: Music) -> Tally:
    """Cells that sound in a bar, under the name of different pitches, over all bars, silent ones too.

    One pitch held through a bar of 48 steps counts 48.

    Mirrors: `n_pitches_used` of v3, which sums over the time where it should ask whether any step sounds.
    """
    return _over_bars(music, music.polyphony.sum((2, 3)))


def n_pitch_classes_used(music: Music) -> Tally:
    """Pairs of step and band of `chroma` that sound in a bar, over all bars: both faults at once. Not of drums.

    Mirrors: `n_pitch_classes_used` of v3.
    """
    total, count = _over_bars(music, (chroma(music) > 0).sum((2, 3, 4)))
    return _of(~music.is_drum, total, count)


def in_scale_rate(music: Music, padded: bool = False) -> Tally:
    """Share of the cells that sound in those bands of `chroma` whose number is a degree of C major. Not of drums.

    Transposition by an octave changes it, and a semitone mostly does not.

    Args:
        padded: see `chroma`.
    Mirrors: `in_scale_rate` of v3 and pypianoroll. v1, v2 and bmusegan take the mean of the shares of bars.
    """
    cells = chroma(music, padded).sum((2, 3))    # [N, K, 12]
    return _of(~music.is_drum, (cells * torch.tensor(_C_MAJOR)).sum(-1), cells.sum(-1))


def tonal_distance(music: Music, padded: bool = False) -> Tally:
    """Distance of the tonal centroids of two tracks in a beat, of `chroma`; a column for each of `pitched_pairs`.

    A mean over the bars in which both tracks sound in every beat; all other bars are left out.

    Args:
        padded: see `chroma`; False for the figures of Dong et al. 2018 (AAAI), True for those of Dong and Yang 2018 (ISMIR).
    Mirrors: `metrics_harmonicity` of v1, `get_harmonicity` of v2 and bmusegan. pypianoroll's `tonal_distance` mixes up the
        axes of steps and classes: it raises unless a beat has 12 steps, and then compares steps.
    """
    bars = _beat_distances(music, padded).mean(3)    # [N, pairs, B], NaN where a beat is silent
    measured = ~bars.isnan()
    return Tally(bars.nan_to_num().sum(2), measured.sum(2).float())


def harmonicity(music: Music) -> Tally:
    """`tonal_distance` over all beats at once: NaN if either track is silent in any of them.

    Such a phrase makes NaN of all selections, even where its weight is 0.

    Mirrors: `harmonicity` of v3, which divides by the sum of a silent beat and takes the mean of what results.
    """
    distances = _beat_distances(music, padded=False).flatten(2)    # [N, pairs, beats]
    return Tally(distances.sum(2), torch.full(distances.shape[:2], float(music.n_beats)))


def empty_bar_rate(music: Music) -> Tally:
    """Share of the bars in which a track *sounds*, under the name of the share in which it does not.

    Mirrors: `empty_bar_rate` of v3; `empty_beat_rate` of pypianoroll does so with beats.
    """
    return _over_bars(music, music.sounds.sum(2))


def polyphonic_rate(music: Music) -> Tally:
    """Share of the steps in which two or more pitches sound, over the bars in which the track sounds.

    No fault, but not as the papers' text says: "more than two", and nothing of silent bars. v3 and pypianoroll do ask for
    more than two, and of all bars: `tracks.polyphonic_rate(music, min_pitches=3)`.

    Mirrors: `metric_polyphonic_ratio` of v1, `get_polyphonic_ratio` of v2 and bmusegan.
    """
    many = (music.polyphony >= 2).sum((2, 3)).float()
    return Tally(many, music.sounds.sum(2).float() * music.steps_per_bar)


def bar_qualified_note_rate(music: Music) -> Tally:
    """Mean over sounding bars of the share of a bar's notes that last 2 steps or longer. Not of drums.

    Bar lines cut notes: what is held over is a note in each bar that it reaches, and short where only a step of it is in
    one. At 24 steps a beat the papers' text says three steps.

    Mirrors: `metric_qualified_note_ratio` of v1, `get_qualified_note_rate` of v2 and bmusegan: the figures of both papers.
    """
    change = _changes(_frame(music), 3)    # [N, K, B, T + 1, P]
    # Along the time of a pitch, each rise is followed by its fall: the n-th of the one belongs to the n-th of the other.
    rises, falls = ((change.transpose(3, 4) == sign).nonzero() for sign in (1, -1))    # sample, track, bar, pitch, step
    shape = music.sounds.shape
    bar = (rises[:, 0] * shape[1] + rises[:, 1]) * shape[2] + rises[:, 2]
    is_long = falls[:, 4] - rises[:, 4] >= 2
    n_notes, n_long = (torch.bincount(index, minlength=shape.numel()).view(shape) for index in (bar, bar[is_long]))
    return _of(~music.is_drum, (n_long / n_notes.clamp(min=1)).sum(2), music.sounds.sum(2))


def qualified_note_rate(music: Music) -> Tally:
    """Share of the starts of notes that are 2 cells or more before an end, which is hardly ever their own. Not of drums.

    Starts and ends are numbered through a phrase step by step, and within a step by pitch; the n-th start is paired with the
    n-th end, whatever their pitches. Their distance is counted in cells of the roll, P to a step. Each end lies at least P
    cells behind its own start, and sorting both keeps that so: the rate is 1 for any music of two pitches or more.

    Mirrors: `qualified_note_rate` of v3 and pypianoroll, which flatten (steps, pitches) where (pitches, steps) was meant;
        pypianoroll's fails on bool and uint8. v3 leaves a start in the very first cell of the first phrase out of the
        count; not so here, where a phrase counts the same wherever it stands.
    """
    frame = _frame(music).flatten(2, 3)    # [N, K, B * T, P]
    change = _changes(frame, 2).flatten(2)    # [N, K, cells]
    rises, falls = ((change == sign).nonzero() for sign in (1, -1))    # sample, track, cell; as many of either
    voice = rises[:, 0] * music.n_tracks + rises[:, 1]
    is_long = falls[:, 2] - rises[:, 2] >= 2
    return _of(~music.is_drum, music.counts(voice[is_long]), music.counts(voice))


def drum_pattern_rate(music: Music) -> Tally:
    """Mean over sounding bars of how well a bar's drum notes, and their ends, fit a pattern of sixteenths. Drums only.

    A start or an end in the pattern counts 1, a step beside it 0.1; of all shifts of the pattern the best is taken. At 4
    steps in a quarter note the pattern is of eighths, see `tracks.pattern_divisions`; v2 knows 24 only.

    Mirrors: `get_drum_pattern` of v2 and bmusegan. They take the difference of neighbouring steps to find starts; that of
        bools is XOR, so that ends count as well. v1 has numbers and is right.
    """
    frame = _frame(music)    # [N, K, B, T, P]
    before = torch.nn.functional.pad(frame, (0, 0, 1, 0))[:, :, :, :-1]
    changes = (frame ^ before).sum(-1).float()    # [N, K, B, T]
    period = music.spec.steps_per_quarter // pattern_divisions(music.spec)
    pattern = torch.zeros(period)
    pattern[[1 % period, -1]] = _TOLERANCE
    pattern[0] = 1.0
    step = torch.arange(music.steps_per_bar)
    shifts = torch.stack([pattern[(step - shift) % period] for shift in range(period)])    # [period, T]
    score = (changes @ shifts.T).amax(-1) / changes.sum(-1).clamp(min=1)    # [N, K, B]
    return _of(music.is_drum, score.sum(2), music.sounds.sum(2))


def _frame(music: Music) -> Tensor:
    """[N, K, B, T, P] bool."""
    return unpack(music.roll.frame, music.spec.n_pitches)


def _changes(frame: Tensor, axis: int) -> Tensor:
    """1 where a cell begins to sound and -1 where it ends along an axis of time: int8, one longer there."""
    silence = torch.zeros_like(frame.narrow(axis, 0, 1), dtype=torch.int8)
    return torch.cat([silence, frame.to(torch.int8), silence], axis).diff(dim=axis)


def _beat_distances(music: Music, padded: bool) -> Tensor:
    """[N, pairs, B, beats of a bar] float32, NaN where one of the two is silent."""
    beats = chroma(music, padded).unflatten(3, (music.spec.beats_per_bar, -1)).sum(4).float()    # [N, K, B, beats, 12]
    angle = torch.arange(12)[:, None] * pi * torch.tensor([7 / 6, 3 / 2, 2 / 3])    # [12, 3]
    to_centroid = torch.cat([angle.sin(), angle.cos()], 1) * torch.tensor(_RADII * 2)    # [12, 6]
    centroid = beats / beats.sum(-1, keepdim=True) @ to_centroid    # [N, K, B, beats, 6]
    pairs = torch.tensor(pitched_pairs(music.spec), dtype=torch.int64).view(-1, 2)
    return (centroid[:, pairs[:, 0]] - centroid[:, pairs[:, 1]]).norm(dim=-1)


def _over_bars(music: Music, total: Tensor) -> Tally:
    return Tally(total.float(), torch.full(total.shape, float(music.n_bars)))


def _of(tracks: Tensor, total: Tensor, count: Tensor) -> Tally:
    """A tally of some of the tracks [K] bool; the others have nothing to measure."""
    return Tally(total.float() * tracks, count.float() * tracks)
