"""What single tracks do: silence, pitches, notes, polyphony, scale, drum patterns.

Each function takes `Music` and returns a `Tally` with a column for each of the K tracks, NaN where it does not apply (pitch
classes of drums) or there is nothing to measure (notes of a silent track). Sources are named at each; where published code
computes something else than it says, `released.py` has that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from musegan.metrics.music import Music, Tally
from musegan.roll import N_MIDI_PITCHES, RollSpec

KICKS, SNARES = (35, 36), (38, 40)    # General MIDI percussion: acoustic and electric
_MAJOR = (0, 2, 4, 5, 7, 9, 11)    # natural minor has the same twelve sets


def empty_bar_rate(music: Music) -> Tally:
    """Share of the bars in which a track is silent, in [0, 1].

    Source: Dong et al. 2018, EB.
    """
    return Tally((~music.sounds).sum(2).float(), torch.full(music.sounds.shape[:2], float(music.n_bars)))


def used_pitches(music: Music) -> Tally:
    """Different pitches that sound in a bar, over the bars in which the track sounds; 1 to 128.

    Source: Dong et al. 2018, UP.
    """
    return Tally(music.bar_pitches.sum((2, 3)).float(), _sounding_bars(music))


def used_pitch_classes(music: Music) -> Tally:
    """Different pitch classes that sound in a bar, over the bars in which the track sounds; 1 to 12. Not of drums.

    Source: Dong et al. 2018, UPC; with octaves folded, see `released.used_pitch_classes`.
    """
    octaves = torch.nn.functional.pad(music.bar_pitches, (0, -N_MIDI_PITCHES % 12)).unflatten(-1, (-1, 12))
    classes = octaves.any(-2).sum((2, 3)).float()    # [N, K]
    return _pitched(music, classes, _sounding_bars(music))


def notes_per_bar(music: Music) -> Tally:
    """Notes that start in a bar, over the bars in which the track sounds (0 where one is only held over)."""
    return Tally(music.starts.sum((2, 3)), _sounding_bars(music))


def note_density(music: Music) -> Tally:
    """Notes that start in a beat, over all beats, those of silent bars too."""
    return Tally(music.starts.sum((2, 3)), torch.full(music.sounds.shape[:2], float(music.n_beats)))


def note_length(music: Music) -> Tally:
    """Length of notes in beats. Not of drums. What a phrase's borders cut counts as long as it is within."""
    lengths = (music.end - music.start).double() / music.spec.steps_per_beat
    return _pitched(music, music.counts(music.voice, weights=lengths), music.counts(music.voice))


def qualified_min_steps(spec: RollSpec) -> int:
    """Steps from which on a note is qualified: three 24ths of a quarter note (a 32nd), and 2 at least.

    The papers' three steps of 24; of a coarse grid they would be less than one, and every note were qualified.
    """
    return max(2, -(-3 * spec.steps_per_quarter // 24))


def qualified_note_rate(music: Music, min_steps: int | None = None) -> Tally:
    """Share of the notes that are `min_steps` long or longer, in [0, 1]; low where music is broken up. Not of drums.

    Args:
        min_steps: by default `qualified_min_steps` of the spec.
    Source: Dong et al. 2018, QN.
    """
    min_steps = qualified_min_steps(music.spec) if min_steps is None else min_steps
    long_enough = (music.end - music.start >= min_steps).double()
    return _pitched(music, music.counts(music.voice, weights=long_enough), music.counts(music.voice))


def polyphonic_rate(music: Music, min_pitches: int = 2) -> Tally:
    """Share of all steps in which `min_pitches` pitches or more sound, in [0, 1].

    Source: Dong and Yang 2018, PR: "more than two" in the text, two or more in the code. muspy's `polyphony_rate` wants
    more than its threshold, and ends with the last note.
    """
    many = (music.polyphony >= min_pitches).sum((2, 3)).float()
    return Tally(many, torch.full(many.shape, float(music.n_steps)))


def polyphony(music: Music) -> Tally:
    """Pitches that sound at a time, over the steps in which the track sounds; 1 or more.

    Source: muspy's `polyphony`.
    """
    return Tally(music.polyphony.sum((2, 3)), (music.polyphony > 0).sum((2, 3)).float())


def mean_pitch(music: Music) -> Tally:
    """Mean MIDI pitch of the notes: the register. Not of drums."""
    return _pitched(music, music.counts(music.voice, weights=music.pitch.double()), music.counts(music.voice))


def pitch_range(music: Music) -> Tally:
    """Semitones from a phrase's lowest pitch to its highest, over the phrases in which the track sounds. Not of drums."""
    used = music.bar_pitches.any(2)    # [N, K, 128]
    pitches = torch.arange(N_MIDI_PITCHES)
    highest = torch.where(used, pitches, -1).amax(2)
    lowest = torch.where(used, pitches, N_MIDI_PITCHES).amin(2)
    sounds = highest >= 0
    return _pitched(music, torch.where(sounds, highest - lowest, 0).float(), sounds.float())


def scale_consistency(music: Music) -> Tally:
    """Share of a phrase's notes that lie in the scale that holds most of them, in [7/12, 1]. Not of drums.

    The scales are the twelve major ones, which natural minor shares; each track of each phrase has its own.

    Source: Mogren 2016; muspy's `scale_consistency`.
    """
    return _pitched(music, *_in_best_scale(_class_counts(music)))


def pitch_class_entropy(music: Music) -> Tally:
    """Entropy of a phrase's pitch classes by notes, in bits, 0 to 3.58; a mean over phrases with notes. Not of drums.

    Source: Wu and Yang 2020, here of a phrase; muspy's `pitch_class_entropy`.
    """
    return _pitched(music, *_entropy(_class_counts(music)))


def joint_scale_consistency(music: Music) -> Tally:
    """`scale_consistency` of all pitched tracks together: one column."""
    return Tally(*_in_best_scale(_class_counts(music).sum(1, keepdim=True)))


def joint_pitch_class_entropy(music: Music) -> Tally:
    """`pitch_class_entropy` of all pitched tracks together: one column."""
    return Tally(*_entropy(_class_counts(music).sum(1, keepdim=True)))


def pattern_divisions(spec: RollSpec) -> int:
    """Parts of a quarter note on which `drum_pattern_rate` looks: 4 (sixteenths); 2 or 1 where 4 are all steps or none."""
    return next(n for n in (4, 2, 1) if spec.steps_per_quarter % n == 0 and (n < spec.steps_per_quarter or n == 1))


def drum_pattern_rate(music: Music) -> Tally:
    """Share of the drum notes that start on a sixteenth (8- and 16-beat patterns), in [0, 1]. Drums only.

    At 4 steps in a quarter note that would be all of them, and eighths are taken; see `pattern_divisions`.

    Source: Dong et al. 2018, DP.
    """
    every = music.spec.steps_per_quarter // pattern_divisions(music.spec)
    on = (music.start % music.steps_per_bar % every == 0).double()    # in its bar: 7/8 ends within one
    return _drums(music, music.counts(music.voice, weights=on), music.counts(music.voice))


def kick_on_first_beat(music: Music) -> Tally:
    """Share of the bars with drums in which a bass drum starts on the first beat, in [0, 1]. Drums only."""
    hits = _hits(music, KICKS)[..., 0]    # [N, K, B]
    return _drums(music, (hits & music.sounds).sum(2).float(), _sounding_bars(music))


def snare_on_even_beats(music: Music) -> Tally:
    """Share of the even beats (2 and 4 of four) of bars with drums on which a snare drum starts, in [0, 1]. Drums only."""
    step = music.spec.steps_per_beat
    hits = _hits(music, SNARES)[..., step :: 2 * step]    # [N, K, B, even beats]
    return _drums(music, hits.sum((2, 3)).float(), _sounding_bars(music) * hits.shape[3])


def _hits(music: Music, pitches: tuple[int, ...]) -> Tensor:
    """[N, K, B, T] bool, steps at which one of some drums starts."""
    chosen = torch.isin(music.pitch, torch.tensor(pitches))
    index = (music.voice * music.n_steps + music.start)[chosen]
    return music.counts(index, music.n_bars, music.steps_per_bar) > 0


def _sounding_bars(music: Music) -> Tensor:
    return music.sounds.sum(2).float()


def _class_counts(music: Music) -> Tensor:
    """[N, K, 12] float32, notes by pitch class; those of drums are left out."""
    index = music.voice * 12 + music.pitch % 12
    return music.counts(index[music.pitched], 12)


def _in_best_scale(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Of counts [N, C, 12] those within the scale that holds most of them, and all: two [N, C]."""
    scales = torch.zeros(12, 12)
    for key in range(12):
        scales[key, [(key + degree) % 12 for degree in _MAJOR]] = 1
    return (counts @ scales.T).amax(-1), counts.sum(-1)


def _entropy(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy in bits of each of the counts [N, C, 12], 0 where there are none, and whether there are some: two [N, C]."""
    n = counts.sum(-1)
    return torch.special.entr(counts / n.clamp(min=1)[..., None]).sum(-1) / torch.tensor(2.0).log(), (n > 0).float()


def _pitched(music: Music, total: Tensor, count: Tensor) -> Tally:
    return Tally(total * ~music.is_drum, count * ~music.is_drum)


def _drums(music: Music, total: Tensor, count: Tensor) -> Tally:
    return Tally(total * music.is_drum, count * music.is_drum)
