"""Files that are there whole or not at all."""

import os

import pytest

from musegan.errors import UserError
from musegan.files import atomic_write


def test_the_file_takes_its_place(tmp_path):
    with atomic_write(tmp_path / "a.txt") as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".txt"
        temporary.write_text("new")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_who_reads_the_older_file_keeps_it(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with open(tmp_path / "a.txt") as reader:
        with atomic_write(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
        assert reader.read() == "old"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_older_file(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(error):
        with atomic_write(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise error
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_the_system_refuses_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path, reason in (("no/a.txt", "No such file"), ("file/a.txt", "Not a directory"), ("folder", "Is a directory")):
        with pytest.raises(UserError, match=rf"cannot write .*{path}: {reason}"):
            with atomic_write(tmp_path / path) as temporary:
                temporary.write_text("new")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
