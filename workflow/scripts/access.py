"""A mark that the hub lets us fetch a model."""

from pathlib import Path

from _job import start_job
from memory_injections.download.hub import download_config


def check_access(repo: str, revision: str, mark: Path) -> None:
    """Fetch a small file of a repository on the hub, and leave a mark if that went well."""
    download_config(repo, revision)
    mark.touch()


if __name__ == "__main__":
    with start_job(globals()) as job:
        repo, revision = job.params.repository
        check_access(repo, revision, Path(job.output[0]))
