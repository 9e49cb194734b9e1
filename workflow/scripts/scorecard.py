"""The paper, the authors' results and ours side by side."""

from pathlib import Path

from _job import start_job
from memory_injections.analysis.table_files import write_table
from memory_injections.paper.reported import read_numbers
from memory_injections.paper.scorecard import build_scorecard
from memory_injections.sweeps.cells import index_sweeps

if __name__ == "__main__":
    with start_job(globals()) as job:
        ours, authors = (index_sweeps(map(Path, paths)) for paths in (job.input.ours, job.input.authors))
        numbers = read_numbers(Path(job.input.paper))
        if ours:  # the authors' cells stand beside those of the same models and prompts
            authors = {name: at for name, at in authors.items() if [name.model, name.dataset] in numbers["compared"]}
        write_table(build_scorecard(ours, authors, numbers), Path(job.output[0]))
