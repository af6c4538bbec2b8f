"""Every op some times, rightly and wrongly, in few allocations: what `.ci/sanitize` watches for leaks."""

from __future__ import annotations

import pytest
import torch

from musegan import ops
from tests.ops.kernels import kernels, need_native

X = torch.linspace(-3, 3, 2 * 2 * 2 * 3 * 9).view(2, 2, 2, 3, 9)    # [N, K, B, T, P]
ROLL, BITS = X > 0, ops.pack(X[0] > 0)    # BITS: two bars [bars, K, T, bytes]
ONE = torch.ones(1, dtype=torch.int64)
MOVES, LIMITS = torch.ones(1, 2, dtype=torch.int64), torch.tensor([[2, 1, 3], [1, 0, 128]])
CALLS = {    # op: arguments that fit, and arguments that are refused
    "threshold": ((X, 0.5, X[0].contiguous(), True), (X, 0.5, X[0, 0, 0, 0, :5].contiguous(), True)),
    "bernoulli": ((X.transpose(0, 4), 1, 5, None, True), (X, 1, -5, None, False)),
    "neuron": ((X.double(), 2.0), (ROLL, 2.0)),
    "stochastic_neuron": ((X.half(), 2.0, 1, 5), (X, -1.0, 1, 5)),
    "neuron_backward": ((X, X, 2.0), (X, X[0], 2.0)),
    "pack": ((ROLL.transpose(0, 4),), (X,)),
    "unpack": ((BITS.transpose(0, 1), 9, True), (BITS, 90, True)),
    "gather_phrases": (([BITS, BITS], ONE, MOVES, 2, 9, True), ([BITS, BITS], ONE * 4, MOVES, 2, 9, True)),
    "cleanup": ((ROLL, ROLL, X, LIMITS), (ROLL, ROLL, X, LIMITS[:1])),
    "notes": ((ROLL, ROLL, 9), (~ROLL, ROLL, 9)),
    "roll_from_notes": ((ops.notes(ROLL), [2, 2, 2, 3, 9], True), (ops.notes(ROLL), [1, 2, 2, 3, 9], True)),
}    # fmt: skip


def test_every_op_is_called():
    assert set(CALLS) == set(ops.op_backends())


@pytest.mark.parametrize("op", CALLS)
def test_results_and_refusals(op):
    need_native()
    right, wrong = CALLS[op]
    for _, kernel in kernels(op, getattr(torch.ops.musegan, op)):
        for _ in range(3):
            kernel(*right)
            with pytest.raises(RuntimeError):
                kernel(*wrong)
