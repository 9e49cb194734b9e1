"""What a run of the tests left out, in one line."""

from collections import Counter
from collections.abc import Iterable

import pytest

SLURM = "needs a real Slurm (make test-slurm)"


def describe_skips(reports: Iterable[pytest.TestReport], is_whole: bool) -> str:
    """Count skipped tests by what they need, or return nothing; a whole run leaves those out that need a Slurm."""
    needs: Counter[str] = Counter()
    for report in reports:
        assert isinstance(report.longrepr, tuple)
        # Behind a colon stands what went wrong this time.
        needs[report.longrepr[2].removeprefix("Skipped: ").partition(":")[0]] += 1
    found = [f"{need} ({n} test{'s' if n > 1 else ''})" for need, n in needs.most_common()] + [SLURM] * is_whole
    return f"Not tested here: {'; '.join(found)}" if found else ""
