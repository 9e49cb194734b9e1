"""Starting a script: by Snakemake, or by hand for one file.

    python workflow/scripts/figures.py results/demo/figures/change.smollm2-135m.pairs.curated.unembed.png

runs the job that makes that file, in this process, so that a debugger works: inputs, parameters and log are those that
Snakemake would give it, and its inputs have to exist. `--configfile` names another study than the default one.
"""

import argparse
import gc
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# A script imports millions of objects that stay. To look among them for garbage after every 700 takes half a second.
gc.set_threshold(50_000)

WORKFLOW = Path(__file__).parents[1]
if (WORKFLOW / "memory_injections").is_dir():
    sys.path.insert(0, str(WORKFLOW))  # started by hand, the library of this checkout, too

from memory_injections.checksums import set_aside  # noqa: E402
from memory_injections.config.messages import describe_error  # noqa: E402
from memory_injections.errors import DamagedFileError, StudyError  # noqa: E402
from memory_injections.jobs.code import STATUS_VARIABLE, check_code  # noqa: E402
from memory_injections.jobs.endings import hide_interrupts  # noqa: E402
from memory_injections.jobs.logs import is_disk_full, start_log  # noqa: E402
from memory_injections.jobs.provenance import describe_origin, list_compared_files, name_inputs  # noqa: E402
from memory_injections.jobs.results import verify_inputs, write_checksums  # noqa: E402

hide_interrupts()
DISK_FULL = "no space is left to make %s (%s); free some and run the same command again: what is finished is kept"

# Jobs that run side by side may find the same file damaged.
GONE = "file %s is gone: it was removed, or another job has set it aside; run the same command again, which makes it"


@contextmanager
def start_job(namespace: Mapping[str, Any]) -> Iterator[Any]:
    """The job of a script, given its `globals()`: log, inputs, outputs and parameters as Snakemake describes them.

    Inputs that another job wrote are verified before the block. After it, outputs get their checksums, with what they
    were made of; if the job's code was edited since the run was planned, it fails instead. A damaged input is set
    aside, so that the next run makes it again. A `StudyError` or a full disk ends the process with one sentence, any
    other exception with its traceback; both stand in the log, and both end it with exit status 1.
    """
    job = namespace.get("snakemake") or find_job(*_read_arguments())
    start_log(job.log[0])
    try:
        started = time.time()
        check_code(job.params.code, os.environ.get(STATUS_VARIABLE))
        inputs = name_inputs(job.input._allitems())
        checksums = verify_inputs(list_compared_files(inputs))
        yield job
        check_code(job.params.code, os.environ.get(STATUS_VARIABLE))
        origin = describe_origin(dict(job.params.items()), inputs, checksums)
        write_checksums(map(Path, job.output), origin | {"started": started, "ended": time.time()})
        gc.freeze()  # or the interpreter, as it ends, looks among them once more, for a second
    except DamagedFileError as error:
        logging.error("%s: it is set aside as %s, run the same command again", error, set_aside(error.path))
        raise SystemExit(1) from None
    except StudyError as error:
        logging.error("%s", describe_error(error))
        raise SystemExit(1) from None
    except Exception as error:
        gone = [path for path in job.input if not Path(path).exists()]
        if is_disk_full(error):
            logging.error(DISK_FULL, job.output[0], str(error).strip().splitlines()[-1])
        elif gone:
            logging.error(GONE, gone[0])
        else:
            logging.exception("uncaught exception")
        raise SystemExit(1) from None


def _read_arguments() -> tuple[str, list[Path]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="the file to make, as Snakemake calls it")
    parser.add_argument("--configfile", type=Path, action="append", default=[], help="the study's config")
    options = parser.parse_args()
    return options.file, options.configfile


def find_job(file: str, configfiles: list[Path]) -> Any:
    """The job that makes a file, as Snakemake would describe it to the script; the folders of its outputs are made."""
    import snakemake.api  # first: the modules below import each other
    from snakemake.dag import DAG
    from snakemake.exceptions import WorkflowError
    from snakemake.jobs import Job
    from snakemake.script import Snakemake
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    # Snakemake itself runs nothing here, so it changes nothing either.
    with snakemake.api.SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, dryrun=True)) as api:
        description = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=configfiles),
            snakefile=WORKFLOW / "Snakefile",
        )
        # Snakemake has no public way to a single job.
        workflow = description._get_workflow(check_envvars=False, dag_settings=DAGSettings())
        try:
            workflow.include(description.snakefile, overwrite_default_target=True)
        except WorkflowError as error:
            raise SystemExit(str(error)) from None
        rule = next((rule for rule in workflow.rules if rule.is_producer(file)), None)
        if rule is None:
            raise SystemExit(f"no rule makes {file}; name a file as `snakemake --summary` lists it")
        outputs = {output for other in workflow.rules if other.is_checkpoint for output in other.output}
        workflow.checkpoints.created_output.update(output for output in outputs if Path(output).exists())
        job = Job(rule, DAG(workflow, rules=[rule]), rule.get_wildcards(file))
        for path in (*job.output, *job.log):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        return Snakemake(
            job.input, job.output, job.params, job.wildcards, job.threads, job.resources, job.log,
            workflow.config, rule.name, None,
        )  # fmt: skip
