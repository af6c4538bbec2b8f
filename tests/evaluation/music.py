"""Corpora for the tests: made phrases whose statistics one can count by hand, and halves of real music."""

import torch

from musegan.evaluation.corpus import Corpus
from musegan.ops import roll_from_notes
from musegan.roll import PRESETS, RollSpec, Track

BAND = RollSpec(PRESETS["lpd5"])
DUO = RollSpec((Track("lead", 80), Track("chords", 0)))
_SCALE = (0, 2, 4, 5, 7, 9, 11, 12)


def corpus_of_notes(notes, n, spec, n_bars, piece=None):
    """A corpus of notes (sample, track, MIDI pitch, start, end)."""
    table = torch.tensor(notes, dtype=torch.int64).reshape(-1, 5)
    table[:, 2] -= spec.lowest_pitch
    roll = roll_from_notes(table, n, spec.n_tracks, n_bars, spec.steps_per_bar, spec.n_pitches, packed=True)
    return Corpus(roll, torch.arange(n) if piece is None else piece, spec)


def scales(n=60, broken=False):
    """Two-bar phrases of ten pieces: a lead of two scales in eighths over a triad a bar; piece p is p semitones up.

    Args:
        broken: notes of the lead are one step long, the chords a tritone off.
    """
    notes = []
    for i in range(n):
        root = 60 + i % 10
        for bar in range(2):
            for j, degree in enumerate(_SCALE):
                start = 16 * bar + 2 * j
                notes.append((i, 0, root + degree, start, start + (1 if broken else 2)))
            for third in (0, 4, 7):
                notes.append((i, 1, root - 12 + third + 6 * broken, 16 * bar, 16 * bar + 16))
    return corpus_of_notes(notes, n, DUO, 2, torch.arange(n) % 10)


def beats(n=60, sparse=False):
    """One-bar phrases of ten pieces for drums alone: kick on 1 and 3, snare on 2 and 4, hi-hat in eighths.

    Args:
        sparse: every second phrase is silent, and snares come a step late.
    """
    spec = RollSpec((Track("drums", is_drum=True),))
    notes = []
    for i in range(n):
        if sparse and i % 2:
            continue
        hits = [(36, 0), (36, 8), (38, 4 + sparse), (38, 12 + sparse), *((42, 2 * j) for j in range(8))]
        if i % 3 == 0:
            hits.append((36, 10))
        notes += [(i, 0, pitch, start, start + 1) for pitch, start in hits]
    return corpus_of_notes(notes, n, spec, 1, torch.arange(n) % 10)


def halves(dataset, n_bars=4, limit=None):
    """Phrases of the pieces with even numbers, and of those with odd ones."""
    pieces = range(len(dataset.pieces))
    return tuple(Corpus.of_dataset(dataset, n_bars, list(pieces[k::2]), limit=limit) for k in (0, 1))
