"""Which sweeps the authors published."""

import json
from pathlib import Path

from memory_injections.files import job_log, whole_file
from memory_injections.published import find_sweeps

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        sweeps = find_sweeps(Path(snakemake.params.root))
        with whole_file(Path(snakemake.output[0])) as path:
            path.write_text(json.dumps(sweeps, indent=1), encoding="utf-8")
