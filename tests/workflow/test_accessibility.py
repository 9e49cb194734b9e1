"""The pages of a finished study, in a browser: no serious fault that axe-core finds, and every figure in print."""

from typing import TYPE_CHECKING, Literal

import pytest
from checkout import Checkout
from headless import browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser"]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1300), ("dark", 390)])
@pytest.mark.parametrize("name", ["report", "explorer", "walkthrough"])
def test_pages_are_accessible(
    finished: Checkout, browser: "Browser", name: str, scheme: Literal["light", "dark"], width: int
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto((finished.folder / f"results/tiny/{name}.html").as_uri())
    found = Axe().run(page).response["violations"]
    context.close()
    assert [
        (violation["id"], violation["nodes"][0]["html"])
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ] == []


def test_every_figure_is_there_for_a_printer(finished: Checkout, browser: "Browser") -> None:
    """A figure that loads once somebody scrolls to it is missing in print."""
    page = browser.new_page()
    page.goto((finished.folder / "results/tiny/report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(group => { group.open = true })")
    missing = page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.alt)")
    page.close()
    assert missing == []


def test_the_answer_is_on_a_phones_first_screen(finished: Checkout, browser: "Browser") -> None:
    """The question, its answer, the figure of controls and the findings come in this order."""
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto((finished.folder / "results/tiny/report.html").as_uri())
    box = page.locator("#answer").bounding_box()
    order = page.locator("#answer, .first img, .first table").evaluate_all("found => found.map((one) => one.tagName)")
    fits = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
    assert box is not None
    assert box["y"] + box["height"] < 844
    assert order == ["P", "IMG", "TABLE"]
    assert fits
