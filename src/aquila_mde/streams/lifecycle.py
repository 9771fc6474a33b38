"""How long a data stream keeps its documents, and when it begins a new index: its ILM policy."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from aquila_mde.errors import ConfigurationError
from aquila_mde.streams.collect_spec import parse_duration

_SIZE = re.compile(r"(\d+)gb")


@dataclass(frozen=True)
class Lifecycle:
    """What the policy of one data stream says."""

    rollover_age: timedelta
    rollover_bytes: int
    """Of a primary shard. What comes first, age or size, begins a new index."""
    delete_after: timedelta
    """Counted from the moment at which an index was rolled over."""


def read_lifecycle(folder: Path) -> Lifecycle:
    """The policy of the data stream in ``folder``. Raises an error that names a file it is not."""
    file = folder / "elasticsearch" / "ilm" / "default_policy.json"
    try:
        phases = json.loads(file.read_bytes())["policy"]["phases"]
        rollover = phases["hot"]["actions"]["rollover"]
        size = _SIZE.fullmatch(rollover["max_primary_shard_size"])
        if size is None:
            raise ValueError("max_primary_shard_size must be in gb")
        return Lifecycle(
            parse_duration(rollover["max_age"]),
            int(size[1]) << 30,
            parse_duration(phases["delete"]["min_age"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(
            f"The lifecycle policy {file} says nothing that can be planned with: {reason}.",
            hint="It needs max_age and max_primary_shard_size under rollover, and min_age under "
            "delete, as those of the package have.",
        ) from None
