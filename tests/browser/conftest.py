"""A page of the explorer, and a tab of a headless browser."""

from typing import Any

import pytest
from explorer_tables import tables_in
from headless import browser, page
from memory_injections.pages import explorer

__all__ = ["browser", "page"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tables_in(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def address(tables: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    path.write_text(explorer.render_explorer(**tables), encoding="utf-8")
    return path.as_uri()
