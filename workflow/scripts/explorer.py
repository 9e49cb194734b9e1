"""The study's explorer, one self-contained page."""

from pathlib import Path

from _job import start_job
from memory_injections.atomic_files import write_text
from memory_injections.data.prompt_pairs import index_pairs
from memory_injections.pages.explorer import render_explorer
from memory_injections.sweeps.cells import index_sweeps

if __name__ == "__main__":
    with start_job(globals()) as job:
        inputs, params = job.input, job.params
        page = render_explorer(
            Path(inputs.template),
            source=params.source,
            style=Path(inputs.style),
            scripts=list(map(Path, inputs.scripts)),
            study=params.study,
            sweeps=index_sweeps(map(Path, inputs.cells)),
            pairs=index_pairs(map(Path, inputs.pairs)),
            heads=list(zip(map(Path, inputs.top), map(Path, inputs.targets), strict=True)),
            paper=params.paper,
        )
        write_text(page, Path(job.output[0]))
