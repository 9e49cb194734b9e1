"""The study's explorer, one self-contained page."""

from pathlib import Path

from memory_injections.explorer import render
from memory_injections.files import job_log, whole_file
from memory_injections.prompts import read_pairs
from memory_injections.scorecard import SweepName

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        inputs = snakemake.input
        page = render(
            Path(inputs.template),
            style=Path(inputs.style),
            scripts=list(map(Path, inputs.scripts)),
            study=snakemake.params.study,
            sweeps={
                SweepName.parse(of): Path(path) for of, path in zip(snakemake.params.of, inputs.cells, strict=True)
            },
            pairs={Path(path).stem: read_pairs(Path(path)) for path in inputs.pairs},
            heads={
                (Path(top).parent.name, Path(top).stem): (Path(top), Path(targets))
                for top, targets in zip(inputs.top, inputs.targets, strict=True)
            },
            paper=snakemake.params.paper,
        )
        with whole_file(Path(snakemake.output[0])) as path:
            path.write_text(page, encoding="utf-8")
