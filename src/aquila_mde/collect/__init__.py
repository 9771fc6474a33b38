"""Moves records from a Defender tenant into the engine: each version once, none lost."""
