"""The command line of `musegan generate`: its options, and the request that each family of models makes of them."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from musegan.decoding import Decoding
from musegan.errors import UserError
from musegan.keys import Key
from musegan.requests import DEFAULT_N, Request
from musegan.sequence_requests import DEFAULT_PRIME_BARS, SequenceRequest
from musegan.sequences import Choice

_OWN_OPTIONS = {
    "gan": ("form", "reroll", "vary", "interpolate", "accompany", "given", "as_track", "sampling", "threshold", "density",
            "truncation", "min_steps", "max_gap", "max_pitches", "melody_model", "phrase", "more"),
    "sequence": ("temperature", "top_k", "top_p", "prime", "prime_bars"),
}    # of each family of models, those that not all have; a decoder of the family vae is a generator like a gan's
_ENCODER, _ACCOMPANIES = "with an encoder, of the family vae", "that accompany, of the family gan"
_NEEDED = {"phrase": _ENCODER, "more": _ENCODER, "melody_model": _ACCOMPANIES, "accompany": _ACCOMPANIES, "given": _ACCOMPANIES,
           "as_track": _ACCOMPANIES}    # the models that an option is for, the most particular first
_NEEDED |= {name: "of the families gan and vae" for name in _OWN_OPTIONS["gan"] if name not in _NEEDED}
_NEEDED |= dict.fromkeys(_OWN_OPTIONS["sequence"], "of the family sequence")
_DECODING = ("sampling", "threshold", "density", "min_steps", "max_gap", "max_pitches")
_OF_BOTH = ("melody_model", "as_track", "truncation", *_DECODING, *_OWN_OPTIONS["sequence"])    # a melody, and a band to it
_MOST = 1000    # of an attribute; far above what means anything, far below what overflows


def parser() -> argparse.ArgumentParser:
    """All options."""
    parser = argparse.ArgumentParser(
        prog="musegan generate", description="Makes music with a trained model, as MIDI, .npz, pictures and audio."
    )
    parser.add_argument("--model", required=True, type=Path, metavar="RUN_OR_FOLDER_OR_NAME",
                        help="a run (its best snapshot is taken), a model, or the name of one that comes with musegan")
    parser.add_argument("--n", type=int,
                        help=f"number of phrases, versions or steps (default: {DEFAULT_N}; 1 of each file of a folder, and "
                             "of a --phrase as it is)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same music (default: 0)")
    parser.add_argument("--sample", type=int, default=0, metavar="I",
                        help="number of the first phrase of the seed, or of the one to change (default: 0)")

    long = parser.add_argument_group("long pieces")
    long.add_argument("--bars", type=int, help="bars of a piece, made in one go (default: as in training)")
    long.add_argument("--form", metavar="AABA",
                      help="its sections, all equally long; a letter that comes back is the same music")

    change = parser.add_argument_group("changes of sample I")
    change.add_argument("--reroll", metavar="TRACK", help="versions in which this track is new and the others stay")
    change.add_argument("--vary", type=float, metavar="AMOUNT", help="versions near it: 0 the same, 1 unrelated")
    change.add_argument("--interpolate", type=int, metavar="SEED2", help="steps from it to sample I of another seed")

    given = parser.add_argument_group("accompaniment", "for models trained with --model.accompaniment true")
    given.add_argument("--accompany", type=Path, metavar="FILE",
                       help="MIDI or .npz file, or a folder of them, to make the other tracks to")
    given.add_argument("--given", nargs="+", metavar="TRACK",
                       help="tracks of the file that are kept (default: all that sound)")
    given.add_argument("--as", dest="as_track", metavar="TRACK", help="take all notes of the file for this track's")

    phrase = parser.add_argument_group("a phrase of your own", "for models with an encoder: of musegan train --family vae")
    phrase.add_argument("--phrase", type=Path, nargs="+", metavar="FILE",
                        help="MIDI or .npz file to change by --vary and --reroll, or two to make --n steps between")
    phrase.add_argument("--more", nargs="+", default=[], metavar="ATTRIBUTE=AMOUNT",
                        help="density, register or range: 1 from what has little to what has much, below 0 for less")

    key = parser.add_argument_group("key")
    key.add_argument("--key", metavar="KEY",
                     help='such as "A minor", "C major", F#m; a phrase of the other mode comes out in the relative key; '
                          "with a file, the file's key (default: as found, and printed)")
    key.add_argument("--in-scale", action="store_true", help="leave out notes outside the key's scale; drums stay")

    notes = parser.add_argument_group("which notes")
    notes.add_argument("--sampling", choices=["threshold", "bernoulli"], default="threshold",
                       help="take what is likely enough, or draw each cell (default: threshold)")
    notes.add_argument("--threshold", type=float, metavar="P",
                       help="probability above which a cell sounds, lower for more notes; tracks of one note at a time take "
                            "the likeliest (default: what the model found to sound as often as its data, for each track)")
    notes.add_argument("--density", type=float, default=1.0, metavar="FACTOR",
                       help="about so many times as much sound (default: 1)")
    notes.add_argument("--truncation", type=float, default=1.0, metavar="PSI",
                       help="below 1, phrases nearer to the model's typical one: safer and more alike (default: 1)")
    notes.add_argument("--min-steps", type=int, default=1, metavar="N",
                       help="leave out notes shorter than N steps; not drums")
    notes.add_argument("--max-gap", type=int, default=0, metavar="N",
                       help="close gaps of up to N steps on a pitch; not drums")
    notes.add_argument("--max-pitches", nargs="+", default=[], metavar="N",
                       help="so many notes at once, the likeliest: one number for all pitched tracks, or TRACK=N ...")

    tokens = parser.add_argument_group("token by token", "for models of musegan train --family sequence")
    tokens.add_argument("--temperature", type=float, default=1.0, metavar="T",
                        help="below 1, the likely becomes likelier; 0 takes the likeliest (default: 1)")
    tokens.add_argument("--top-k", type=int, default=0, metavar="K",
                        help="choose among so many of the likeliest tokens (default: 0, all)")
    tokens.add_argument("--top-p", type=float, default=1.0, metavar="P",
                        help="choose among the fewest likeliest that together are so probable (default: 1, all)")
    tokens.add_argument("--prime", type=Path, metavar="FILE",
                        help="MIDI or .npz file whose first bars all begin with")
    tokens.add_argument("--prime-bars", type=int, metavar="N",
                        help=f"so many of them, of the --bars in all (default: {DEFAULT_PRIME_BARS})")
    tokens.add_argument("--melody-model", type=Path, metavar="RUN_OR_FOLDER",
                        help="with a --model that accompanies: melodies of this one, which --as plays, and what fits them")

    files = parser.add_argument_group("files")
    files.add_argument("--out", type=Path, default=Path("music"), help="folder for the files (default: music)")
    files.add_argument("--tempo", type=float,
                       help="quarter notes a minute (default: the file's, or the training data's median)")
    files.add_argument("--overwrite", action="store_true", help="replace the samples of an earlier request in --out")
    files.add_argument("--wav", action="store_true", help="render audio too")
    return parser


def request(arguments: argparse.Namespace) -> Request:
    """What is asked of a generator of rolls.

    Raises:
        UserError: see `Request`.
    """
    same = (
        "n", "seed", "sample", "bars", "form", "reroll", "vary", "interpolate", "truncation", "accompany", "given",
        "as_track",
    )    # fmt: skip
    own = {name: getattr(arguments, name) for name in same}
    if arguments.given is not None:    # drums bass, or drums,bass
        own["given"] = tuple(name.strip() for word in arguments.given for name in word.split(",") if name.strip())
    key = None if arguments.key is None else Key.parse(arguments.key)
    phrase = None if arguments.phrase is None else tuple(arguments.phrase)
    more = _amounts(arguments.more)
    return Request(**own, phrase=phrase, more=more, key=key, only_scale=arguments.in_scale, decoding=decoding(arguments))


def decoding(arguments: argparse.Namespace) -> Decoding:
    """How logits shall become notes.

    Raises:
        UserError: see `Decoding`.
    """
    return Decoding(
        arguments.sampling, arguments.threshold, arguments.density, arguments.min_steps, arguments.max_gap,
        _max_pitches(arguments.max_pitches),
    )    # fmt: skip


def sequence_request(arguments: argparse.Namespace) -> SequenceRequest:
    """What is asked of a model that writes token by token.

    Raises:
        UserError: see `SequenceRequest`.
    """
    choice = Choice(arguments.temperature, arguments.top_k, arguments.top_p)
    own = {name: getattr(arguments, name) for name in ("n", "seed", "sample", "bars", "prime", "prime_bars")}
    key = None if arguments.key is None else Key.parse(arguments.key)
    return SequenceRequest(**own, choice=choice, key=key, only_scale=arguments.in_scale)


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace, family: str) -> None:
    """Raises UserError for an option that another family's models have, and this one's have not."""
    both = family == "gan" and arguments.melody_model is not None
    own = _OF_BOTH if both else _OWN_OPTIONS[family]
    for name, models in _NEEDED.items():
        if name not in own and getattr(arguments, name) != parser.get_default(name):
            option = "as" if name == "as_track" else name.replace("_", "-")
            reason = "means nothing beside --melody-model" if both else f"is for models {models}"
            raise UserError(f"--{option} {reason}: leave it out")


def _amounts(words: list[str]) -> dict[str, float]:
    """Reads `density=1 register=-0.5`."""
    found = [re.fullmatch(r"(\w+)=([+-]?(?:\d+\.?\d*|\.\d+))", word) for word in words]
    if not all(found) or len({each[1] for each in found}) < len(found):
        raise UserError(f"--more must be ATTRIBUTE=AMOUNT, each once: got {' '.join(words)}")
    amounts = {each[1]: float(each[2]) for each in found}
    if any(abs(amount) > _MOST for amount in amounts.values()):
        raise UserError(f"--more must be at most {_MOST} times an attribute, up or down: got {' '.join(words)}")
    return amounts


def _max_pitches(words: list[str]) -> int | dict[str, int] | None:
    """Reads `4`, or `piano=4 bass=1`."""
    pairs = [word.rpartition("=") for word in words]
    if not all(number.isdecimal() for _, _, number in pairs) or not (len(words) <= 1 or all(name for name, _, _ in pairs)):
        raise UserError(f"--max-pitches must be one number, or TRACK=N for some tracks: got {' '.join(words)}")
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise UserError(f"--max-pitches says two numbers for one track: got {' '.join(words)}")
    if not pairs:
        return None
    return {name: int(number) for name, _, number in pairs} if pairs[0][0] else int(pairs[0][2])
