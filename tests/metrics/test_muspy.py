"""Metrics of tracks against muspy 0.5 on real music: phrases of the embedded songs, one track of one phrase at a time.

Equal: `pitch_class_entropy`, `scale_consistency`, `polyphony`, `n_pitches_used`, `n_pitch_classes_used`, `pitch_range`, and
`drum_in_pattern_rate` of duple metre from 8 steps a quarter note on. What differs, each shown below:

| muspy | differs |
|---|---|
| `polyphony_rate` | "more than" its threshold of 2; music ends with its last note, and silence after it is not counted |
| `empty_beat_rate`, `empty_measure_rate` | a note that ends on a bar line sounds in the bar behind it too, and behind a \
last one a bar is added |
| `groove_consistency` | the added bar, which is silent, is compared as well; silent bars at the end are left out |
| `drum_in_pattern_rate` | at 4 steps in a quarter note the sixteenths are all steps: 1.0 for all music |
| `pitch_range` | 0 for silence; -127 for drums alone |
| `n_pitches_used`, `n_pitch_classes_used` | of all of the music; ours of a bar |
"""

import math

import muspy
import pytest

from musegan.export.midi import write_midi
from musegan.metrics import tracks
from musegan.metrics.music import Music
from musegan.roll import Roll, RollSpec
from tests.metrics.examples import DRUMS, PIANO, music_of, random_music

SPEC = RollSpec((PIANO,))
C4 = 60


def of_track(music, sample, track, to_the_end=False):
    """One track of one phrase as muspy's music, whose time steps are the grid's.

    Args:
        to_the_end: with a drum note that ends with the phrase, as otherwise the music would end with its last note;
            metrics of pitches do not hear it.
    """
    own = (music.sample == sample) & (music.track == track)
    notes = [muspy.Note(time=start, pitch=pitch, duration=end - start) for pitch, start, end in
             zip(music.pitch[own].tolist(), music.start[own].tolist(), music.end[own].tolist())]
    parts = [muspy.Track(is_drum=music.spec.tracks[track].is_drum, notes=notes)]
    if to_the_end:
        parts.append(muspy.Track(is_drum=True, notes=[muspy.Note(time=music.n_steps - 1, pitch=38, duration=1)]))
    return muspy.Music(resolution=music.spec.steps_per_quarter, tracks=parts)


def muspy_of(music, *args, **kwargs):
    """Of music of one track in one phrase."""
    return of_track(music, 0, 0, *args, **kwargs)


def value(metric, music, sample, track):
    """A metric of one track of one phrase."""
    tally = metric(music)
    return (tally.total[sample, track] / tally.count[sample, track]).item()


@pytest.fixture(scope="module")
def phrases(songs):
    """Forty phrases of four bars from all songs."""
    starts = songs.phrase_starts(4)
    music = Music(songs.roll(starts[:: len(starts) // 40], 4), songs.spec)
    assert music.sounds.any(2).any(0).all()    # each of the five tracks plays somewhere
    return music


@pytest.fixture(scope="module")
def in_muspy(phrases):
    """{sample, track: muspy's music} of the pitched tracks, silent ones too."""
    return {(n, k): of_track(phrases, n, k, to_the_end=True) for n in range(phrases.n) for k in range(1, 5)}


@pytest.mark.parametrize("name", ["pitch_class_entropy", "scale_consistency", "polyphony"])
def test_equal_on_each_track_of_each_phrase(name, phrases, in_muspy):
    tally = getattr(tracks, name)(phrases)
    ours = (tally.total / tally.count).tolist()
    for (n, k), music in in_muspy.items():
        assert ours[n][k] == pytest.approx(getattr(muspy, name)(music), abs=1e-6, nan_ok=True)
    values = [ours[n][k] for n, k in in_muspy]
    assert len(set(values)) > 20 and any(map(math.isnan, values))


@pytest.mark.parametrize("name", ["pitch_class_entropy", "scale_consistency"])
def test_equal_on_all_tracks_together(name, phrases):
    tally = getattr(tracks, f"joint_{name}")(phrases)
    ours = (tally.total / tally.count)[:, 0].tolist()
    for n in range(phrases.n):
        whole = muspy.Music(tracks=[of_track(phrases, n, k).tracks[0] for k in range(5)])
        assert ours[n] == pytest.approx(getattr(muspy, name)(whole), abs=1e-6, nan_ok=True)


def test_polyphony_rate_is_equal_above_a_threshold_of_one_less(phrases, in_muspy):
    for min_pitches in (2, 3):
        tally = tracks.polyphonic_rate(phrases, min_pitches)
        ours = (tally.total / tally.count).tolist()
        for (n, k), music in in_muspy.items():
            assert ours[n][k] == pytest.approx(muspy.polyphony_rate(music, min_pitches - 1), abs=1e-6)
        assert 0 < tally.total[:, 1:].sum() < tally.count[:, 1:].sum()


def test_pitches_of_a_phrase_of_one_bar_are_equal(songs):
    starts = songs.phrase_starts(1)
    music = Music(songs.roll(starts[::12], 1), songs.spec)
    pitches, classes, spans = (metric(music).total.tolist() for metric in
                               (tracks.used_pitches, tracks.used_pitch_classes, tracks.pitch_range))
    for n in range(music.n):
        for k in range(1, 5):
            theirs = of_track(music, n, k)
            assert pitches[n][k] == muspy.n_pitches_used(theirs)
            assert classes[n][k] == muspy.n_pitch_classes_used(theirs)
            assert spans[n][k] == muspy.pitch_range(theirs)
    assert max(max(row[1:]) for row in pitches) > max(max(row[1:]) for row in classes) > 3


def test_drum_patterns_are_equal_on_a_fine_grid():
    for grid in ("twelve steps a beat", "24 steps a beat"):
        _, music = random_music(grid)
        k = [track.is_drum for track in music.spec.tracks].index(True)
        rates = []
        for n in range(music.n):
            theirs = muspy.drum_in_pattern_rate(of_track(music, n, k), "duple")
            assert value(tracks.drum_pattern_rate, music, n, k) == pytest.approx(theirs, abs=1e-6, nan_ok=True)
            rates.append(theirs)
        assert any(0 < rate < 1 for rate in rates)


def test_phrases_written_as_midi_and_read_by_muspy_have_the_same_values(songs, tmp_path):
    """The whole way of what is generated: export, and a reader that knows nothing of ours."""
    roll = songs.roll(songs.phrase_starts(4)[::60], 4)
    music = Music(roll, songs.spec)
    n_compared = 0
    for n in range(music.n):
        write_midi(tmp_path / "phrase.mid", Roll(roll.frame[n], roll.onset[n]), songs.spec)
        read = muspy.read_midi(tmp_path / "phrase.mid")
        for part in read.tracks:
            k = [(track.program, track.is_drum) for track in songs.spec.tracks].index((part.program, part.is_drum))
            if part.is_drum:
                continue
            assert len(part.notes) == music.counts(music.voice)[n, k]
            alone = muspy.Music(resolution=read.resolution, tracks=[part])
            for name in ("pitch_class_entropy", "scale_consistency", "polyphony"):
                theirs = getattr(muspy, name)(alone)
                assert value(getattr(tracks, name), music, n, k) == pytest.approx(theirs, abs=1e-6, nan_ok=True)
                n_compared += not math.isnan(theirs)
    assert n_compared > 30


# What differs

def test_polyphony_rate_of_muspy_is_of_more_than_two_pitches():
    music = music_of(SPEC, (0, C4, 0, 32), (0, C4 + 4, 0, 16), (0, C4 + 7, 0, 8))
    assert tracks.polyphonic_rate(music).value() == 1 / 2
    assert muspy.polyphony_rate(muspy_of(music)) == 1 / 4
    assert tracks.polyphonic_rate(music, min_pitches=3).value() == 1 / 4


def test_music_of_muspy_ends_with_its_last_note():
    music = music_of(SPEC, (0, C4, 0, 16), (0, C4 + 4, 0, 8))
    assert tracks.polyphonic_rate(music).value() == 1 / 4    # of two bars
    assert muspy.polyphony_rate(muspy_of(music), 1) == 1 / 2    # of one
    assert muspy.polyphony_rate(muspy_of(music, to_the_end=True), 1) == 1 / 4


def test_a_note_of_muspy_sounds_in_the_bar_that_it_ends_before():
    music = music_of(SPEC, (0, C4, 0, 16), (0, C4, 32, 48), n_bars=3)    # the second of three bars is silent
    assert tracks.empty_bar_rate(music).value().item() == pytest.approx(1 / 3)
    assert muspy.empty_measure_rate(muspy_of(music), 16) == 0
    shorter = music_of(SPEC, (0, C4, 0, 15), (0, C4, 32, 47), n_bars=3)
    assert muspy.empty_measure_rate(muspy_of(shorter), 16) == pytest.approx(1 / 3)


def test_beats_of_muspy_are_as_its_bars():
    spec = RollSpec((PIANO,), beats_per_bar=1)
    music = music_of(spec, (0, C4, 0, 4), (0, C4, 8, 12), n_bars=3)
    assert tracks.empty_bar_rate(music).value().item() == pytest.approx(1 / 3)
    assert muspy.empty_beat_rate(muspy_of(music)) == 0


def test_real_bars_are_emptier_than_muspy_finds(phrases, in_muspy):
    tally = tracks.empty_bar_rate(phrases)
    ours = (tally.total / tally.count).tolist()
    lower = 0
    for n, k in in_muspy:
        theirs = muspy.empty_measure_rate(of_track(phrases, n, k), 16)    # NaN in silence: it has no length
        assert math.isnan(theirs) == (ours[n][k] == 1)
        lower += theirs < ours[n][k]
    assert lower > 5


def test_the_groove_of_muspy_ends_with_a_silent_bar():
    """Two equal bars are as consistent as can be; it compares the second with a bar that is not there."""
    beats = [(0, C4, step, step + 4) for step in range(0, 32, 4)]
    theirs = muspy_of(music_of(SPEC, *beats))
    assert muspy.groove_consistency(theirs, 16) == 1 - 4 / (2 * 16)
    theirs.tracks[0].notes[-1].duration = 3    # ends within the second bar
    assert muspy.groove_consistency(theirs, 16) == 1


def test_all_drums_of_four_steps_are_in_the_pattern_of_muspy(phrases):
    rates = []
    for n in range(phrases.n):
        theirs = muspy.drum_in_pattern_rate(of_track(phrases, n, 0), "duple")
        assert theirs == 1 or math.isnan(theirs)
        rates.append(value(tracks.drum_pattern_rate, phrases, n, 0))
    assert len(set(rates)) > 5 and min(rates) < 0.8


def test_pitch_range_of_muspy_has_values_without_pitches():
    spec = RollSpec((DRUMS,))
    assert muspy.pitch_range(muspy_of(music_of(SPEC))) == 0
    assert muspy.pitch_range(muspy_of(music_of(spec, (0, 38, 0, 1)))) == -127
    for music in (music_of(SPEC), music_of(spec, (0, 38, 0, 1))):
        assert tracks.pitch_range(music).value().isnan().all()


def test_pitches_of_muspy_are_of_the_whole_phrase():
    music = music_of(SPEC, (0, C4, 0, 4), (0, C4 + 2, 16, 20))
    assert muspy.n_pitches_used(muspy_of(music)) == 2
    assert tracks.used_pitches(music).value() == 1    # a bar
