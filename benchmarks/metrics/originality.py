"""Speed of the search for the nearest phrase, against popcounts of all: `python -m benchmarks.metrics.originality`."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks import harness
from benchmarks.data.repeated import write_repeated
from benchmarks.ops.__main__ import ROOT, cpu_model, read_lines
from musegan import __version__
from musegan.data.dataset import PackedDataset
from musegan.files import atomic_write
from musegan.metrics.music import Music
from musegan.metrics.originality import MAX_SEMITONES, Index, Nearest
from musegan.training.memory import keep_freed_memory

RESULTS = ROOT / "benchmarks" / "results" / "originality.jsonl"
N_BARS, CHUNK = 4, 512
INDEX, FEW, POPCOUNT = "index", "index, the few", "popcount of packed bits, the few"


def main(argv: list[str] | None = None) -> None:
    arguments = _parse(argv)
    console = Console()
    keep_freed_memory()
    torch.set_num_threads(1)
    origin = {
        "data": "embedded songs" if arguments.data is None else arguments.data.name,
        "versions": {"musegan": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "cpu": cpu_model(),
        "load_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory() as temporary:
        with console.status("writing the data set"):
            write_repeated(Path(temporary), arguments.data, max(arguments.phrases), N_BARS, apart=False)
        dataset = PackedDataset.open(temporary)
        lines = []
        for n_phrases in arguments.phrases:
            with console.status(f"measuring {n_phrases:,} phrases"):
                lines += [line | origin for line in measure(dataset, n_phrases, arguments)]
    console.print(table(lines))
    if arguments.out is not None:
        kept = [line for line in read_lines(arguments.out) if line["data"] != origin["data"]]
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(arguments.out) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept + lines), encoding="utf-8")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics.originality", description=__doc__)
    parser.add_argument("--data", type=Path, help="packed data set or MIDI files (default: the embedded songs); "
                        "repeated in other keys until there are phrases enough")
    parser.add_argument("--phrases", type=int, nargs="+", default=[16_640, 100_000],
                        help="phrases of four bars in the corpus (default: 16640 100000)")
    parser.add_argument("--queries", type=int, default=1000, help="phrases to look for (default: 1000)")
    parser.add_argument("--few", type=int, default=4, help="of them, for the popcounts (default: 4)")
    parser.add_argument("--repeats", type=int, default=5, help="timed samples of each way (default: 5)")
    parser.add_argument("--quick", action="store_true", help="a trial: 300 phrases, 20 queries, 2 samples")
    parser.add_argument("--out", type=Path, help="JSON lines (default: benchmarks/results/originality.jsonl; "
                        "none for --quick)")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.phrases, arguments.queries, arguments.few, arguments.repeats = [300], 20, 2, 2
    elif arguments.out is None:
        arguments.out = RESULTS
    if arguments.repeats < 2:
        parser.error(f"--repeats must be at least 2, or there is no IQR: got {arguments.repeats}")
    return arguments


def measure(dataset: PackedDataset, n_phrases: int, arguments: argparse.Namespace) -> Iterator[dict]:
    """One line for each way: seconds for all queries, none compared with its own piece.

    Popcounts are taken for a few queries, and the speed-up is that of the index for the same few.
    """
    starts = dataset.phrase_starts(N_BARS)[:n_phrases]
    pieces = dataset.piece_of(starts)
    begin = time.perf_counter()
    index = Index.of(_chunks(dataset, starts), pieces)
    built = time.perf_counter() - begin
    n_queries = min(arguments.queries, len(starts))
    asked = torch.linspace(0, len(starts) - 1, n_queries).long()
    few = asked[torch.linspace(0, n_queries - 1, arguments.few).long()]
    music, some = (Music(dataset.roll(starts[chosen], N_BARS), dataset.spec) for chosen in (asked, few))
    packed = Packed(some, _chunks(dataset, starts), pieces)

    theirs, ours = packed.nearest(pieces[few]), index.nearest(some, pieces[few])
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs)), "the nearest phrases differ"
    ways = {
        INDEX: harness.Way(lambda: index.nearest(music, pieces[asked])),
        FEW: harness.Way(lambda: index.nearest(some, pieces[few]), share=len(few) / n_queries),
        POPCOUNT: harness.Way(lambda: packed.nearest(pieces[few]), share=len(few) / n_queries),
    }
    harness.measure(ways, arguments.repeats)
    n_notes = int(index.n_notes.sum())
    facts = {"phrases": len(starts), "queries": n_queries, "tracks": dataset.spec.n_tracks, "notes": n_notes,
             "index_bytes": index.keys.nbytes + index.first.nbytes + index.n_notes.nbytes,
             "index_seconds_with_reading": built}
    for name, way in ways.items():
        low, median, high = statistics.quantiles(way.seconds, n=4)
        line = {"way": name, "seconds": median, "iqr": high - low, "repeats": len(way.seconds),
                "threads": torch.get_num_threads(), "measured_share": way.share} | facts
        if name != INDEX:
            line |= {"rival": POPCOUNT, "speed_up": statistics.median(ways[POPCOUNT].seconds) / median}
        yield line


class Packed:
    """Some phrases and a corpus as 128 bits for each track and step, of which only those that the phrases use are kept.

    Each word of each phrase in each key is compared with that of the whole corpus.
    """

    def __init__(self, some: Music, chunks: Iterator[Music], groups: Tensor):
        self.groups = groups.numpy()
        self.n_notes = np.zeros(len(groups), np.int64)
        self.some = [_notes(some)[:, some.sample == i] for i in range(some.n)]    # [3, notes]
        self.is_drum = some.is_drum.numpy().repeat(some.n_steps)    # of each row
        used = np.unique(np.concatenate([notes[0] for notes in self.some]))
        self.words = {row: np.zeros((2, len(groups)), np.uint64) for row in used.tolist()}
        begin = 0
        for music in chunks:
            notes = _notes(music)
            self.n_notes[begin : begin + music.n] = np.bincount(notes[2], minlength=music.n)
            row, pitch, phrase = notes[:, np.isin(notes[0], used)]
            bits = np.zeros((len(used), music.n, 128), bool)
            bits[np.searchsorted(used, row), phrase, pitch] = True
            for words, row in zip(_words(bits), used.tolist()):
                self.words[row][:, begin : begin + music.n] = words.T
            begin += music.n

    def nearest(self, groups: Tensor) -> Nearest:
        """As `Index.nearest`, of the few phrases."""
        found = []
        for notes, group in zip(self.some, groups.tolist()):
            shared = self._shared(notes)
            similarity = shared / (self.n_notes + notes.shape[1] - shared)
            similarity[:, self.groups == group] = -1
            moves, phrases = np.nonzero(similarity == similarity.max())
            best = min(zip(abs(moves - MAX_SEMITONES), moves, phrases))
            found.append((similarity.max(), best[2], best[1] - MAX_SEMITONES))
        similarity, phrase, semitones = zip(*found)
        return Nearest(torch.tensor(similarity, dtype=torch.float64), torch.tensor(phrase), torch.tensor(semitones))

    def _shared(self, notes: np.ndarray) -> np.ndarray:
        """[25, n] uint16, cells that the phrase in each key shares with each of the corpus."""
        rows, which = np.unique(notes[0], return_inverse=True)
        shared = np.zeros((2 * MAX_SEMITONES + 1, len(self.n_notes)), np.uint16)
        for move, counts in enumerate(shared):
            bits = np.zeros((len(rows), 128 + 2 * MAX_SEMITONES), bool)
            bits[which, notes[1] + np.where(self.is_drum[notes[0]], MAX_SEMITONES, move)] = True
            words = _words(np.ascontiguousarray(bits[:, MAX_SEMITONES:-MAX_SEMITONES]))
            for row, pair in zip(rows.tolist(), words):
                for word, theirs in zip(pair, self.words[row]):
                    if word:
                        counts += np.bitwise_count(theirs & word)
        return shared


def _notes(music: Music) -> np.ndarray:
    """[3, notes] of each note the row (track and step), pitch and phrase."""
    return torch.stack([music.track * music.n_steps + music.start, music.pitch, music.sample]).numpy()


def _words(bits: np.ndarray) -> np.ndarray:
    """[..., 128] bool as [..., 2] uint64."""
    return np.packbits(bits, axis=-1).view(np.uint64)


def _chunks(dataset: PackedDataset, starts: Tensor) -> Iterator[Music]:
    for part in starts.split(CHUNK):
        yield Music(dataset.roll(part, N_BARS), dataset.spec)


def table(lines: list[dict]) -> Table:
    """All lines, a section for each corpus."""
    result, corpus = Table("way", "seconds", "IQR", "speed-up", title="Nearest phrase in any key"), None
    for line in lines:
        if line["phrases"] != corpus:
            corpus = line["phrases"]
            result.add_section()
            result.add_row(f"[bold]{line['queries']:,} of {corpus:,} phrases, {line['index_bytes'] / 1e6:.1f} MB")
        speed_up = f"{line['speed_up']:.1f}" if "speed_up" in line else ""
        result.add_row(line["way"], f"{line['seconds']:,.3g}", f"{line['iqr']:.2g}", speed_up)
    return result


if __name__ == "__main__":
    main()
