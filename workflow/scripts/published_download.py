"""The authors' results at a commit of their repository."""

from pathlib import Path

from memory_injections.files import job_log, whole_folder
from memory_injections.published import fetch

if __name__ == "__main__":
    source = snakemake.params.source
    with job_log(snakemake.log[0]), whole_folder(Path(snakemake.output[0])) as folder:
        fetch(source["repo"], source["commit"], folder)
