"""What a reader sees on the explorer's page, and does there."""

import re
from typing import TYPE_CHECKING

from memory_injections.sweeps.identity import SweepId

if TYPE_CHECKING:
    from playwright.sync_api import Page


def number(text: str) -> float:
    """The first number that a reader sees in a text."""
    found = re.search(r"[+−-]?[\d,]+(?:\.\d+)?(?:e[+−]\d+)?", text)
    assert found, text
    return float(found[0].replace("−", "-").replace(",", ""))


def labels(page: "Page", part: str) -> dict[tuple[int, float], str]:
    """What each cell of a map says, by layer and magnitude."""
    texts = page.locator(f"{part} td[data-site]").evaluate_all("cells => cells.map(cell => cell.ariaLabel)")
    found = [re.fullmatch(r"layer (\d+), magnitude ([\d.]+): ([^,]*(?:,\d{3})*[^,]*)(?:, .*)?", text) for text in texts]
    return {(int(match[1]), float(match[2])): match[3] for match in found if match}


def choose_sweep(page: "Page", sweep: SweepId) -> None:
    choose(page, model=sweep.model, dataset=sweep.dataset, memories=sweep.memories, encoding=sweep.coding)


def choose(page: "Page", **parts: str) -> None:
    for name, value in parts.items():
        page.locator(f"select[name={name}]").select_option(value)
