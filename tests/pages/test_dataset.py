"""`report.html`: its numbers are the report's and the music's, its names are no markup, its bytes are its input's."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from musegan import cli
from musegan.data.grid import Grid
from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.report import Report
from musegan.data.tracks import PRESETS
from musegan.pages import dataset as pages
from musegan.pages import html
from musegan.pages.dataset import page
from tests.data.songs import midi
from tests.data.test_statistics import KICKS, PIANO, SIGNATURES

VOID = {"meta", "img", "br", "link", "input"}
EVIL = "<script>alert('x')</script>&\"'<img src=x onerror=alert(1)>.mid"


class Page(HTMLParser):
    """Checks that tags close in order; collects elements, texts and what would load something."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.addresses, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


def titles(text: str) -> list[str]:
    """What the bars of the histograms say."""
    return re.findall(r"<title>([^<]*)</title></rect>", text)


def rows(text: str) -> list[tuple[str, str]]:
    """Name and number of each row of a list of bars."""
    return re.findall(r"<div><span>([^<]*)</span><b>([^<]*)</b><i", text)


@pytest.fixture
def made(tmp_path):
    """A data set of one file, of whose six bars five are kept, and a broken one."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/one.mid").write_bytes(midi([(0, False, PIANO), (0, True, KICKS)], signatures=SIGNATURES))
    (tmp_path / "in/broken.mid").write_bytes(b"MThd")
    report = prepare([tmp_path / "in"], tmp_path / "set", Rules(PRESETS["lpd5"]))
    return report, PackedDataset.open(tmp_path / "set")


def test_hand_counts(made):
    text = page(*made)
    shown = titles(text)
    for title in (
        "C4 (60): 3 notes", "E4 (64): 1 note", "G4 (67): 1 note", "Bass Drum 1 (36): 3 notes",    # pitches
        "beat 1, step 1 of 4: 4 notes", "beat 1, step 1 of 4: 2 notes", "beat 3, step 1 of 4: 1 note",
        "1 step, 0.25 quarter notes: 1 note", "16 steps, 4 quarter notes: 1 note", "longer than a bar: 1 note",
        "0 notes: 1 bar", "1 note: 3 bars", "2 notes: 1 bar", "120 to 130 bpm: 5 bars", "on the step: 8 notes",
    ):    # fmt: skip
        assert title in shown, title
    counted = rows(text)
    for row in (("pieces kept", "1"), ("kept", "5"), ("3 quarter notes in a bar, not 4", "1"), ("used", "8"),
                ("drums", "40.0%"), ("piano", "100.0%"), ("guitar", "0.0%")):
        assert row in counted, row
    assert "<title>Data set: 1 piece, 5 bars</title>" in text and "bars 4 to 6" in text


def test_numbers_of_real_music_are_the_reports(songs_folder, songs):
    report = Report(
        n_files=12, n_songs=8, pieces={name: 1 for name in songs.pieces}, n_notes=1234567, n_out_of_range=17, n_merged=3,
        sounding_bars={track.name: 10 * k for k, track in enumerate(songs.spec.tracks)}, n_silent_bars=99,
        rejected_files={"a.mid": "has no notes", "b.mid": "has no notes", "c.mid": "the same music as a.mid"},
        rejected_bars=[("d.mid", "3 quarter notes in a bar, not 4", 5, 9)],
    )    # fmt: skip
    report.dropped_notes["ethnic"] = 41
    report.error_histogram[[0, 1, 50, 51, 1000]] = 7, 1, 1, 5, 2
    text = page(report, songs)
    counted = rows(text)
    for row in (("has no notes", "2"), ("the same music as another", "1"), ("3 quarter notes in a bar, not 4", "5"),
                ("silent before the first or after the last note", "99"), ("outside the pitch range", "17"),
                ("used", "1,234,547"), ("of tracks that are not used: ethnic", "41")):
        assert row in counted, row
    shown = titles(text)
    for title in ("on the step: 7 notes", "0.000 to 0.025 steps away: 2 notes", "0.025 to 0.050 steps away: 5 notes",
                  "0.475 to 0.500 steps away: 2 notes"):
        assert title in shown, title
    tempo = [int(title.split(": ")[1].split()[0].replace(",", "")) for title in shown if "bpm" in title]
    assert sum(tempo) == songs.n_bars
    assert ">1,234,567</b>notes" in text


def test_examples_are_pictures_of_the_data_set(songs):
    text = page(Report(pieces={name: 1 for name in songs.pieces}), songs)
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(pictures) == pages.N_EXAMPLES
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            image.load()
            assert image.size[0] > 400
            assert len(np.unique(np.asarray(image.convert("L")))) > 10
    assert all('alt="Piano-roll of bars ' in tag for tag in re.findall(r"<img [^>]{40}", text))


def test_it_is_whole_html_that_loads_and_runs_nothing(made):
    report, dataset = made
    report.rejected_files[EVIL] = "has no notes"
    found = Page(page(report, dataset))
    assert found.names() & {"script", "link", "iframe", "object", "form"} == set()
    assert found.addresses and all(address.startswith("data:image/png;base64,") for address in found.addresses)
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert "url(" not in page(report, dataset) and "@import" not in page(report, dataset)
    policy = [attributes["content"] for tag, attributes in found.tags if attributes.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_names_of_strangers_are_text(tmp_path):
    """Of files, of reasons and of tracks: what is shown is what they are called."""
    name = EVIL.replace("/", "")
    tune = midi([(0, False, PIANO), (0, True, KICKS)])
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(tune)
    (tmp_path / "in" / f"{name}.mid").write_bytes(tune)
    (tmp_path / "spec.yaml").write_text(
        "tracks: [{name: '<b>drums</b>\u202e', is_drum: true}, {name: '</style><script>', program: 3}]\n")
    folder = tmp_path / "set"
    assert cli.main(["prepare", str(tmp_path / "in"), "-o", str(folder), "--spec", str(tmp_path / "spec.yaml"),
                     "--report"]) == 0
    text = (folder / "report.html").read_text(encoding="utf-8")
    found = Page(text)
    assert found.names() & {"script", "iframe"} == set()
    assert [tag for tag, attributes in found.tags if tag == "img" and not attributes["src"].startswith("data:")] == []
    shown = "".join(found.texts)
    assert name in shown and f"the same music as {name}" in shown
    assert "</style><script>" in shown and "<b>drums</b>\N{REPLACEMENT CHARACTER}" in shown
    assert "\u202e" not in text


def test_control_characters_and_lone_surrogates_do_not_break_it(made, tmp_path):
    report, dataset = made
    report.rejected_files["a\x00b\ud800\x1b.mid"] = "odd\nname"
    pages.write_page(tmp_path / "p.html", report, dataset)
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "a\N{REPLACEMENT CHARACTER}b" in text and "\x00" not in text and "\x1b" not in text


def test_files_are_listed_up_to_a_bound(made, monkeypatch):
    report, dataset = made
    monkeypatch.setattr(html, "MAX_LISTED", 5)
    report.rejected_files = {f"file {n}.mid": f"reason {n}" for n in range(5)}
    whole = page(report, dataset)
    assert all(f"<td>file {n}.mid</td><td>reason {n}</td>" in whole for n in range(5)) and "more:" not in whole
    report.rejected_files |= {"file 5.mid": "r", "file 6.mid": "r"}
    cut = page(report, dataset)
    assert "Files and pieces left out (7)" in cut and "and 2 more: report.json lists them all" in cut
    assert "<td>file 5.mid</td>" not in cut


def test_files_moved_to_their_beat(made):
    report, dataset = made
    report.regridded["moved.mid"] = Grid(0.07, 97.04, 0.98)
    assert "<td>moved.mid</td><td>97.0 bpm</td><td>fit 0.07 before, 0.98 after</td>" in page(report, dataset)
    assert "(0.0% before files were moved to their beat)" in page(report, dataset)


def test_a_sample_is_said_to_be_one(made, monkeypatch):
    report, dataset = made
    assert "Histograms of phrases and of tracks count" not in page(report, dataset)
    real = pages.count
    monkeypatch.setattr(pages, "count", lambda dataset: real(dataset, max_bars=3))
    text = page(report, dataset)
    assert "count 2 of the 5 bars: one in 2 runs of bars without a gap" in text


def test_the_same_input_gives_the_same_bytes(tmp_path):
    (tmp_path / "one.mid").write_bytes(midi([(0, False, PIANO), (0, True, KICKS)]))
    for name in "ab":
        assert cli.main(["prepare", str(tmp_path / "one.mid"), "-o", str(tmp_path / name), "--report"]) == 0
    contents = [(tmp_path / name / "report.html").read_bytes() for name in "ab"]
    assert contents[0] == contents[1]


def test_the_page_does_not_stand_in_the_way_of_another(tmp_path, capsys):
    (tmp_path / "one.mid").write_bytes(midi([(0, False, PIANO)]))
    command = ["prepare", str(tmp_path / "one.mid"), "-o", str(tmp_path / "set")]
    assert cli.main([*command, "--report"]) == 0
    assert f"wrote {tmp_path / 'set/report.html'}\n" in capsys.readouterr().out
    assert cli.main(command) == 1
    assert cli.main([*command, "--overwrite"]) == 0
    assert not (tmp_path / "set/report.html").exists()


def test_each_part_has_a_page_of_its_own(tmp_path):
    """Of two parts one holds a file that cannot be used, and so no bars."""
    (tmp_path / "in").mkdir()
    for n in range(16):
        (tmp_path / f"in/a{n:02d}.mid").write_bytes(b"broken")
    (tmp_path / "in/b.mid").write_bytes(midi([(0, False, PIANO)]))
    for part in ("1/2", "2/2"):
        assert cli.main(["prepare", str(tmp_path / "in"), "-o", str(tmp_path / "set"), "--shard", part, "--report"]) == 0
    empty, full = ((tmp_path / f"set/part-00{n}-of-002/report.html").read_text() for n in (1, 2))
    assert "No bars are left." in empty and "<td>a15.mid</td><td>not a MIDI file" in empty
    assert ("not a MIDI file: does not begin with MThd", "16") in rows(empty)
    assert "Data set: 1 piece, 6 bars" in full and "Examples" in full
    for text in (empty, full):
        Page(text)
    assert PackedDataset.open(tmp_path / "set").n_bars == 6
