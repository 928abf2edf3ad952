"""Exceptions that users see.  The command line prints them in one line."""

from __future__ import annotations


class InpaintHpcError(Exception):
    """Base class of all errors that this package raises deliberately."""


class InputError(InpaintHpcError):
    """Invalid input from the user.  The message is one line: what is wrong, and what to do about it."""


class StorageError(InpaintHpcError):
    """A result cannot be written: disk full, quota reached, read-only ...  All other tasks would fail too."""
