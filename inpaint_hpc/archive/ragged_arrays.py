"""Ragged arrays by offsets, and texts as bytes of fixed width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def gather(starts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat rows that entries `rows` own by their offsets, and the offsets of what was gathered."""
    counts = np.diff(starts)[rows]
    new = offsets(counts)
    return np.repeat(starts[:-1][rows] - new[:-1], counts) + np.arange(new[-1]), new


def offsets(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """[0, n_0, n_0 + n_1, ...], int64."""
    return np.concatenate([[0], np.cumsum(np.asarray(counts, dtype=np.int64))])


def texts(values: Sequence[str], longest: int | None = None) -> np.ndarray:
    """Strings as UTF-8 bytes of fixed width, cut to `longest` characters; NUL, which would end them, is dropped."""
    cut = [value if longest is None or len(value) <= longest else value[: longest - 3] + "..." for value in values]
    encoded = [value.replace("\0", "").encode("utf-8", errors="backslashreplace") for value in cut]
    return np.array(encoded, dtype=np.bytes_) if encoded else np.zeros(0, dtype="S1")


def strings(values: np.ndarray) -> list[str]:
    """The inverse of `texts`."""
    return [value.decode("utf-8") for value in values.tolist()]
