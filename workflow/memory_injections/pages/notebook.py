"""Executing a notebook with parameters, and the page that it becomes."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbconvert import HTMLExporter
from traitlets.config import Config

from memory_injections.atomic_files import replace_file

# The template's colours of comments, operators and numbers are too pale for its grey, and its links look like text.
STYLE = """<style>
:root {
  --jp-mirror-editor-comment-color: #306060;
  --jp-mirror-editor-operator-color: #8500cc;
  --jp-mirror-editor-number-color: #006600;
}
.jp-RenderedHTMLCommon a:any-link { text-decoration: underline; }
</style>
"""


def execute_notebook(notebook: Path, parameters: Mapping[str, Any], executed: Path, page: Path) -> None:
    """Run a notebook in the folder of its result with this interpreter; save it with its output, and as HTML.

    The page is self-contained: figures are embedded, and it loads nothing from elsewhere. It leaves out the cell with
    the parameters. Raises `papermill.PapermillExecutionError` if a cell fails; then neither file is written.
    """
    logging.getLogger("papermill").setLevel(logging.WARNING)
    # Papermill saves after each cell, and from the notebook's folder.
    with replace_file(executed.resolve()) as path, replace_file(page) as html:
        document = papermill.execute_notebook(
            notebook, path, dict(parameters), kernel_name="python3", progress_bar=False, cwd=executed.parent
        )
        exporter = HTMLExporter(
            config=Config({"TagRemovePreprocessor": {"enabled": True, "remove_cell_tags": {"parameters"}}}),
            mathjax_url="", require_js_url="", jquery_url="", exclude_input_prompt=True, exclude_output_prompt=True,
        )  # fmt: skip
        text, _ = exporter.from_notebook_node(nbformat.from_dict(document))
        html.write_text(text.replace("</head>", f"{STYLE}</head>", 1), encoding="utf-8")
