"""MIDI files written byte by byte, for what no library writes: `midi_file(chunk(events), ...)`."""

from __future__ import annotations

Event = tuple[int, bytes]
"""Tick from the start, and a message."""

FOUR_FOUR: Event = (0, b"\xff\x58\x04\x04\x02\x18\x08")


def midi_file(*chunks: bytes, kind: int = 1, ticks_per_quarter: int = 480) -> bytes:
    """A file of track chunks."""
    header = b"".join(number.to_bytes(2, "big") for number in (kind, len(chunks), ticks_per_quarter))
    return b"MThd\0\0\0\6" + header + b"".join(chunks)


def chunk(events: list[Event]) -> bytes:
    """A track chunk of events, sorted by tick; those of one tick stay in order."""
    body, now = b"", 0
    for tick, message in sorted(events, key=lambda event: event[0]):
        body += _length(tick - now) + message
        now = tick
    body += b"\0\xff\x2f\0"
    return b"MTrk" + len(body).to_bytes(4, "big") + body


def on(pitch: int, velocity: int = 90, channel: int = 0) -> bytes:
    return bytes([0x90 + channel, pitch, velocity])


def off(pitch: int, channel: int = 0) -> bytes:
    return bytes([0x80 + channel, pitch, 64])


def program(number: int, channel: int = 0) -> bytes:
    return bytes([0xC0 + channel, number])


def name(text: bytes) -> bytes:
    return b"\xff\x03" + _length(len(text)) + text


def tempo(bpm: float) -> bytes:
    return b"\xff\x51\x03" + round(60e6 / bpm).to_bytes(3, "big")


def signature(numerator: int, denominator: int) -> bytes:
    return bytes([0xFF, 0x58, 4, numerator, denominator.bit_length() - 1, 24, 8])


def note(start: int, end: int, pitch: int, velocity: int = 90, channel: int = 0) -> list[Event]:
    return [(start, on(pitch, velocity, channel)), (end, off(pitch, channel))]


def _length(number: int) -> bytes:
    digits = [number & 127]
    while number := number >> 7:
        digits.append(number & 127 | 128)
    return bytes(reversed(digits))
