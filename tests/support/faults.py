"""Random damage to the files of a finished study, and what the same command makes of it.

    PYTHONPATH=workflow:tests:tests/support python tests/support/faults.py 40 5

flips a byte of each of five random files under `results/`, or cuts the file, runs the study's command again, and
compares all of its results with those from before; 40 times. It prints how every run ended, and how often the results
were equal, the files named in a sentence, results silently different, or all lost in a traceback.
"""

import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fork_server
from checkout import Checkout, copy_project
from conftest import PAIRS
from hub import make_repos, serve

STUDY = {
    "study": "tiny",
    "models": {"tiny": {"source": "huggingface", "repo": "someone/tiny"}},
    "datasets": {"pairs": {"source": "file", "path": "mine.csv", "rows": 3}},
    "injection": {"encodings": ["layer"], "layers": [0, 2], "magnitudes": [1, 4]},
    "attribution": {"top_k": 3},
}
RESULTS = ("*.csv", "*.parquet", "*.html", "*.png", "*.pdf", "*.json", "*.safetensors")


@dataclass(frozen=True)
class Fault:
    """A flipped byte of a file, or its end cut off."""

    file: Path
    place: int
    mask: int | None

    @classmethod
    def draw(cls, file: Path, chance: random.Random) -> "Fault":
        """Draw a place in a file, and a byte to flip there; or, one time in four, cut the file there."""
        place = chance.randrange(file.stat().st_size)
        return cls(file, place, chance.randrange(1, 256) if chance.random() < 0.75 else None)

    def inflict(self) -> None:
        """Damage the file in its place."""
        with self.file.open("r+b") as file:
            if self.mask is None:
                file.truncate(self.place)
                return
            file.seek(self.place)
            byte = file.read(1)[0]
            file.seek(self.place)
            file.write(bytes([byte ^ self.mask]))


def list_files(folder: Path) -> list[Path]:
    """List every file under a study's results that is not empty."""
    files = (path for path in (folder / "results").rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in files if path.stat().st_size and not path.name.endswith(".damaged"))


def read_results(folder: Path) -> dict[str, bytes]:
    """Read what a study ends in, by path: tables, cells, heads, pages and pictures."""
    files = (path for pattern in RESULTS for path in (folder / "results").rglob(pattern))
    named = {path.relative_to(folder).as_posix(): path for path in files}
    is_result = {name: not name.startswith("results/shared/cells/") and "/checkpoint/" not in name for name in named}
    return {
        name: path.read_bytes()
        for name, path in named.items()
        if is_result[name] and path.name != "checksum_cache.json"
    }


def judge(checkout: Checkout, expected: dict[str, bytes], faults: Sequence[Fault]) -> str:
    """Run the study's command after some faults, and say how it ended."""
    done = checkout.call()
    said = done.stdout + done.stderr
    if "Traceback" in said or "uncaught exception" in said:
        return "traceback"
    if done.returncode:
        print(*re.findall(r"^.*(?:ERROR|Error|Exception).*$", said, re.MULTILINE), sep="\n", file=sys.stderr)
        names = any(fault.file.name in said for fault in faults)
        again = checkout.call()
        is_mended = not again.returncode and read_results(checkout.folder) == expected
        return "sentence" if names and is_mended else "sentence, but not mended" if names else "failure without a name"
    found = read_results(checkout.folder)
    others = sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
    return f"silently different: {', '.join(others)}" if others else "equal"


@contextmanager
def finish_study(folder: Path) -> Iterator[Checkout]:
    """Run a tiny study with a model from a hub, which answers until the block ends."""
    copy_project(folder)
    shutil.copy(PAIRS, folder / "mine.csv")
    from tiny_models import save_models

    save_models(folder / "models")
    with serve(make_repos(folder / "hub", folder / "models" / "llama")) as hub:
        os.environ |= hub.describe_client(folder / "home")
        (folder / "server").mkdir()
        fork_server.start(folder / "server")
        checkout = Checkout(folder, STUDY, folder / "server" / "python")
        checkout.snakemake()
        yield checkout


def main(runs: int, at_once: int) -> None:
    """Inflict some faults at once, so many times, and count how the runs end."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch, finish_study(Path(scratch)) as checkout:
        expected, whole = read_results(checkout.folder), checkout.folder / "whole"
        checkout.snakemake()  # nothing to do, but whatever is noted down by then is noted down
        shutil.copytree(checkout.folder / "results", whole / "results", symlinks=True)
        shutil.copytree(checkout.folder / ".snakemake", whole / ".snakemake", symlinks=True)
        chance = random.Random(runs)
        for index in range(runs):
            files = list_files(checkout.folder)
            chance.shuffle(files)
            faults = [Fault.draw(file, chance) for file in files[:at_once]]
            for fault in faults:
                fault.inflict()
            verdict = judge(checkout, expected, faults)
            counts[verdict.partition(":")[0]] += 1
            places = (f"{fault.file.relative_to(scratch)} {fault.place} {fault.mask}" for fault in faults)
            print(index, verdict, *places, sep="\n    ", flush=True)
            if verdict != "equal":
                for part in ("results", ".snakemake"):
                    shutil.rmtree(checkout.folder / part)
                    shutil.copytree(whole / part, checkout.folder / part, symlinks=True)
    print(dict(counts))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
