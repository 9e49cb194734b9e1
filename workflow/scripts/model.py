"""A model's folder and manifest."""

import json
from pathlib import Path

from memory_injections.checkpoints import fetch
from memory_injections.config import Model
from memory_injections.files import job_log, whole_file, whole_folder
from pydantic import TypeAdapter

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        source = TypeAdapter(Model).validate_python(snakemake.params.source)
        with whole_folder(Path(snakemake.output.checkpoint)) as folder:
            manifest = fetch(source, folder)
        with whole_file(Path(snakemake.output.manifest)) as path:
            path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
