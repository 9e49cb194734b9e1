"""How often the study's intervals hold the true mean, and how often its verdict of equivalence is wrong, by simulation.

    make coverage

simulates effects of prompts in clusters of the sizes that the data sets have, from four distributions, a part of which
is common to a cluster. It writes the table of docs/method.md, and fails where a number is worse than what is asked for.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from memory_injections.analysis.effects import EQUIVALENCE_LEVEL, LEVEL, Sizes, invert_sign_flips
from memory_injections.atomic_files import write_text
from memory_injections.data.sources import FileDataset
from memory_injections.pages.findings import format_markdown
from memory_injections.planning.power import OF_CLUSTER, find_cluster_sizes, list_known_sizes

OWN_PAIRS = Path(__file__).parents[1] / "resources" / "prompt_pairs.csv"
# How many prompts the clusters of each data set have.
SIZES = {
    "own pairs": find_cluster_sizes(FileDataset(source="file", path=str(OWN_PAIRS)), 0)[0],
    "hand": list_known_sizes("handwritten_obscure_explicit_data.csv"),
    "2wmh": list_known_sizes("multi_hop_1000.csv"),
}
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
# All with mean 0 and variance 1.
DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails (t, 3 degrees)": lambda rng, shape: rng.standard_t(3, size=shape) / np.sqrt(3),
    "skewed (exponential)": lambda rng, shape: rng.exponential(size=shape) - 1,
    "skewed, heavy tail (lognormal)": lambda rng, shape: (
        (rng.lognormal(size=shape) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)
    ),
}
N_STUDIES = 2000
# The least coverage that is asked for, and the most verdicts of equivalence at the margin.
COVERAGE = {"normal": 0.93, "heavy tails (t, 3 degrees)": 0.93} | dict.fromkeys(list(DISTRIBUTIONS)[2:], 0.9)
EQUIVALENCE = 0.05
# What is not reached, and what is reached in its place: few clusters of very unequal sizes, a heavy tail on one side.
SHORTFALLS = {("2wmh", "skewed, heavy tail (lognormal)"): (0.86, 0.06)}
BEGIN, END = "<!-- coverage -->\n", "<!-- end of coverage -->"


def draw_totals(sizes: Sizes, draw: Draw, rng: np.random.Generator) -> Float[np.ndarray, "cluster study"]:
    """Return the sums of the effects of each cluster in each simulated study; the true mean is 0."""
    common = [size * draw(rng, (N_STUDIES,)) for size in sizes]
    each = [draw(rng, (size, N_STUDIES)).sum(axis=0) for size in sizes]
    return np.sqrt(OF_CLUSTER) * np.array(common) + np.sqrt(1 - OF_CLUSTER) * np.array(each)


def simulate(data: str, distribution: str, seed: int = 0) -> dict[str, object]:
    """Return a row of the table.

    Wrong verdicts of equivalence are counted where they are most frequent: the true mean is at the margin, on the side
    of the shorter tail, and the margin is so wide that the other end of the interval never matters.
    """
    sizes = SIZES[data]
    totals = draw_totals(sizes, DISTRIBUTIONS[distribution], np.random.default_rng(seed))
    low, high, low_99, high_99 = invert_sign_flips(totals, sizes, seed, (LEVEL, EQUIVALENCE_LEVEL)).T
    least, most = SHORTFALLS.get((data, distribution), (COVERAGE[distribution], EQUIVALENCE))
    coverage, wrong = np.mean((low <= 0) & (high >= 0)), max(np.mean(high_99 < 0), np.mean(low_99 > 0))
    return {
        "data": data,
        "clusters": len(sizes),
        "effects": distribution,
        "coverage": coverage,
        "asked for": COVERAGE[distribution],
        "wrongly equivalent": wrong,
        "at most": EQUIVALENCE,
        "is_met": coverage >= least and wrong <= most,
    }


def write_table(table: pd.DataFrame, page: Path) -> None:
    """Write the table between the marks of a Markdown page."""
    texts = table.drop(columns="is_met").astype(str)
    for name in ("coverage", "asked for", "wrongly equivalent", "at most"):
        texts[name] = table[name].map("{:.1%}".format)
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    write_text(f"{before}{BEGIN}{format_markdown(texts.set_index('data'))}{END}{after}", page)


def main() -> int:
    """Simulate all, write the table and return the exit status."""
    table = pd.DataFrame([simulate(data, distribution) for data in SIZES for distribution in DISTRIBUTIONS])
    print(table.round(3).to_string(index=False))
    write_table(table, Path(__file__).parents[1] / "docs" / "method.md")
    return int(not table["is_met"].all())


if __name__ == "__main__":
    sys.exit(main())
