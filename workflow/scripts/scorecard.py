"""The paper, the authors' results and ours side by side."""

from pathlib import Path

from memory_injections.files import job_log, whole_file
from memory_injections.scorecard import SweepName, claims, scorecard

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        inputs, params = snakemake.input, snakemake.params
        ours, authors = (
            {SweepName.parse(of): Path(path) for of, path in zip(names, paths, strict=True)}
            for names, paths in ((params.ours, inputs.ours), (params.authors, inputs.authors))
        )
        tables = (scorecard(ours, authors, params.paper), claims(ours or authors, params.paper))
        for path, table in zip(snakemake.output, tables, strict=True):
            with whole_file(Path(path)) as whole:
                table.to_csv(whole, index=False)
