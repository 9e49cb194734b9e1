"""A study of tiny models of many families: Snakemake runs it, and what becomes of each model is the family's result."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from architectures import Family
from conftest import PAIRS, ROOT
from memory_injections.injection.encodings import ENCODINGS
from tiny_models import train_tokenizer

NAME = "families"
# Some tokenizers of transformers, such as Qwen2's, add tokens of their own, and the tiny models have 400.
N_TOKENS = 390
# A model's last files: whatever else is computed with it comes before.
ENDS = ("attribution/{}/pairs.parquet", "controls/{}/pairs/cells.parquet", "mechanisms/{}/pairs/texts.parquet")


def name_model(family: str) -> str:
    """The name of a family's model in the study."""
    return re.sub(r"[^A-Za-z0-9]+", "-", family).strip("-")


def build_study(families: Sequence[str]) -> dict[str, Any]:
    """Little of everything that is computed with a model."""
    return {
        "study": NAME,
        "models": {name_model(name): {"source": "local", "path": f"models/{name_model(name)}"} for name in families},
        "datasets": {"pairs": {"source": "file", "path": str(PAIRS), "rows": 2}},
        "injection": {"encodings": list(ENCODINGS), "layers": {"step": 2}, "magnitudes": [1]},
        "controls": {"kinds": ["random_direction", "shuffled", "in_context"], "draws": 1, "doses": [0.1]},
        "mechanisms": {"prompts": 1, "texts": 1, "factors": [1]},
        "walkthrough": False,
    }


def run_families(folder: Path, families: Mapping[str, Family], python: Path) -> dict[str, str]:
    """Run the study in a folder; return the sentence that refuses each family, empty for those that are computed."""
    tokenizer = train_tokenizer(N_TOKENS)
    for name, family in families.items():
        model = folder / "models" / name_model(name)
        family.build().save_pretrained(model)
        tokenizer.save_pretrained(model)
    (folder / "study.yaml").write_text(yaml.safe_dump(build_study(list(families))), encoding="utf-8")
    targets = [f"results/{NAME}/{end.format(name_model(name))}" for name in families for end in ENDS]
    command = [str(python), "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile"), "--cores", "all"]
    done = subprocess.run(
        [*command, "--keep-going", *targets, "--configfile", "study.yaml"], cwd=folder, text=True, capture_output=True
    )
    found = {name: _find_refusal(folder, name_model(name)) for name in families}
    assert any(not refusal for refusal in found.values()), done.stdout + done.stderr
    return found


def _find_refusal(folder: Path, model: str) -> str:
    if all((folder / f"results/{NAME}" / end.format(model)).exists() for end in ENDS):
        return ""
    logs = (folder / f"logs/shared/models/{model}").glob("*.log")
    lines = [line for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
    said = [line for line in lines if " is not supported because " in line]
    return said[0] if said else "no refusal, and no result; look at the logs"
