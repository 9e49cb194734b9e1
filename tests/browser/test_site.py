"""The documentation as a site: it builds without a warning, search needs no server, and a dead link stops the build."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

LIBRARY = ROOT / "workflow" / "memory_injections"


def build(site: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Build the site as `make docs` does, into a folder of the test's own."""
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site), *options]
    surroundings = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(folder)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_and_every_package_is_in_the_site(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / "docs" / f"{page.stem}.html").exists()
    assert "Every key" in (site / "config" / "index.html").read_text(encoding="utf-8")
    for package in LIBRARY.glob("*/__init__.py"):
        reference = (site / "library" / "memory_injections" / package.parent.name / "index.html").read_text(
            encoding="utf-8"
        )
        for module in package.parent.glob("[!_]*.py"):
            assert f'id="memory_injections.{package.parent.name}.{module.stem}"' in reference
    api = (site / "library" / "memory_injections" / "index.html").read_text(encoding="utf-8")
    assert 'id="memory_injections.Injector.inject"' in api


@pytest.mark.parametrize("link", ["missing.md", "index.md#nowhere", "../outside.md"])
def test_a_dead_link_stops_the_build(link: str, tmp_path: Path) -> None:
    from mkdocs.commands.build import build as build_site
    from mkdocs.config import load_config
    from mkdocs.exceptions import Abort

    pages = tmp_path / "pages"
    pages.mkdir()
    settings: dict[str, Any] = {
        "docs_dir": str(pages),
        "site_dir": str(tmp_path / "site"),
        "nav": ["index.md"],
        "hooks": [],
        "plugins": [],
    }
    (pages / "index.md").write_text("# Here\n\n[there](index.md#here)\n", encoding="utf-8")
    build_site(load_config(str(ROOT / "mkdocs.yml"), **settings))
    (pages / "index.md").write_text(f"# Here\n\n[there]({link})\n", encoding="utf-8")
    with pytest.raises(Abort, match="strict"):
        build_site(load_config(str(ROOT / "mkdocs.yml"), **settings))


def test_search_needs_no_server(site: Path, page: "Page") -> None:
    """The tab itself fails for any request but the site's own files."""
    page.set_default_timeout(60_000)
    page.goto((site / "index.html").as_uri())
    page.get_by_label("Search", exact=True).first.click()
    page.keyboard.type("bootstrap")
    page.locator(".md-search-result__link[href*='docs/method.html']").first.click()
    page.wait_for_url("**/docs/method.html**")
    assert "bootstrap" in page.locator("article").inner_text()
