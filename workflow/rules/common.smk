# Reads the study from the config, checks it before anything runs, and defines what all stages share.
#
# The source of the cells (source_models.smk or source_published.smk) defines these names for the other rules:
#   remember(function)            the function, which keeps its result if the sweeps are known from the start
#   list_sweeps(wildcards)        the sweeps that tables and figures are made of
#   list_published_sweeps(w)      the authors' sweeps among them, as paths of cells, to compare with
#   list_own_sweeps(w)            this study's sweeps, as paths of cells, to compare with those
#   list_scored_prompts(w)        the inputs of Table 1: activations or cells
#   list_heads(wildcards)         the models and data sets whose attention heads are read
#   locate_pairs(dataset)         path of the prompt pairs of a data set
#   list_pairs(wildcards)         paths of the prompt pairs of all data sets
#   SOURCE, CONFIG_SHOWN          where the cells come from, and the part of the config that they depend on
#   MAY_BE_PAPERS                 whether a model may be one of the paper's, as far as the config tells
#   PARTS                         the parts of a study that it has, among those that tables depend on
#   READ_OF_SOURCE                what tables read of these parts, by name
#   PUBLISHED_TABLES, COVERAGE, PAGES_OF_SOURCE, MANIFESTS    files for the report and rule `all`
#   list_parts(wildcards)         what tables, figures and pages are made of, besides the sweeps
import re
import sys
from errno import ENOENT
from functools import cache
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

import atexit

import memory_injections
from memory_injections.checksums import ChecksumCache, locate_checksum
from memory_injections.config.files import read_config
from memory_injections.config.messages import describe_error
from memory_injections.config.study import parse_study
from memory_injections.controls.kinds import CONTROLS
from memory_injections.errors import StudyError
from memory_injections.figures.registry import list_figures
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.jobs.checks import check_inputs, check_known_models
from memory_injections.jobs.code import (
    STATUS_VARIABLE,
    describe_code_status,
    digest_named,
    name_class,
)
from memory_injections.jobs.digest import digest_modules
from memory_injections.jobs.earlier_runs import check_no_live_jobs
from memory_injections.jobs.endings import end_with_a_sentence
from memory_injections.jobs.results import clean_results, describe_contents
from memory_injections.registry import load_extensions
from memory_injections.sweeps.identity import RELATIVE, SweepId
from memory_injections.tables.registry import list_table_jobs
from memory_injections.terms import CURATED
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from yaml import safe_load

# Jobs compare it with what they find, to notice that their code was edited after the run was planned.
environ[STATUS_VARIABLE] = describe_code_status()

# What is known of the contents of files, so that only changed ones are read.
SHARED = "results/shared"
CHECKSUM_CACHE = ChecksumCache(Path(SHARED) / "checksum_cache.json")
atexit.register(CHECKSUM_CACHE.save)
if workflow.is_main_process:
    end_with_a_sentence()


include: "provenance.smk"


def is_in_use():
    """Whether Snakemake runs in this folder already."""
    return any(Path(".snakemake/locks").glob("*"))


def check_results(folders):
    """Set results aside that are not what their jobs wrote, so that they are made again; a dry run names them only."""
    is_dry = workflow.output_settings.dryrun
    for file in clean_results(folders, CHECKSUM_CACHE, is_in_use, is_dry):
        logger.warning(
            f"file {file} is not what its job wrote: "
            + ("a run makes it again" if is_dry else "it is set aside and made again")
        )


try:
    # Snakemake has read these files, and of a key given twice it has taken the last.
    for configfile in workflow.configfiles:
        read_config(Path(configfile))
    # What installed packages add.
    for load in (load_extensions, list_table_jobs, list_figures):
        load()
    STUDY = parse_study(config, BASE.parent)
    check_inputs(STUDY)
    if workflow.is_main_process:
        if not workflow.output_settings.dryrun and not is_in_use():
            check_no_live_jobs(Path.cwd())
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
ACCESS = f"{SHARED}/models/{{model}}/access"
MANIFEST = f"{SHARED}/models/{{model}}/manifest.json"
PAIRS = f"{SHARED}/datasets/{{dataset}}.csv"
ACTIVATIONS = f"{SHARED}/activations/{{model}}/{{dataset}}.bos.safetensors"
HEADS = {
    "top": f"{RESULTS}/attribution/{{model}}/{{dataset}}.parquet",
    "targets": f"{RESULTS}/attribution-targets/{{model}}/{{dataset}}.parquet",
}
POPULATION = f"{RESULTS}/population/{{model}}/{{dataset}}.parquet"
CONTROLLED = {
    part: f"{RESULTS}/controls/{{model}}/{{dataset}}/{part}.parquet"
    for part in ("cells", "sites", "texts", "written")
}


wildcard_constraints:
    coding=f"(?:{'|'.join(ENCODINGS)})(?:{RELATIVE})?",
    bos="bos|no-bos",
    shard=r"\d+",
    shards=r"\d+",


def locate_source(path):
    """Path of a file of this workflow, or of Snakemake's copy if the workflow is loaded from a URL."""
    if not BASE.is_dir():
        return local(workflow.source_path(f"../{path}"))
    return local(shorten_path((BASE / path).resolve()))


def locate_caption(declared, path):
    """Path of the caption of a table or a figure, for Snakemake's report; those of installed packages have none there."""
    return f"../report/{path}" if declared.caption is None else None


def locate_template(name):
    """Path of a template of the library's pages."""
    library = Path(memory_injections.__file__).parent
    return local(shorten_path(library / "pages/templates" / name))


def shorten_path(path):
    """A path relative to this folder if it is below it, so that nothing changes if the folder moves."""
    return str(
        path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    )


def list_local(source):
    """The files of this machine that a source depends on; they are here even if results are in a remote storage."""
    return [local(file) for file in source.local_files()]


# The numbers that the paper reports.
with open(locate_source("../resources/paper.yaml"), encoding="utf-8") as file:
    PAPER = safe_load(file)


def hash_source(source):
    """A checksum of the local files that a source depends on; as a parameter, it reruns jobs when contents change."""
    return describe_contents(source.local_files(), CHECKSUM_CACHE)


def match_names(names):
    """A wildcard constraint that matches exactly these names, or nothing if there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


@cache
def digest_code(script, *others):
    """Digests of the code that a job runs, comments aside; as a parameter, they rerun it when the code changes.

    `others` name code that the script alone does not lead to (see `digest_named`), such as the class of the one source
    that a data set has: edits of other sources rerun nothing.
    """
    names = [f"scripts/{script}.py", *others]
    return {
        name: digest_named(name, Path(locate_source(name)) if "/" in name else None)
        for name in names
    }


def list_labels():
    """What reports call controls and encodings: digests of code leave it out, so pages have it as a parameter."""
    registries = CONTROLS, ENCODINGS
    return [{name: known.label for name, known in one.items()} for one in registries]


def hash_inputs(*names):
    """A parameter with the checksums of those inputs of a job that it depends on, not only waits for.

    Where results are cached between workflows, they are part of the key: what an input is called, or how it was made,
    does not tell what is in it.
    """

    def hash_named(wildcards, input):
        paths = [
            path for name in names for path in name_inputs([(name, input[name])])[name]
        ]
        for path in paths:
            if not path.exists():
                raise FileNotFoundError(ENOENT, "not made yet", str(path))
        return list(CHECKSUM_CACHE.hash_files(paths).values())

    return hash_named


def is_fixed(source):
    """Whether params tell what is in a source, by a commit, a checksum or the contents of its files."""
    return source.is_pinned or bool(source.local_files())


def keep(path):
    """An output that a failing job, maybe of another study, leaves as it was; for Snakemake's cache it has to go."""
    return path if workflow.workflow_settings.cache is not None else update(path)


def seal(path):
    """Path of the checksum of a result; a rule whose results are cached between workflows names it among them."""
    return str(locate_checksum(Path(path)))


def locate_cells(sweep):
    """Path of the cells of a sweep."""
    return f"{CELLS}/{sweep.path}.parquet"


def list_cells(wildcards):
    """Paths of the cells of every sweep of the study."""
    return [locate_cells(sweep) for sweep in list_sweeps(wildcards)]


def list_tables_named(*names):
    """Paths of those of some tables that the study has."""
    return [STUDY_TABLES[name] for name in names if name in STUDY_TABLES]


def share_cores(beside=1):
    """Cores for a job with a model: all of them divided by the number of GPUs, or all if there is no GPU.

    Where `beside` such jobs are ready at the same time, they share them: two jobs with half of the cores end sooner than
    one after the other with all, as parts of each keep one core busy.
    """
    settings = workflow.resource_settings
    gpus = settings.resources["gpu"].value if "gpu" in settings.resources else 1
    return max(1, (settings.cores or 1) // (max(1, gpus) * beside))
