"""Whether a file's beat fits its notes, and finding the beat that does."""

import numpy as np
import pytest

from musegan.data.events import Signature, SongError
from musegan.data.grid import find_tempo, own_fit, quantisation_error, regrid, resultant
from musegan.data.midi import load_midi
from musegan.resources import dataset_path
from tests.data.songs import midi, scale, sixteenths

# True tempo of the ten files whose beat is false: their music runs at 140 ticks a second.
FALSE_BEATS = {
    "phase1-intro": 140,
    "phase1-introa": 120,
    "phase2-dm2ttl": 150,
    "phase2-dm2int": 125,
    "phase2-the_da": 125,
    "phase2-shawn": 180,
    "phase2-dead": 100,
    "phase2-shawn2": 140,
    "phase2-theda3": 90,
    "phase2-openin": 150,
}
NO_BEAT = "phase1-bunny"


@pytest.fixture(scope="module")
def freedoom():
    return {path.stem: load_midi(path) for path in sorted(dataset_path("freedoom").glob("*.mid"))}


def test_resultant():
    assert resultant(np.array([0.5, 1.5, 7.5]), 1.0) == pytest.approx(-1)
    assert abs(resultant(np.arange(4) / 4, 1.0)) == pytest.approx(0)
    assert resultant(np.array([]), 1.0) == 0


def test_just_ten_embedded_files_are_moved_to_their_true_tempo(freedoom):
    found = {}
    for name, song in freedoom.items():
        if name == NO_BEAT:
            continue
        moved, grid = regrid(song)
        assert (moved is song) == (grid.found_bpm is None)
        if grid.found_bpm is not None:
            # Seconds go by the file's tempo, 95 bpm of 89 ticks: 140.9 ticks a second.
            found[name] = grid.found_bpm * 140 / (95 / 60 * 89)
    assert found == pytest.approx(FALSE_BEATS, rel=1e-3)


def test_moving_them_puts_the_notes_on_steps(freedoom):
    songs = [song for name, song in freedoom.items() if name != NO_BEAT]
    before = np.concatenate([quantisation_error(song, 4) for song in songs])
    after = np.concatenate([quantisation_error(regrid(song)[0], 4) for song in songs])
    assert len(before) == len(after)
    assert (before > 1 / 8).mean() == pytest.approx(0.109, abs=0.002)
    assert (after > 1 / 8).mean() == pytest.approx(0.026, abs=0.002)


def test_moving_keeps_the_music(freedoom):
    song = freedoom["phase1-intro"]
    moved, grid = regrid(song)
    assert moved.notes.start.min() == 0 and moved.tempo.bpm.tolist() == [grid.found_bpm]
    assert moved.tracks == song.tracks
    for key in ("track", "pitch", "velocity"):
        assert np.array_equal(getattr(moved.notes, key), getattr(song.notes, key))
    for key in ("start", "end"):
        ours, theirs = (each.seconds(getattr(each.notes, key)) for each in (moved, song))
        assert np.allclose(ours, theirs - song.seconds(song.notes.start.min()), atol=0.02)


def test_music_without_a_common_beat_is_rejected(freedoom):
    with pytest.raises(SongError, match=r"notes do not lie on the beat \(fit 0.02\) nor on any steady one"):
        regrid(freedoom[NO_BEAT])


@pytest.mark.parametrize("bpm", [61, 77.7, 100, 123.4, 150, 179])
def test_finds_a_steady_beat(bpm):
    rng = np.random.default_rng(7)
    step = np.cumsum(rng.choice([1, 2, 4], 300, p=[0.3, 0.5, 0.2]))
    on_beats = np.arange(0, step[-1], 4)
    times = np.union1d(step, on_beats) * 15 / bpm + rng.normal(0, 0.004, len(np.union1d(step, on_beats))) + 3
    tempo, fit = find_tempo(times)
    ratio = tempo / bpm
    assert min(abs(ratio / octave - 1) for octave in (0.5, 1, 2)) < 1e-3
    assert fit > 0.9


@pytest.mark.parametrize("bpm, notes_per_beat, wanted", [(100, 4, 100), (80, 1, 160), (70, 2, 140), (150, 4, 150)])
def test_of_tempos_that_fit_alike_the_moderate_one_is_taken(bpm, notes_per_beat, wanted):
    tempo, fit = find_tempo(np.arange(300) * 60 / bpm / notes_per_beat)
    assert tempo == pytest.approx(wanted, rel=1e-3) and fit == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("per_beat, name", [(3, "triplets"), (4, "sixteenths"), (6, "sextuplets"), (2, "eighths")])
def test_regular_divisions_are_left_alone(per_beat, name):
    notes = [(i * 480 // per_beat, 20, 60) for i in range(300)]
    song = load_midi(midi([(0, False, notes)]))
    assert own_fit(song) == pytest.approx(1, abs=1e-3) and regrid(song)[0] is song


def test_triplets_among_sixteenths_are_left_alone():
    rng = np.random.default_rng(3)
    notes = []
    for beat in range(200):
        division = 480 // rng.choice([3, 4])
        notes += [(beat * 480 + i * division, 20, 60) for i in range(480 // division)]
    song = load_midi(midi([(0, False, notes)]))
    assert regrid(song)[0] is song


@pytest.mark.parametrize("per_beat", [2, 3, 4])
def test_a_drummer_who_follows_the_metronome_loosely_is_left_alone(per_beat):
    rng = np.random.default_rng(1)
    ticks = np.sort(np.arange(400) * 480 / per_beat + rng.normal(0, 25, 400)).round().clip(0).astype(int)
    song = load_midi(midi([(0, True, [(int(tick), 10, 38) for tick in ticks])]))
    assert regrid(song)[0] is song


@pytest.mark.parametrize("n_notes, seed", [(40, 14), (100, 3)])
def test_a_short_fill_that_fits_nowhere_is_left_alone(n_notes, seed):
    ticks = np.sort(np.random.default_rng(seed).integers(0, 100 * n_notes, n_notes))
    song = load_midi(midi([(0, True, [(int(tick), 10, 38) for tick in ticks])]))
    assert own_fit(song) < 0.15 and find_tempo(song.seconds(ticks))[1] < 0.8
    assert regrid(song)[0] is song


def test_notes_at_random_are_rejected():
    rng = np.random.default_rng(5)
    notes = [(int(tick), 10, 60) for tick in np.sort(rng.integers(0, 400_000, 1000))]
    with pytest.raises(SongError, match="nor on any steady one"):
        regrid(load_midi(midi([(0, False, notes)])))


def test_the_beat_is_found_through_tempo_changes_and_keeps_the_metre():
    """True 3/4 at 110 bpm under a tempo map of 100 and then 141 bpm; the first note, after a rest, starts a bar."""
    rng = np.random.default_rng(2)
    notes = sixteenths(110, 400, 60 / 100 / 480, rng)
    change = notes[200][0]
    notes[200:] = [(change + round((tick - change) * 1.41), 20, pitch) for tick, _, pitch in notes[200:]]
    shifted = [(tick + 1037, length, pitch) for tick, length, pitch in notes]
    tempos = ((0, 100.0), (change + 1037, 141.0))
    song = load_midi(midi([(0, False, shifted)], tempos=tempos, signatures=((0, 3, 4),)))
    moved, grid = regrid(song)
    assert grid.found_bpm == pytest.approx(110, rel=1e-3)
    assert moved.notes.start.min() <= 5
    assert moved.signatures == (Signature(0, 3, 4),)
    assert set(np.diff(moved.downbeats)) == {3 * moved.ticks_per_quarter}
    assert (quantisation_error(moved, 4) < 1 / 8).mean() > 0.99


def test_quantisation_error_is_in_steps():
    song = load_midi(midi([(0, False, [(0, 10, 60), (30, 10, 61), (480 + 60, 10, 62), (960 + 90, 10, 63)])]))
    assert quantisation_error(song, 4).tolist() == [0, 0.25, 0.5, 0.25]
    assert quantisation_error(load_midi(midi([(0, False, scale())])), 4).max() == 0
