# The study that the config describes, checked before anything runs, and what all stages share.
#
# The rest asks the source of the cells (source_models.smk or source_published.smk) for these names:
#   list_sweeps(wildcards)        the sweeps that tables and figures are made of
#   list_published_sweeps(w)      the authors' sweeps among them, as paths of cells, to compare with
#   list_own_sweeps(w)            this study's sweeps, as paths of cells, to be compared
#   list_scored_prompts(w)        what Table 1 reads: activations, or cells
#   list_heads(wildcards)         the models and data sets whose attention heads are read
#   SOURCE, CONFIG_SHOWN          whose cells they are, and the part of the config that they depend on
#   TABLES_OF_SOURCE, PAGES_OF_SOURCE, MANIFESTS, PAIRS    files for the report and the targets
#   and the constraints of the wildcards model, dataset and memories
import re
import sys
from os import environ, pathsep
from pathlib import Path

# This checkout's library, whichever is installed: here, and in jobs, which may run in an environment of their own.
# A workflow that lies on the web has no folder: then the installed library serves.
BASE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
if BASE.is_dir():
    sys.path.insert(0, str(BASE))
    environ["PYTHONPATH"] = pathsep.join(
        filter(None, [str(BASE), environ.get("PYTHONPATH")])
    )

import memory_injections
from memory_injections.config.messages import describe_error
from memory_injections.config.study import parse_study
from memory_injections.errors import StudyError
from memory_injections.jobs.checks import check_inputs, check_known_models
from memory_injections.jobs.digest import digest_object, digest_script
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED
from snakemake.exceptions import WorkflowError
from yaml import safe_load

try:
    STUDY = parse_study(config, BASE.parent)
    check_inputs(STUDY)
    check_known_models(
        STUDY,
        [Path(f"results/shared/models/{name}/manifest.json") for name in STUDY.models],
    )
except StudyError as error:
    raise WorkflowError(describe_error(error)) from None

# Rules with `localrule` need the internet, or take a second: on a cluster they run where Snakemake does.
RESULTS = f"results/{STUDY.study}"
LOGS = f"logs/{STUDY.study}"
BENCHMARKS = f"benchmarks/{STUDY.study}"
CELLS = f"{RESULTS}/injections"
TEMPLATES = Path(memory_injections.__file__).parent / "pages" / "templates"


wildcard_constraints:
    encoding="unembed|embed|layer",
    bos="bos|no-bos",
    shard=r"\d+",
    shards=r"\d+",


def locate_source(path):
    """A file of this workflow: in its folder or, if that lies on the web, Snakemake's copy of it."""
    return str(BASE / path) if BASE.is_dir() else workflow.source_path(f"../{path}")


# What the paper says.
with open(locate_source("../resources/paper.yaml"), encoding="utf-8") as file:
    PAPER = safe_load(file)


def match_names(names):
    """A wildcard constraint: one of these names."""
    return "|".join(re.escape(name) for name in names)


def digest_code(script):
    """What a rule's script computes, whatever its comments: a result depends on it as on a parameter."""
    return digest_script(Path(locate_source(f"scripts/{script}.py")))


def digest_source(script, source):
    """The same with the class of the source that is read: an edit of another class changes nothing."""
    return f"{digest_code(script)}; {digest_object(type(source))}"


def locate_cells(sweep):
    """The cells of a sweep."""
    return f"{CELLS}/{sweep.path}.parquet"


def list_cells(wildcards):
    """The cells of every sweep of the study."""
    return [locate_cells(sweep) for sweep in list_sweeps(wildcards)]


def share_cores():
    """All cores for one job with a model at a time, or a share of them for each GPU."""
    settings = workflow.resource_settings
    gpus = settings.resources["gpu"].value if "gpu" in settings.resources else 1
    return max(1, (settings.cores or 1) // max(1, gpus))
