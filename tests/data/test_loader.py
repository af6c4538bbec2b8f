"""Loader processes: the same batches however many there are, no copy of the music, and they end with the block."""

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch

from musegan.data.dataset import PackedDataset
from musegan.data.loader import Batches, Loader
from musegan.data.phrases import Augmentation, Phrases
from musegan.errors import UserError

METHODS = multiprocessing.get_all_start_methods()
AUGMENTATION = Augmentation(transpose_semitones=5, track_dropout=0.3)
SIZE, SEED = 6, 11


@pytest.fixture(scope="module")
def phrases(songs_folder):
    dataset = PackedDataset.open(songs_folder)
    return Phrases(dataset, dataset.phrase_starts(2)[:40], 2, normalize_key=True)


def batches(phrases, transform=None, **options):
    return Batches(phrases, SIZE, SEED, augmentation=AUGMENTATION, transform=transform, **options)


def loaded(batches, steps, *how):
    with Loader(batches, steps, *how) as loader:
        return [batch.map(torch.clone) for batch in loader]


def same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for one, other in zip(a, b) for x, y in zip(one, other))


def process_facts(batch):
    """What a loader process says of itself, instead of a batch."""
    maps = Path("/proc/self/maps").read_text() if sys.platform == "linux" else ""
    return os.getpid(), maps, torch.get_num_threads()


def fail_at_once(batch):
    raise LookupError("no such chord")


def kill_itself(batch):
    os.kill(os.getpid(), signal.SIGKILL)


def hang(marker, batch):
    marker.touch()
    time.sleep(600)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def wait_until_gone(pids, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(map(is_alive, pids)):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(("n_workers", "method"), [(1, None), (2, None), *((1, method) for method in METHODS)])
def test_batches_are_the_same_with_any_number_of_processes(phrases, n_workers, method):
    steps = range(9)    # over the end of an epoch
    for options in ({}, {"rank": 1, "world_size": 3})[method is not None :]:
        expected = [phrases.batch(s, SEED, SIZE, augmentation=AUGMENTATION, **options) for s in steps]
        assert same(loaded(batches(phrases, **options), steps), expected)
        assert same(loaded(batches(phrases, **options), steps, n_workers, method), expected)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_going_on_at_a_step_equals_never_having_stopped(phrases, n_workers):
    whole = loaded(batches(phrases), range(9), n_workers)
    assert same(loaded(batches(phrases), range(5, 9), n_workers), whole[5:])


def test_the_global_generator_is_left_alone(phrases):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    loaded(batches(phrases), range(2), 1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("method", METHODS)
def test_processes_share_the_mapped_files(phrases, songs_folder, method):
    if sys.platform != "linux":
        pytest.skip("/proc tells what is mapped")
    music = sum(path.stat().st_size for path in songs_folder.glob("*.safetensors"))
    with Loader(batches(phrases, process_facts), range(2), 2, method) as loader:
        told = list(loader)
    assert os.getpid() not in {pid for pid, _, _ in told} and len({pid for pid, _, _ in told}) == 2
    for _, maps, n_threads in told:
        assert str(songs_folder / "shard-00000.safetensors") in maps and n_threads == 1
    # Where it is pickled, the music is not in it
    assert len(ForkingPickler.dumps(batches(phrases))) < 50_000 < music
    assert not any(shard.frame.is_shared() or shard.onset.is_shared() for shard in phrases.dataset._shards)


@pytest.mark.parametrize("method", METHODS)
def test_processes_end_when_an_exception_leaves_the_block(phrases, method):
    with (pytest.raises(KeyboardInterrupt) as caught,
          Loader(batches(phrases, process_facts), range(100), 2, method) as loader):    # fmt: skip
        pids = {next(loader)[0] for _ in range(2)}
        assert all(map(is_alive, pids))
        raise KeyboardInterrupt
    assert wait_until_gone(pids, 1) and caught.value.__traceback__    # which holds the frame


def test_what_goes_wrong_in_a_process_is_told_and_ends_all(phrases):
    with pytest.raises(LookupError, match="no such chord") as caught:
        with Loader(batches(phrases, fail_at_once), range(9), 2) as loader:
            pids = {process.pid for process in loader._iterator._workers}
            next(loader)
    assert wait_until_gone(pids, 1) and caught.value.__traceback__    # which holds the iterator
    with pytest.raises(LookupError, match="no such chord"), Loader(batches(phrases, fail_at_once), range(9)) as loader:
        next(loader)


def test_a_process_that_is_killed_is_one_line(phrases):
    with (
        pytest.raises(UserError, match="a process that loads batches has ended .DataLoader worker.*train.workers=0"),
        Loader(batches(phrases, kill_itself), range(9), 1) as loader,
    ):
        next(loader)


def test_a_process_that_hangs_does_not_keep_the_training_from_ending(phrases, tmp_path):
    with Loader(batches(phrases, functools.partial(hang, tmp_path / "hangs")), range(9), 1) as loader:
        (process,) = loader._iterator._workers
        while not (tmp_path / "hangs").exists():
            time.sleep(0.01)
    assert wait_until_gone([process.pid], 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("method", METHODS)
def test_signals_are_for_the_training_process(phrases, method, number):
    with Loader(batches(phrases, process_facts), range(20), 1, method) as loader:
        for pid in {process.pid for process in loader._iterator._workers}:
            os.kill(pid, number)    # before it is ready
        pid = next(loader)[0]
        os.kill(pid, number)
        assert {told[0] for told in loader} == {pid}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_a_training_process_that_is_killed_leaves_none(songs_folder, tmp_path):
    program = f"""
import sys, time
from tests.data.test_loader import *
if __name__ == "__main__":
    dataset = PackedDataset.open({str(songs_folder)!r})
    phrases = Phrases(dataset, dataset.phrase_starts(2)[:40], 2, normalize_key=True)
    with Loader(batches(phrases, process_facts), range(1000), 2) as loader:
        print(*{{next(loader)[0] for _ in range(2)}}, flush=True)
        time.sleep(600)
"""
    (tmp_path / "program.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, tmp_path / "program.py"], stdout=subprocess.PIPE, text=True, env=environment)
    pids = list(map(int, process.stdout.readline().split()))
    assert len(pids) == 2 and all(map(is_alive, pids))
    process.kill()
    process.wait()
    assert wait_until_gone(pids, 3)
