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


@pytest.mark.parametrize("width", [390, 1920])
def test_one_finds_the_way_in_the_report(finished: Checkout, browser: "Browser", width: int) -> None:
    """The way to every part stays on the screen; no table is wider than a wide one, or else it scrolls by keyboard."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto((finished.folder / "results/tiny/report.html").as_uri())
    missing = page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].filter(link => !document.querySelector(link.hash)).length"
    )
    page.evaluate("document.querySelector('#caveats').scrollIntoView()")
    sticks = page.locator("nav").bounding_box()
    heading = page.locator("#caveats").bounding_box()
    wide = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth)"
        ".map(box => [box.tabIndex, box.getAttribute('role'), box.matches('[aria-label], [aria-labelledby]')])"
    )
    free = page.evaluate("[...document.querySelectorAll('table')].filter(table => !table.closest('.scroll')).length")
    page.close()
    assert missing == 0
    assert sticks is not None
    assert heading is not None
    assert sticks["y"] == 0
    assert heading["y"] >= sticks["height"]
    assert free == 0
    assert all(box == [0, "region", True] for box in wide)
    if width == 1920:
        assert wide == []


def test_no_number_breaks_in_print(finished: Checkout, browser: "Browser") -> None:
    """On paper as wide as A4 has room for, tables fit and every number is on one line."""
    page = browser.new_page(viewport={"width": 688, "height": 1000})
    page.emulate_media(media="print")
    page.goto((finished.folder / "results/tiny/report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(group => { group.open = true })")
    broken = page.evaluate(
        """[...document.querySelectorAll("td.number, td.interval, th")].filter(cell => {
             const range = document.createRange();
             range.selectNodeContents(cell);
             const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top))).size;
             return lines > cell.textContent.split(/[ _-]/).length;
           }).map(cell => cell.textContent)"""
    )
    too_wide = page.evaluate(
        "[...document.querySelectorAll('table')].filter(table => table.offsetWidth > innerWidth)"
        ".map(table => table.closest('[aria-labelledby]')?.getAttribute('aria-labelledby'))"
    )
    page.close()
    assert broken == []
    assert too_wide == []


def test_captions_are_words(finished: Checkout, browser: "Browser") -> None:
    page = browser.new_page()
    page.goto((finished.folder / "results/tiny/report.html").as_uri())
    captions = page.locator("figcaption, .caption").all_text_contents()
    page.close()
    assert "Effect by site: llama on mine, memories: curated, encoding: unembed." in " ".join(
        " ".join(captions).split()
    )
    assert [caption for caption in captions if ".csv" in caption or "llama.mine" in caption] == []
