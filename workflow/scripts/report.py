"""The study's report, one self-contained page."""

from pathlib import Path

from memory_injections.checkpoints import read_manifest
from memory_injections.files import job_log, whole_file
from memory_injections.prompts import read_pairs
from memory_injections.report import read_table, render

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        inputs = snakemake.input
        page = render(
            Path(inputs.template),
            config=snakemake.params.config,
            manifests={Path(path).parent.name: read_manifest(path) for path in inputs.manifests},
            pairs={Path(path).name.removesuffix(".csv"): read_pairs(Path(path)) for path in inputs.pairs},
            tables={Path(path).stem: read_table(path) for path in (*inputs.tables, *inputs.table2)},
            figures={name: inputs[name] for name in ("attribution", "change", "distribution", "comparison")},
        )
        with whole_file(Path(snakemake.output[0])) as path:
            path.write_text(page, encoding="utf-8")
