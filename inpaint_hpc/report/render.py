"""The page itself: template, style, scripts and data in one file that asks for nothing else."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path

from .contents import CHUNK, Contents, heading

SCRIPTS = (
    *("dom", "words", "data", "search", "table", "geometry", "drawing", "viewer", "charts", "files"),
    *("candidates", "structure", "filling", "host", "overview", "main"),
)
"""Modules of page/, in this order one script; each uses names of those before it, and of later ones when it runs."""
LIMIT_MB = 100.0
"""Browsers open larger files slowly or not at all."""
_FIRST = 20  # rows that stand in the page for readers without JavaScript
_MARKS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def write_report(contents: Contents, path: str | Path, limit_mb: float = LIMIT_MB) -> float:
    """Write the page.

    Args:
        contents: what it shows.
        path: the file; an existing one is replaced.
        limit_mb: largest size.

    Returns:
        Its size in MB.

    Raises:
        InputError: it would be larger.
        OSError: the file cannot be written.
    """
    page = render(contents)
    size = len(page) / 1e6
    if size > limit_mb:
        fewer = max(1, int(0.9 * len(contents.rows) * limit_mb / size))
        raise InputError(
            f"the report of {len(contents.rows)} results would have {size:.0f} MB, more than {limit_mb:g} MB; "
            f"--top {fewer} shows that many of them"
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(page)
    return size


def render(contents: Contents) -> bytes:
    """The page as UTF-8."""
    import jinja2
    from markupsafe import Markup

    script, viewer = "\n".join(_text(f"{name}.js") for name in SCRIPTS), _text("3Dmol-min.js")
    style = "".join(map(_text, ("style.css", "host.css", "narrow.css")))
    for name, text in (("script", script), ("style", style)):
        if f"</{name}" in text.lower():
            raise ValueError(f"the {name} of the page would end early")
    columns = {name: [row[name] for row in contents.rows] for name in contents.rows[0]}
    index = {"facts": {**contents.facts, "heading": heading(contents.facts), "chunk": CHUNK}, "columns": columns}
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["plain"] = _plain
    # Only the style, the scripts and base64 are marked as safe; every text of the data is escaped.
    text = environment.from_string(_text("template.html")).render(
        heading=heading(contents.facts),
        policy=f"default-src 'none'; script-src {_hash(script)} {_hash(viewer)}; style-src {_hash(style)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'",
        facts=contents.facts,
        rows=contents.rows[:_FIRST],
        style=Markup(style),
        script=Markup(script),
        index=_packed(json.dumps(index, allow_nan=False, separators=(",", ":"))),
        chunks=map(_packed, contents.chunks),
        viewer=_packed(viewer),
        licence=_packed(_text("3Dmol-LICENSE.txt")),
    )
    return text.encode()


def _text(name: str) -> str:
    return (files("inpaint_hpc.report") / "page" / name).read_text(encoding="utf-8")


def _packed(text: str) -> str:
    """gzip and base64; without the time, so that the same contents give the same file."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _hash(text: str) -> str:
    """Source of a content security policy that lets this text run and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _plain(text: str) -> str:
    """Marks that control the direction or the end of a line, as their numbers."""
    return _MARKS.sub(lambda found: f"\u27e8{ord(found[0]):04X}\u27e9", text)
