"""Handing pages of mapped files back."""

import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from musegan.data import pages
from musegan.data.pages import Pages

linux = pytest.mark.skipif(sys.platform != "linux", reason="pages are handed back on Linux alone")


@pytest.fixture
def mapped(tmp_path):
    """16 MB of a file."""
    save_file({"a": np.arange(1 << 22, dtype=np.int32)}, tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        return file.get_tensor("a")


def resident_bytes():
    """Of mapped files."""
    with open("/proc/self/smaps_rollup") as file:
        sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in file if line.endswith("kB\n")}
    return sizes["Rss:"] - sizes["Anonymous:"]


@linux
def test_pages_are_handed_back_and_read_again(mapped):
    own, expected = Pages([mapped]), mapped.clone()
    before = resident_bytes()
    own.release()
    assert before - resident_bytes() > 15e6
    assert torch.equal(mapped, expected)


@linux
def test_pages_go_when_enough_was_read(mapped, monkeypatch):
    monkeypatch.setattr(pages, "MAX_RESIDENT_BYTES", 10 * (pages._FAULT_BYTES + 1000))
    own, released = Pages([mapped]), []
    monkeypatch.setattr(own, "release", lambda: released.append(True))
    own.touched(6, 1000)
    own.touched(4, 1000)
    assert not released
    own.touched(1, 1000)
    assert released


def test_memory_that_is_no_file_is_left_alone(mapped):
    own = [torch.arange(1 << 20), torch.ones(1 << 22).share_memory_(), torch.empty(0)]
    expected = [tensor.clone() for tensor in own]
    some = Pages([*own, mapped])
    assert len(some._ranges) <= 1
    some.release()
    assert all(map(torch.equal, own, expected))
    assert Pages(own)._ranges == []


def test_nothing_is_done_elsewhere(mapped, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    some = Pages([mapped])
    assert some._ranges == []
    some.release()
