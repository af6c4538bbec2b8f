"""Models that write token by token beside simple ones: `python -m benchmarks.models.sequences runs/lstm ...`.

For the best snapshot of each run, on the pieces that neither trained nor chose it:

- *likelihood*: perplexity of a token, nats a step and a note, beside what counting tokens gives: a unigram, and Markov chains
  of order 2 and 5 on the same tokens, moved as the run's batches are. Nats a step can be compared between encodings;
- *copies*, of melodies: the longest run of notes that a generated one has in common with a training melody, in any key, beside
  that of held-out real melodies of as many bars; and likewise counting only notes that move, for one struck on and on is nobody's;
- *speed*: 512 tokens one at a time, with what is before kept (equal to one pass to 1e-10, in float64) and without; 64 made at
  once beside one by one, and how fast the largest matrix is multiplied by as many rows; CPU seconds of one thread, medians of
  runs that take turns.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from benchmarks.models.kinds import write
from musegan import config
from musegan.config import SequenceConfig
from musegan.data.embedded import open_dataset
from musegan.data.sequences import Passage, Windows, cut
from musegan.errors import UserError
from musegan.metrics.copies import longest_copies
from musegan.models import SequenceModel, load_model
from musegan.ops import notes
from musegan.sampling import exact
from musegan.sequences import Choice, draw_tokens, sample
from musegan.training.likelihood import Likelihood, likelihood, summed
from musegan.training.run_folder import RunFolder
from musegan.training.splits import SequenceSplits, split_sequences

SMOOTHINGS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
N_TOKENS = 512    # of the comparison of passes
N_AT_ONCE = 64    # samples of the comparison of batches
N_TURNS = 3

Tokens = list[list[int]]


class Chain:
    """A Markov chain, smoothed by those of lower orders (Witten and Bell 1991).

    p(c | context) = (count(context c) + k d(context) p(c | shorter context)) / (count(context) + k d(context)), where d is
    how many different tokens came after the context; below order 0 all V tokens are alike.

    Args:
        melodies: sequences that begin with a token that is told.
        order: tokens of a context; fewer at the begin of a melody.
        n_tokens: V.
    """

    def __init__(self, melodies: Tokens, order: int, n_tokens: int):
        self._order, self._n_tokens, self.smoothing = order, n_tokens, 1.0
        self._after: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for tokens in melodies:
            for i in range(1, len(tokens)):
                for n in range(min(order, i) + 1):
                    self._after[tuple(tokens[i - n : i])][tokens[i]] += 1

    def probability(self, context: Sequence[int], token: int) -> float:
        """Of a token after its context."""
        result = 1 / self._n_tokens
        for n in range(min(self._order, len(context)) + 1):
            after = self._after.get(tuple(context[len(context) - n :]))
            if after is not None:
                kept = self.smoothing * len(after)
                result = (after[token] + kept * result) / (after.total() + kept)
        return result

    def likelihood(self, melodies: Windows) -> Likelihood:
        """Of all windows; the accuracy is not known."""
        rows = tokens_of(melodies)
        nats = -sum(math.log(self.probability(row[max(i - self._order, 0) : i], row[i]))
                    for row in rows for i in range(1, len(row)))    # fmt: skip
        return summed(nats, sum(len(row) - 1 for row in rows), 0, melodies)


def tokens_of(melodies: Windows, semitones: int = 0) -> Tokens:
    """The tokens of all windows, as they are and moved up and down by up to so many semitones."""
    found = []
    index = torch.arange(len(melodies))
    for move in range(-semitones, semitones + 1):
        given, targets = melodies.rows(index, torch.full_like(index, move))
        rows = torch.cat([given[:, :1], targets], 1)    # [n, L]
        found += [row[:n].tolist() for row, n in zip(rows, melodies.lengths)]
    return found


def chain(order: int, settings: SequenceConfig, splits: SequenceSplits) -> Chain:
    """A chain of the training pieces, smoothed as the validation pieces like it best."""
    vocabulary = splits.training.vocabulary
    once = Windows(splits.passages[0], vocabulary, settings.data.n_bars, every_bar=False)
    found = Chain(tokens_of(once, settings.data.transpose_semitones), order, vocabulary.size)

    def nats(smoothing: float) -> float:
        found.smoothing = smoothing
        return found.likelihood(splits.validation).per_token

    found.smoothing = min(SMOOTHINGS, key=nats)
    return found


def copies(model: SequenceModel, settings: SequenceConfig, splits: SequenceSplits, n: int) -> dict[str, dict[str, float]]:
    """Longest copies from training lines, in notes: of n generated melodies, and of real ones of as many bars."""
    roll, n_bars = sample(model, n, settings.data.n_bars, 0, Choice(top_p=0.95)), settings.data.n_bars
    table = notes(roll).numpy()    # [notes, 5]
    generated = [table[table[:, 0] == i, 2:] for i in range(n)]
    t = splits.training.vocabulary.steps_per_bar
    real = [part for line in splits.passages[2] for part in _whole_windows(line, n_bars, t)]
    training = [line.notes for line in splits.passages[0]]
    result = {}
    for name, lines in (("generated", generated), ("real", real)):
        longest, moving = (longest_copies(lines, training, moving).double() for moving in (False, True))
        result[name] = {"n": len(lines), "notes": statistics.mean(map(len, lines)), "median": float(longest.median()),
                        "p95": float(longest.quantile(0.95)), "longest": float(longest.max()),
                        "median_moving": float(moving.median()), "longest_moving": float(moving.max())}    # fmt: skip
    return result


def _whole_windows(line: Passage, n_bars: int, steps_per_bar: int) -> list:
    """Bars of a line, so many at a time; a shorter line is one."""
    starts = range(0, max(line.n_bars - n_bars, 0) + 1, n_bars)
    return [cut(line, first, min(n_bars, line.n_bars), steps_per_bar).notes for first in starts]


@torch.no_grad()
def speed(model: SequenceModel) -> dict[str, float]:
    """CPU seconds of each way, medians of turns or sums of all, and billions of operations a second of one product."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, model.vocabulary.size, (1, N_TOKENS), generator=generator)

    def kept(by: SequenceModel = model) -> torch.Tensor:
        state, rows = None, []
        for token in tokens[0]:
            logits, state = by.step(token[None], state)
            rows.append(logits)
        return torch.stack(rows, 1)

    def anew() -> torch.Tensor:
        return torch.stack([model(tokens[:, : i + 1])[:, -1] for i in range(N_TOKENS)], 1)

    double = exact(model)    # in which music is made; float32 rounds logits of some tens to 1e-5
    assert (kept(double) - double(tokens)).abs().max() < 1e-10, "a token at a time gives other logits"
    n_steps = model.n_bars * model.spec.steps_per_bar

    def draw(numbers: Sequence[int]) -> torch.Tensor:
        return draw_tokens(double, numbers, n_steps, 0)

    weight = max((each for each in double.parameters() if each.ndim == 2), key=torch.Tensor.numel)
    given = {n: torch.randn(n, weight.shape[1], generator=generator, dtype=torch.float64) for n in (1, N_AT_ONCE)}
    seconds = defaultdict(list)

    def timed(name: str, way: Callable[[], object], n_times: int = 1) -> object:
        start = time.process_time()    # whatever else the machine does
        for _ in range(n_times):
            made = way()
        seconds[name].append((time.process_time() - start) / n_times)
        return made

    for turn in range(N_TURNS):
        timed("kept_s", kept)
        timed("anew_s", anew)
        together = timed("at_once_s", partial(draw, range(N_AT_ONCE)))
        for i in range(turn, N_AT_ONCE, N_TURNS):    # in all turns, each once
            alone = timed("one_by_one_s", partial(draw, [i]))[0]
            assert torch.equal(together[i, : len(alone)], alone), "a sample depends on those made with it"
        for n, x in given.items():
            timed(f"product_{n}_s", partial(F.linear, x, weight), 100)
    found = {name: statistics.median(each) for name, each in seconds.items()}
    found["one_by_one_s"] = sum(seconds["one_by_one_s"])
    rates = {f"product_{n}_gflops": 2 * n * weight.numel() / found.pop(f"product_{n}_s") / 1e9 for n in given}
    return found | {"n_at_once": N_AT_ONCE} | rates


def measure(path: Path, n: int, timed: bool) -> list[dict]:
    """The rows of a run: its model and the chains on its tokens."""
    run = RunFolder(path)
    settings = config.load(["--config", str(run.config)])
    if not isinstance(settings, SequenceConfig):
        raise UserError(f"{path} is no run of the family sequence: its family is {settings.family}")
    splits = split_sequences(settings.data, open_dataset(settings.data.dataset, run.data, "data.dataset", print))
    if splits.test is None:
        raise UserError(f"{path} kept no pieces to test on: data.test_share is 0")
    model = load_model(run.best)
    about = {"run": path.name, "dataset": Path(settings.data.dataset).name, "track": settings.data.track,
             "encoding": settings.data.encoding, "pieces_tested": len({line.piece for line in splits.passages[2]}),
             "steps_tested": splits.test.n_steps, "notes_tested": splits.test.n_notes}    # fmt: skip
    rows = []
    for order in (0, 2, 5):
        found = chain(order, settings, splits).likelihood(splits.test)
        rows.append(about | {"model": f"markov-{order}" if order else "unigram"} | _numbers(found))
    found = likelihood(model, splits.test)
    about |= {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    own = about | {"model": model.kind} | _numbers(found) | {"accuracy": found.accuracy}
    own |= {"copies": copies(model, settings, splits, n)} if model.monophonic else {}    # of bands, see musegan evaluate
    own |= speed(model) if timed else {}
    return [*rows, own]


def _numbers(found: Likelihood) -> dict[str, float]:
    return {"perplexity": found.perplexity, "nats_per_token": found.per_token, "nats_per_step": found.per_step,
            "nats_per_note": found.per_note}    # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Measures runs one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.sequences", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--n", type=int, default=64, help="melodies generated, to look for copies (default: 64)")
    parser.add_argument("--no-speed", action="store_true", help="leave out what is timed")
    parser.add_argument("--out", type=Path, help="JSON lines, such as benchmarks/results/sequences.jsonl")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = [row for path in arguments.runs for row in measure(path, arguments.n, not arguments.no_speed)]
    table = Table(title="Held-out pieces, and copies from training ones (generated / real, notes)")
    headings = ("run", "model", "encoding", "perplexity", "nats/step", "nats/note", "median copy", "longest copy",
                "median, moving", "longest, moving")    # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("run", "model", "encoding") else "right")
    for row in rows:
        both = [row["copies"][side] for side in ("generated", "real")] if "copies" in row else []
        table.add_row(row["run"], row["model"], row["encoding"],
                      *(f"{row[name]:.4f}" for name in ("perplexity", "nats_per_step", "nats_per_note")),
                      *(" / ".join(f"{each[name]:.0f}" for each in both) for name in ("median", "longest", "median_moving", "longest_moving")))    # fmt: skip
    Console().print(table)
    for row in rows:
        if "kept_s" in row:
            print(f"{row['run']}: {N_TOKENS} tokens, one at a time: {row['kept_s']:.2f} s with what is before kept, "
                  f"{row['anew_s']:.2f} s anew ({row['anew_s'] / row['kept_s']:.1f}x); {N_AT_ONCE} samples: "
                  f"{N_AT_ONCE / row['at_once_s']:.1f} a second at once, {N_AT_ONCE / row['one_by_one_s']:.1f} one by one "
                  f"({row['one_by_one_s'] / row['at_once_s']:.1f}x); a product at {row[f'product_{N_AT_ONCE}_gflops']:.0f} "
                  f"and {row['product_1_gflops']:.0f} GFLOP/s")
    if arguments.out is not None:
        write(rows, arguments.out)


if __name__ == "__main__":
    main()
