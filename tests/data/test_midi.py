"""MIDI to note events, and to multitracks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pypianoroll
import pytest

from musegan.data.events import Notes, Signature, SongError
from musegan.data.pianorolls import to_multitrack
from musegan.data.midi import load_midi, read_midi
from musegan.resources import dataset_path
from tests.data.songs import midi, scale


def intervals(pianoroll, pitch):
    """Start and end of each stretch in which a pitch sounds."""
    edges = np.flatnonzero(np.diff(pianoroll[:, pitch] > 0, prepend=False, append=False))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]


def read_notes(notes, resolution=24, is_drum=False, **kwargs):
    return read_midi(midi([(0, is_drum, notes)], **kwargs), resolution).tracks[0].pianoroll


def test_a_note_lies_where_it_is_played():
    roll = read_notes([(480, 960, 61)])
    assert intervals(roll, 61) == [(24, 72)] and roll.max() == 90 and (roll > 0).sum() == 48


def test_a_note_struck_again_as_it_ends_is_a_rising_edge():
    assert intervals(read_notes([(0, 480, 60), (480, 480, 60)]), 60) == [(0, 23), (24, 48)]


def test_a_note_struck_again_while_it_sounds_goes_on_to_the_last_end():
    twice = midi([(0, False, [(0, 1920, 60)]), (0, False, [(480, 480, 60)])])
    merged = [intervals(track.pianoroll, 60) for track in read_midi(twice, 24).tracks]
    assert merged == [[(0, 96)], [(24, 48)]]
    song = load_midi(twice)
    song = replace(song, notes=song.notes._replace(track=np.zeros(2, np.int64)))
    assert intervals(to_multitrack(song, 24).tracks[0].pianoroll, 60) == [(0, 23), (24, 96)]


def test_of_two_notes_that_start_together_the_louder_and_the_longer_count():
    song = load_midi(midi([(0, False, [(0, 480, 60)])]))
    notes = np.array([(0, 0, length, 60, velocity) for length, velocity in ((480, 90), (960, 30), (240, 100), (480, 50))])
    roll = to_multitrack(replace(song, notes=Notes(*notes.T)), 24).tracks[0].pianoroll
    assert intervals(roll, 60) == [(0, 48)] and set(roll[:48, 60]) == {100}


def test_zero_length_and_drum_notes_last_one_step():
    assert intervals(read_notes([(480, 1, 60)], ticks_per_quarter=480), 60) == [(24, 25)]
    assert intervals(read_notes([(480, 960, 38)], is_drum=True), 38) == [(24, 25)]


def test_tempo_follows_the_map():
    song = read_midi(midi([(0, False, scale())], tempos=((0, 100.0), (1920, 50.0))), 24)
    assert np.unique(song.tempo[:96].round(3)) == [100] and np.unique(song.tempo[96:].round(3)) == [50]
    assert len(song.tempo) == len(song.downbeat) == len(song.tracks[0])


def test_seconds_follow_the_map():
    song = load_midi(midi([(0, False, scale())], tempos=((0, 100.0), (1920, 50.0))))
    assert song.seconds(np.array([0, 1920, 2400])) == pytest.approx([0, 2.4, 3.6])


def test_no_signature_is_four_four_and_bars_are_whole():
    song = read_midi(midi([(0, False, [(0, 10, 60), (4 * 480, 10, 60)])], signatures=()), 24)
    assert np.flatnonzero(song.downbeat).tolist() == [0, 96] and len(song.downbeat) == 192


def test_signatures_cut_bars_and_a_change_inside_one_starts_another():
    signatures = ((0, 3, 4), (1440, 6, 8), (1440 + 1440 + 480, 4, 4))
    song = read_midi(midi([(0, False, scale(3))], signatures=signatures), 24)
    assert np.flatnonzero(song.downbeat).tolist() == [0, 72, 144, 168, 264]
    assert len(song.downbeat) == 360


def test_a_valid_multitrack():
    song = read_midi(midi([(0, False, scale()), (3, True, scale())]), 24, name="song")
    assert song.validate() is song and song.name == "song"


@pytest.mark.parametrize("name", ["phase2-messg2", "phase2-romero", "phase1-inter", "phase2-theda2", "phase1-e3m9"])
def test_equals_pypianoroll_where_it_is_right(name):
    """Onsets and velocities are equal. pypianoroll cuts the ends of notes down to a step, here they are rounded."""
    path = dataset_path("freedoom") / f"{name}.mid"
    ours, theirs = read_midi(path, 24), pypianoroll.read(path)
    assert len(ours.tracks) == len(theirs.tracks)
    for mine, other in zip(ours.tracks, theirs.tracks):
        assert (mine.program, mine.is_drum) == (other.program, other.is_drum)
        length = min(len(mine), len(other))
        a, b = mine.pianoroll[:length], other.pianoroll[:length]
        rising = [(plane > 0) & ~np.pad(plane > 0, ((1, 0), (0, 0)))[:-1] for plane in (a, b)]
        assert np.array_equal(*rising)
        assert np.array_equal(a[rising[0]], b[rising[0]])
        # Where they differ, ours is the longer, by the one step after.
        differ = a != b
        assert not b[differ].any()
        assert (b[:-1][differ[1:]] > 0).all()


def broken(name):
    good = midi([(0, False, scale())])
    return {
        "text": b"these are not notes",
        "empty": b"",
        "cut header": good[:10],
        "cut track": good[:-20],
        "no notes": midi([(0, False, [])]),
        "ticks per second": good[:12] + b"\xe7\x28" + good[14:],
    }[name]


@pytest.mark.parametrize(
    "name, reason",
    {
        "text": "not a MIDI file",
        "empty": "not a MIDI file",
        "cut header": "damaged MIDI",
        "cut track": "damaged MIDI",
        "no notes": "has no notes",
        "ticks per second": "damaged MIDI",
    }.items(),
)
def test_broken_files_have_a_reason(name, reason):
    with pytest.raises(SongError, match=reason):
        read_midi(broken(name), 28)


def test_absurd_lengths_are_refused_before_they_take_memory():
    with pytest.raises(SongError, match="too long: 200,000 quarter notes"):
        read_midi(midi([(0, False, [(0, 10, 60), (200_000_000, 10, 60)])], ticks_per_quarter=1000), 28)


def test_missing_file():
    with pytest.raises(SongError, match="cannot be read: No such file"):
        load_midi(Path("nowhere.mid"))


def test_names_in_another_encoding_do_not_matter():
    song = midi([(0, False, scale())])
    named = song.replace(b"MTrk", b"MTrk", 1)
    at = named.rindex(b"MTrk")
    body = b"\x00\xff\x03\x05Fl\xfbte" + named[at + 8 :]
    named = named[:at] + b"MTrk" + len(body).to_bytes(4, "big") + body
    assert len(read_midi(named, 24).tracks) == 1


def test_a_song_is_what_the_file_says():
    file = midi(
        [(33, False, [(10, 70, 40), (80, 5, 41)]), (0, True, [(20, 10, 36)])],
        tempos=((480, 90.0),),
        signatures=((0, 3, 4), (1440, 7, 8)),
        names=("Low", "Kit"),
    )
    song = load_midi(file)
    assert [(track.name, track.program, track.is_drum) for track in song.tracks] == [("Low", 33, False), ("Kit", 0, True)]
    rows = sorted(zip(*(column.tolist() for column in song.notes)))
    assert rows == [(0, 10, 80, 40, 90), (0, 80, 85, 41, 90), (1, 20, 30, 36, 90)]
    assert song.ticks_per_quarter == 480 and song.signatures == (Signature(0, 3, 4), Signature(1440, 7, 8))
    assert song.tempo.tick.tolist() == [0, 480] and song.tempo.bpm.tolist() == pytest.approx([120, 90])
    assert song.downbeats.tolist() == [0, 1440]


def test_a_multitrack_that_would_take_too_much_memory_is_refused():
    song = load_midi(midi([(program, False, [(0, 10, 60), (16_000 * 480, 10, 60)]) for program in range(6)]))
    with pytest.raises(SongError, match=r"too long: 16,004 quarter notes \(tracks: 6\)"):
        to_multitrack(song, 28)
