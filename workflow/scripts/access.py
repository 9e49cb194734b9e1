"""A mark that a model of the hub may be fetched."""

from pathlib import Path

from memory_injections.downloads import download_config
from memory_injections.files import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        download_config(snakemake.params.repo, snakemake.params.revision)
        Path(snakemake.output[0]).touch()
