"""What holds for everything that is registered: controls, encodings, averages, figures, tables, sources, extensions."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from inspect import getdoc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from extensions import install
from memory_injections.analysis.averages import AVERAGES, EFFECTS, REGISTERED, SiteValues
from memory_injections.config.reference import list_sections
from memory_injections.controls.descriptions import describe_pairs
from memory_injections.controls.kinds import CONTROLS, ControlInputs, Draw
from memory_injections.data.entities import identify_entity
from memory_injections.data.sources import list_data_sources
from memory_injections.errors import DeclarationError, UnknownNameError
from memory_injections.figures.registry import list_figures
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.models.sources import list_model_sources
from memory_injections.paper.claims import CLAIMS
from memory_injections.registry import Declared, Registry, read_declarations
from memory_injections.tables.registry import list_table_jobs
from memory_injections.terms import LONGEST_NAME, check_path_part
from slow_path import Model

pytestmark = pytest.mark.usefixtures("one_thread")
REGISTRIES: dict[str, Registry[Any]] = {
    "encoding": ENCODINGS, "control": CONTROLS, "average": REGISTERED, "claim": CLAIMS
}  # fmt: skip
RESERVED = {"encoding": ("unembed_relative",), "control": ("curated", "obscure", "first_hop")}
TEXTS = ["Karl Marx", "Inca", "the river Thames"]
VECTOR_CONTROLS = [name for name, control in CONTROLS.items() if control.build]
TEXT_CONTROLS = [name for name, control in CONTROLS.items() if control.write]


@pytest.fixture(scope="module")
def model(tiny_models: dict[str, Path]) -> Model:
    return Model(tiny_models["gpt2"])


def list_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    yield from ((name, encoding.encode) for name, encoding in ENCODINGS.items())
    yield from ((name, control.build or control.write) for name, control in CONTROLS.items())  # type: ignore[misc]
    yield from ((name, average.take) for name, average in REGISTERED.items())
    yield from ((name, claim.weigh) for name, claim in CLAIMS.items())
    yield from ((name, declared.load()) for name, declared in (*list_figures().items(), *list_table_jobs().items()))


@pytest.mark.parametrize("kind", REGISTRIES)
def test_names_and_labels(kind: str) -> None:
    one = REGISTRIES[kind]
    assert len(one) == len(set(one)) > 2
    for name, declared in one.items():
        assert declared.name == check_path_part(name)
        assert len(name) <= LONGEST_NAME
        assert len(declared.label) > 3
    assert len({declared.label for declared in one.values()}) == len(one)
    with pytest.raises(DeclarationError, match=f"the {kind} '{name}' is registered twice; rename one of them"):
        one.register(declared)
    for wrong in ("a/b", "A", "", *RESERVED.get(kind, ())):
        with pytest.raises(DeclarationError, match=f"no {kind} can be called '{wrong}'; choose another name"):
            one.register(replace(declared, name=wrong))
    with pytest.raises(UnknownNameError, match=f"^{kind} 'nonsense' is unknown; use one of {next(iter(one))}, "):
        one["nonsense"]
    assert one.get("nonsense") is None


def test_every_function_says_what_it_does() -> None:
    for name, function in list_functions():
        text = getdoc(function) or ""
        assert text.partition("\n")[0].endswith(".") or ":" in text, name


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_encoding_gives_every_text_a_vector_of_its_own(name: str, model: Model) -> None:
    encoding, encoder, layers = ENCODINGS[name], model.computer.encoder, [0, 2]
    together = encoding.encode(encoder, TEXTS, layers)  # type: ignore[arg-type]
    assert together.shape == (3, 2 if encoding.needs_pass else 1, model.processed.W_U.shape[0])
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    for row, text in enumerate(TEXTS):
        alone = encoding.encode(encoder, [text], layers)[0]  # type: ignore[arg-type]
        torch.testing.assert_close(alone, together[row], rtol=1e-4, atol=1e-4)
        others = [other for index, other in enumerate(together) if index != row]
        assert all((alone - other).norm() > 0.01 * alone.norm() for other in others)


@pytest.mark.parametrize("name", VECTOR_CONTROLS)
def test_a_control_is_as_long_as_its_memory_makes_it(name: str) -> None:
    """A magnitude means the same for it as for the memory: twice the memory gives twice the vector."""
    build = CONTROLS[name].build
    assert build is not None
    generator = torch.Generator().manual_seed(0)
    memory, source = torch.randn(2, 3, 16, generator=generator)
    answer, noise = torch.randn(2, 16, generator=generator)
    once, twice = (build(ControlInputs(scale * memory, scale * source, answer, noise)) for scale in (1, 2))
    assert once.shape == memory.shape
    assert once.isfinite().all()
    torch.testing.assert_close(twice, 2 * once)
    torch.testing.assert_close(build(ControlInputs(memory, source, answer, noise)), once)
    assert not torch.allclose(once, memory)
    parts = {"answer": answer, "noise": noise}
    for part, own in parts.items():
        other = build(ControlInputs(memory, source, **parts | {part: own.roll(1)}))
        assert torch.equal(other, once) == (part not in CONTROLS[name].takes)


@pytest.mark.parametrize("name", VECTOR_CONTROLS)
def test_a_control_takes_no_prompts_own_entity(name: str, pairs: pd.DataFrame) -> None:
    control, words = CONTROLS[name], ["river", *pairs["memory"].str.upper()]
    if control.choose is None:
        return
    pairs = pairs.assign(entity=pairs["memory"].shift(1).fillna(""))
    own = pairs.set_index("prompt_id")["memory"].map(identify_entity)
    drawn = [control.choose(pairs, Draw(name, number, 0, words)) for number in range(3)]
    for taken in drawn:
        assert set(taken.index) <= set(pairs["prompt_id"])
        assert not (taken.dropna().map(identify_entity) == own.loc[taken.dropna().index]).any()
        assert taken.notna().any()
    assert (not drawn[0].equals(drawn[1])) == control.is_drawn
    pd.testing.assert_series_equal(control.choose(pairs, Draw(name, 0, 0, words)), drawn[0])


@pytest.mark.parametrize("name", TEXT_CONTROLS)
def test_a_text_names_the_memory_and_ends_as_a_sentence(name: str, pairs: pd.DataFrame) -> None:
    write = CONTROLS[name].write
    assert write is not None
    for pair, description in zip(pairs.to_dict("records"), describe_pairs(pairs), strict=True):
        text = write(pair, description and description.opening)
        assert text is None or (pair["memory"].strip() in text and text == text.strip() and text.endswith("."))


@pytest.mark.parametrize("name", REGISTERED)
def test_an_average_of_equal_values_is_that_value_and_knows_no_order(name: str) -> None:
    average = REGISTERED[name]
    same = {"changes": np.full((50, 3), 25.0), "effects": np.full((50, 3), np.log(1.25))}
    equal = SiteValues(**same, before=np.full((50, 3), 0.1), after=np.full((50, 3), 0.125))
    np.testing.assert_allclose(average.take(equal), 25.0 if average.unit == "%" else np.log(1.25))
    rng = np.random.default_rng(0)
    before, after = rng.uniform(0.01, 1, (2, 50, 3))
    order = rng.permutation(50)
    values = {
        "changes": 100 * (after / before - 1),
        "effects": np.log(after / before),
        "before": before,
        "after": after,
    }
    found = average.take(SiteValues(**values))
    assert found.shape == (3,)
    shuffled = SiteValues(**{part: own[order] for part, own in values.items()})
    np.testing.assert_allclose(average.take(shuffled), found)
    assert {**AVERAGES, **EFFECTS}[name] == average.label


def test_every_figure_and_table_has_a_caption() -> None:
    report = ROOT / "workflow" / "report"
    labelled = [name for job in list_table_jobs().values() for name, label in job.tables.items() if label]
    for file in [*(f"figures/{name}.rst" for name in list_figures()), *(f"{name}.rst" for name in labelled)]:
        assert len((report / file).read_text(encoding="utf-8")) > 50, file


@dataclass(frozen=True)
class Poem(Declared):
    lines: int


def read_poems(folder: Path, **modules: str) -> Mapping[str, Poem]:
    """Read the declarations in modules of these texts."""
    files = {module: folder / f"{module}.py" for module in modules}
    for module, file in files.items():
        file.write_text(modules[module], encoding="utf-8")
    return read_declarations(Poem, "register_poem", files)


def test_declarations_are_read_from_syntax(tmp_path: Path) -> None:
    code = "@registry.register_poem(lines={})\ndef {}():\n    raise ImportError\n"
    assert read_poems(tmp_path, first=code.format(14, "sonnet")) == {"sonnet": Poem("sonnet", "first", None, 14)}
    for second, reason in (
        (code.format(14, "sonnet"), "the function 'sonnet' is registered twice"),
        (code.format(14, "Sonnet"), "no function can be called 'Sonnet'"),
        (code.format("LINES", "haiku"), "malformed"),
        (code.replace("lines", "rows").format(3, "haiku"), "unexpected keyword argument 'rows'"),
    ):
        with pytest.raises(DeclarationError, match=rf"^@register_poem of second.\w+ is not valid \(.*{reason}"):
            read_poems(tmp_path, first=code.format(14, "sonnet"), second=second)


def test_every_source_is_in_the_key_table_with_words() -> None:
    sections: Mapping[str, Any] = list_sections()
    for source in (*list_model_sources(), *list_data_sources()):
        assert source in sections.values()
        assert all(field.description for name, field in source.model_fields.items() if name != "source"), source


def run_python(*arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a process that finds what is installed in a folder."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "workflow"), str(path)])}
    return subprocess.run([sys.executable, *arguments], env=environment, text=True, capture_output=True)


EXTENSION = """
from typing import Literal

{imports}
from memory_injections.controls.kinds import register_control
from memory_injections.data.sources import DataSource
from memory_injections.injection.encodings import register_encoding


@register_encoding("rhymed", label="what it rhymes with")
def rhyme(model, texts, layers): ...


@register_control("reversed", label="the memory from its end")
def turn(parts): ...


class Poems(DataSource):
    source: Literal["poems"]

    def read_pairs(self): ...
"""
USE = """
from memory_injections.config.study import Study, parse_study
from memory_injections.data.sources import list_data_sources
from memory_injections.errors import StudyError
from memory_injections.jobs.code import digest_named, name_class

grid, poems = {"encodings": ["unembed", "rhymed"]}, {"source": "poems"}
config = {"study": "mine", "models": {"m": {"source": "local", "path": "m"}}, "datasets": {"p": poems}}
study = parse_study(config | {"injection": grid})
assert [type(one).__name__ for one in study.datasets.values()] == ["Poems"]
assert study.controls.kinds[-1] == "reversed"
assert all(digest_named(name_class(source)) for source in list_data_sources())
schema = Study.model_json_schema()
assert "poems" in str(schema) and schema["$defs"]["InjectionGrid"]["properties"]["encodings"]["items"]["enum"] == [
    "unembed", "embed", "layer", "rhymed"
]
assert schema["properties"]["controls"]["default"]["kinds"][-1] == "reversed"
try:
    parse_study(config | {"injection": {"encodings": ["rhyme"]}})
except StudyError as error:
    print(error)
"""


@pytest.mark.parametrize("imported", [[], ["sweeps.grid", "controls.settings", "config.reference", "command_line.cli"]])
def test_an_extension_imports_what_it_likes(imported: list[str], tmp_path: Path) -> None:
    imports = "\n".join(f"import memory_injections.{module}" for module in imported)
    install(tmp_path, "poems", EXTENSION.format(imports=imports))
    done = run_python("-c", USE, path=tmp_path)
    assert done.stdout == (
        "config key injection.encodings.0 is 'rhyme'; "
        "allowed: 'unembed', 'unembed_spaced', 'embed', 'layer' or 'rhymed'\n"
    ), done.stderr


TWICE = """
from memory_injections.injection.encodings import register_encoding


@register_encoding("embed", label="another one")
def embed(model, texts, layers): ...
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def (", "SyntaxError: invalid syntax (poems.py, line 1)"),
        (TWICE, "DeclarationError: the encoding 'embed' is registered twice; rename one of them"),
    ],
)
def test_a_broken_extension_is_named_in_one_sentence(code: str, reason: str, tmp_path: Path) -> None:
    install(tmp_path, "poems", code)
    done = run_python("-m", "memory_injections.command_line.cli", "schema", "schema.json", "README.md", path=tmp_path)
    sentence = (
        f"the installed package poems does not load ({reason}); correct what its entry point poems = poems names, "
        "or uninstall it"
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"memory-injections: {sentence}\n")


def test_a_table_that_two_jobs_make_is_refused(tmp_path: Path) -> None:
    code = "from memory_injections.tables.registry import register_table\n\n"
    code += "@register_table({'sites': 'another one'}, reads=('cells',))\ndef places(cells): ...\n"
    install(tmp_path, "poems", code)
    done = run_python("-c", "from memory_injections.tables import registry; registry.list_table_jobs()", path=tmp_path)
    makers = "memory_injections.tables.sites.evidence and poems.places"
    assert done.stderr.endswith(f"Error: the table 'sites' is made twice, by {makers}; rename one of them\n")
