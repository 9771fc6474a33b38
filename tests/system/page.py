"""What a written preview holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def data_of(page: Path) -> dict[str, Any]:
    """The data in the page, as its script gets it."""
    text = page.read_text(encoding="utf-8").split("const DATA = ")[1].split(";</script>")[0]
    found: dict[str, Any] = json.loads(text.replace("\\x3c", "<"))
    return found
