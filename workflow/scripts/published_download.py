"""The authors' results at a commit of their repository."""

from pathlib import Path

from _job import start_job
from memory_injections.atomic_files import replace_folder
from memory_injections.checksums import write_checksum
from memory_injections.paper.published_sources import PublishedCommit

if __name__ == "__main__":
    with start_job(globals()) as job:
        with replace_folder(Path(job.output[0])) as folder:
            PublishedCommit.model_validate(job.params.source).fetch(folder)
        write_checksum(Path(job.output[0]))
