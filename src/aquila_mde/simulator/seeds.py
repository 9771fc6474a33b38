"""Randomness that is the same for the same seed, whatever else was generated before."""

from __future__ import annotations

from random import Random
from typing import Literal, get_args
from uuid import UUID

Source = Literal[
    "machine",
    "alert",
    "action",
    "slot",
    "cve",
    "identity",
    "update",
    "catalogue",
    "past",
    "place",
    "hunt",
]
_SOURCES = get_args(Source)


def random_of(seed: int, source: Source, index: int) -> Random:
    """The random numbers of one thing."""
    mixed = (seed * 0x9E3779B97F4A7C15 + _SOURCES.index(source) * 0xC2B2AE3D27D4EB4F) & (2**64 - 1)
    return Random((mixed << 40) ^ index)  # noqa: S311 - simulated data, nothing to keep secret


def hex_of(rng: Random, digits: int) -> str:
    """``digits`` random hexadecimal digits."""
    return f"{rng.getrandbits(digits * 4):0{digits}x}"


def guid_of(rng: Random) -> str:
    """A random GUID."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def mixed(index: int, seed: int) -> int:
    """32 well-mixed bits of ``index``: cheap enough to be asked for each of ten million rows."""
    value = ((index + 1) * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 29)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    return (value ^ (value >> 32)) & 0xFFFFFFFF
