"""What is known about network weights, without loading them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class WeightsInfo:
    """One set of weights: its name, tensor file, card and whether the file's sha256 is the card's."""

    name: str
    path: Path
    card: dict[str, Any]

    @property
    def sha256(self) -> str:
        """Digest of the file, as its card states it."""
        return self.card["sha256"]

    def verify(self) -> bool:
        """Whether the tensor file is the one described by the card."""
        return file_digest(self.path) == self.sha256


def file_digest(path: Path) -> str:
    """sha256 of a file, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
