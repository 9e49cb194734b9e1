"""A mark that the hub lets us fetch a model."""

from pathlib import Path
from tempfile import TemporaryDirectory

from _job import start_job
from memory_injections.download.hub import download_config


def check_access(repo: str, revision: str, mark: Path) -> None:
    """Fetch a small file of a repository on the hub, and leave a mark if that went well."""
    with TemporaryDirectory() as folder:
        download_config(repo, revision, Path(folder))
    mark.touch()


if __name__ == "__main__":
    with start_job(globals()) as job:
        repo, revision = job.params.repository
        check_access(repo, revision, Path(job.output[0]))
