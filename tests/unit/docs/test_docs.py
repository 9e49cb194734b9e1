"""Messages, links and paths in the documentation exist."""

import io
import math
import re
from pathlib import Path

import pandas as pd
import pytest
import snakemake
import yaml
from conftest import ROOT
from interval_coverage import COVERAGE, EQUIVALENCE
from memory_injections.analysis.averages import N_DEVIATIONS
from memory_injections.analysis.clusters import PROMPTS_PER_HOP
from memory_injections.analysis.effects import (
    EQUIVALENCE_LEVEL,
    FEWEST_CLUSTERS,
    LEVEL,
    N_FLIPS,
    N_FOLDS,
    N_REPEATS,
    N_SIMULATIONS,
    POWER,
)
from memory_injections.analysis.hits import HITS_AT
from memory_injections.analysis.paper_tables import INFORMATIVE, N_EXAMPLES
from memory_injections.config.study import Study, parse_study, read_study
from memory_injections.controls.kinds import CONTROLS
from memory_injections.data.prompt_pairs import normalise_pairs
from memory_injections.figures.style import COLUMN, MARK
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.mechanisms.side_effects import WINDOW
from memory_injections.models.limits import MORE_TOKENS
from memory_injections.models.sizes import GIB
from memory_injections.paper.coverage import N_TOP
from memory_injections.planning.sizes import find_data_size, find_model_size
from PIL import Image

PAGES = [
    path for pattern in ("*.md", "config/*.md", "docs/*.md", "results/*.md") for path in sorted(ROOT.glob(pattern))
]


def source_text(folder: Path) -> str:
    """All code in a folder, with strings that span several lines joined."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".smk"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return re.sub(r'"\s*\n\s*f?"', "", text)


def messages() -> list[str]:
    """The first column of every table of the troubleshooting page."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)


def test_every_message_is_one_that_can_appear() -> None:
    code = source_text(ROOT / "workflow") + source_text(Path(snakemake.__file__).parent)
    # Placeholders of f-strings and log messages are shown as … on the page.
    code = re.sub(r"\{[^{}]*(\{[^{}]*\}[^{}]*)*\}|%[sd]", "…", code)
    assert len(messages()) > 20
    for message in messages():
        for part in message.split("…"):
            assert part.strip(" ;:,") in code, message


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_fault_names_a_test() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|") and not line.startswith(("| Fault", "| ---"))]
    assert len(rows) > 20
    for row in rows:
        tests = re.findall(r"`tests/((?:unit|workflow|browser|cluster)/[\w/]+\.py)(?:::(\w+))?`", row.split("|")[-2])
        assert tests, row
        for file, name in tests:
            assert f"def {name or 'test_'}" in (ROOT / "tests" / file).read_text(encoding="utf-8"), row


# Files that a page asks its reader to write.
TO_BE_WRITTEN = (
    "config/mine.yaml",
    "config/capitals.csv",
    "workflow/report/figures/rank.rst",
    "workflow/report/hits_by_layer.rst",
)


def list_named_paths(page: Path) -> list[str]:
    """List the paths in the project that a page mentions."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"(?<![\w/<.-])((?:workflow|config|docs|resources|tests)/[\w./-]*)", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    for path in list_named_paths(page):
        assert (ROOT / path.rstrip(".")).exists() or path in TO_BE_WRITTEN, path


def test_the_readme_is_read_in_five_minutes() -> None:
    """Tables and code are counted too."""
    words = [word for word in (ROOT / "README.md").read_text(encoding="utf-8").split() if re.search(r"\w", word)]
    assert len(words) <= 900


def test_the_architecture_shows_the_house() -> None:
    assert len(list_named_paths(ROOT / "docs" / "architecture.md")) > 10


def test_the_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"](docs/{page.name})" not in text] == []


def test_prompts_and_config_of_the_tutorial_are_a_study() -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^```(csv|yaml)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    pairs = normalise_pairs(pd.read_csv(io.StringIO(blocks["csv"])), "the tutorial")
    assert pairs["memory"].is_unique
    study = parse_study(yaml.safe_load(blocks["yaml"]))
    default = parse_study(yaml.safe_load((ROOT / "config" / "config.yaml").read_text()))
    assert study.models == default.models  # so that it is not fetched again


def test_the_glossary_has_every_control_encoding_and_margin() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE))
    assert {name: control.label for name, control in CONTROLS.items()}.items() <= rows.items()
    assert all(encoding.label in rows[name] for name, encoding in ENCODINGS.items())
    assert f"within {Study.model_fields['margin'].default:g} nats of zero" in text
    assert f"has a rank below {INFORMATIVE}" in text


WORDS = {4: "four", 6: "six", 8: "eight", 9: "nine"}
# What docs/method.md says of the numbers that the code decides with.
OF_METHOD = (
    f"*tells* of the answer or the memory if its rank there is below {INFORMATIVE}",
    f"Table 2 has example pairs, {WORDS[N_EXAMPLES]} of each target",
    f"as many tokens as the longest right answer has, and {MORE_TOKENS} more",
    f"more than {N_DEVIATIONS} standard deviations from their mean dropped, once",
    f"the answer's rank is below k ({HITS_AT[0]}, {HITS_AT[1]} or {HITS_AT[2]})",
    f"read in windows of {WINDOW} tokens behind BOS",
    f"a last hop has {PROMPTS_PER_HOP} prompts or more on average",
    f"divided at random into {N_FOLDS} folds",
    f"the highest mean effect in the other {WORDS[N_FOLDS - 1]}",
    f"This is done {N_REPEATS} times, and a prompt's effect is its mean over the {N_REPEATS} sites",
    f"means over the {N_REPEATS}, too",
    # All ways are half of 2 to the power of the clusters: of two that differ in every sign, one is enough.
    f"in all ways if there are at most {N_FLIPS.bit_length()}, else {N_FLIPS:,} times at random",
    f"the ends of the {1 - LEVEL:.0%} interval",
    f"does not refuse at {LEVEL:.0%}",
    f"none with fewer than {WORDS[FEWEST_CLUSTERS]} clusters, whose p-value cannot be below {LEVEL:.0%}",
    f"are the same at {EQUIVALENCE_LEVEL:.0%}, for equivalence",
    f"they need {WORDS[math.ceil(math.log2(2 / EQUIVALENCE_LEVEL))]} clusters",
    f"if both {1 - EQUIVALENCE_LEVEL:.0%} intervals lie within the margin of zero",
    f"with a power of {POWER:.0%}: {N_SIMULATIONS} simulated studies",
    f"a coverage of {COVERAGE['normal']:.0%} for symmetric and {min(COVERAGE.values()):.0%} for skewed effects",
    f"at most {EQUIVALENCE:.0%} wrong equivalence",
    f"the p-value is below {LEVEL:.0%}",
    f"the config's `margin`, {Study.model_fields['margin'].default:g} nats by default",
    f"above 1/{N_TOP} must be among the {N_TOP} most probable ones",
    f"fails if more than {LEVEL:.0%} of those without any effect",
)


@pytest.mark.parametrize("sentence", OF_METHOD)
def test_the_method_has_the_numbers_of_the_code(sentence: str) -> None:
    text = " ".join((ROOT / "docs" / "method.md").read_text(encoding="utf-8").split())
    assert re.sub(r"(?<=\d)%", " %", sentence) in text


def test_what_the_activations_of_the_fields_data_take() -> None:
    study = read_study(ROOT / "config" / "twohopfact.yaml", ROOT)
    model, _ = find_model_size("olmo-2-1b", study.models["olmo-2-1b"])
    data, _ = find_data_size("twohopfact", study.datasets["twohopfact"])
    text = (ROOT / "docs" / "field-data.md").read_text(encoding="utf-8")
    whole = model.activation_bytes * data.n_prompts / GIB
    assert f"that is {model.activation_bytes / 1e6:.1f} MB a prompt, {whole:.0f} GiB for TwoHopFact" in text


def test_catalogue_and_citation() -> None:
    catalogue = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))
    assert catalogue["usage"]["software-stack-deployment"]["conda"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert citation["version"] == version[1]
    assert {"cff-version", "message", "title", "authors", "license"} <= citation.keys()


def test_default_study_is_what_the_pages_say() -> None:
    study = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    assert "rows" not in study["datasets"]["pairs"]
    n_pairs = len(pd.read_csv(ROOT / study["datasets"]["pairs"]["path"]))
    assert f"on the {n_pairs} prompt pairs" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"into {n_pairs} prompts" in (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


def test_the_figure_of_the_readme_is_one_of_this_study() -> None:
    with Image.open(ROOT / "docs" / "controls.png") as image:
        assert MARK in image.info
        assert image.width / image.info["dpi"][0] == pytest.approx(COLUMN, abs=0.01)


def test_conda_environment_pins_what_the_package_pins() -> None:
    import tomllib

    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    conda = yaml.safe_load((ROOT / "workflow/envs/memory-injections.yaml").read_text())["dependencies"]
    assert conda[-1]["pip"] == [name for name in pinned if not name.startswith("pip")]
