"""Models that write token by token: the article's LSTM, causality, state and cache, model folders."""

import dataclasses
import json

import pytest
import torch

from musegan.config import SEQUENCE_KIND_KEYS, SequenceModelConfig
from musegan.errors import UserError
from musegan.models import build_sequence, load_generator, load_model, save_model, transformer
from musegan.models.generator import Facts
from musegan.models.transformer import bar_rates, rates, rotated, rotation
from musegan.roll import RollSpec, Track

SPEC = RollSpec((Track("lead", 73),), n_pitches=20)
BAND = RollSpec((Track("drums", is_drum=True), Track("piano"), Track("bass", 33)), n_pitches=20)
SMALL = {"width": 16, "n_layers": 2}
CONFIGS = {
    "lstm": SequenceModelConfig("lstm", embedding=8, **SMALL),
    "gru": SequenceModelConfig("gru", embedding=8, position_in_bar=True, **SMALL),
    "rotary": SequenceModelConfig("transformer", n_heads=2, **SMALL),
    "musical": SequenceModelConfig("transformer", n_heads=4, positions="musical", **SMALL),
    "sinusoidal": SequenceModelConfig("transformer", n_heads=2, positions="sinusoidal", position_in_bar=True, **SMALL),
}


def model_of(name, encoding="grid", seed=0):
    torch.manual_seed(seed)
    spec = BAND if encoding == "tracks" else SPEC
    return build_sequence(CONFIGS[name], encoding, spec, 2, Facts(tempo_bpm=90.0)).eval()


def some_tokens(model, n=3, length=40):
    return torch.randint(0, model.vocabulary.size, (n, length), generator=torch.Generator().manual_seed(1))


def test_the_lstm_has_the_article_s_parameters():
    model = build_sequence(SequenceModelConfig(), "grid", RollSpec((Track("lead"),)), 16)
    v, e, u = model.vocabulary.size, 128, 256
    article = v * e + 4 * u * (e + u + 1) + 4 * u * (u + u + 1) + (u + 1) * 256 + (256 + 1) * v    # Keras counts one bias
    assert sum(parameter.numel() for parameter in model.parameters()) == article + 2 * 4 * u


@pytest.mark.parametrize("name", CONFIGS)
def test_future_tokens_change_nothing(name):
    model, tokens = model_of(name), some_tokens(model_of(name))
    changed = tokens.clone()
    changed[:, 25:] = (changed[:, 25:] + 1) % model.vocabulary.size
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :25], after[:, :25])
    assert not torch.allclose(before[:, 25:], after[:, 25:])


@pytest.mark.parametrize("encoding", ["grid", "events", "tracks"])
@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_step_by_step_equals_one_pass(name, encoding, monkeypatch):
    monkeypatch.setattr(transformer, "_ROOM", 4)    # there is none left, and more is made
    model = model_of(name, encoding)
    tokens, state, found = some_tokens(model), None, []
    for i in range(15):
        logits, state = model.step(tokens[:, i], state)
        found.append(logits)
    logits, state = model.run(tokens[:, 15:], state)    # and on, several at once
    torch.testing.assert_close(torch.cat([torch.stack(found, 1), logits], 1), model(tokens), rtol=0, atol=1e-5)
    assert state.n_tokens == 40 and torch.equal(state.elapsed, model.vocabulary.lasting[tokens].sum(1))


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_a_state_stays_what_it_was(name):
    """From one state to several ends, by all sequences and by some, one after the other and in turns."""
    model = model_of(name, "tracks").double()
    ends = [some_tokens(model) for _ in range(3)]
    for i, tokens in enumerate(ends):
        tokens[:, 30:] = (tokens[:, 30:] + i) % model.vocabulary.size
    rows = torch.tensor([2, 0])
    wanted = [model(tokens)[:, 30:] for tokens in ends]
    _, state = model.run(ends[0][:, :30])
    states, found = [state, state, state.rows(rows)], [[], [], []]
    for i in range(30, 40):
        for branch, tokens in enumerate((ends[0], ends[1], ends[2][rows])):
            logits, states[branch] = model.step(tokens[:, i], states[branch])
            found[branch].append(logits)
    again = model.run(ends[1][:, 30:], state)[0]
    found = [torch.stack(logits, 1) for logits in found]
    for logits, expected in zip([*found, again], [*wanted[:2], wanted[2][rows], wanted[1]]):
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-10)
    assert torch.equal(states[2].elapsed, model.vocabulary.lasting[ends[2][rows]].sum(1))


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_go_through_a_state(name):
    model = model_of(name).double()
    tokens, gradients = some_tokens(model, length=12), []
    for parts in (tokens.split(12, 1), tokens.split(1, 1)):
        state, found = None, []
        for part in parts:
            logits, state = model.run(part, state)
            found.append(logits)
            with torch.no_grad():
                model.run(part, state)    # who asks for none takes none away
        loss = torch.cat(found, 1).square().sum()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    for one_pass, steps in zip(*gradients):
        torch.testing.assert_close(steps, one_pass, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["gru", "sinusoidal"])
def test_the_place_in_the_bar_is_told(name):
    """The same embedded token, ending at another step of the bar, gives other logits; a bar later, the same position."""
    model = model_of(name, "events")
    last = model.vocabulary.size - 1    # a whole bar
    position = model.position.weight.detach().clone()
    with torch.no_grad():
        model.embedding.weight[last - 1] = model.embedding.weight[last]
    full, short = (model(torch.tensor([[0, 5, token]]))[0, -1] for token in (last, last - 1))
    assert not torch.allclose(full, short)
    with torch.no_grad():
        model.position.weight[15] = position[0]
    full, short = (model(torch.tensor([[0, 5, token]]))[0, -1] for token in (last, last - 1))
    torch.testing.assert_close(full, short)


def test_rotary_products_depend_on_distance_alone():
    q, k = torch.randn(2, 1, 8, dtype=torch.float64)

    def product(i, j):
        places = torch.tensor([i, j], dtype=torch.float64)
        sin, cos = rotation(places, rates(8), torch.float64)
        a, b = (rotated(each, (sin[place], cos[place])) for place, each in ((0, q), (1, k)))
        return float((a * b).sum())

    assert product(3, 1) == pytest.approx(product(103, 101)) != pytest.approx(product(3, 2))


def test_half_of_the_heads_hear_musical_time(monkeypatch):
    """Queries and keys of the first heads are turned by the number of a token, of the others by its step of the music."""
    model, turns = model_of("musical", "tracks"), []
    monkeypatch.setattr("musegan.models.transformer.rotated", lambda h, turn: turns.append(turn) or h)
    wait = model.vocabulary.size - 16 + 3    # four steps on
    tokens = torch.tensor([[0, 2, 3, wait, 2, wait, wait]])
    model(tokens)
    numbers, steps = torch.arange(7.0), torch.tensor([0.0, 0, 0, 4, 4, 8, 12])
    expected = (rotation(numbers, rates(4), torch.float32), rotation(steps, bar_rates(4, 16), torch.float32))
    for part, by_number, by_step in zip(turns[0], *expected):
        assert part.shape == (1, 4, 7, 2)
        torch.testing.assert_close(part[0], torch.stack([by_number, by_number, by_step, by_step]))


@pytest.mark.parametrize("steps_per_bar", [12, 16, 48])
def test_the_same_place_a_bar_ago_is_nearest(steps_per_bar):
    """Of all steps from a bar and a half to a quarter of a bar ago, a head whose queries and keys are the same everywhere sees
    the one a bar ago best, by the waves that come back in a bar."""
    rate = bar_rates(32, steps_per_bar)
    assert len(rate) == 16 and rate[8] == rate[0] / 2
    ago = torch.arange(steps_per_bar // 4, steps_per_bar * 3 // 2)
    sin, cos = rotation(torch.cat([torch.zeros(1), -ago]), rate[:8], torch.float64)
    seen = (cos[1:] * cos[0] + sin[1:] * sin[0]).sum(1)
    assert ago[seen.argmax()] == steps_per_bar


@pytest.mark.parametrize("kind", SEQUENCE_KIND_KEYS)
def test_a_kind_reads_the_keys_it_is_said_to_read(kind):
    read = set()

    class Recorded(SequenceModelConfig):
        def __getattribute__(self, name):
            read.add(name)
            return super().__getattribute__(name)

    settings = Recorded(kind=kind, width=16)
    read.clear()
    build_sequence(settings, "grid", SPEC, 2)
    assert read == {"kind", *SEQUENCE_KIND_KEYS[kind]}


@pytest.mark.parametrize("encoding", ["events", "tracks"])
@pytest.mark.parametrize("name", CONFIGS)
def test_model_folders(name, encoding, tmp_path):
    model = model_of(name, encoding)
    save_model(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["kind"] == CONFIGS[name].kind
    loaded = load_model(tmp_path)
    assert (loaded.spec, loaded.vocabulary, loaded.facts, loaded.n_bars) == (model.spec, model.vocabulary, model.facts, 2)
    assert loaded.monophonic == (encoding == "events")
    assert torch.equal(loaded(some_tokens(model)), model(some_tokens(model)))
    with pytest.raises(UserError, match=f"a model of the family sequence .{CONFIGS[name].kind}.: this takes one of .* gan"):
        load_generator(tmp_path)


@pytest.mark.parametrize("change, message", [
    ({"encoding": "words"}, "encoding must be one of grid, events, tracks: got 'words'"),
    ({"encoding": ["grid"]}, r"encoding must be one of grid, events, tracks: got \['grid'\]"),
    ({"dropout": float("nan")}, r"dropout must lie in \[0, 1\): got nan"),
    ({"n_heads": 3}, "width must be a multiple of twice n_heads"),
    ({"positions": "none"}, "positions must be rotary, musical or sinusoidal"),
    ({"width": 24}, "does not fit its config"),
    ({"n_bars": 0}, "n_bars must be a whole number above 0"),
    ({"n_bars": 2000}, "n_bars must be at most 1024: got 2000"),
    ({"n_layers": 10**9}, "n_layers must be at most 100: got 1000000000"),
    ({"facts": {"key_shifts": [1]}}, "key_shifts must be 12 counts"),
])
def test_damaged_folders_are_told_in_one_line(change, message, tmp_path):
    save_model(model_of("rotary"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=message):
        load_model(tmp_path)


def test_dropout_is_for_training_alone():
    model = build_sequence(dataclasses.replace(CONFIGS["rotary"], dropout=0.5), "grid", SPEC, 2)
    tokens = some_tokens(model)
    assert torch.equal(model.eval()(tokens), model(tokens))
    assert not torch.equal(model.train()(tokens), model(tokens))
