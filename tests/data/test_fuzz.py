"""No file can crash, hang or bloat the data side: damaged files, some hundreds at random and the worst by name.

They are read in another process, so that a crash is a failed test. The worst ones are marked exhaustive.
`python -m tests.data.fuzz` reads far more.
"""

import os
import re

import pytest

from musegan.data.reading import read_songs
from musegan.data.sources import find_sources
from musegan.errors import UserError
from tests.data.damaged import END, NOTE, Case, header, midi_seeds, track
from tests.data.fuzz import fuzz, nasty_cases, random_cases
from tests.data.nasty import NASTY

# What is said of some. The others may be read or left out, whatever the reason.
REASONS = {
    "5 million notes": r"has 5,417,642 notes, more than 1,048,576",
    "8 million tempos": "has 8,126,464 changes of tempo, more than 65,536",
    "8 million signatures": "has 8,126,464 changes of time signature",
    "20,000 tracks": "has 20,480 tracks, more than 1,024",
    "200,000 tracks": "too many tracks and programs: 100 and 204,800",
    "a million tracks": "too many tracks and programs: 65,535",
    "a track of 4 GiB": "damaged MIDI: Invalid chunk length 4294967295",
    "kind 65,535": "damaged MIDI",
    "0 ticks in a quarter": "not counted in ticks per quarter note",
    "time runs over": "too long: 11,184,812 quarter notes",
    "100,000 notes off the beat": "notes do not lie on the beat|too long",
    "a bomb of 300 MiB": "1 file: larger than 32 MiB",
    "a bomb in bzip2": "1 file: packed by bzip2, not deflate",
    "a dictionary of 4 GiB": "1 file: packed by lzma, not deflate",
    "20,000 entries of one name": "20,000 files: damaged MIDI",
    "an entry at 2^64 - 1": "1 file: cannot be unpacked",
    "encrypted": "1 file: cannot be unpacked: File is encrypted, password required",
    "packed with method 99": "1 file: packed by method 99, not deflate",
    "two names of one entry": "1 file: cannot be unpacked: File name in directory differ",
    "a zip of nothing": "no music: looked for",
}
READ = ("10 million controls", "6 million lyrics", "60,000 tempos", "800 tracks of 1000 notes", "65,535 tracks claimed",
        "65,535 tracks claimed, rubbish behind", "clocks running", "1 tick in a quarter", "tempo of 60 million", "tempo 0",
        "all pitches for two hours", "all pitches on 16 channels", "two notes two hours apart")    # fmt: skip


@pytest.fixture(scope="module")
def by_name(tmp_path_factory):
    """Outcomes of the worst files."""
    read = list(fuzz(nasty_cases(), 1, tmp_path_factory.mktemp("kept")))
    return {case.kind: outcome for _, case, outcome in read}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NASTY)
def test_the_worst_files_are_read_or_left_out(by_name, name):
    outcome = by_name[name]
    assert outcome.kind in ("ok", "skip"), outcome
    if name in REASONS:
        assert re.search(REASONS[name], outcome.detail), outcome
    if name in READ:
        assert outcome.kind == "ok", outcome


def test_damaged_files_are_read_or_left_out(tmp_path):
    outcomes = {name: outcome for name, _, outcome in fuzz(random_cases(1, range(300)), 1, tmp_path)}
    assert {name: outcome for name, outcome in outcomes.items() if outcome.kind not in ("ok", "skip")} == {}
    assert len(outcomes) == 300 and sum(outcome.kind == "ok" for outcome in outcomes.values()) > 30


@pytest.mark.exhaustive
def test_faults_are_found(tmp_path, monkeypatch):
    faults = ("crash", "hang", "memory", "exception")
    monkeypatch.setenv("FUZZ_PLANT", ",".join(f"{fault}={fault}" for fault in faults))
    monkeypatch.setattr("tests.data.fuzz.MAX_SECONDS", 2.0)    # more than the first file takes on a busy machine
    good = Case("song", ".mid", midi_seeds()[0])
    read = list(fuzz([(name, good) for name in ("good", *faults, "after")], 1, tmp_path))
    assert [(name, outcome.kind) for name, _, outcome in read] == [("good", "ok"), *zip(faults, faults), ("after", "ok")]
    assert {path.stem for path in tmp_path.iterdir()} == set(faults)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.mid")
    os.mkfifo(tmp_path / "b.zip")
    os.mkfifo(tmp_path / "c.npz")
    os.mkfifo(tmp_path / "d.krn")
    for source in find_sources([tmp_path]):
        with pytest.raises(UserError, match="not a regular file"):
            list(read_songs(source))


def test_the_same_file_whatever_lies_behind_it(tmp_path):
    song = header(9) + track(NOTE * 9 + END)
    for behind in (b"", b"\0", bytes(100), b"MTr"):
        (tmp_path / "a.mid").write_bytes(song + behind)
        (read,) = read_songs(find_sources([tmp_path / "a.mid"])[0])
        assert len(read.notes.start) == 9
