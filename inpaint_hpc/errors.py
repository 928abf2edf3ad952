"""Exceptions that users see.  The command line prints them as one line."""

from __future__ import annotations


class InpaintHpcError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(InpaintHpcError):
    """Something the user gave is wrong.  The message is one line: what is wrong, and what to do about it."""


class StorageError(InpaintHpcError):
    """A result cannot be written: disk full, quota reached, read-only ...  Every other task would fail the same way."""
