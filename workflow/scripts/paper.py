"""What the paper says of a study: its numbers for the models and data sets that are its own."""

import json
from pathlib import Path

from _job import start_job
from memory_injections.atomic_files import write_text
from memory_injections.data.prompt_pairs import index_pairs
from memory_injections.models.checkpoints import read_manifest
from memory_injections.paper.reported import identify_as_papers, identify_authors, select_numbers

if __name__ == "__main__":
    with start_job(globals()) as job:
        paper, pairs = job.params.paper, index_pairs(map(Path, job.input.pairs))
        manifests = dict(zip(job.params.models, map(read_manifest, job.input.manifests), strict=True))
        if job.params.source == "published":
            names = {pair: pair for pair in identify_authors(pairs, paper)}
        else:
            found = {
                (model, dataset): identify_as_papers(manifest, table, paper)
                for model, manifest in manifests.items()
                for dataset, table in pairs.items()
            }
            names = {own: papers for own, papers in found.items() if papers}
        write_text(json.dumps(select_numbers(paper, names), indent=2) + "\n", Path(job.output[0]))
