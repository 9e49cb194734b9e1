"""Which files of the authors' results there are, and which of them can be used."""

import json
from pathlib import Path

from _job import start_job
from memory_injections.atomic_files import write_text
from memory_injections.checksums import guard_unchanged, hash_contents
from memory_injections.paper.coverage import survey_files
from memory_injections.paper.published_sources import list_result_files
from memory_injections.paper.word_files import find_word_files

if __name__ == "__main__":
    with start_job(globals()) as job:
        root = Path(job.params.root)
        checksums = {Path(path): hash_contents(Path(path)) for path in list_result_files(root / "experiments")}
        with guard_unchanged(checksums):
            inventory = {
                "sweeps": {sweep.path: files for sweep, files in survey_files(root).items()},
                "word_files": {str(path): sweep.path for path, sweep in find_word_files(root).items()},
            }
        write_text(json.dumps(inventory, indent=1), Path(job.output.inventory))
        by_path = {str(path): checksum for path, checksum in checksums.items()}
        write_text(json.dumps(by_path, indent=1), Path(job.output.checksums))
