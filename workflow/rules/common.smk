# The study that the config describes, checked before anything runs, and the names that wildcards may take.
import re

from memory_injections.checks import check_local_files, model_files
from memory_injections.config import CURATED, parse_study
from memory_injections.errors import StudyError

try:
    STUDY = parse_study(config)
    check_local_files(STUDY)
except StudyError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{STUDY.study}"
LOGS = f"logs/{STUDY.study}"
BENCHMARKS = f"benchmarks/{STUDY.study}"
SWEEPS = STUDY.sweeps()
SWEEP_NAMES = [f"{memories}.{encoding}" for memories, encoding in SWEEPS]
BOS = "bos" if STUDY.attribution.bos else "no-bos"


def one_of(names):
    """A wildcard constraint: one of these names."""
    return "|".join(re.escape(name) for name in names)


wildcard_constraints:
    model=one_of(STUDY.models),
    dataset=one_of(STUDY.datasets),
    memories=one_of(dict.fromkeys(memories for memories, _ in SWEEPS)),
    encoding=one_of(dict.fromkeys(encoding for _, encoding in SWEEPS)),
    bos="bos|no-bos",
    kind="explicit|obscure|difference",
    target="answer|memory",


def half_the_cores():
    """Two heavy jobs side by side use a machine better than one after the other: loading is single-threaded."""
    return max(1, (workflow.cores or 1) // 2)


def every_sweep(pattern):
    """A pattern of paths for every model, data set and sweep of the study."""
    return expand(pattern, model=STUDY.models, dataset=STUDY.datasets, sweep=SWEEP_NAMES)


def every_dataset(pattern, **wildcards):
    """A pattern of paths for every model and data set of the study."""
    return expand(pattern, model=STUDY.models, dataset=STUDY.datasets, **wildcards)
