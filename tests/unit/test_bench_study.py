"""`make bench-study` finds every job in what Snakemake prints, also where progress bars stand between."""

from bench_study import read_jobs

SAID = """\
[Fri Nov 27 00:05:20 2026]
localrule cells:
    input: a
    jobid: 7
cells: 100%|██████████| 3/3 [00:02<00:00,  2.08cell/s][Fri Nov 27 00:05:25 2026]
rule controls:
    input: b
    jobid: 8
    reason: Missing output files: c
controls:  50%|█████     | 1/2 [00:02<00:02,  2.08cell/s][Fri Nov 27 00:05:32 2026]
Finished jobid: 7 (Rule: cells)
[Fri Nov 27 00:05:40 2026]
Finished jobid: 8 (Rule: controls)
"""


def test_jobs_are_found_behind_progress_bars() -> None:
    jobs = read_jobs(SAID)
    assert {name: rule.seconds for name, rule in jobs.items()} == {"cells": 12, "controls": 15}
