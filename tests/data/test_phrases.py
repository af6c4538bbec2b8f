"""Phrases: what is known of them, and batches as a function of (seed, step, rank, world_size)."""

import hashlib
import math

import numpy as np
import pytest
import torch

from musegan.data.dataset import PackedDataset
from musegan.keys import key_shifts, transpose
from musegan.data.packed import pack, write_shard
from musegan.data.phrases import Augmentation, Phrases, silenced_tracks
from musegan.ops import notes
from musegan.roll import Roll, RollSpec, Track
from musegan.seeding import generator_for
from tests.data.songs import bars_of

SPEC = RollSpec((Track("drums", is_drum=True), Track("piano"), Track("bass")), 3, 4, 30, 21)


def bars(bar_numbers, seed, density=0.02):
    """Random bars of which a third of the tracks are silent."""
    rng = np.random.default_rng(seed)
    shape = (len(bar_numbers), SPEC.n_tracks, SPEC.steps_per_bar, SPEC.n_pitches)
    frame = (rng.random(shape) < density) & (rng.random((*shape[:2], 1, 1)) < 0.67)
    onset = frame & (rng.random(shape) < 0.5)
    onset[:, 0] = frame[:, 0]
    return bars_of(frame, onset, bar_numbers, np.full(len(bar_numbers), 120, np.float32))


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Four pieces in two shards, 60 bars in runs."""
    folder = tmp_path_factory.mktemp("noise")
    pieces = [pack(name, [bars(numbers, seed)], SPEC) for seed, (name, numbers) in enumerate(
        {"a": [*range(20), *range(30, 35)], "b": range(15), "c": range(3), "d": [*range(2), *range(5, 20)]}.items())]
    write_shard(folder / "shard-00000.safetensors", SPEC, pieces[:2])
    write_shard(folder / "shard-00001.safetensors", SPEC, pieces[2:])
    return PackedDataset.open(folder)


def facts_of_rolls(dataset, starts, n_bars, normalize_key, min_tracks):
    """What is known of phrases, found by unpacking every one of them."""
    spec = dataset.spec
    roll = dataset.roll(starts, n_bars)
    keep = roll.frame.flatten(2).any(2).sum(1) >= min_tracks
    starts, roll = starts[keep], roll.map(lambda plane: plane[keep])
    shifts = key_shifts(roll.frame, spec) if normalize_key else torch.zeros_like(starts)
    roll = transpose(roll, -shifts, spec)
    return starts, shifts, roll.frame.sum((0, 2, 3)), roll.onset.sum((0, 2, 3, 4)), roll


CUTS = [(1, False, 1), (4, True, 1), (4, True, 2), (3, False, 3), (2, True, 0)]


@pytest.mark.parametrize(("n_bars", "normalize_key", "min_tracks"), CUTS)
@pytest.mark.parametrize("name", ["noise", "songs"])
def test_what_is_known_of_phrases_is_what_unpacking_tells(name, n_bars, normalize_key, min_tracks, request):
    dataset = request.getfixturevalue(name)
    starts = dataset.phrase_starts(n_bars)
    phrases = Phrases(dataset, starts, n_bars, normalize_key, min_tracks)
    starts, shifts, cell_counts, onset_counts, _ = facts_of_rolls(dataset, starts, n_bars, normalize_key, min_tracks)
    assert len(phrases) == len(starts) > 0
    facts = (phrases.starts, phrases.shifts, phrases.cell_counts, phrases.onset_counts)
    for ours, expected in zip(facts, (starts, shifts, cell_counts, onset_counts)):
        assert ours.dtype == expected.dtype == torch.int64 and torch.equal(ours, expected)
    digest = hashlib.sha256(repr((dataset.spec, dataset.pieces, n_bars)).encode())
    for values in (starts, shifts, cell_counts, onset_counts):
        digest.update(values.numpy().tobytes())
    assert phrases.fingerprint() == digest.hexdigest()    # or a run from before could not be resumed


def test_some_phrases_in_any_order(noise):
    starts = noise.phrase_starts(3)[torch.tensor([30, 2, 2, 17, 5])]
    phrases = Phrases(noise, starts, 3, normalize_key=True)
    expected = facts_of_rolls(noise, starts, 3, True, 1)
    for ours, theirs in zip((phrases.starts, phrases.shifts, phrases.cell_counts, phrases.onset_counts), expected):
        assert torch.equal(ours, theirs)


def test_no_phrases(noise):
    phrases = Phrases(noise, torch.empty(0, dtype=torch.int64), 4, normalize_key=True)
    assert len(phrases) == 0 and phrases.starts.dtype == phrases.shifts.dtype == torch.int64
    assert phrases.cell_counts.shape == (3, 21) and not phrases.cell_counts.any() and not phrases.onset_counts.any()


def test_counts_of_transposed_phrases(noise):
    starts = noise.phrase_starts(2)
    phrases = Phrases(noise, starts, 2, normalize_key=True)
    roll, shifts = noise.roll(starts, 2), phrases.shifts
    expected = sum(transpose(roll, move - shifts, SPEC).frame.sum((0, 2, 3)) for move in range(-4, 5))
    assert len(phrases) == len(starts) and torch.equal(phrases.cell_counts_within(4), expected)
    assert torch.equal(phrases.cell_counts_within(0), phrases.cell_counts)


def test_batches_are_those_of_one_permutation_after_the_other(songs):
    """The rule of the first release, written out: runs made then go on as they would have."""
    phrases = Phrases(songs, songs.phrase_starts(4)[:30], 4, normalize_key=True)
    order = torch.cat([torch.randperm(30, generator=generator_for(5, "epoch", epoch)) for epoch in range(3)])
    for step in (0, 6, 2, 3, 1, 5):    # also back, and over the ends of epochs
        expected = order[step * 12 : (step + 1) * 12]
        assert torch.equal(phrases.indices(step, 5, 12), expected)
        roll = songs.roll(phrases.starts[expected], 4, semitones=-phrases.shifts[expected])
        assert all(map(torch.equal, phrases.batch(step, 5, 12), roll))


def test_a_batch_larger_than_the_data(noise):
    phrases = Phrases(noise, noise.phrase_starts(4)[:3], 4, normalize_key=False)
    assert torch.bincount(phrases.indices(1, 0, 30), minlength=3).tolist() == [10, 10, 10]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_an_epoch_of_all_processes_visits_every_offset_once(noise, world_size):
    starts = noise.phrase_starts(2)    # every bar of which another follows
    phrases, size = Phrases(noise, starts, 2, normalize_key=False, min_tracks=0), 6
    n_steps = len(phrases) // size    # whole batches of the first epoch
    seen = torch.cat([phrases.indices(s, 1, size, r, world_size) for s in range(n_steps) for r in range(world_size)])
    rest = phrases.indices(n_steps, 1, size)[: len(phrases) - n_steps * size]
    assert torch.cat([seen, rest]).sort().values.tolist() == list(range(len(starts)))
    assert phrases.starts.tolist() == [bar for bar in range(59) if bar + 1 not in (20, 25, 40, 43, 45)]


def test_parts_of_processes_are_the_whole_batch(songs):
    phrases = Phrases(songs, songs.phrase_starts(4), 4, normalize_key=True)
    for augmentation in (Augmentation(), Augmentation(5, 0.3)):
        whole = phrases.batch(3, 7, 12, augmentation=augmentation)
        for world_size in (2, 3, 12):
            parts = [phrases.batch(3, 7, 12, rank, world_size, augmentation) for rank in range(world_size)]
            assert len(parts[0].frame) == 12 // world_size
            assert all(torch.equal(torch.cat(part), plane) for part, plane in zip(zip(*parts), whole))


@pytest.mark.parametrize(("size", "rank", "world_size"), [(12, 0, 5), (12, 2, 2), (12, -1, 2), (12, 0, 0)])
def test_processes_that_do_not_fit(noise, size, rank, world_size):
    phrases = Phrases(noise, noise.phrase_starts(2), 2, normalize_key=False)
    with pytest.raises(ValueError, match=f"world_size must divide size, .*world_size={world_size}"):
        phrases.batch(0, 0, size, rank, world_size)


def test_steps_and_seeds_differ(songs):
    phrases = Phrases(songs, songs.phrase_starts(4), 4, normalize_key=True)
    augmentation = Augmentation(5, 0.3)
    batches = [phrases.batch(step, seed, 8, augmentation=augmentation).frame for step, seed in ((0, 0), (1, 0), (0, 1))]
    assert not any(torch.equal(a, b) for a, b in zip(batches, batches[1:] + batches[:1]))
    # Also where the phrases are the same
    moves = [phrases_of_one(songs).batch(step, 0, 8, augmentation=Augmentation(5)).frame for step in range(2)]
    assert not torch.equal(*moves)


def phrases_of_one(dataset):
    """One phrase, in which all tracks sound, over and over."""
    starts = dataset.phrase_starts(4)
    all_sound = dataset.roll(starts, 4).frame.flatten(2).any(2).all(1)
    return Phrases(dataset, starts[all_sound][:1], 4, normalize_key=False)


def test_a_transposed_phrase_has_its_notes_at_their_times(songs):
    """All notes of all pitched tracks move by one number; drums stay."""
    phrases = phrases_of_one(songs)
    original = phrases.roll(torch.tensor([0]))
    pitched = torch.tensor([not track.is_drum for track in songs.spec.tracks])
    batch = phrases.batch(0, 3, 500, augmentation=Augmentation(5))
    moves = []
    for n in range(500):
        before, after = notes(original), notes(Roll(*(plane[n : n + 1] for plane in batch)))
        assert torch.equal(before[:, [0, 1, 3, 4]], after[:, [0, 1, 3, 4]])    # sample, track, start, end
        move = (after - before)[:, 2]
        assert not move[~pitched[before[:, 1]]].any()
        (moved,) = set(move[pitched[before[:, 1]]].tolist())
        moves.append(moved)
    counts = torch.bincount(torch.tensor(moves) + 5, minlength=11)
    assert len(counts) == 11    # -5 .. 5, each as likely: fewer than one seed in 10,000 is beyond 37.4
    assert float(((counts - 500 / 11) ** 2 / (500 / 11)).sum()) < 37.4


def test_nothing_wraps(noise):
    """What leaves the pitches is cut, as by `keys.transpose`, once: the key's move and the random one are one."""
    phrases = Phrases(noise, noise.phrase_starts(2), 2, normalize_key=True)
    index = torch.arange(len(phrases))
    for move in (-30, -9, 9, 30):
        moved = phrases.roll(index, torch.full_like(index, move))
        expected = transpose(noise.roll(phrases.starts, 2), move - phrases.shifts, SPEC)
        assert all(map(torch.equal, moved, expected))


def test_dropout_spares_one_track_and_has_its_rate(songs):
    """Silenced tracks within 4.5 sigma of what is expected: fewer than one seed in 100,000 is beyond."""
    starts = songs.phrase_starts(4)
    phrases, p, size = Phrases(songs, starts, 4, normalize_key=False), 0.3, 2000
    before = phrases.batch(0, 1, size).frame
    after = phrases.batch(0, 1, size, augmentation=Augmentation(track_dropout=p))
    sounding, left = before.flatten(2).any(2), after.frame.flatten(2).any(2)
    assert left.any(1).all() and not (left & ~sounding).any()
    assert torch.equal(after.frame, before & left[:, :, None, None, None])    # a track stays whole or goes
    assert not (after.onset & ~after.frame).any()
    # Of k sounding tracks Binomial(k, p) go, but k - 1 where it is k.
    expected = variance = 0.0
    for k in sounding.sum(1).tolist():
        share = [math.comb(k, i) * p**i * (1 - p) ** (k - i) for i in range(k + 1)]
        gone = [min(i, k - 1) for i in range(k + 1)]
        mean = sum(s * g for s, g in zip(share, gone))
        expected, variance = expected + mean, variance + sum(s * (g - mean) ** 2 for s, g in zip(share, gone))
    assert abs(int((sounding & ~left).sum()) - expected) < 4.5 * variance**0.5


def test_dropout_of_one_spares_each_track_as_often(songs):
    phrases = phrases_of_one(songs)
    left = phrases.batch(0, 0, 1000, augmentation=Augmentation(track_dropout=1.0)).frame.flatten(2).any(2)
    assert left.sum(1).tolist() == [1] * 1000
    assert ((left.sum(0) - 200).abs() < 4.5 * (1000 * 0.2 * 0.8) ** 0.5).all()


def test_dropout_spares_a_track_that_still_sounds_after_a_move(tmp_path):
    """A piano in the highest octave is cut by a move up, a bass in the lowest by one down: they do not count then."""
    frame = np.zeros((2, 3, 12, 21), bool)
    frame[:, 1, :, 20] = frame[:, 2, :, 0] = True
    write_shard(tmp_path / "shard-00000.safetensors", SPEC, [
        pack("a", [bars_of(frame, frame, range(2))], SPEC)])
    dataset = PackedDataset.open(tmp_path)
    phrases = Phrases(dataset, dataset.phrase_starts(2), 2, normalize_key=False)
    frame = phrases.batch(0, 0, 400, augmentation=Augmentation(3, 1.0)).frame
    assert frame.flatten(2).any(2).sum(1).tolist() == [1] * 400
    moves = torch.randint(-3, 4, (400,), generator=generator_for(0, "transposition", 0))
    left = frame.flatten(2).any(2)
    assert left[moves > 0, 2].all() and left[moves < 0, 1].all() and left[moves == 0, 1].any()


def test_silenced_tracks_by_hand():
    sounding = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)
    draws = torch.tensor([[0.1, 0.7, 0.0], [0.1, 0.2, 0.9], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert silenced_tracks(sounding, draws, 0.5).int().tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_float_batches_and_frames_alone(songs):
    phrases = Phrases(songs, songs.phrase_starts(4), 4, normalize_key=True)
    augmentation = Augmentation(5, 0.5)
    planes = phrases.batch(1, 2, 8, augmentation=augmentation)
    floats = phrases.batch(1, 2, 8, augmentation=augmentation, dtype=torch.float32)
    frame = phrases.batch(1, 2, 8, augmentation=augmentation, dtype=torch.float32, frame_only=True)
    assert floats.frame.dtype == frame.dtype == torch.float32
    assert all(torch.equal(a.float(), b) for a, b in zip(planes, floats)) and torch.equal(frame, floats.frame)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"transpose_semitones": -1}, "transpose_semitones must not be negative: got -1"),
    ({"track_dropout": 1.5}, r"track_dropout must lie in \[0, 1\]: got 1.5"),
])    # fmt: skip
def test_augmentation_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**arguments)
