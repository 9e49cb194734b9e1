#!/usr/bin/env python3
"""Print what has become of a PBS job, in Snakemake's words: `running`, `success` or `failed`.

While PBS does not answer, a job is taken as running and the screen says so, however long that lasts: an outage ends
no job, and PBS still knows afterwards how a job ended (for two weeks at ALCF). Then the job is unknown, hence failed.
"""

import re
import subprocess
import sys

QSTAT_SECONDS = 30


def attribute(answer: str, name: str) -> str | None:
    """An attribute of the job in qstat's answer, where each stands on a line of its own.

    The answer is not read as JSON because it may be none: PBS does not escape everything that a job's environment can
    hold (github.com/openpbs/openpbs/issues/1255 and 2541). Such a job would never be seen to end.
    """
    found = re.search(rf'^\s*"{name}":\s*"?(.*?)"?,?$', answer, re.MULTILINE)
    return found and found[1]


def status(job: str) -> tuple[str, str | None]:
    """What has become of a job, and a sentence about it if a user should know more."""
    silence = "PBS cannot be asked, so the job is taken as running: "
    try:
        done = subprocess.run(
            ["qstat", "-x", "-f", "-F", "json", job],
            text=True, errors="replace", capture_output=True, timeout=QSTAT_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as problem:
        return "running", f"{silence}{problem}"
    if "Unknown Job Id" in done.stderr:
        return "failed", "PBS does not know the job"
    state, comment = attribute(done.stdout, "job_state"), attribute(done.stdout, "comment")
    if state is None:
        return "running", silence + (" ".join(done.stderr.split()) or "its answer has no job_state")
    if state == "H":
        return "running", f"PBS holds the job; it goes on after qrls, or anew after qdel: {comment}"
    if state != "F":
        return "running", None
    exit_status = attribute(done.stdout, "Exit_status")
    if exit_status == "0":
        return "success", None
    return "failed", f"PBS ended the job with exit status {exit_status}: {comment}"


def main() -> None:
    """Print the status of the job that the command line names."""
    job = sys.argv[1]
    word, sentence = status(job)
    if sentence:
        print(f"job {job}: {sentence}", file=sys.stderr)
    print(word)


if __name__ == "__main__":
    main()
