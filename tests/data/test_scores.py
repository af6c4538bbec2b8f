"""Scores: MusicXML, kern and music21's corpus."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from musegan.data import notation
from musegan.data.events import SongError
from musegan.data.midi import load_midi
from musegan.data.reading import read_songs
from musegan.data.scores import DEFAULT_VELOCITY, TICKS_PER_QUARTER, load_scores
from musegan.data.sources import MAX_FILE_BYTES, find_sources
from musegan.errors import UserError

QUARTER = TICKS_PER_QUARTER


def note(pitch, duration, inside="", chord=False):
    """A MusicXML note: pitch as "C4" or "F#5", or "rest"; duration in sixths of a quarter."""
    step, alter, octave = pitch[0], {"#": 1, "b": -1}.get(pitch[1], 0), pitch[-1]
    sounding = f"<pitch><step>{step}</step><alter>{alter}</alter><octave>{octave}</octave></pitch>"
    what = "<rest/>" if pitch == "rest" else sounding
    length = f"<duration>{duration}</duration>" if duration else ""
    return f"<note>{'<grace/>' * (not duration)}{'<chord/>' * chord}{what}{length}{inside}</note>"


def attributes(beats=4, beat_type=4, more=""):
    return (f"<attributes><divisions>6</divisions><time><beats>{beats}</beats><beat-type>{beat_type}</beat-type></time>"
            f"{more}</attributes>")


def xml(*parts, head=""):
    """MusicXML of parts: (name, what else its score-part holds, measures)."""
    listed = "".join(f'<score-part id="P{i}"><part-name>{name}</part-name>{more}</score-part>'
                     for i, (name, more, _) in enumerate(parts))
    bodies = "".join(
        f'<part id="P{i}">' + "".join(f'<measure number="{n}">{m}</measure>' for n, m in enumerate(measures)) + "</part>"
        for i, (_, _, measures) in enumerate(parts))
    score = f"<score-partwise><part-list>{listed}</part-list>{bodies}</score-partwise>"
    return f'<?xml version="1.0" encoding="UTF-8"?>{head}{score}'


def song_of(text, suffix=".musicxml"):
    (song,) = load_scores(text.encode(), suffix)
    return song


def rows(song, track=0):
    """Start and length in quarter notes, pitch; by time."""
    notes = song.notes.take(song.notes.track == track)
    quarters = (notes.start / QUARTER, (notes.end - notes.start) / QUARTER)
    return sorted(zip(*(column.round(6).tolist() for column in quarters), notes.pitch.tolist()))


TIE, TIED = '<tie type="start"/>', '<tie type="stop"/>'
TRIPLET = "<time-modification><actual-notes>3</actual-notes><normal-notes>2</normal-notes></time-modification>"


def test_a_clarinet_in_six_eight():
    """A pick-up, a triplet, a tie over the bar line, a grace note, a chord; written a tone above what sounds."""
    song = song_of(xml(("Clarinet in B♭", "", [
        attributes(6, 8, "<transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>") + note("D5", 3),
        '<direction><direction-type><metronome><beat-unit>quarter</beat-unit><beat-unit-dot/><per-minute>60</per-minute>'
        "</metronome></direction-type></direction>"
        + note("E5", 2, TRIPLET) + note("F5", 2, TRIPLET) + note("G5", 2, TRIPLET) + note("A5", 12, TIE),
        note("A5", 6, TIED) + note("B5", 0) + note("F#5", 3) + note("C5", 9) + note("E5", 9, chord=True),
    ])))
    assert rows(song) == [
        (0, 0.5, 72), (0.5, 0.333333, 74), (0.833333, 0.333333, 75), (1.166667, 0.333333, 77), (1.5, 3, 79),
        (4.5, 0.5, 76), (5, 1.5, 70), (5, 1.5, 74)]
    assert song.tracks[0].name == "Clarinet in B♭" and song.tracks[0].program == 71
    assert (song.downbeats / QUARTER).tolist() == [0, 0.5, 3.5, 6.5]
    assert song.signatures == ((0, 6, 8),)
    assert (song.tempo.tick / QUARTER).tolist() == [0, 0.5] and song.tempo.bpm.tolist() == [120, 90]


def test_times_are_exact():
    """Triplets, quintuplets, septuplets and 64ths come to whole ticks; an eleventh to the nearest."""
    for divisor in (3, 5, 7, 9, 16, 32):
        song = song_of(xml(("a", "", [attributes().replace(">6<", f">{divisor}<") + note("C4", 1) * divisor])))
        assert song.notes.start.tolist() == [i * QUARTER // divisor for i in range(divisor)]
    song = song_of(xml(("a", "", [attributes().replace(">6<", ">11<") + note("C4", 1) * 11])))
    assert np.abs(song.notes.start - np.arange(11) * QUARTER / 11).max() <= 0.5


def test_two_staves_are_one_track_and_voices_tie_apart():
    staves = attributes(2, 4, "<staves>2</staves>")
    first = (note("C5", 12, TIE + "<staff>1</staff>") + "<backup><duration>12</duration></backup>"
             + note("C5", 6, "<voice>2</voice><staff>1</staff>"))
    low = "<backup><duration>6</duration></backup>" + note("C3", 12, "<voice>5</voice><staff>2</staff>")
    song = song_of(xml(("Piano", "", [staves + first + low, note("C5", 12, TIED + "<staff>1</staff>")])))
    assert len(song.tracks) == 1
    assert [row for row in rows(song) if row[2] == 72] == [(0, 1, 72), (0, 4, 72)]


def test_a_tie_to_nothing_and_a_repeated_note():
    """Only what is tied at both ends and touches is one note."""
    song = song_of(xml(("a", "", [attributes() + note("C4", 6, TIE) + note("C4", 6) + note("C4", 6) + note("C4", 6, TIED)])))
    assert rows(song) == [(i, 1, 60) for i in range(4)]


def test_a_bar_split_by_a_repeat_is_one_and_the_last_bar_is_full():
    """Pick-up of one beat, a bar of 3 + 1 beats around the repeat, a last bar of three; repeats are not played."""
    repeat = '<barline location="right"><repeat direction="backward"/></barline>'
    song = song_of(xml(("a", "", [
        attributes() + note("C4", 6), note("D4", 24), note("E4", 18) + repeat, note("F4", 6), note("G4", 24),
        note("A4", 18)])))
    assert [pitch for _, _, pitch in rows(song)] == [60, 62, 64, 65, 67, 69]
    assert (song.downbeats / QUARTER).tolist() == [0, 1, 5, 9, 13, 17]


def test_bars_follow_the_signatures_to_the_last_note():
    song = song_of(xml(("a", "", [attributes() + note("C4", 24), attributes(3, 4) + note("C4", 18), note("C4", 18),
                                  note("rest", 18), note("rest", 18)])))
    assert (song.downbeats / QUARTER).tolist() == [0, 4, 7, 10]
    assert song.signatures == ((0, 4, 4), (4 * QUARTER, 3, 4))


def test_a_measure_too_short_in_one_part_does_not_shift_the_rest():
    good = [attributes() + note("C4", 24), note("D4", 24), note("E4", 24)]
    for wrong in (12, 30):
        bad = [good[0], note("D5", wrong, TIE), note("D5", 24, TIED)]
        song = song_of(xml(("a", "", good), ("b", "", good), ("c", "", bad)))
        assert (song.downbeats / QUARTER).tolist() == [0, 4, 8, 12]
        assert [start for start, _, _ in rows(song, 2)] == [0, 4, 8]
    song = song_of(xml(("a", "", good), ("c", "", [good[0], note("D5", 12), note("E5", 24)])))
    assert [start for start, _, _ in rows(song, 1)] == [0, 4, 8]


def test_loudness_is_the_last_dynamic_s():
    loud = "<direction><direction-type><dynamics><{}/></dynamics></direction-type></direction>"
    song = song_of(xml(("a", "", [attributes() + note("C4", 6) + loud.format("pp") + note("D4", 6) + loud.format("sfz")
                                  + note("E4", 6) + loud.format("ff") + note("F4", 6)])))
    first, soft, still_soft, strong = song.notes.velocity.tolist()
    assert first == DEFAULT_VELOCITY and soft == still_soft < first < strong


def test_programs():
    """From the file, else from the name; singers are the choir of the preset "satb"."""
    horn = ('<score-instrument id="{0}"><instrument-name>x</instrument-name></score-instrument>'
            '<midi-instrument id="{0}"><midi-program>61</midi-program></midi-instrument>')
    body = [attributes() + note("C4", 24)]
    song = song_of(xml(("Brass", horn.format("i"), body), ("Oboe 1", "", body), ("Soprano", "", body),
                       ("Bass", "", body), ("Lead", "", body)))
    assert [track.program for track in song.tracks] == [60, 68, 52, 52, 0]
    assert [track.name for track in song.tracks] == ["Brass", "Oboe 1", "Soprano", "Bass", "Lead"]


def test_drums_keep_their_sounds():
    kit = "".join(f'<score-instrument id="P0-I{n}"><instrument-name>x</instrument-name></score-instrument>'
                  for n in (37, 43))
    kit += "".join(f'<midi-instrument id="P0-I{n}"><midi-channel>10</midi-channel>'
                   f'<midi-unpitched>{n}</midi-unpitched></midi-instrument>'
                   for n in (37, 43))

    def hit(place, instrument="", chord=False):
        return note("C4", 6, instrument, chord).replace("<pitch><step>C</step><alter>0</alter><octave>4</octave></pitch>",
                f"<unpitched><display-step>{place[0]}</display-step><display-octave>{place[1]}</display-octave></unpitched>")

    body = (hit("F4", '<instrument id="P0-I37"/>') + hit("G5", '<instrument id="P0-I43"/>', chord=True)
            + hit("C5") + hit("B5"))
    song = song_of(xml(("Drums", kit, [attributes() + body])))
    assert song.tracks[0].is_drum
    # As the file says; by its place in the staff; the kit's last for a place of no drum.
    assert rows(song) == [(0, 1, 36), (0, 1, 42), (1, 1, 38), (2, 1, 42)]


KERN = """!!!COM: nobody
**kern\t**kern
*Ibass\t*Isoprn
*M3/4\t*M3/4
*MM96\t*MM96
4GG\t4g
=1\t=1
4G\t12b
.\t12cc
.\t12dd
4A\t8ee
.\t8ff#
4B\t[4gg
=2\t=2
2.c e\t2gg]
.\t8aqq
.\t4r
==\t==
*-\t*-
"""


def test_kern():
    song = song_of(KERN, ".krn")
    by_name = {track.name: k for k, track in enumerate(song.tracks)}
    assert set(by_name) == {"Soprano", "Bass"}
    assert rows(song, by_name["Bass"]) == [(0, 1, 43), (1, 1, 55), (2, 1, 57), (3, 1, 59), (4, 3, 60), (4, 3, 64)]
    assert rows(song, by_name["Soprano"]) == [
        (0, 1, 67), (1, 0.333333, 71), (1.333333, 0.333333, 72), (1.666667, 0.333333, 74), (2, 0.5, 76), (2.5, 0.5, 78),
        (3, 3, 79)]
    assert (song.downbeats / QUARTER).tolist() == [0, 1, 4, 7]
    assert song.tempo.bpm.tolist() == [96] and song.signatures == ((0, 3, 4),)


def test_a_kern_file_of_two_pieces():
    songs = load_scores((KERN + KERN.replace("4GG\t4g", "4FF\t4f")).encode(), ".krn")
    assert [song.name for song in songs] == ["1", "2"]
    assert [song.notes.pitch.min() for song in songs] == [43, 41]


@pytest.fixture(scope="module")
def chorale():
    (source,) = [source for source in find_sources([Path("music21:bach")]) if source.name == "bach/bwv66.6"]
    return source


def test_a_chorale(chorale):
    """BWV 66.6 begins with a pick-up, F sharp minor, C# - B | A B C# E in the soprano."""
    (song,) = read_songs(chorale)
    assert [track.name for track in song.tracks] == ["Soprano", "Alto", "Tenor", "Bass"]
    assert {track.program for track in song.tracks} == {52}
    assert rows(song, 0)[:6] == [(0, 0.5, 73), (0.5, 0.5, 71), (1, 1, 69), (2, 1, 71), (3, 1, 73), (4, 1, 76)]
    assert [rows(song, k)[0] for k in (1, 2, 3)] == [(0, 1, 64), (0, 0.5, 57), (0, 0.5, 57)]
    assert (song.downbeats[:3] / QUARTER).tolist() == [0, 1, 5]
    assert len(song.downbeats) == 11 and song.tempo.bpm.tolist() == [96]


def test_a_chorale_is_the_same_by_way_of_midi(chorale, tmp_path):
    """What music21 writes as MIDI, read by our MIDI reader: the same notes in each voice."""
    from music21 import converter

    score = converter.parse(chorale.path, forceSource=True)
    score.write("midi", tmp_path / "a.mid")
    from_midi = load_midi(tmp_path / "a.mid")
    (song,) = read_songs(chorale)
    for k, track in enumerate(song.tracks):
        (other,) = [j for j, candidate in enumerate(from_midi.tracks) if candidate.name == track.name]
        notes = from_midi.notes.take(from_midi.notes.track == other)
        quarter = from_midi.ticks_per_quarter
        expected = sorted(zip((notes.start / quarter).tolist(), ((notes.end - notes.start) / quarter).tolist(),
                              notes.pitch.tolist()))
        assert rows(song, k) == expected and len(expected) > 30


def test_the_corpus_is_an_input():
    names = [source.name for source in find_sources([Path("music21:bach")])]
    assert len(names) > 400 and "bach/bwv846" in names and len(set(names)) == len(names)
    with pytest.raises(UserError, match="no 'bax' in music21's corpus: it has bach, "):
        find_sources([Path("music21:bax")])


def test_without_music21(monkeypatch, chorale):
    monkeypatch.setitem(sys.modules, "music21", None)
    with pytest.raises(SongError, match=r'needs music21: pip install "musegan\[scores\]"'):
        list(read_songs(chorale))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'music21:bach needs music21: pip install "musegan\[scores\]"'):
        find_sources([Path("music21:bach")])


WATCH = """
import os, sys
seen = []
def watch(event, args):
    if event.startswith("pickle.") or event == "open" and isinstance(args[0], str) and (
            args[0].endswith((".p", ".p.gz")) or args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            and "__pycache__" not in args[0] and args[0] != os.devnull):
        seen.append((event, args))
from pathlib import Path
from musegan.data.reading import read_songs
from musegan.data.sources import find_sources
sys.addaudithook(watch)
for source in find_sources([Path("music21:bach")])[:2] + find_sources([Path(sys.argv[1])]):
    print(len(list(read_songs(source))))
assert not seen, seen
assert not list(Path(sys.argv[2]).rglob("*")), list(Path(sys.argv[2]).rglob("*"))
"""


def test_nothing_is_pickled_or_written(tmp_path):
    """music21 would keep pickles in a temporary folder and load them, and settings in the home folder."""
    (tmp_path / "home").mkdir()
    (tmp_path / "a.krn").write_text(KERN)
    home = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(tmp_path / "home"))
    home["MPLCONFIGDIR"] = matplotlib.get_cachedir()    # pypianoroll's, whose list of fonts takes long to make
    root = str(Path(notation.__file__).parents[2])
    path = {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    command = [sys.executable, "-c", WATCH, str(tmp_path / "a.krn"), str(tmp_path / "home")]
    done = subprocess.run(command, env={**os.environ, **home, **path}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["1", "1", "1"], "")


def packed(entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


GOOD = xml(("a", "", [attributes() + note("C4", 24)]))
CONTAINER = '<container><rootfiles><rootfile full-path="in/score.xml"/></rootfiles></container>'


def test_packed_scores():
    other = GOOD.replace("<octave>4", "<octave>5")
    (song,) = load_scores(packed({"a.xml": other, "META-INF/container.xml": CONTAINER, "in/score.xml": GOOD}), ".mxl")
    assert song.notes.pitch.tolist() == [60]
    (song,) = load_scores(packed({"a.xml": other}), ".mxl")
    assert song.notes.pitch.tolist() == [72]
    assert load_scores(GOOD.encode(), ".mxl") and load_scores(GOOD.replace("UTF-8", "UTF-16").encode("utf-16"), ".xml")


LAUGHS = ('<!DOCTYPE score-partwise [<!ENTITY a "' + "ha" * 50 + '">'
          + "".join(f'<!ENTITY {b} "{f"&{a};" * 50}">' for a, b in zip("abcdef", "bcdefg")) + "]>")
EMPTY_KERN = "**kern\n=1\n4r\n*-\n"


@pytest.mark.parametrize(("content", "suffix", "reason"), [
    (b"", ".xml", "damaged XML: no element found"),
    (b"\x00\xff garbage", ".xml", "damaged XML"),
    (GOOD[:-60], ".xml", "damaged XML"),
    (GOOD.replace("UTF-8", "klingon"), ".xml", "damaged XML: unknown encoding"),
    ("<html><body/></html>", ".xml", "its root is <html>, not <score-partwise>"),
    ("<score-timewise/>", ".musicxml", "its root is <score-timewise>"),
    (xml(("a", "", [attributes() + note("rest", 24)])), ".xml", "has no notes"),
    ("<score-partwise/>", ".xml", "damaged score|has no notes"),
    (xml(("&g;", "", ["x"]), head=LAUGHS), ".xml", r"declares XML entities \(a\)"),
    (GOOD.replace("C<", "H<"), ".xml", "damaged score"),
    (GOOD.replace("<duration>24", "<duration>999999999999"), ".xml", "too long"),
    (GOOD.replace("<beats>4", "<beats>9<!-- -->99"), ".xml", "damaged score: beats 999"),
    (GOOD.replace("<note>", '<barline><ending number="1-1000000000" type="start"/></barline><note>'), ".xml",
     "damaged score: ending"),
    ("<score-partwise>" + "<a>" * 100_000, ".xml", "nested too deep"),
    ("<score-partwise>" + "<beats>64</beats>" * 600, ".xml", "too long for music21"),
    ("<score-partwise><part>" + "<measure/>" * 10_000 + "</part></score-partwise>", ".xml", "too long for music21"),
    (b"PK\x03\x04 cut short", ".mxl", "cannot be unpacked"),
    (packed({"readme.txt": "x"}), ".mxl", "holds no score"),
    (packed({"a.xml": bytes(MAX_FILE_BYTES + 1)}), ".mxl", "larger than 32 MiB unpacked"),
    (bytes(MAX_FILE_BYTES + 1), ".xml", "larger than 32 MiB"),
    (b"", ".krn", "not a kern file"),
    ("**dynam\np\n*-\n", ".krn", "not a kern file"),
    (EMPTY_KERN, ".krn", "has no notes"),
    (KERN.replace("8ff#", "8ff#\t4c"), ".krn", "damaged score"),
    (KERN.replace("4A", "4H"), ".krn", "damaged score: 4H in line 11"),
    (KERN.replace("*M3/4", "*M999/4"), ".krn", "damaged score: metre 999"),
    (KERN.replace("4A", "4444444A"), ".krn", "damaged score: 4444444 in line 11"),
    ("**kern\n" + "4c\n" * 40_000 + "*-\n", ".krn", "too long for music21: 40,002 lines"),
])
def test_what_cannot_be_read_gives_one_line(content, suffix, reason, capsys):
    with pytest.raises(SongError, match=reason) as caught:
        load_scores(content if isinstance(content, bytes) else content.encode(), suffix)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
    assert capsys.readouterr() == ("", "")


def test_damage_anywhere_gives_a_song_or_one_line():
    rng = np.random.default_rng(0)
    for good, suffix in ((GOOD.encode(), ".xml"), (KERN.encode(), ".krn")):
        for _ in range(150):
            bad = bytearray(good)
            at = int(rng.integers(len(bad)))
            bad[at : at + int(rng.integers(1, 30))] = rng.choice([b"", b"9", b"\t", b"<", b"\xff", b"*^"])
            try:
                load_scores(bytes(bad), suffix)
            except SongError as err:
                assert "\n" not in str(err)
