"""How large and how fast a report of many hosts is, on copies of the tasks of an archive.

    python benchmarks/report_scale.py RUN/archive.h5 --hosts 10000 --chromium /usr/bin/chromium
    python benchmarks/report_scale.py series.h5 --hosts 50 --all-tasks

Positions and energies of each copy are moved at random, so that they compress as little as those of real hosts.
Prints one JSON object: seconds and memory to write the report, its size, and in a browser the first paint, the table, a
search, and a host that is opened.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.records import host_id
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.report.contents import archive_contents
from inpaint_hpc.report.render import write_report


def copies(archive: Path, n: int, all_tasks: bool):
    """Tasks of `n` hosts: one each, or all that the copied host has, e.g. those of a series."""
    rng = np.random.default_rng(0)
    with Archive(archive) as opened:
        records = list(opened.iter_records())
    by_host: dict[str, list] = {}
    for number, record in enumerate(records):
        by_host.setdefault(record.host_id if all_tasks else str(number), []).append(record)
    for k, group in zip(range(n), itertools.cycle(by_host.values()), strict=False):
        first = group[0].host
        frac = first.frac_coords + rng.normal(scale=1e-4, size=first.frac_coords.shape)
        host = replace(first, name=f"{first.name}-{k:06}", frac_coords=frac)
        for record in group:
            yield moved(record, host, k, rng)


def moved(record, host, k: int, rng: np.random.Generator):
    candidates = [
        replace(
            one,
            guest_frac_coords=(one.guest_frac_coords + rng.normal(scale=0.01, size=(len(record.guests), 3))) % 1.0,
            energy_per_guest=None if one.energy_per_guest is None else one.energy_per_guest + rng.normal(scale=0.1),
        )
        for one in record.candidates
    ]
    task = hashlib.sha256(f"{record.task_id} {k}".encode()).hexdigest()
    return replace(record, task_id=task, host=host, host_id=host_id(host), candidates=candidates)


def in_browser(report: Path, chromium: str, hosts: int) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    found: dict[str, float] = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(report.as_uri())
        page.wait_for_selector("tr.row")
        found["first_paint_s"] = (
            page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1e3
        )
        found["table_s"] = page.evaluate("performance.getEntriesByName('table')[0].startTime") / 1e3
        # From the key to the frame that shows what fits.
        found["search_ms"] = max(
            page.evaluate(
                """words => new Promise(done => {
                    const start = performance.now(), box = document.querySelector("#q");
                    box.value = words;
                    box.dispatchEvent(new Event("input"));
                    new MutationObserver((_, seen) => {
                        seen.disconnect();
                        requestAnimationFrame(() => done(performance.now() - start));
                    }).observe(document.querySelector("main"), { childList: true, subtree: true });
                })""",
                words,
            )
            for words in ("alpha", "mn li", "sure>90 voltage>1", f"{hosts - 1:06}")  # the last one is opened below
        )
        start = time.perf_counter()
        page.locator("tr.row a").first.click()
        page.wait_for_selector("article.detail .poster svg")
        found["open_s"] = time.perf_counter() - start
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--all-tasks", action="store_true", help="copy all tasks of a host, not one task as one host")
    parser.add_argument("--chromium", help="browser to measure in")
    parser.add_argument("--keep", type=Path, help="folder to leave archive and report in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "archive.h5"
        with Archive(options.archive) as opened:
            attributes = {k: v for k, v in opened.attributes.items() if k in ("weights_name", "weights_sha256")}
        if not path.exists():
            write_result(path, copies(options.archive, options.hosts, options.all_tasks), attributes)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        with Archive(path) as opened:
            contents = archive_contents(opened)
        size = write_report(contents, folder / "report.html")
        found = {
            "hosts": options.hosts,
            "write_s": time.perf_counter() - start,
            "memory_GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
            "memory_before_GB": before / 1e6,
            "report_MB": size,
        }
        if options.chromium:
            found |= in_browser(folder / "report.html", options.chromium, options.hosts)
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()
