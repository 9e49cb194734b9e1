"""Jobs that make tables and figures take a second or two, because they import nothing that runs a model."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
LIGHT = (
    "coverage", "explorer", "figures", "gather", "report", "tables", "word_files",
)  # fmt: skip
CODE = """
import runpy, sys
from memory_injections.tables.registry import list_table_jobs
for name in [*sys.argv[1:], *list_table_jobs()]:
    list_table_jobs()[name].load() if name in list_table_jobs() else runpy.run_path(f"{name}.py")
    heavy = {"torch", "transformers", "transformer_lens"} & sys.modules.keys()
    if heavy:
        sys.exit(f"{name} imports {heavy}")
"""


def test_tables_and_figures_import_no_model():
    done = subprocess.run([sys.executable, "-c", CODE, *LIGHT], cwd=SCRIPTS, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
