"""`prepare` cut off and given again, in several processes, and in parts: always the same data set."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from musegan.data import preparation, processes
from musegan.data.dataset import PackedDataset
from musegan.data.packed import DatasetError
from musegan.data.preparation import Rules, prepare
from musegan.data.sources import Source
from musegan.data.tracks import PRESETS
from musegan.errors import UserError
from tests.data.songs import midi, scale

LPD5 = PRESETS["lpd5"]
RULES = Rules(LPD5)
N_FILES = 100    # seven blocks

# Runs the command, and is killed as a function is called for the n-th time.
KILLED = """
import os, signal, sys
from musegan import prepare as command
from musegan.data import preparation, processes

def killing(function, n):
    def result(*arguments, **keywords):
        nonlocal n
        n -= 1
        if n == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **keywords)
    return result

where, n, *arguments = sys.argv[1:]
owner = os if where == "replace" else preparation
setattr(owner, where, killing(getattr(owner, where), int(n)))
command.main(arguments)
"""


def tune(number):
    """A bar of piano over drums, another for each number up to 128, none of them another transposed; one in nine in
    a bad metre."""
    notes = [(i * 240, 240, 60 + (2 * (number >> i & 1) if i < 7 else 1)) for i in range(8)]
    signature = (0, 3, 4) if number % 9 == 4 else (0, 4, 4)
    return midi([(0, False, notes), (0, True, [(0, 10, 36)])], signatures=(signature,))


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """A hundred files, of which three are copies of one in another block, and two are broken."""
    folder = tmp_path_factory.mktemp("songs")
    for number in range(N_FILES):
        (folder / f"{number:03d}.mid").write_bytes(tune(number))
    for number, same in ((30, 2), (50, 80), (99, 0)):
        (folder / f"{number:03d}.mid").write_bytes(tune(same))
    for number in (7, 77):
        (folder / f"{number:03d}.mid").write_text("no music")
    return folder


@pytest.fixture(scope="module")
def whole(songs, tmp_path_factory):
    """The data set of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "set"
    report = prepare([songs], out, RULES)
    assert report.reasons() == {
        "3 quarter notes in a bar, not 4": 11,
        "not a MIDI file: does not begin with MThd": 2,
        "the same music as another": 3,
    }
    assert len(report.pieces) == N_FILES - 16 and list(report.pieces) == sorted(report.pieces)
    assert report.rejected_files["080.mid"] == "the same music as 050.mid"
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def done_blocks(work):
    return {path.name: path.stat().st_mtime_ns for path in work.glob("block-*.json")}


def read_names(monkeypatch):
    """The names of files as they are read from now on, in this process."""
    names, read = [], preparation.read_songs
    monkeypatch.setattr(preparation, "read_songs", lambda source: (names.append(source.name), read(source))[1])
    return names


def test_killed_thrice_and_given_again_equals_never_killed(songs, whole, tmp_path, monkeypatch):
    """Killed in the third block, between a shard and its report, and as the shard of the data set lies there half-named."""
    out, work = tmp_path / "set", tmp_path / "set.partial"
    before = {}
    for where, n, n_done in (("read_songs", 40, 2), ("replace", 4, 3), ("replace", 9, 7)):
        arguments = [sys.executable, "-c", KILLED, where, str(n), str(songs), "-o", str(out), "--jobs", "1"]
        assert subprocess.run(arguments, timeout=120).returncode == -signal.SIGKILL
        done = done_blocks(work)
        assert len(done) == n_done and not out.exists()
        assert before.items() <= done.items()    # what was done is not done again
        before = done
    names = read_names(monkeypatch)
    seen = []
    report = prepare([songs], out, RULES, progress=lambda done, total: seen.append((done, total)))
    assert names == [] and report.n_files == N_FILES
    assert contents(out) == contents(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_only_blocks_that_are_missing_are_done(songs, whole, tmp_path, monkeypatch):
    out = tmp_path / "set"

    def three_blocks(function, blocks, jobs):
        for index in (0, 6, 3):
            yield function(index, blocks[index])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare([songs], out, RULES, run_blocks=three_blocks)
    names, seen = read_names(monkeypatch), []
    prepare([songs], out, RULES, progress=lambda done, total: seen.append((done, total)))
    assert names == [f"{number:03d}.mid" for number in (*range(16, 48), *range(64, 96))]
    assert seen == [(16 + 16 + 4 + 16 * n, N_FILES) for n in (1, 2, 3, 4)]
    assert contents(out) == contents(whole)


def test_what_another_plan_left_is_refused_and_replaced_on_demand(songs, whole, tmp_path):
    out = tmp_path / "set"

    def none(function, blocks, jobs):
        raise KeyboardInterrupt
        yield

    other = Rules(LPD5.with_spec(steps_per_beat=12))
    with pytest.raises(KeyboardInterrupt):
        prepare([songs], out, other, run_blocks=none)
    message = "set.partial holds a data set begun with other files or settings: .*--overwrite"
    with pytest.raises(UserError, match=message):
        prepare([songs], out, RULES)
    with pytest.raises(UserError, match=message):    # other files
        prepare([songs / "000.mid"], out, other)
    assert not out.exists()
    prepare([songs], out, RULES, overwrite=True)
    assert contents(out) == contents(whole)


@pytest.mark.parametrize("changed", ["file", "version"])
def test_a_file_written_anew_or_another_version_is_another_plan(tmp_path, monkeypatch, changed):
    folder = tmp_path / "songs"
    folder.mkdir()
    (folder / "a.mid").write_bytes(tune(0))

    def none(function, blocks, jobs):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        prepare([folder], tmp_path / "set", RULES, run_blocks=none)
    if changed == "file":
        (folder / "a.mid").write_bytes(midi([(0, False, scale(2))]))
    else:
        monkeypatch.setattr(preparation, "__version__", "99")
    with pytest.raises(UserError, match="begun with other files or settings"):
        prepare([folder], tmp_path / "set", RULES)


def test_a_folder_in_the_way_is_never_replaced(songs, tmp_path):
    work = tmp_path / "set.partial"
    work.mkdir()
    (work / ".1234-plan.json").write_text("{")    # killed before there was a plan
    prepare([songs / "000.mid"], tmp_path / "set", RULES)
    work.mkdir()
    (work / "diary.txt").write_text("dear diary")
    with pytest.raises(UserError, match="set.partial is in the way: it holds other things"):
        prepare([songs], tmp_path / "set", RULES, overwrite=True)
    assert (work / "diary.txt").read_text() == "dear diary"


def test_two_processes_give_the_same_bytes(songs, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "FILES_PER_PROCESS", 50)
    started, pool = [], processes.ProcessPoolExecutor
    monkeypatch.setattr(processes, "ProcessPoolExecutor", lambda n, **keywords: (started.append(n), pool(n, **keywords))[1])
    names = read_names(monkeypatch)
    prepare([songs], tmp_path / "set", RULES, jobs=2)
    assert started == [2] and names == []    # nothing was read in this process
    assert contents(tmp_path / "set") == contents(whole)


@pytest.mark.parametrize(
    "jobs, n_files, n_blocks, n_processes, suffix",
    [
        (8, 400, 64, 1, ".mid"),
        (1, 9000, 64, 1, ".mid"),
        (8, 2500, 64, 3, ".mid"),
        (8, 99_000, 5, 5, ".mid"),
        (4, 99_000, 64, 4, ".mid"),
        (8, 64, 64, 7, ".krn"),    # one of which takes as long as fifty
        (2, 400, 64, 2, ".mxl"),
    ],
)
def test_no_more_processes_than_pay(monkeypatch, jobs, n_files, n_blocks, n_processes, suffix):
    class Started(Exception):
        pass

    def start(n, **keywords):
        assert n == n_processes
        raise Started

    monkeypatch.setattr(processes, "ProcessPoolExecutor", start)
    blocks = {index: [Source("", f"a{suffix}")] * (n_files // n_blocks + 1) for index in range(n_blocks)}
    run = processes.run_in_processes(lambda index, block: len(block), blocks, jobs)
    if n_processes > 1:
        with pytest.raises(Started):
            list(run)
    else:
        assert sum(run) == sum(map(len, blocks.values()))


# Runs in two processes, tells their numbers, and then does nothing more.
WAITING = """
import multiprocessing, sys, time
from musegan.cli import run
from musegan import prepare as command
from musegan.data import preparation, processes

if __name__ == "__main__":
    processes.FILES_PER_PROCESS = 1
    as_completed = processes.as_completed

    def pausing(futures):
        for future in as_completed(futures):
            yield future
            print(*(process.pid for process in multiprocessing.active_children()), flush=True)
            time.sleep(60)

    processes.as_completed = pausing
    sys.exit(run(command.main, sys.argv[1:]))
"""


def status(process_id):
    """What the system says of a process; nothing where it ended."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    found = dict(line.split(":\t", 1) for line in lines)
    return {} if found["State"].startswith("Z") else found


def wait_until(true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ignores_interrupts(process_id):
    return int(status(process_id)["SigIgn"], 16) >> signal.SIGINT - 1 & 1


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_the_other_processes_end_with_the_first(songs, whole, tmp_path, stop):
    """Of Ctrl-C, which goes to them all, the first one tells; a kill reaches the first one alone. Then all is done again."""
    arguments = [sys.executable, "-c", WAITING, str(songs), "-o", str(tmp_path / "set"), "--jobs", "2"]
    first = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    others = [int(word) for word in first.stdout.readline().split()]
    assert len(others) == 2
    wait_until(lambda: all(map(ignores_interrupts, others)))    # the second may have begun later
    if stop is signal.SIGKILL:
        first.kill()
    else:
        os.killpg(first.pid, stop)
    code = first.wait(timeout=60)
    wait_until(lambda: not any(map(status, others)))
    said = first.stderr.read()
    if stop is signal.SIGINT:
        assert code == 130 and said.splitlines() == ["stopped; the same command goes on where it was",
                                                     "musegan: error: interrupted"]
    assert done_blocks(tmp_path / "set.partial")
    prepare([songs], tmp_path / "set", RULES)
    assert contents(tmp_path / "set") == contents(whole)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(preparation, "_SMALLEST_BLOCK", 4)


def by_piece(dataset):
    """The bars of each piece, by name."""
    starts = dataset.phrase_starts(1)
    piece, roll = dataset.piece_of(starts), dataset.roll(starts, 1)
    return {name: [plane[piece == i] for plane in roll] for i, name in enumerate(dataset.pieces)}


def test_parts_together_are_the_whole(songs, whole, tmp_path, small_blocks):
    """Whatever part comes first. Pieces that are the same lie in several parts and are left out on opening."""
    out = tmp_path / "set"
    reports = {number: prepare([songs], out, RULES, part=(number, 3)) for number in (3, 1, 2)}
    assert sorted(path.name for path in out.iterdir()) == [f"part-00{n}-of-003" for n in (1, 2, 3)]
    assert sum(report.n_files for report in reports.values()) == N_FILES
    assert min(report.n_files for report in reports.values()) >= 32
    dataset, expected = PackedDataset.open(out), by_piece(PackedDataset.open(whole))
    assert dataset.n_duplicates > 0
    found = by_piece(dataset)
    # Of each of the three pairs, one or the other is there.
    twins = {"030.mid": "002.mid", "080.mid": "050.mid", "050.mid": "080.mid", "099.mid": "000.mid"}
    named = {name if name in expected else twins[name]: bars for name, bars in found.items()}
    assert named.keys() == expected.keys() and len(found) == len(expected)
    for name, bars in expected.items():
        assert all(torch.equal(a, b) for a, b in zip(bars, named[name]))


def test_a_part_that_is_missing_is_named(songs, tmp_path, small_blocks):
    for number in (1, 3):
        prepare([songs], tmp_path / "set", RULES, part=(number, 3))
    with pytest.raises(DatasetError, match="set lacks 1 of its parts: 2$"):
        PackedDataset.open(tmp_path / "set")


def test_a_part_is_cut_off_and_replaced_like_a_whole(songs, tmp_path, small_blocks):
    out = tmp_path / "set"

    def one(function, blocks, jobs):
        yield function(*next(iter(blocks.items())))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare([songs], out, RULES, part=(2, 3), run_blocks=one)
    assert [path.name for path in out.iterdir()] == ["part-002-of-003.partial"]
    prepare([songs], out, RULES, part=(2, 3))
    with pytest.raises(UserError, match="part-002-of-003 is a data set already"):
        prepare([songs], out, RULES, part=(2, 3))
    prepare([songs], out, RULES, overwrite=True, part=(2, 3))
    with pytest.raises(UserError, match="set holds other things than a data set, e.g. part-002-of-003"):
        prepare([songs], out, RULES, overwrite=True)


def test_parts_are_not_put_into_a_whole_data_set(songs, tmp_path):
    prepare([songs / "000.mid"], tmp_path / "set", RULES)
    with pytest.raises(UserError, match="set is a whole data set already"):
        prepare([songs], tmp_path / "set", RULES, overwrite=True, part=(1, 2))


def test_more_parts_than_blocks(songs, tmp_path):
    """One block: the second part has nothing to do, and says so by being there."""
    one = [songs / "000.mid"]
    assert [prepare(one, tmp_path / "set", RULES, part=(n, 2)).n_files for n in (1, 2)] == [1, 0]
    assert PackedDataset.open(tmp_path / "set").pieces == ["000.mid"]


@pytest.mark.parametrize("part", [(0, 3), (4, 3)])
def test_a_part_that_there_is_not(songs, tmp_path, part):
    with pytest.raises(UserError, match=f"the part must be 1 to 3: got {part[0]}"):
        prepare([songs], tmp_path / "set", RULES, part=part)
