"""Where the wall time of a study goes, rule by rule: `make bench-study`.

Runs a study from nothing in a temporary folder. The times of jobs are those that Snakemake prints, to the second; the
imports of a script are timed by themselves, afterwards.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
SNAKEFILE = ROOT / "workflow" / "Snakefile"
SCRIPTS = ROOT / "workflow" / "scripts"
# A time may follow a progress bar on the same line.
EVENT = re.compile(
    r"\[(?P<time>\w{3} \w{3} [^\]]+)\]\n"
    r"(?:(?:local)?(?:rule|checkpoint) (?P<started>\w+):\n(?:.*\n)*?    jobid: (?P<start_id>\d+)$"
    r"|Finished jobid: (?P<end_id>\d+))",
    re.MULTILINE,
)
DRAWING = ("figures", "report", "explorer", "walkthrough")
# Rules whose scripts load a model.
ARITHMETIC = (
    "model",
    "processed_weights",
    "activations",
    "attribution",
    "population",
    "inject",
    "control_cells",
    "mechanism_measurements",
)


@dataclass
class Rule:
    """The jobs of a rule: when they started and ended, in seconds, and how long their script takes to import."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    imports: float = 0.0

    @property
    def seconds(self) -> float:
        """The sum of the jobs' wall times."""
        return sum(end - start for start, end in self.spans)


def read_time(text: str) -> float:
    """Return a time that Snakemake prints, in seconds."""
    return datetime.strptime(text, "%a %b %d %H:%M:%S %Y").timestamp()


def read_jobs(said: str) -> dict[str, Rule]:
    """Find the jobs of every rule in what Snakemake printed."""
    rules: dict[str, Rule] = defaultdict(Rule)
    started: dict[str, tuple[str, float]] = {}
    for event in EVENT.finditer(said):
        if event["started"]:
            started[event["start_id"]] = event["started"], read_time(event["time"])
        else:
            name, start = started[event["end_id"]]
            rules[name].spans.append((start, read_time(event["time"])))
    return rules


def time_imports(script: Path) -> float:
    """Return how long a script takes before it does anything, in seconds."""
    start = time.perf_counter()
    code = f"import runpy, sys; sys.path.insert(0, {str(SCRIPTS)!r}); runpy.run_path({str(script)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")})
    return time.perf_counter() - start


def measure_cover(spans: Iterable[tuple[float, float]]) -> float:
    """Return for how many seconds at least one of some spans lasts."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def name_kind(rule: str) -> str:
    """Return what a rule does: arithmetic, drawing, or tables (and everything else)."""
    if rule in ARITHMETIC:
        return "arithmetic"
    return "drawing" if rule.endswith(DRAWING) else "tables"


def run_study(folder: Path, arguments: list[str]) -> tuple[str, float, float]:
    """Run a study from nothing; return what Snakemake printed, and when it started and ended, in seconds."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(folder)]
    start = time.time()
    done = subprocess.run([*command, "--cores", "all", *arguments], text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stderr, start, time.time()


def main() -> None:
    """Run a study and print where its time went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "config" / "config.yaml", help="the study's config file")
    config = parser.parse_args().config.resolve()
    with tempfile.TemporaryDirectory() as folder:
        said, start, end = run_study(Path(folder), ["--configfile", str(config)])
    rules = read_jobs(said)
    for name, rule in rules.items():
        script = SCRIPTS / ("figures.py" if name.endswith("figures") else f"{name}.py")
        rule.imports = time_imports(script) if script.is_file() else 0.0
    print_times(rules, start, end)


def print_times(rules: dict[str, Rule], start: float, end: float) -> None:
    """Print a row for each rule, the longest first, and the sums."""
    table = Table("rule", "kind")
    for title in ("jobs", "wall s", "imports s", "rest s"):
        table.add_column(title, justify="right")
    sums: dict[str, float] = defaultdict(float)
    for name, rule in sorted(rules.items(), key=lambda item: -item[1].seconds):
        imports = min(rule.seconds, rule.imports * len(rule.spans))
        sums["imports"] += imports
        sums[name_kind(name)] += rule.seconds - imports
        numbers = (rule.seconds, imports, rule.seconds - imports)
        table.add_row(name, name_kind(name), str(len(rule.spans)), *(f"{number:.0f}" for number in numbers))
    spans = [span for rule in rules.values() for span in rule.spans]
    console = Console()
    console.print(table)
    console.print(f"whole study: {end - start:.0f} s; load of the machine at its end: {os.getloadavg()[0]:.1f}")
    console.print(f"Snakemake before the first job: {min(span[0] for span in spans) - start:.0f} s")
    console.print(f"Snakemake with no job running after that: {end - min(spans)[0] - measure_cover(spans):.0f} s")
    for name, seconds in sorted(sums.items(), key=lambda item: -item[1]):
        console.print(f"jobs' {name}: {seconds:.0f} s (of jobs that run side by side, all count)")


if __name__ == "__main__":
    main()
