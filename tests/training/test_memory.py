"""Freed memory is kept, which a process of its own shows."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from musegan.training.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    torch.ones(10_000_000)    # 40 MB; what little is placed into a freed one may cost a few new ones
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_large_tensors_come_without_page_faults():
    faults = {
        keep: int(subprocess.check_output([sys.executable, "-c", PROGRAM.format(keep=keep)]))
        for keep in (False, True)
    }
    assert faults[True] < faults[False] / 3
