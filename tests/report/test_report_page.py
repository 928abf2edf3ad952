"""The page in a real browser: what a reader does with it, and what a hostile name does not."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure
from pymatgen.io.vasp import Poscar
from report import report_records as made

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.report.contents import archive_contents
from inpaint_hpc.report.render import write_report

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202egnirts\u202c",
    "a\u2028b",
    '=HYPERLINK("x")',
    "x" * 120,
]


def report_of(folder, records):
    path = made.write_archive(folder / "archive.h5", records)
    with Archive(path) as opened:
        write_report(archive_contents(opened), folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return report_of(tmp_path_factory.mktemp("report"), made.all_kinds())


def hosts(page):
    return page.locator("tr.row td.c-host a").all_inner_texts()


def open_host(page, words):
    page.fill("#q", words)
    expect(page.locator("span.count")).to_contain_text(" of ")
    page.locator("tr.row a").first.click()
    page.wait_for_selector("article.detail h1")


def picture(page, selector):
    return np.asarray(Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB"))


def saved(page, button, tmp_path):
    with page.expect_download() as found:
        page.get_by_role("button", name=button, exact=True).click()
    path = tmp_path / found.value.suggested_filename
    found.value.save_as(path)
    return path


def test_the_overview_answers_first(report, open_page):
    page = open_page(report)
    assert page.locator("h1").inner_text() == "Where Li, Na and Mg sit in 6 hosts"
    facts = page.locator(".factline").inner_text()
    assert "7 of 8 tasks done" in facts and "1 failed" in facts and "CHGNet 0.3.0" in facts
    assert "Samples prefer 2b" in page.locator("tr.row", has_text="alpha").inner_text()


def test_confidence_is_of_the_first_candidate_and_what_samples_prefer_is_named(report, open_page):
    page = open_page(report)
    shown = page.locator("tr.row", has_text="alpha").locator("td.c-sure").inner_text()
    assert "46 %" in shown and "6 of 16 agree" in shown
    open_host(page, "alpha")
    sentence = page.locator(".says").inner_text()
    assert (
        sentence.startswith("Li sits at 2a")
        and "chance that it is right: 46 %. Most samples (8 of 16) chose 2b" in sentence
    )
    assert "300 meV per guest higher" in sentence


def test_a_click_on_a_heading_sorts(report, open_page):
    page = open_page(report)
    page.click("th.c-host button")
    assert hosts(page) == sorted(hosts(page))
    page.click("th.c-host button")
    assert hosts(page) == sorted(hosts(page), reverse=True)
    assert page.locator("th.c-host").get_attribute("aria-sort") == "descending"
    page.click("th.c-energy button")
    shown = page.locator("td.c-energy").all_inner_texts()
    known = [float(text.replace("−", "-")) for text in shown if text != "–"]  # noqa: RUF001
    assert known == sorted(known) and shown[len(known) :] == ["–"] * (len(shown) - len(known))  # noqa: RUF001


@pytest.mark.parametrize(
    ("words", "found"),
    [("alpha li", ["alpha"]), ("sure>=95 voltage>1", ["lambda"] * 3), ("sure<80", ["alpha"]), ("fe", [])],
)
def test_search_takes_words_and_comparisons(report, open_page, words, found):
    page = open_page(report)
    page.fill("#q", words)
    expect(page.locator("tr.row")).to_have_count(len(found))
    assert hosts(page) == found


def test_candidates_change_the_picture(report, open_page):
    page = open_page(report)
    open_host(page, "alpha")
    before = page.locator(".poster").first.inner_html()
    assert "Candidate 1, 2a" in page.locator(".stage .what").inner_text()
    page.keyboard.press("3")
    assert "Candidate 3, 2b" in page.locator(".stage .what").inner_text()
    assert page.locator(".cand").nth(2).get_attribute("aria-checked") == "true"
    assert page.locator(".stage .poster").inner_html() != before


def test_a_relaxed_structure_can_be_seen_as_placed(report, open_page):
    page = open_page(report)
    open_host(page, "relaxed")
    assert page.locator(".stage .what").inner_text() == "Candidate 1, 2a, relaxed"
    page.get_by_role("button", name="As placed", exact=True).click()
    assert page.locator(".stage .what").inner_text() == "Candidate 1, 4e, as placed"


def test_the_3d_view_draws_the_structure(report, open_page):
    page = open_page(report)
    open_host(page, "alpha")
    assert page.locator("canvas").count() == 0
    page.get_by_role("button", name="Rotate in 3D").click()
    page.get_by_role("button", name="Reset the view").wait_for()
    first = picture(page, ".stage canvas")
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 50
    page.keyboard.press("3")
    for _ in range(100):
        if (picture(page, ".stage canvas") != first).any():
            break
        page.wait_for_timeout(100)
    else:
        pytest.fail("the picture of another candidate is the same")


def test_without_webgl_the_drawing_stays(report, open_page):
    page = open_page(report, script="HTMLCanvasElement.prototype.getContext = () => null")
    open_host(page, "alpha")
    page.get_by_role("button", name="Rotate in 3D").click()
    page.get_by_role("button", name="No WebGL: drawing only").wait_for()
    assert page.locator(".poster svg circle").count() > 10


def test_downloads_are_the_structure_shown(report, open_page, tmp_path):
    page = open_page(report)
    open_host(page, "alpha")
    page.keyboard.press("2")
    with Archive(report.parent / "archive.h5") as archive:
        expected = archive.structure("alpha", 1)
    for button, read in (("CIF", Structure.from_file), ("POSCAR", lambda path: Poscar.from_file(path).structure)):
        path = saved(page, button, tmp_path)
        assert path.name.startswith("alpha_Li_rank-001.")
        found = read(path)
        assert found.composition == expected.composition
        assert np.allclose(found.lattice.parameters, expected.lattice.parameters, atol=1e-4)
        assert StructureMatcher(primitive_cell=False, scale=False, ltol=1e-3, stol=1e-3).fit(found, expected)
    assert "<svg" in saved(page, "Picture", tmp_path).read_text()


def test_hull_and_voltage_where_numbers_of_guests_vary(report, open_page):
    page = open_page(report)
    open_host(page, "lambda")
    assert "hull and voltage" in page.locator("section[aria-label=Filling] h2").inner_text()
    assert page.locator("section[aria-label=Filling] circle.pt").count() == 4
    # Ticks at whole numbers of guests, also where no filling is.
    assert page.locator("text.xtick").all_text_contents() == ["0", "0.25", "0.5", "0.75", "1"] * 2
    rows = [row.split("\t") for row in page.locator("table.amounts tbody tr").all_inner_texts()]
    assert [row[:2] for row in rows] == [["Li0.25MnO2", "0.25"], ["Li0.5MnO2", "0.5"], ["LiMnO2", "1"]]
    assert [row[3] for row in rows] == ["77", "154", "308"]
    assert "x = 1 (LiMnO2) with Mn to +3" in page.locator("section[aria-label=Filling]").inner_text()


@pytest.mark.parametrize(
    ("guests", "units", "ticks"),
    [
        (4, 4, "0 1 2 3 4"),
        (8, 3, "0 1 2 3 4 5 6 7 8"),
        (16, 8, "0 2 4 6 8 10 12 14 16"),
        (30, 2, "0 4 8 12 16 20 24 28"),
    ],
)
def test_ticks_are_whole_guests_and_few(report, open_page, guests, units, ticks):
    found = open_page(report).evaluate(f"wholeTicks({guests}, {units})")
    assert found == [int(n) for n in ticks.split()]


def test_two_candidates_side_by_side_turn_together(report, open_page):
    page = open_page(report)
    open_host(page, "alpha")
    page.get_by_label("compare two").check()
    chooser = page.get_by_label("Compare with")
    assert page.locator(".stage .poster svg").count() == 2 and chooser.input_value() == "1"
    before = page.locator(".poster").nth(1).inner_html()
    chooser.select_option("2")
    assert page.locator(".poster").nth(1).inner_html() != before
    page.get_by_role("button", name="Rotate in 3D").click()
    page.get_by_role("button", name="Reset the view").wait_for()
    assert page.locator(".stage canvas").count() == 2
    start = page.evaluate("GL.made[1].view.getView()")
    page.locator(".stage canvas").first.press("ArrowRight")
    page.wait_for_function("start => GL.made[1].view.getView().some((x, i) => x !== start[i])", arg=start)
    assert page.evaluate("GL.made.map((v) => v.view.getView().map((x) => x.toFixed(4)).join())[0]") == page.evaluate(
        "GL.made.map((v) => v.view.getView().map((x) => x.toFixed(4)).join())[1]"
    )
    page.get_by_label("compare two").uncheck()
    expect(page.locator(".stage")).to_have_count(1)


@pytest.mark.parametrize(
    ("words", "text"),
    [("broken", "two atoms are 0.02 A apart"), ("full", "Li-O too close"), ("network", "4 O at 2.01 Å")],
)
def test_tasks_without_candidates_say_why(report, open_page, words, text):
    page = open_page(report)
    open_host(page, words)
    assert text in page.locator("article.detail").inner_text()


def test_hostile_names_are_text(open_page, tmp_path):
    titles = [made.record(name, (3,), [16], [made.candidate(0, "2a", [[0, 0, 0]], -4.0, 16, 12)]) for name in HOSTILE]
    bad = made.failed("<b>bad</b>", error="<img src=x onerror=alert(2)>")
    page = open_page(report_of(tmp_path, [*titles, bad]))
    assert page.locator("main img, main script, main b:text-is('bad')").count() == 0
    shown = hosts(page)
    assert HOSTILE[0] in shown and HOSTILE[1] in shown and "⟨202E⟩gnirts⟨202C⟩" in shown and "a⟨2028⟩b" in shown
    for name in ("<script>", "onerror=alert(1)", "gnirts", "bad"):
        open_host(page, name)
        assert name in page.locator("h1").inner_text()
        if name != "bad":
            assert saved(page, "CIF", tmp_path).stat().st_size > 100
        page.keyboard.press("Escape")
        page.goto(page.url.split("#")[0] + "#/")
        page.wait_for_selector("#ptitle")
    page.fill("#q", "hyperlink")
    expect(page.locator("tr.row")).to_have_count(1)
    assert "\"'=HYPERLINK(" in saved(page, "Table as CSV", tmp_path).read_text()


def test_keys_lead_to_a_result_and_back(report, open_page):
    page = open_page(report)
    page.keyboard.press("/")
    page.keyboard.type("alpha")
    expect(page.locator("tr.row")).to_have_count(1)
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_selector("article.detail h1")
    page.keyboard.press("Escape")
    page.wait_for_selector("#ptitle")
    assert page.evaluate("document.activeElement.textContent") == "alpha"


def test_every_result_has_an_address(report, open_page):
    page = open_page(report)
    address = page.locator("tr.row", has_text="alpha").locator("a").get_attribute("href")
    assert re.fullmatch(r"#/[0-9a-f]{12}", address)
    again = open_page(report, address)
    assert again.locator("h1").inner_text() == "alpha"


def test_only_rows_in_view_are_in_the_document(open_page, tmp_path):
    found = [made.candidate(0, "2a", [[0.0, 0.0, 0.0]], -4.0, 16, 12)]
    page = open_page(report_of(tmp_path, [made.record(f"host-{k:04}", (3,), [16], found) for k in range(600)]))
    assert 10 < page.locator("tr.row").count() < 100
    page.locator(".tablewrap").evaluate("box => { box.scrollTop = box.scrollHeight; }")
    page.locator("tr.row", has_text="host-0599").wait_for()
    page.locator("tr.row", has_text="host-0599").locator("a").click()
    page.locator("h1", has_text="host-0599").wait_for()


def test_a_dark_reader_gets_a_dark_page(report, open_page):
    page = open_page(report, color_scheme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert picture(page, "body").mean() < 90
