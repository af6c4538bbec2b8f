"""Copies are found, in any key, and not where there are none."""

import math

import torch

from musegan.evaluation.corpus import Corpus
from musegan.evaluation.originality import originality
from musegan.keys import transpose
from musegan.roll import Roll
from tests.evaluation.music import beats, halves


def moved(corpus, semitones):
    roll = transpose(corpus.unpacked(), torch.full((len(corpus),), semitones), corpus.spec)
    return Corpus.of_roll(roll, corpus.spec)


def test_copies_of_the_training_data_are_found(songs):
    real, train = halves(songs)
    stolen = moved(train.take(slice(0, 50)), 2)
    found = originality(real, stolen, train, seed=0)
    assert found.corpus == "train" and found.n_corpus == len(train)
    assert found.generated.median > 0.95 and found.copied > 0.9
    assert found.real.median < 0.5 and found.copied_real < 0.1
    assert {pair.semitones for pair in found.closest} == {-2}
    best = found.closest[0]
    assert torch.equal(train.roll.onset[best.nearest, 0], train.roll.onset[best.generated, 0])
    by_track = {m.track: m for m in found.melodies}
    assert "drums" not in by_track
    assert by_track["guitar"].generated.median == 0 < by_track["guitar"].real.median


def test_without_training_data_real_phrases_are_compared_with_other_pieces(songs):
    real, other = halves(songs)
    found = originality(real, other, None, seed=0)
    assert found.corpus == "real" and found.real.median < 0.5
    same = originality(real, real, None, seed=0)
    assert same.generated.median == 1.0 and same.real == found.real


def test_duplicates_among_the_generated(songs):
    real, other = halves(songs)
    one = other.take(slice(0, 1))
    thrice = Corpus(Roll(*(torch.cat([plane] * 3 + [rest]) for plane, rest in zip(one.roll, other.roll))),
                    torch.arange(len(other) + 3), other.spec)
    found = originality(real, thrice, None, seed=0)
    alone = originality(real, Corpus(other.roll, torch.arange(len(other)), other.spec), None, seed=0)
    assert found.duplicates > alone.duplicates
    assert found.duplicates_real == alone.duplicates_real


def test_drums_have_no_melodies_and_silence_has_no_nearest():
    drums = beats()
    found = originality(drums, beats(sparse=True), None, seed=0)
    assert found.melodies == []
    assert found.generated.n == 30    # every second phrase is silent
    silent = Corpus(drums.roll.map(torch.zeros_like), drums.piece, drums.spec)
    found = originality(drums, silent, None, seed=0)
    assert found.closest == [] and math.isnan(found.generated.median) and math.isnan(found.copied)


def test_the_seed_decides(songs):
    real, other = halves(songs)
    first, again = (originality(real, other, None, seed=4) for _ in range(2))
    assert repr(first) == repr(again)
