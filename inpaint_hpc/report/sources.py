"""What a report can be made of: an archive, a run directory, or the JSON document of a single call."""

from __future__ import annotations

from pathlib import Path

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.campaign.archive_of import archive_of

from .contents import Contents, archive_contents, contents_of
from .json_records import attributes_of, read_document, records_of


def source_contents(path: Path, top: int | None = None) -> Contents:
    """Contents of the report of a path.

    Args:
        path: archive, run directory or results.json.
        top: as of `archive_contents`.

    Raises:
        InputError: nothing that can be read, or no tasks in it.
    """
    if path.suffix == ".json" and not path.is_dir():
        document = read_document(path)
        records = list(records_of(document))
        return contents_of(
            lambda wanted: records if wanted is None else [records[k] for k in wanted],
            attributes_of(document),
            path.name,
            top,
        )
    with Archive(archive_of(path)) as opened:
        return archive_contents(opened, top)
