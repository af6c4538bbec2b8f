"""What a process that reads a data set keeps in memory: run as a process of its own, prints JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def resident_bytes() -> dict[str, int]:
    """Resident memory of this process: all of it, and the part that is no file's."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return {"rss": sizes["Rss"], "anonymous": sizes["Anonymous"]}


def main(folder: str, n_bars: int, batch_size: int, dtype_name: str, mapped: bool) -> dict:
    """Reads every phrase of a data set once and tells what was resident: at the start, after imports, at most."""
    facts = {"python": resident_bytes()}
    import torch

    facts["torch"] = resident_bytes()
    from musegan.data import plane_files
    from musegan.data.dataset import PackedDataset
    from musegan.data.loader import Batches, Loader
    from musegan.data.phrases import Augmentation, Phrases

    if mapped:
        plane_files.MAX_MAPPED_BYTES = sys.maxsize
    facts["imports"] = resident_bytes()
    torch.set_num_threads(1)
    dataset = PackedDataset.open(folder)
    phrases = Phrases(dataset, dataset.phrase_starts(n_bars), n_bars, normalize_key=True)
    facts["phrases"] = resident_bytes()
    batches = Batches(phrases, batch_size, 0, augmentation=Augmentation(5), dtype=getattr(torch, dtype_name))
    most, n_read, n_notes = facts["phrases"], 0, 0
    with Loader(batches, range(len(phrases) // batch_size)) as loader:
        for step, batch in enumerate(loader):
            n_read += len(batch.frame)
            n_notes += int(batch.onset[0].sum())
            if step % 4 == 0:
                most = {name: max(size, most[name]) for name, size in resident_bytes().items()}
    status = Path("/proc/self/status").read_text()
    facts |= {"most": most, "n_read": n_read, "notes_seen": n_notes}
    facts["high_water"] = int(status.split("VmHWM:")[1].split()[0]) * 1024
    return facts


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5] == "mapped")))
