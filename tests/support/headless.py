"""A headless browser, and a tab of it, for tests of pages."""

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Headless Chromium, driven by Playwright; if REQUIRE_CHROMIUM is set, the tests fail without it."""
    missing = pytest.fail if os.environ.get("REQUIRE_CHROMIUM") else pytest.skip
    try:
        import playwright.sync_api as api
    except ModuleNotFoundError:
        missing("playwright is not installed")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        missing("no Chromium on this machine")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A tab that must report no errors and request only the page's own file."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(5000)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith("file:") else problems.append(request.url))
    yield page
    page.close()
    assert not problems
