"""The work folder of `prepare`, and what stands where its data set goes: other calls, damage, links, leftovers."""

import fcntl
import os

import pytest

from musegan.data import preparation
from musegan.data.dataset import PackedDataset
from musegan.data.packed import DatasetError
from musegan.data.preparation import Rules, prepare
from musegan.data.sources import find_sources, fingerprint
from musegan.data.tracks import PRESETS
from musegan.errors import UserError
from tests.data.songs import midi

RULES = Rules(PRESETS["lpd5"])


@pytest.fixture
def songs(tmp_path):
    """Forty files of two bars, all different, in blocks of sixteen."""
    folder = tmp_path / "songs"
    folder.mkdir()
    for i in range(40):
        notes = [(480 * k, 240, 40 + (k * (i + 1)) % 41) for k in range(8)]
        (folder / f"{i:02d}.mid").write_bytes(midi([(0, False, notes)]))
    return folder


def cut_off(monkeypatch, call):
    """Ends a call as it begins to put the data set together."""
    with monkeypatch.context() as broken:
        broken.setattr(preparation, "_finish", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            call()


def test_two_calls_do_not_work_in_one_folder(songs, tmp_path):
    with open(tmp_path / ".set.partial.lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="set.partial is being worked on by another call"):
            prepare([songs], tmp_path / "set", RULES, overwrite=True)
    prepare([songs], tmp_path / "set", RULES)    # what a killed call leaves is no lock
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "songs"]


def test_a_damaged_block_is_made_again(songs, tmp_path, monkeypatch):
    prepare([songs], tmp_path / "whole", RULES)
    cut_off(monkeypatch, lambda: prepare([songs], tmp_path / "set", RULES))
    block = sorted((tmp_path / "set.partial").glob("block-000001-*.safetensors"))[0]
    block.write_bytes(bytes(block.stat().st_size))
    with pytest.raises(UserError, match="block-000001-00000.safetensors: .*; the same call makes it again"):
        prepare([songs], tmp_path / "set", RULES)
    prepare([songs], tmp_path / "set", RULES)
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "set" / path.name).read_bytes()


def test_a_link_stays_a_link(songs, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "set").symlink_to(tmp_path / "disk" / "set")
    prepare([songs], tmp_path / "set", RULES)
    prepare([songs], tmp_path / "set", RULES, overwrite=True)
    assert (tmp_path / "set").is_symlink() and PackedDataset.open(tmp_path / "disk" / "set").n_bars == 80
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["set"]


def test_parts_made_otherwise_are_not_used_together(songs, tmp_path):
    prepare([songs], tmp_path / "set", RULES, part=(1, 2))
    prepare([songs], tmp_path / "set", Rules(RULES.preset, duplicates="keep"), part=(2, 2))
    with pytest.raises(DatasetError, match="made of other files, or by other rules, than part-001-of-002/shard-00000"):
        PackedDataset.open(tmp_path / "set")
    prepare([songs], tmp_path / "set", RULES, part=(2, 2), overwrite=True)
    assert PackedDataset.open(tmp_path / "set").n_bars == 80
    (songs / "99.mid").write_bytes((songs / "07.mid").read_bytes())
    prepare([songs], tmp_path / "set", RULES, part=(1, 2), overwrite=True)
    with pytest.raises(DatasetError, match="made of other files"):
        PackedDataset.open(tmp_path / "set")


def test_annotations_count_as_input(songs):
    sources = find_sources([songs])
    before = fingerprint(sources, "{stem}.beats")
    assert fingerprint(sources, "{stem}.beats") == before != fingerprint(sources)
    (songs / "03.beats").write_text("0 1\n1 0\n")
    assert fingerprint(sources, "{stem}.beats") != before


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_cannot_be_read_is_told(songs):
    (songs / "closed").mkdir(mode=0)
    assert "cannot be read" in find_sources([songs])[-1].problem


def test_a_folder_that_cannot_be_listed_is_told(songs, monkeypatch):
    walk = os.walk

    def failing(path, onerror):
        yield from walk(path)
        onerror(PermissionError(13, "Permission denied", str(songs / "closed")))

    monkeypatch.setattr(os, "walk", failing)
    assert find_sources([songs])[-1][::3] == ("closed", "the folder cannot be read: Permission denied")


def test_what_a_killed_write_left_does_not_keep_a_data_set_from_being_replaced(songs, tmp_path):
    prepare([songs], tmp_path / "set", RULES)
    (tmp_path / "set" / ".0a1b2c3d-report.html").write_text("half")
    prepare([songs], tmp_path / "set", RULES, overwrite=True)
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["report.json", "shard-00000.safetensors"]
    (tmp_path / "set" / ".profile").write_text("mine")
    with pytest.raises(UserError, match="holds other things than a data set, e.g. .profile"):
        prepare([songs], tmp_path / "set", RULES, overwrite=True)


def test_more_tracks_than_there_are_cannot_sound():
    with pytest.raises(UserError, match="min_tracks must be 1 to the 5 tracks: got 6"):
        Rules(RULES.preset, min_tracks=6)


def test_bars_of_another_metre_come_with_advice(songs, tmp_path):
    rules = Rules(RULES.preset.with_spec(beats_per_bar=7))
    with pytest.raises(UserError, match="40 files: 4 quarter notes in a bar, not 7 .*--ignore-signatures"):
        prepare([songs], tmp_path / "set", rules)
