"""JSON of any length, an element at a time.

A database of 257,000 structures is gigabytes in one list or table: only the element that is asked for is in memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from inpaint_hpc.errors import InputError

CHUNK = 1 << 20  # characters
LONGEST = 1 << 28  # characters of one element
_OF_A_NUMBER = "+-.0123456789Ee"
_SPACE = re.compile(r"[ \t\r\n]*")


class JsonStream:
    """The values in a text file, from its start to its end."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text, self._at, self._lines, self._ended = "", 0, 0, False
        self._decode = json.JSONDecoder().raw_decode

    def next_character(self) -> str:
        """The first character of what comes next, which stays; '' at the end of the file."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # also matches nothing
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def value(self) -> Any:
        """The next value, whole.

        Raises:
            InputError: not JSON, cut off, nested too deeply, or longer than `LONGEST`.
        """
        self.next_character()
        while True:
            try:
                found, end = self._decode(self._text, self._at)
                cut_off = self._text[end : end + 1] in _OF_A_NUMBER  # '' too
                if not cut_off or not self._more():
                    self._at = end
                    return found
            except json.JSONDecodeError as error:
                line = self._lines + error.lineno
                if not self._more():
                    raise InputError(f"not JSON, or cut off ({error.msg}, line {line})") from None
            except RecursionError:
                raise InputError("JSON that is nested too deeply") from None

    def elements(self) -> Iterator[None]:
        """Stops before each element of a list; the caller takes it by `value`, `elements` or `names`."""
        yield from self._elements("[", "]")

    def names(self) -> Iterator[str]:
        """The names in an object; the caller takes the value that belongs to each before the next name."""
        for _ in self._elements("{", "}"):
            name = self.value()
            if not isinstance(name, str):
                raise InputError(f"not JSON (a name in quotes is due, not {str(name)[:20]})")
            self._take(":")
            yield name

    def _elements(self, first: str, last: str) -> Iterator[None]:
        self._take(first)
        if self.next_character() == last:
            self._take(last)
            return
        while True:
            yield
            if self.next_character() == last:
                self._take(last)
                return
            self._take(",")

    def _take(self, character: str) -> None:
        if (found := self.next_character()) != character:
            line = self._lines + self._text.count("\n", 0, self._at) + 1
            raise InputError(f"not JSON, or cut off ({character!r} is due, not {found!r}, line {line})")
        self._at += 1

    def _more(self) -> bool:
        """Read on; a value that is not complete is taken up again with twice as much of it."""
        rest = self._text[self._at :]
        if self._ended:
            return False
        if len(rest) > LONGEST:
            raise InputError(f"not JSON, or one of its elements is longer than {LONGEST >> 20} MiB")
        self._lines += self._text.count("\n", 0, self._at)
        read = self._file.read(max(CHUNK, len(rest)))
        self._text, self._at, self._ended = rest + read, 0, not read
        return bool(read)
