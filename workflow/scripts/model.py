"""A model's folder and manifest."""

import json
from pathlib import Path

from _job import start_job
from memory_injections.atomic_files import replace_folder, write_text
from memory_injections.models.sources import ModelSource, list_model_sources
from memory_injections.terms import unite
from pydantic import TypeAdapter


def write_model(source: ModelSource, checkpoint: Path, manifest: Path) -> None:
    """Fetch a model from its source, whole or not at all."""
    with replace_folder(checkpoint) as folder:
        about = source.fetch(folder)
    write_text(json.dumps(about, indent=2) + "\n", manifest)


if __name__ == "__main__":
    with start_job(globals()) as job:
        source = TypeAdapter(unite(list_model_sources())).validate_python(job.params.source)
        write_model(source, Path(job.output.checkpoint), Path(job.output.manifest))
