"""One headless Chromium for all tests of the page; they are skipped where there is none."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, or what PATH has under that name."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        # Software rendering of WebGL, so that the machine needs no graphics.
        options = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        opened = driver.chromium.launch(executable_path=chromium, args=options)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser):
    """Opens a report; at the end nothing may have gone wrong in it or left it."""
    contexts, wrong = [], []

    def told(message):
        if message.type == "error":
            wrong.append(message.text)

    def asked(request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            wrong.append(f"request of {request.url}")

    def open_(path, address="", script="", **options):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", told)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
        page.on("request", asked)
        if script:
            page.add_init_script(script)
        page.goto(path.as_uri() + address)
        page.wait_for_selector("main .detail, main tr.row, main .empty")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []
