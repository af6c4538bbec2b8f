"""Music as whole numbers, and back: `lines` has melodies, `tracks` whole bands; `vocabulary` what they share."""

from __future__ import annotations

from typing import Literal, get_args

from musegan.roll import RollSpec
from musegan.tokens.lines import FIRST_PITCH, REST, LineVocabulary
from musegan.tokens.tracks import FIRST_NOTE, TrackVocabulary
from musegan.tokens.vocabulary import BEGIN, END, Place, Vocabulary

__all__ = [
    "BEGIN", "END", "FIRST_NOTE", "FIRST_PITCH", "REST", "Encoding", "LineVocabulary", "Place", "TrackVocabulary",
    "Vocabulary", "vocabulary_of",
]    # fmt: skip

Encoding = Literal["grid", "events", "tracks"]


def vocabulary_of(encoding: Encoding, spec: RollSpec) -> Vocabulary:
    """The tokens of an encoding for rolls of a spec.

    Raises:
        ValueError: there is no such encoding, one of melodies is asked for several tracks or drums, or there are too many
            tracks.
    """
    if encoding not in get_args(Encoding):
        raise ValueError(f"encoding must be one of {', '.join(get_args(Encoding))}: got {encoding!r}")
    if encoding == "tracks":
        return TrackVocabulary(spec.n_pitches, spec.steps_per_bar, tuple(track.is_drum for track in spec.tracks))
    if spec.n_tracks != 1 or spec.tracks[0].is_drum:
        raise ValueError(f"encoding {encoding} is of one pitched track: got {', '.join(map(str, spec.tracks))}")
    return LineVocabulary(spec.n_pitches, spec.steps_per_bar, encoding)
