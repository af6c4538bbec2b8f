"""Copies are found, in any key, and not where there are none."""

import math

import torch

from musegan.evaluation.corpus import Corpus
from musegan.evaluation.originality import originality
from musegan.keys import transpose
from musegan.roll import Roll
from musegan.metrics.melody import nearest_melody
from tests.evaluation.music import DUO, beats, corpus_of_notes, halves, scales


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


def test_duplicates_are_of_as_many_phrases_on_both_sides():
    """Each real phrase is there in ten pieces, but among as few as were generated hardly one is there twice."""
    generator = torch.Generator().manual_seed(0)
    pitches, steps = (torch.randint(*ends, (400, 16), generator=generator) for ends in ((40, 80), (0, 32)))
    notes = torch.stack([pitches, steps])
    table = [(i, 0, int(p), int(s), int(s) + 1) for i in range(400) for p, s in zip(*notes[:, i].tolist())]
    table += [(i + 400 * copy, *rest) for copy in range(1, 10) for i, *rest in table[: 400 * 16]]
    real = corpus_of_notes(sorted(set(table)), 4000, DUO, 2, torch.arange(4000) // 400)
    found = originality(real, Corpus(real.take(torch.arange(40)).roll, torch.arange(40), DUO), None, seed=0)
    assert found.duplicates == 0.0
    assert found.duplicates_real < 0.5


def test_of_long_melodies_fewer_are_warped(monkeypatch):
    looked_for = []

    def spy(queries, corpus, *groups, seed):
        looked_for.append((len(queries), len(corpus)))
        return nearest_melody(queries, corpus, *groups, seed=seed)

    monkeypatch.setattr("musegan.evaluation.originality.nearest_melody", spy)
    corpus = scales(40)    # sixteen notes each
    originality(corpus, corpus, None, seed=0)
    monkeypatch.setattr("musegan.evaluation.originality.LONG_MELODY", 8)
    originality(corpus, corpus, None, seed=0)
    assert looked_for[0] == (40, 40) and looked_for[4] == (20, 20)
