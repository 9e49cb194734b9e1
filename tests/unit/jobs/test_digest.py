"""A digest of code changes with what the code computes, and with nothing else."""

import ast
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from memory_injections.jobs import digest
from memory_injections.jobs.digest import digest_modules, trace_function, trace_script

# The code that the store of cells depends on.
CELLS_RULE = (ROOT / "workflow" / "rules" / "injections.smk").read_text(encoding="utf-8")
CALL = re.search(r"digest_modules\((.*?)\)", CELLS_RULE, flags=re.DOTALL)
CELLS = re.findall(r'"([\w.]+)"', CALL[1] if CALL else "")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(digest.PACKAGE, tmp_path / "package", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "PACKAGE", tmp_path / "package")
    return tmp_path / "package"


def edit(package: Path, module: str, change: Callable[[str], str]) -> None:
    file = package / f"{module.replace('.', '/')}.py"
    before = file.read_text()
    assert change(before) != before
    file.write_text(change(before))


def test_comments_docstrings_and_formatting_do_not_count(package: Path) -> None:
    before = digest_modules(*CELLS)
    edit(package, "injection.skipping_engine", lambda text: text.replace('"""', '"""More words. ', 1))
    edit(package, "models.limits", lambda text: text.replace("MIN_ROWS = 32", "MIN_ROWS   = 32  # a comment"))
    assert digest_modules(*CELLS) == before


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("models.limits", "MIN_ROWS = 32", "MIN_ROWS = 33"),
        ("injection.skipping_engine", "self.min_rows /", "1 + self.min_rows /"),
        ("injection.encodings", ".sum(dim=1)", ".mean(dim=1)"),
        ("injection.memory_vectors", "vectors / self", "vectors * self"),
        ("models.scoring", "count_nonzero(log_probs > log_prob", "count_nonzero(log_probs >= log_prob"),
        ("models.tokenisation", "[find_bos(tokenizer), *ids]", "[*ids]"),
        ("models.tokenisation", 'f"{text} {answer}"', 'f"{text}{answer}"'),
        ("models.tokenisation", "if str(tokenizer.decode([token])).strip():", "if True:"),
        ("models.loading", "dtype=set_precision(precision)", "dtype=torch.float64"),
        ("models.processed_weights", "device=str(device)", 'device="cpu"'),
    ],
)
def test_arithmetic_of_imported_modules_counts(package: Path, module: str, old: str, new: str) -> None:
    before = digest_modules(*CELLS)
    edit(package, module, lambda text: text.replace(old, new))
    assert digest_modules(*CELLS) != before


def test_code_that_no_cell_depends_on_does_not_count(package: Path) -> None:
    before = digest_modules(*CELLS)
    edit(
        package, "models.processed_weights", lambda text: text.replace("addmm(processed.b_U", "addmm(0 * processed.b_U")
    )
    edit(package, "models.tokenisation", lambda text: text + "\n\ndef nobody_calls_this() -> None:\n    print()\n")
    modules = (
        "config.study", "figures.style", "analysis.paper_tables", "sweeps.store", "pages.report", "sweeps.cells",
        "data.prompt_pairs", "data.__init__",
    )  # fmt: skip
    for module in modules:
        edit(package, module, lambda text: text + "\nprint('all of it')\n")
    assert digest_modules(*CELLS) == before


SCRIPT = """
import numpy as np
from memory_injections.figures import injections, style
from memory_injections.analysis.paper_tables import build_table3

def main():
    from memory_injections.data.text_tables import read_csv
    style.save_figure(np.zeros(1), "a", "b")
    return build_table3
"""


@pytest.mark.parametrize(
    ("module", "old", "new", "counts"),
    [
        ("figures.style", "metadata={MARK: mark}", "metadata={}", True),  # called as an attribute of a module
        ("figures.style", 'mpl.use("agg")', 'mpl.use("pdf")', True),  # runs as soon as the module is imported
        ("figures.injections", "jitter=0.25", "jitter=0.26", False),  # a function that the script does not call
        ("analysis.averages", "99 // 100", "98 // 100", True),  # through another module
        ("data.text_files", 'file, "utf-8-sig"', 'file, "utf-8"', True),  # imported inside a function
    ],
)
def test_what_a_script_uses_counts(
    package: Path, tmp_path: Path, module: str, old: str, new: str, counts: bool
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    before = trace_script(script).digest
    edit(package, module, lambda text: text.replace(old, new))
    assert (trace_script(script).digest != before) == counts


NESTED = {
    # Imports through a package's own names, a module of a package, and a relative import.
    "room.__init__": "from .inner import double\nfrom memory_injections.room.deep.lowest import LOWEST\n"
    "TITLE = 'room'\n",
    "room.inner": "from . import constants\nfrom .deep import half\n\n"
    "def double(x):\n    return constants.TWO * x\n\ndef quarter(x):\n    return half(half(x))\n",
    "room.constants": "TWO = 2\nTHREE = 3\n",
    "room.deep.__init__": "from ..constants import TWO\n\ndef half(x):\n    return x / TWO\n",
    "room.deep.lowest": "from ...room.constants import THREE as LOWEST\n",
}
USES = {
    "a name of a package": "from memory_injections.room import double\ndouble(1)\n",
    "a module of a package": "from memory_injections.room import inner\ninner.quarter(1)\n",
    "a package under another name": "import memory_injections.room.inner as of\nof.double(1)\n",
    "a name by way of two packages": "from memory_injections.room import LOWEST\nprint(LOWEST)\n",
}


@pytest.mark.parametrize(
    ("use", "module", "old", "new", "counts"),
    [
        ("a name of a package", "room.inner", "TWO * x", "TWO + x", True),
        ("a name of a package", "room.constants", "TWO = 2", "TWO = 4", True),
        ("a name of a package", "room.constants", "THREE = 3", "THREE = 4", False),
        ("a name of a package", "room.deep.__init__", "x / TWO", "x // TWO", False),
        ("a name of a package", "room.__init__", "TITLE = 'room'", "TITLE = 'hall'", False),
        ("a module of a package", "room.inner", "half(half(x))", "half(x)", True),
        ("a module of a package", "room.deep.__init__", "x / TWO", "x // TWO", True),
        ("a module of a package", "room.constants", "TWO = 2", "TWO = 4", True),
        ("a module of a package", "room.inner", "TWO * x", "TWO + x", False),
        ("a package under another name", "room.inner", "TWO * x", "TWO + x", True),
        ("a package under another name", "room.constants", "TWO = 2", "TWO = 4", True),
        ("a package under another name", "room.deep.__init__", "x / TWO", "x // TWO", False),
        ("a name by way of two packages", "room.constants", "THREE = 3", "THREE = 4", True),
        ("a name by way of two packages", "room.constants", "TWO = 2", "TWO = 4", False),
    ],
)
def test_names_are_followed_through_packages(
    package: Path, tmp_path: Path, use: str, module: str, old: str, new: str, counts: bool
) -> None:
    for name, code in NESTED.items():
        path = package / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    (tmp_path / "script.py").write_text(USES[use])
    before = trace_script(tmp_path / "script.py").digest
    edit(package, module, lambda text: text.replace(old, new))
    assert (trace_script(tmp_path / "script.py").digest != before) == counts


def test_a_class_counts_with_what_it_inherits_and_uses_and_other_classes_do_not(package: Path) -> None:
    names = ("FileDataset", "UrlDataset")
    before = [trace_function("data.sources", name).digest for name in names]
    edit(package, "data.sources", lambda text: text.replace('f"file {self.path}")', "self.path)"))
    file, url = (trace_function("data.sources", name).digest for name in names)
    assert file != before[0]
    assert url == before[1]
    edit(package, "download.http", lambda text: text.replace("timeout=30", "timeout=31"))
    assert trace_function("data.sources", "FileDataset").digest == file
    assert trace_function("data.sources", "UrlDataset").digest != url
    edit(
        package, "data.sources", lambda text: text.replace("name, self.rows, self.cluster", "name, None, self.cluster")
    )
    assert trace_function("data.sources", "FileDataset").digest != file


def test_one_figure_counts_and_its_neighbours_do_not(package: Path) -> None:
    before = {name: trace_function("figures.injections", name).digest for name in ("change", "distribution")}
    edit(package, "figures.injections", lambda text: text.replace("jitter=0.25", "jitter=0.26"))
    assert trace_function("figures.injections", "change").digest == before["change"]
    assert trace_function("figures.injections", "distribution").digest != before["distribution"]


def test_what_a_control_injects_counts(package: Path) -> None:
    script = ROOT / "workflow" / "scripts" / "control_cells.py"
    before = trace_script(script).digest, digest_modules("controls.vector_specs")
    doubled = "return 2 * match_length(parts.noise[None]"
    edit(package, "controls.kinds", lambda text: text.replace("return match_length(parts.noise[None]", doubled))
    assert trace_script(script).digest != before[0]
    assert digest_modules("controls.vector_specs") != before[1]


# A registry with the decorator that fills it, and how the decorator is written.
STORE = "WARES = {}\nUNIT: str = 'g'\n\n"
REGISTRIES = {
    "a factory": (f"{STORE}def sells(name):\n    def add(f):\n        WARES[name] = f\n        return f\n"
                  "    return add\n", "@sells('tea')"),
    "a function": ("WARES = []\n\ndef sells(f):\n    WARES.append(f)\n    return f\n", "@sells"),
    "a method": ("class Shelf(dict):\n    def sells(self, f):\n        self[f.__name__] = f\n        return f\n\n"
                 "WARES = Shelf()\n", "@WARES.sells"),
    "an argument": ("WARES = set()\n\ndef sells(where):\n    return lambda f: where.add(f) or f\n", "@sells(WARES)"),
    "a class": (f"{STORE}class Sells:\n    def __init__(self, name):\n        self.name = name\n\n"
                "    def __call__(self, f):\n        WARES[self.name] = f\n        return f\n", "@Sells('tea')"),
    "an attribute": (f"{STORE}def sells(f):\n    WARES[f.__name__] = f\n    return f\n", "@shop.sells"),
    "an annotation": (f"{STORE}def sells(f: WARES) -> WARES:\n    return f\n", "@sells"),
    "a constant": ("WARES = 'all'\n\ndef sells(f):\n    f.kind = WARES\n    return f\n", "@sells"),
}  # fmt: skip
REGISTER_NOTHING = {"an annotation", "a constant"}


@pytest.mark.parametrize("kind", REGISTRIES)
@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("definition", ["def brew(x):\n    return x + cups()\n", "class Tea:\n    n = cups()\n"])
def test_what_a_decorator_registers_belongs_to_the_registry(
    package: Path, tmp_path: Path, kind: str, elsewhere: bool, definition: str
) -> None:
    registry, decorator = REGISTRIES[kind]
    ware = f"def cups():\n    return 1\n\n{decorator}\n{definition}"
    imports = "from memory_injections import shop\nfrom memory_injections.front import WARES, Sells, sells\n\n"
    (package / "front.py").write_text("from memory_injections.shop import WARES, Sells, sells\n")
    here = ware.replace("shop.sells", "sells")
    (package / "shop.py").write_text(registry + f"\ndef count(x):\n    return WARES\n\n{'' if elsewhere else here}")
    (package / "kitchen.py").write_text(imports + (ware if elsewhere else ""))
    (tmp_path / "uses.py").write_text("from memory_injections.shop import count\nprint(count(0))\n")
    (tmp_path / "other.py").write_text("from memory_injections.shop import UNIT\nprint(UNIT)\n")
    before = trace_script(tmp_path / "uses.py").digest, trace_script(tmp_path / "other.py").digest
    edit(package, "kitchen" if elsewhere else "shop", lambda text: text.replace("return 1", "return 2"))
    assert (trace_script(tmp_path / "uses.py").digest != before[0]) == (kind not in REGISTER_NOTHING)
    assert trace_script(tmp_path / "other.py").digest == before[1]


def test_figures_stay_apart_although_a_decorator_names_them(package: Path) -> None:
    script = ROOT / "workflow" / "scripts" / "figures.py"
    before = trace_script(script).digest
    edit(package, "figures.injections", lambda text: text.replace("jitter=0.25", "jitter=0.26"))
    assert trace_script(script).digest == before


@pytest.mark.parametrize(
    "use",
    [
        "import memory_injections.room.inner\nmemory_injections.room.inner.double(1)\n",
        "import memory_injections\nmemory_injections.room.inner.double(1)\n",
        "from memory_injections import room\nroom.inner.double(1)\n",
        "def run():\n    import memory_injections.room.inner\n    memory_injections.room.inner.double(1)\n",
        "from memory_injections.room import inner\nrun = {'double': inner.double}\n",
    ],
)
def test_modules_are_followed_by_their_dotted_names(package: Path, tmp_path: Path, use: str) -> None:
    for name, code in NESTED.items():
        path = package / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    (tmp_path / "script.py").write_text(use)
    before = trace_script(tmp_path / "script.py").digest
    edit(package, "room.inner", lambda text: text.replace("TWO * x", "TWO + x"))
    assert trace_script(tmp_path / "script.py").digest != before


@pytest.mark.parametrize(
    ("module", "name"), [("interactive.injector", "Injector"), ("injection.hooked_engine", "injecting")]
)
def test_what_a_package_imports_when_it_is_asked_for_counts(
    package: Path, tmp_path: Path, module: str, name: str
) -> None:
    (tmp_path / "script.py").write_text(f"from memory_injections import {name}\n{name}()\n")
    before = trace_script(tmp_path / "script.py").digest
    edit(package, module, lambda text: text + f"\n{name}.changed = 1\n")
    assert trace_script(tmp_path / "script.py").digest != before
    before = trace_script(tmp_path / "script.py").digest
    edit(package, "__init__", lambda text: text.replace("if name not in _MODULES", "if not name in _MODULES or 0"))
    assert trace_script(tmp_path / "script.py").digest != before


def test_a_name_in_quotes_counts_in_an_annotation_alone(package: Path, tmp_path: Path) -> None:
    (package / "quoted.py").write_text(
        "def change():\n    return 1\n\nclass Later:\n    pass\n\n"
        "def use(table) -> 'Later':\n    return table['change']\n"
    )
    (tmp_path / "script.py").write_text("from memory_injections.quoted import use\nuse(0)\n")
    before = trace_script(tmp_path / "script.py").digest
    edit(package, "quoted", lambda text: text.replace("return 1", "return 2"))
    assert trace_script(tmp_path / "script.py").digest == before
    edit(package, "quoted", lambda text: text.replace("pass", "value = 2"))
    assert trace_script(tmp_path / "script.py").digest != before


def test_versions_of_libraries_that_determine_numbers_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "script.py").write_text("import numpy as np, tqdm\nnp.zeros(tqdm.tqdm)\n")
    versions = {"numpy": "1", "tqdm": "1"}
    monkeypatch.setattr(digest, "version", versions.__getitem__)
    before = trace_script(tmp_path / "script.py").digest
    versions["tqdm"] = "2"
    assert trace_script(tmp_path / "script.py").digest == before
    versions["numpy"] = "2"
    assert trace_script(tmp_path / "script.py").digest != before


# Libraries whose versions change no result, and why.
UNCOUNTED = {
    "filelock": "keeps jobs apart",
    "httpx2": "fetches bytes, which a checksum or a commit identifies",
    "huggingface_hub": "fetches bytes, which a checksum or a commit identifies",
    "jaxtyping": "writes annotations",
    "markupsafe": "marks text as HTML",
    "nbformat": "reads the notebook, whose code counts",
    "nicegui": "serves the playground, which no job uses",
    "papermill": "starts the notebook's code, which counts",
    "platformdirs": "names folders",
    "pooch": "fetches bytes, which a checksum identifies",
    "psutil": "names processes",
    "pydantic": "reads the config, whose values are among the parameters",
    "pydantic_core": "writes the parameters of a job as JSON",
    "requests": "fetches bytes, which a checksum identifies",
    "rich": "writes to a terminal",
    "rocrate": "packs finished results, in no job",
    "safetensors": "keeps the bytes of tensors",
    "snakemake": "starts jobs",
    "starlette": "serves the playground, which no job uses",
    "tqdm": "shows progress",
    "traitlets": "holds the settings of nbconvert, which counts",
    "typer": "reads the command line, in no job",
    "xxhash": "makes checksums, which are fixed by its specification",
    "yaml": "reads the config and the paper's numbers, which are among the parameters",
}


def test_every_library_counts_or_has_a_reason_why_not() -> None:
    code = [*(ROOT / "workflow" / "memory_injections").rglob("*.py"), *(ROOT / "workflow" / "scripts").glob("*.py")]
    imported = {
        name.partition(".")[0]
        for file in code
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    own = {"memory_injections", *(file.stem for file in code if file.stem.startswith("_"))}
    assert not digest.COUNTED.keys() & UNCOUNTED.keys()
    assert imported - own - sys.stdlib_module_names == digest.COUNTED.keys() | UNCOUNTED.keys()


def test_the_documentation_names_the_libraries_that_count() -> None:
    text = (ROOT / "docs" / "reruns.md").read_text(encoding="utf-8")
    listed = re.search(r"look of figures and pages:\s+(.*?)\.\n", text, flags=re.DOTALL)
    assert listed
    assert sorted(re.split(r",\s+", listed[1])) == sorted({name for names in digest.COUNTED.values() for name in names})
