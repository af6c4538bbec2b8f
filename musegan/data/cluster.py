"""The blocks of `prepare` as a Ray Data job; needs the extra `ray`.

The files and the work folder must lie where all machines of the cluster see them under the same path.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator

import torch

from musegan.data.sources import Source
from musegan.errors import UserError, one_line


def run_on_ray(
    function: Callable[[int, list[Source]], int], blocks: dict[int, list[Source]], jobs: int
) -> Iterator[int]:
    """Calls a function for each block, on the Ray cluster that `RAY_ADDRESS` names or else on one of this machine alone.

    Args:
        function: from a number and a block of files to a count; must be picklable.
        blocks: by number.
        jobs: tasks at a time, at most, each on a core.
    Yields:
        What the function returns, as blocks are done.
    Raises:
        UserError: Ray is not installed, or cannot be reached.
        Exception: what the function raised.
    """
    try:
        import ray
    except ImportError as err:
        raise UserError('a Ray job needs Ray: pip install "musegan[ray]"') from err
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError, OSError) as err:
            raise UserError(f"cannot reach Ray: {one_line(err)}") from err
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False    # the command shows its own
        context.print_on_execution_start = False
        rows = [{"index": index, "sources": json.dumps(block)} for index, block in blocks.items()]

        def prepare_row(row: dict) -> dict:
            torch.set_num_threads(1)
            return {"n": function(row["index"], [Source(*source) for source in json.loads(row["sources"])])}

        # A row is a block of files: each is a task of its own, so that one that is lost is done again alone.
        data = ray.data.from_items(rows, override_num_blocks=max(len(rows), 1))
        for row in data.map(prepare_row, compute=ray.data.TaskPoolStrategy(size=jobs)).iter_rows():
            yield int(row["n"])
    except ray.exceptions.RayTaskError as err:
        raise err.as_instanceof_cause() from err
    finally:
        if started:
            ray.shutdown()
