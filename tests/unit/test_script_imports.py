"""Jobs that make tables and figures take a second or two, because they import nothing that runs a model."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
LIGHT = (
    "causes", "claims", "controls", "coverage", "evidence", "explorer", "figures", "headline", "injections", "report",
    "scorecard", "table1", "table2", "table3", "text_check_tables",
)  # fmt: skip
CODE = """
import runpy, sys
for name in sys.argv[1:]:
    runpy.run_path(f"{name}.py")
    heavy = {"torch", "transformers", "transformer_lens"} & sys.modules.keys()
    if heavy:
        sys.exit(f"{name} imports {heavy}")
"""


def test_tables_and_figures_import_no_model():
    done = subprocess.run([sys.executable, "-c", CODE, *LIGHT], cwd=SCRIPTS, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
