"""The study's report, one self-contained page."""

from pathlib import Path

from _job import start_job
from memory_injections.analysis.table_files import read_table
from memory_injections.atomic_files import write_text
from memory_injections.data.prompt_pairs import index_pairs
from memory_injections.figures.registry import list_figures
from memory_injections.models.checkpoints import read_manifest
from memory_injections.pages.report import render_report

if __name__ == "__main__":
    with start_job(globals()) as job:
        inputs, params = job.input, job.params
        page = render_report(
            Path(inputs.template),
            source=params.source,
            config=params.config,
            walkthrough=params.walkthrough,
            manifests=dict(zip(params.config.get("models", ()), map(read_manifest, inputs.manifests), strict=True)),
            pairs=index_pairs(map(Path, inputs.pairs)),
            tables={Path(path).stem: read_table(Path(path)) for path in inputs.tables},
            figures={name: inputs[f"figure_{name}"] for name in list_figures()},
            captions=params.captions
            | {Path(path).stem: Path(path).read_text(encoding="utf-8").strip() for path in inputs.captions},
        )
        write_text(page, Path(job.output[0]))
