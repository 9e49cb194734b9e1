"""A hook of MkDocs: the site has the repository's own pages, in their own places, so that links work in both."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SHOWN = ("*.md", "CITATION.cff", "config/*", "docs/*")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that the site shows."""
    for path in (path for pattern in SHOWN for path in sorted(ROOT.glob(pattern))):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files
