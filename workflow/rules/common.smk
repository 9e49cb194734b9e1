# Reads the study from the config, checks it before anything runs, and defines what all stages share.
#
# The source of the cells (source_models.smk or source_published.smk) defines these names for the other rules:
#   list_sweeps(wildcards)        the sweeps that tables and figures are made of
#   list_published_sweeps(w)      the authors' sweeps among them, as paths of cells, to compare with
#   list_own_sweeps(w)            this study's sweeps, as paths of cells, to compare with those
#   list_scored_prompts(w)        the inputs of Table 1: activations or cells
#   list_heads(wildcards)         the models and data sets whose attention heads are read
#   locate_pairs(dataset)         path of the prompt pairs of a data set
#   list_pairs(wildcards)         paths of the prompt pairs of all data sets
#   SOURCE, CONFIG_SHOWN          where the cells come from, and the part of the config that they depend on
#   MAY_BE_PAPERS                 whether a model may be one of the paper's, as far as the config tells
#   CONTROL_TABLES                the tables of controls by name, if there are any
#   CAUSE_TABLES                  the tables of causes by name, if there are any
#   TABLES_OF_SOURCE, COVERAGE, PAGES_OF_SOURCE, MANIFESTS    files for the report and rule `all`
import re
import sys
from os import environ, pathsep
from pathlib import Path

# Use this checkout's library, even if another one is installed, both here and in jobs, which may run in another
# environment. A workflow loaded from a URL has no folder, so it uses the installed library.
BASE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
if BASE.is_dir():
    sys.path.insert(0, str(BASE))
    environ["PYTHONPATH"] = pathsep.join(
        filter(None, [str(BASE), environ.get("PYTHONPATH")])
    )

import memory_injections
from memory_injections.checksums import Ledger, list_set_aside, locate_checksum
from memory_injections.config.files import read_config
from memory_injections.config.messages import describe_error
from memory_injections.config.study import parse_study
from memory_injections.errors import StudyError
from memory_injections.jobs.checks import check_inputs, check_known_models
from memory_injections.jobs.digest import digest_object, digest_script
from memory_injections.jobs.results import clean_results, describe_contents
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from yaml import safe_load

# What is known of the contents of files, so that only changed ones are read.
SHARED = "results/shared"
LEDGER = Ledger(Path(SHARED) / "ledger.json")


def is_in_use():
    """Whether Snakemake runs in this folder already."""
    return any(Path(".snakemake/locks").glob("*"))


def check_results(folders):
    """Set results aside that are not what their jobs wrote, so that they are made again; a dry run names them only."""
    is_dry = workflow.output_settings.dryrun
    for file in clean_results(folders, LEDGER, is_in_use, is_dry):
        logger.warning(
            f"file {file} is not what its job wrote: "
            + ("a run makes it again" if is_dry else "it is set aside and made again")
        )


try:
    # Snakemake has read these files, and of a key given twice it has taken the last.
    for configfile in workflow.configfiles:
        read_config(Path(configfile))
    STUDY = parse_study(config, BASE.parent)
    check_inputs(STUDY)
    if workflow.is_main_process:
        check_results([Path(SHARED), Path("results") / STUDY.study])
    check_known_models(
        STUDY,
        [Path(SHARED) / f"models/{name}/manifest.json" for name in STUDY.models],
    )
except StudyError as error:
    raise WorkflowError(describe_error(error)) from None

# Rules with `localrule` need the internet or take about a second. On a cluster they run where Snakemake runs.
RESULTS = f"results/{STUDY.study}"
LOGS = f"logs/{STUDY.study}"
BENCHMARKS = f"benchmarks/{STUDY.study}"
CELLS = f"{RESULTS}/injections"


# Files that several rules share, by model and data set. A rule's output would not do: `expand` refuses one that is in a
# remote storage.
MANIFEST = f"{SHARED}/models/{{model}}/manifest.json"
PAIRS = f"{SHARED}/datasets/{{dataset}}.csv"
ACTIVATIONS = f"{SHARED}/activations/{{model}}/{{dataset}}.bos.safetensors"
HEADS = {
    "top": f"{RESULTS}/attribution/{{model}}/{{dataset}}.parquet",
    "targets": f"{RESULTS}/attribution-targets/{{model}}/{{dataset}}.parquet",
}
CONTROLLED = {
    part: f"{RESULTS}/controls/{{model}}/{{dataset}}/{part}.parquet"
    for part in ("cells", "sites", "texts")
}


wildcard_constraints:
    encoding="(?:unembed|embed|layer)(?:_relative)?",
    bos="bos|no-bos",
    shard=r"\d+",
    shards=r"\d+",


def locate_source(path):
    """Path of a file of this workflow, or of Snakemake's copy if the workflow is loaded from a URL."""
    return local(
        str(BASE / path) if BASE.is_dir() else workflow.source_path(f"../{path}")
    )


def locate_template(name):
    """Path of a template of the library's pages."""
    return local(f"{Path(memory_injections.__file__).parent}/pages/templates/{name}")


def list_local(source):
    """The files of this machine that a source depends on; they are here even if results are in a remote storage."""
    return [local(file) for file in source.local_files()]


# The numbers that the paper reports.
with open(locate_source("../resources/paper.yaml"), encoding="utf-8") as file:
    PAPER = safe_load(file)


def hash_source(source):
    """A checksum of the local files that a source depends on; as a parameter, it reruns jobs when contents change."""
    return describe_contents(source.local_files(), LEDGER)


def list_lost_results():
    """Paths of results that were set aside, even if nothing else has to be made of them."""
    lost = [*list_set_aside(Path(SHARED)), *list_set_aside(Path(RESULTS))]
    return [
        str(file)
        for file in lost
        if any(rule.is_producer(str(file)) for rule in workflow.rules)
    ]


def match_names(names):
    """A wildcard constraint that matches exactly these names."""
    return "|".join(re.escape(name) for name in names)


def digest_code(script):
    """A digest of the code that a script runs, comments aside; as a parameter, it reruns jobs when the code changes."""
    return digest_script(Path(locate_source(f"scripts/{script}.py")))


def digest_source(script, source):
    """A digest of a script and of the class of one source, so that edits of other sources rerun nothing."""
    return f"{digest_code(script)}; {digest_object(type(source))}"


def seal(path):
    """Path of the checksum of a result; a rule whose results are cached between workflows names it among them."""
    return str(locate_checksum(Path(path)))


def locate_cells(sweep):
    """Path of the cells of a sweep."""
    return f"{CELLS}/{sweep.path}.parquet"


def list_cells(wildcards):
    """Paths of the cells of every sweep of the study."""
    return [locate_cells(sweep) for sweep in list_sweeps(wildcards)]


def list_control_tables(name):
    """Path of a table of controls, in a list; an empty one in a study without controls."""
    return [CONTROL_TABLES[name]] if name in CONTROL_TABLES else []


def share_cores(beside=1):
    """Cores for a job with a model: all of them divided by the number of GPUs, or all if there is no GPU.

    Where `beside` such jobs are ready at the same time, they share them: two jobs with half of the cores end sooner than
    one after the other with all, as parts of each keep one core busy.
    """
    settings = workflow.resource_settings
    gpus = settings.resources["gpu"].value if "gpu" in settings.resources else 1
    return max(1, (settings.cores or 1) // (max(1, gpus) * beside))
