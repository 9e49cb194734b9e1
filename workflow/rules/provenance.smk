# Whether a result is what the study asks for now is read from what the result carries, not from Snakemake's own records:
# these get lost, belong to one folder, and take a failed job for a finished one (Snakemake's issues 3808 and 1978).
import snakemake.workflow
from memory_injections.checksums import read_origin
from memory_injections.jobs.provenance import (
    carries_origin,
    compare_origins,
    describe_origin,
    list_compared_files,
    name_inputs,
)
from snakemake.dag import DAG
from snakemake.persistence import NO_PARAMS_CHANGE, ParamsChange
from snakemake.settings.types import RerunTrigger

RULES = workflow.current_basedir.get_path_or_uri(secret_free=True)


class OriginChange(ParamsChange):
    """How what results were made of differs from what the study asks for."""

    def __str__(self):
        return f"made of something else: {'; '.join(sorted(self.only_new))}"


class AnyChecksum(str):
    """A checksum that is equal to every other."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0


class OriginsOfResults:
    """Snakemake's records of jobs, with this workflow's jobs judged by what their results carry."""

    def __init__(self, *arguments, dag=None, **options):
        if dag is not None and RerunTrigger.PARAMS not in dag.workflow.rerun_triggers:
            raise WorkflowError(
                "rerun triggers without `params` would take results of another config or other code for this one's: "
                "leave out --rerun-triggers, or name params, too"
            )
        super().__init__(*arguments, dag=dag, **options)

    def has_metadata(self, job):
        return is_judged_by_origin(job) or super().has_metadata(job)

    def has_outdated_metadata(self, job):
        return not is_judged_by_origin(job) and super().has_outdated_metadata(job)

    def params_changed(self, job, file=None):
        if not is_judged_by_origin(job):
            return super().params_changed(job, file)
        return compare_job(job, job.output if file is None else [file])

    def input_changed(self, job, file=None):
        # Inputs are compared with the params, by their contents: neither other names nor newer dates rerun anything.
        if not is_judged_by_origin(job):
            return super().input_changed(job, file)
        return [] if file is None else False

    def input_checksums(self, job, input_path):
        if not is_judged_by_origin(job):
            return super().input_checksums(job, input_path)
        return {AnyChecksum("sha256:any")}


def is_judged_by_origin(job):
    """Whether a job is one of this workflow's with all files in this file system: what is in a storage carries nothing."""
    if not job.is_script or job.rule.basedir.get_path_or_uri(secret_free=True) != RULES:
        return False
    return not any(file.is_storage for file in (*job.input, *job.output))


def compare_job(job, files):
    """How some results of a job differ from what the study asks for, as Snakemake's triggers report it."""
    inputs = name_inputs(job.input._allitems())
    checksums = CHECKSUM_CACHE.hash_files(list_compared_files(inputs))
    wanted = describe_origin(dict(job.params.items()), inputs, checksums)
    ancient = {Path(file) for file in job.input if file.is_ancient}
    ignored = {
        name for name, paths in inputs.items() if paths and ancient.issuperset(paths)
    }
    differences = {}
    for file in files:
        path = Path(file)
        if not path.exists():
            differences[file] = [] if file.is_temp else [f"{file} is missing"]
        elif carries_origin(path):
            differences[file] = compare_origins(read_origin(path), wanted, ignored)
    changed = {file: words for file, words in differences.items() if words}
    if not changed:
        return NO_PARAMS_CHANGE
    return OriginChange(only_new=set().union(*changed.values()), files=set(changed))


class Triggered(dict):
    """The jobs that run because a job does: those that take more of it than ancient files."""

    def __init__(self, depending):
        self.depending = depending

    def __missing__(self, job):
        return {
            other: files
            for other, files in self.depending[job].items()
            if not all(file.is_ancient for file in files)
        }


class CompleteDAG(DAG):
    """Snakemake's graph of jobs, in which a job is judged although one runs that it takes ancient files of.

    Snakemake looks at no job behind one that will run, because that one triggers it. By ancient files it does not: what
    else has changed for the job would go unnoticed.
    """

    def bfs(self, direction, *jobs, **options):
        # All that is behind a job is left out with it (`--omit-from`).
        if direction is self.depending and not any(map(self.in_omitfrom, jobs)):
            direction = Triggered(direction)
        return super().bfs(direction, *jobs, **options)


if not issubclass(snakemake.workflow.DAG, CompleteDAG):
    snakemake.workflow.DAG = CompleteDAG

for name in ("FilePersistence", "DbPersistence"):
    records = getattr(snakemake.workflow, name)
    if not issubclass(records, OriginsOfResults):
        setattr(snakemake.workflow, name, type(name, (OriginsOfResults, records), {}))
