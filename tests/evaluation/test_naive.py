"""Naive rows spoil what they say, and nothing else."""

import torch

from musegan.evaluation import naive
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.statistics import measure
from musegan.ops import notes
from tests.evaluation.music import beats, halves, scales


def joined(parts):
    parts = list(parts)
    return Corpus(
        type(parts[0].roll)(*(torch.cat(planes) for planes in zip(*(part.roll for part in parts)))),
        torch.cat([part.piece for part in parts]), parts[0].spec,
    )    # fmt: skip


def track_sets(corpus, k):
    return sorted(bytes(phrase[k].numpy().tobytes()) for phrase in corpus.roll.frame)


def test_re_paired_tracks_are_all_there_but_apart(songs):
    corpus = Corpus.of_dataset(songs, 4, limit=400)
    spoilt = naive.re_paired(corpus, seed=0)
    for k in range(corpus.spec.n_tracks):
        assert track_sets(spoilt, k) == track_sets(corpus, k)
    assert torch.equal(spoilt.roll.frame[:, 0], corpus.roll.frame[:, 0])
    own = {phrase.numpy().tobytes(): int(piece) for phrase, piece in zip(corpus.roll.frame[:, 2], corpus.piece)}
    sounding = (spoilt.roll.frame[:, 2] > 0).flatten(1).any(1)
    differs = [own[phrase.numpy().tobytes()] != int(piece) for phrase, piece in zip(spoilt.roll.frame[:, 2], spoilt.piece)]
    assert torch.tensor(differs)[sounding].float().mean() > 0.95


def test_re_paired_scales_come_of_other_pieces():
    corpus = scales()
    spoilt = naive.re_paired(corpus, seed=3)
    roots = [spoilt.unpacked().frame[:, k].flatten(1, 2).any(1).int().argmax(1) for k in (0, 1)]
    assert (roots[0] - roots[1] != 12).all()    # in `scales` the chord's root is an octave below the lead's


def test_shuffled_bars_are_all_there_in_another_order(songs):
    corpus = Corpus.of_dataset(songs, 4, limit=300)
    spoilt = joined(naive.bars_shuffled(corpus, seed=0))
    n_moved = 0
    for before, after in zip(corpus.roll.frame, spoilt.roll.frame):
        bars = [[bytes(bar.numpy().tobytes()) for bar in phrase.transpose(0, 1)] for phrase in (before, after)]
        assert sorted(bars[0]) == sorted(bars[1])
        n_moved += bars[0] != bars[1]
    distinct = sum(len({bytes(bar.numpy().tobytes()) for bar in phrase.transpose(0, 1)}) == 4
                   for phrase in corpus.roll.frame)
    assert n_moved >= distinct


def test_one_bar_stays():
    corpus = beats()
    assert torch.equal(joined(naive.bars_shuffled(corpus, 0)).roll.frame, corpus.roll.frame)


def test_tracks_transposed_apart_keep_rhythm_and_shape(songs):
    corpus = Corpus.of_dataset(songs, 2, limit=100)
    spoilt = joined(naive.transposed_apart(corpus, seed=0))
    drums = 0
    assert torch.equal(spoilt.roll.frame[:, drums], corpus.roll.frame[:, drums])
    before, after = corpus.unpacked().frame[:, 1:].any(-1), spoilt.unpacked().frame[:, 1:].any(-1)
    assert not (after & ~before).any()
    assert (after == before).float().mean() > 0.95    # what leaves the pitches is cut


def test_transposed_scales_move_by_one_number_each():
    corpus = scales(n=40)
    spoilt = joined(naive.transposed_apart(corpus, seed=0))
    before, after = (notes(c.roll, c.spec.n_pitches) for c in (corpus, spoilt))
    moves = (after[:, 2] - before[:, 2]).view(40, -1)    # both sorted alike
    voices = before[:, 1].view(40, -1)
    for voice in (0, 1):
        own = [set(m[v == voice].tolist()) for m, v in zip(moves, voices)]
        assert all(len(each) == 1 for each in own)
        assert {next(iter(each)) for each in own} <= set(range(-6, 6))
    assert any((m[v == 0][0] != m[v == 1][0]) for m, v in zip(moves, voices))


def test_bernoulli_keeps_how_often_cells_sound_and_start(songs):
    corpus = Corpus.of_dataset(songs, 2, limit=1500)
    spoilt = joined(naive.bernoulli_cells(corpus, seed=0))
    for plane in ("frame", "onset"):
        before, after = (getattr(c.unpacked(), plane).double().mean(0) for c in (corpus, spoilt))
        error = (before * (1 - before) / len(corpus)).sqrt()
        assert ((after - before).abs() <= 6 * error + 1e-9).all()
    never = ~corpus.unpacked().frame.any(0)
    assert not spoilt.unpacked().frame[:, never].any()


def test_the_seed_decides(songs):
    corpus = Corpus.of_dataset(songs, 4, limit=50)
    for make in (naive.bars_shuffled, naive.transposed_apart, naive.bernoulli_cells, lambda c, s: [naive.re_paired(c, s)]):
        first, again, other = (joined(make(corpus, seed)).roll.frame for seed in (1, 1, 2))
        assert torch.equal(first, again) and not torch.equal(first, other)


def test_spoilt_tracks_alone_measure_as_before(songs):
    """Re-pairing moves no statistic of a single track."""
    corpus, _ = halves(songs)
    before, after = (measure(c) for c in (corpus, naive.re_paired(corpus, 0)))
    for name in ("empty bars", "used pitches", "notes", "qualified notes", "scale", "self-similarity, 1 bar"):
        assert torch.allclose(before.tallies[name].value(), after.tallies[name].value(), equal_nan=True), name
    assert before.tallies["tonal distance"].value()[-1] < after.tallies["tonal distance"].value()[-1]
