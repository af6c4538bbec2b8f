"""The processes that train together: started by `torchrun`, `accelerate launch` or MPI, joined by Accelerate.

A single process does all of this too, and nothing happens. Gradients are averaged by hand: the hooks of
DistributedDataParallel fire in the first of two backward passes, which is wrong under a gradient penalty.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from musegan.errors import UsageError, UserError, one_line
from musegan.models.batch import n_processes, rank

_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")    # what launchers say
_PLACES = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK",
           "LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK",
           "LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE",
           "MASTER_PORT")    # and what Accelerate reads besides, where there are several
_TELLING_SECONDS = 1.0


class ToldByMain(UserError):
    """An error that the main process raises too, and tells; a launcher ends all processes when the first one ends."""

    def wait(self) -> None:
        """Gives the main process the time to tell."""
        time.sleep(_TELLING_SECONDS)


def launched() -> int:
    """How many processes a launcher started, this one among them; 1 without one.

    Raises:
        UsageError: what it says in the environment is no number.
    """
    n = max(_number(name) for name in _SIZES)
    if n > 1:
        for name in _PLACES:
            _number(name)
    return n


def _number(name: str) -> int:
    """Of the environment; 1 where it says none."""
    said = os.environ.get(name, "1")
    try:
        return int(said)
    except ValueError as err:
        raise UsageError(f"{name} in the environment, which a launcher sets, must be a whole number: got {said!r}") from err


@contextlib.contextmanager
def joined(wants_cpu: Callable[[], bool]) -> Iterator[None]:
    """Joins the processes that a launcher started, by gloo on CPUs and by NCCL on GPUs; left in peace, they part.

    Args:
        wants_cpu: asked where there are several; a mistake in what it reads is left to who reads it next.
    Raises:
        UserError: a machine has fewer GPUs than processes.
        UsageError: the environment does not say how they find each other.
    """
    if launched() == 1:
        yield
        return
    on_cpu = not torch.cuda.is_available()
    with contextlib.suppress(UserError):
        on_cpu = on_cpu or wants_cpu()
    n_local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if not on_cpu and n_local > (n_gpus := torch.cuda.device_count()):
        kind = UserError if os.environ.get("RANK", "0") == "0" else ToldByMain
        raise kind(f"{n_local} processes on a machine with {n_gpus} GPUs: start fewer, or set train.device to cpu")
    from accelerate import PartialState    # takes a second, which one process does not need

    try:
        state = PartialState(cpu=on_cpu)
    except ValueError as err:    # a variable is missing
        raise UsageError(f"cannot join the {launched()} processes of a launcher: {one_line(err)}") from err
    yield
    state.destroy_process_group()    # not after an error, when others may be gone


def is_main() -> bool:
    """Whether this is the process that writes, compares and talks."""
    return rank() == 0


def own_part(whole: Tensor) -> Tensor:
    """Of something drawn for the whole batch [N, ...], the part of this process [N / processes, ...]."""
    return whole.chunk(n_processes())[rank()] if n_processes() > 1 else whole


@torch.no_grad()
def gathered(part: Tensor) -> Tensor:
    """The whole batch [N, ...] of the processes' parts, in every process."""
    if n_processes() == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(n_processes())]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts)


@torch.no_grad()
def average_gradients(network: nn.Module) -> None:
    """Replaces the gradients of a network's weights by their mean over the processes, in one message."""
    if n_processes() == 1:
        return
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= n_processes()
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients])):
        gradient.copy_(mean.view_as(gradient))


@torch.no_grad()
def same_everywhere(*networks: nn.Module) -> None:
    """Gives every process the main one's weights and buffers; equal seeds may differ by a bit between machines."""
    if n_processes() > 1:
        for network in networks:
            for value in network.state_dict().values():
                dist.broadcast(value, 0)


def check_same(fact: object, name: str) -> None:
    """Checks that the processes have the same data set, checkpoint or the like.

    Raises:
        UserError: one has another than the main one.
    """
    if n_processes() == 1:
        return
    facts: list[object] = [None] * n_processes()
    dist.all_gather_object(facts, fact)
    if others := [number for number, other in enumerate(facts) if other != facts[0]]:
        raise told_once(UserError(f"process {others[0]} reads another {name} than the main process"))


def any_requested(requested: bool) -> bool:
    """Whether it is requested in any process."""
    if n_processes() == 1:
        return requested
    flag = torch.tensor(float(requested), device=_meeting_place())
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag)


def averaged(numbers: dict[str, float]) -> dict[str, float]:
    """The means over the processes of numbers with the same names; what is no number in one is none in all."""
    if n_processes() == 1:
        return numbers
    values = torch.tensor(list(numbers.values()), dtype=torch.float64, device=_meeting_place())
    dist.all_reduce(values)
    return dict(zip(numbers, (values / n_processes()).tolist()))


def told_once(error: UserError) -> UserError:
    """An error that every process raises, made such that only the main one tells it."""
    return error if is_main() else ToldByMain(str(error))


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What must succeed in all processes before any goes on: the mistake of one becomes every one's."""
    mistake = None
    try:
        yield
    except (UserError, OSError) as err:
        if n_processes() == 1:
            raise
        mistake = err
    if not any_requested(mistake is not None):
        return
    said: list[str | None] = [None] * n_processes()
    dist.all_gather_object(said, mistake and one_line(mistake, max_length=1000))
    if is_main() and mistake is not None:
        raise mistake
    number, words = next((number, words) for number, words in enumerate(said) if words)
    raise told_once(UserError(words if number == 0 else f"process {number}: {words}"))


def _meeting_place() -> torch.device:
    """Where tensors lie that the processes exchange."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
