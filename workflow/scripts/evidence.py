"""How far the best sites hold on other prompts, and curated memories against random ones, tested."""

from pathlib import Path

from _job import start_job
from memory_injections.analysis.evidence import assess_sweeps
from memory_injections.atomic_files import write_csv
from memory_injections.paper.reported import find_reported_site
from memory_injections.sweeps.cells import index_sweeps

if __name__ == "__main__":
    with start_job(globals()) as job:
        sweeps = index_sweeps(map(Path, job.input))
        reported = {sweep: find_reported_site(sweep, job.params.paper) for sweep in sweeps}
        robust, tested = assess_sweeps(sweeps, reported, job.params.seed)
        write_csv(robust, Path(job.output.robustness))
        write_csv(tested, Path(job.output.curated_against_random))
