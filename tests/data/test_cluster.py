"""`prepare` as a Ray Data job on this machine."""

import sys

import pytest

from musegan.data import preparation
from musegan.data.cluster import run_on_ray
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS
from musegan.errors import UserError
from tests.data.songs import midi, scale


@pytest.fixture
def songs(tmp_path, monkeypatch):
    """Forty files in three blocks, one of them bad."""
    monkeypatch.setattr(preparation, "_SMALLEST_BLOCK", 16)
    folder = tmp_path / "songs"
    folder.mkdir()
    for i in range(40):
        notes = [(start, length, pitch + (i * start // 480) % 7) for start, length, pitch in scale(2)]
        (folder / f"{i:02d}.mid").write_bytes(midi([(0, False, notes)]))
    (folder / "17.mid").write_text("no music")
    return folder


@pytest.mark.slow
def test_a_ray_job_makes_the_same_bytes(songs, tmp_path):
    pytest.importorskip("ray")
    rules = Rules(PRESETS["lpd5"])
    seen = []
    prepare([songs], tmp_path / "here", rules)
    report = prepare(
        [songs], tmp_path / "there", rules, jobs=2, run_blocks=run_on_ray, progress=lambda *count: seen.append(count)
    )
    assert report.rejected_files["17.mid"].startswith("not a MIDI file")
    assert sorted(seen)[-1] == (40, 40) and len(seen) == 3
    files = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "there").iterdir())
    for name in files:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_without_ray_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'pip install "musegan\[ray\]"'):
        list(run_on_ray(lambda index, block: 0, {}, 1))
