"""Models that read music token by token and tell what may come next: their base, LSTM and GRU.

Source: the LSTM is the article's: an embedding of 128, two LSTM layers of 256, a dense layer of 256 with ReLU, and a
softmax over the vocabulary. Differs: it is asked after each token, not after every sixteenth alone.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from musegan.errors import UserError
from musegan.models.generator import MAX_BARS, Facts, check_positive
from musegan.roll import RollSpec
from musegan.tokens import Encoding, LineVocabulary, vocabulary_of

MAX_LAYERS = 100    # a folder that says more would take forever to read


class State(NamedTuple):
    """What a model remembers of the tokens so far."""

    n_tokens: int
    elapsed: Tensor
    """[N] int64 steps of music."""
    memory: tuple[Any, ...]
    """Hidden states, or keys and values; the model's own affair, but that `[rows]` of each is that of some sequences."""

    def rows(self, rows: Tensor) -> State:
        """Of some sequences: those of `rows`, [N] bool or indices."""
        return State(self.n_tokens, self.elapsed[rows], tuple(each[rows] for each in self.memory))


class SequenceModel(nn.Module, PyTorchModelHubMixin):
    """Base of all models that write token by token: what the loop, generation and model folders know of one.

    Args:
        encoding: how music is tokens; see `musegan.tokens.vocabulary_of`.
        spec: of the rolls that it is written as.
        n_bars: most bars of a window of training.
        facts: of the training data.
        width: channels of what a token is turned into.
        position_in_bar: it is told at which step of the bar each token ends.
        dropout: probability in [0, 1) with which a channel is silenced, where a model has it.
    Raises:
        ValueError: the encoding does not fit the spec, or a number is out of range.
    """

    family: ClassVar[str] = "sequence"
    kind: ClassVar[str]
    """Its name in a config and in a model folder."""

    def __init__(
        self,
        encoding: Encoding,
        spec: RollSpec,
        n_bars: int,
        facts: Facts,
        width: int,
        position_in_bar: bool,
        dropout: float,
    ):
        super().__init__()
        check_positive(n_bars=n_bars, width=width)
        if n_bars > MAX_BARS:
            raise UserError(f"n_bars must be at most {MAX_BARS}: got {n_bars}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1): got {dropout}")
        self.vocabulary, self.spec, self.n_bars, self.facts = vocabulary_of(encoding, spec), spec, n_bars, facts
        self.embedding = nn.Embedding(self.vocabulary.size, width)
        self.position = nn.Embedding(spec.steps_per_bar, width) if position_in_bar else None
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("lasting", self.vocabulary.lasting.clone(), persistent=False)    # [V]

    @property
    def monophonic(self) -> bool:
        """Whether it writes melodies, one note at a time, and not several tracks or notes at once."""
        return isinstance(self.vocabulary, LineVocabulary)

    @classmethod
    def arguments(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """What `__init__` takes, of what `config.json` holds."""
        parts = {"spec": RollSpec, "facts": Facts}
        return {**settings, **{name: part(**settings[name]) for name, part in parts.items()}}

    def check_weights(self) -> None:
        """Any weights will do."""

    def run(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Reads on.

        Args:
            tokens: [N, L] int64, L of 1 or more.
            state: after the tokens before them; None at the begin.
        Returns:
            [N, L, V] logits of the token after each, and the state after the last.
        """
        ends = self.lasting[tokens].cumsum(1)    # [N, L]
        ends = ends if state is None else ends + state.elapsed[:, None]
        h = self.embedding(tokens)    # [N, L, C]
        if self.position is not None:
            h = h + self.position(ends % self.spec.steps_per_bar)
        logits, memory = self.read(h, ends, 0 if state is None else state.n_tokens, () if state is None else state.memory)
        return logits, State(tokens.shape[1] + (0 if state is None else state.n_tokens), ends[:, -1], memory)

    def read(self, h: Tensor, ends: Tensor, n_before: int, memory: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
        """Embedded tokens [N, L, C] to logits [N, L, V], and what to remember.

        Args:
            ends: [N, L] int64 steps of music up to the end of each.
            n_before: tokens before them, of which `memory` is; 0 and () at the begin.
        """
        raise NotImplementedError

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [N, L] int64 -> logits [N, L, V] of the token after each."""
        return self.run(tokens)[0]

    def step(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """One token [N] of each sequence -> logits [N, V] of the next, and the state after it."""
        logits, state = self.run(tokens[:, None], state)
        return logits[:, 0], state


def check_n_layers(n_layers: int) -> None:
    """Checks a number of layers.

    Raises:
        ValueError, UserError: it is not a whole number, or out of range.
    """
    check_positive(n_layers=n_layers)
    if n_layers > MAX_LAYERS:
        raise UserError(f"n_layers must be at most {MAX_LAYERS}: got {n_layers}")


class RecurrentModel(SequenceModel):
    """Embedding, recurrent layers, a dense layer with ReLU, logits.

    Args:
        encoding, spec, n_bars, facts, position_in_bar: see `SequenceModel`.
        embedding: numbers that stand for a token.
        width: of the recurrent layers and of the dense one.
        n_layers: recurrent ones.
        dropout: between the layers, and before the dense one.
    """

    layers: ClassVar[type[nn.RNNBase]]

    def __init__(
        self,
        encoding: Encoding,
        spec: RollSpec,
        n_bars: int,
        facts: Facts = Facts(),
        embedding: int = 128,
        width: int = 256,
        n_layers: int = 2,
        position_in_bar: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__(encoding, spec, n_bars, facts, embedding, position_in_bar, dropout)
        check_positive(width=width)
        check_n_layers(n_layers)
        between = dropout if n_layers > 1 else 0.0
        self.recurrent = self.layers(embedding, width, n_layers, batch_first=True, dropout=between)
        self.dense = nn.Linear(width, width)
        self.logits = nn.Linear(width, self.vocabulary.size)

    def read(
        self, h: Tensor, ends: Tensor, n_before: int, memory: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        before = tuple(each.transpose(0, 1) for each in memory)    # [layers, N, width], as torch has it
        h, hidden = self.recurrent(h, self._hidden(before))    # [N, L, width]
        logits = self.logits(torch.relu(self.dense(self.dropout(h))))    # [N, L, V]
        return logits, tuple(each.transpose(0, 1) for each in (hidden if isinstance(hidden, tuple) else (hidden,)))

    def _hidden(self, memory: tuple[Tensor, ...]) -> tuple[Tensor, ...] | Tensor | None:
        return memory or None


class LstmModel(RecurrentModel):
    """Long short-term memory (Hochreiter and Schmidhuber 1997). Each layer has two biases, whose sum is Keras's one."""

    kind = "lstm"
    layers = nn.LSTM


class GruModel(RecurrentModel):
    """Gated recurrent units (Cho et al. 2014)."""

    kind = "gru"
    layers = nn.GRU

    def _hidden(self, memory: tuple[Tensor, ...]) -> Tensor | None:
        return memory[0] if memory else None
