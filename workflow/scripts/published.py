"""Which sweeps the authors published, and where."""

import json
from pathlib import Path

from _job import start_job
from memory_injections.atomic_files import write_text
from memory_injections.paper.published import find_sweeps

if __name__ == "__main__":
    with start_job(globals()) as job:
        inventory = {sweep.path: str(folder) for sweep, folder in find_sweeps(Path(job.params.root)).items()}
        write_text(json.dumps(inventory, indent=1), Path(job.output[0]))
