"""The README's findings on the authors' files once more, by NumPy and pandas alone, without the library."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

FOLDERS = {
    "gpt2 on 2wmh": "multi_1000/gpt2-small",
    "gpt2 on hand": "data/gpt2-small",
    "gpt2-large on hand": "data/gpt2-large",
}
RANDOM = {"gpt2 on 2wmh": "gpt2-small/2wmh", "gpt2 on hand": "gpt2-small/hand", "gpt2-large on hand": "gpt2-large/hand"}
SITES = {"gpt2 on 2wmh": (5, 5), "gpt2 on hand": (6, 3), "gpt2-large on hand": (13, 10)}


def read_grid(folder: Path) -> dict[tuple[int, int], pd.DataFrame]:
    """The columns before and after the injection of every (layer, magnitude)."""
    grid = {}
    for path in sorted(folder.glob("*.csv")):
        table = pd.read_csv(path, keep_default_na=False)
        magnitude = int(re.findall(r"_(\d+)\.csv", path.name)[0])
        for column in [name for name in table if re.fullmatch(r"ans_prob_obs_edit_layer\d+", name)]:
            grid[int(column[23:]), magnitude] = table[["answer_prob_obs", column]].set_axis(["before", "after"], axis=1)
    return grid


def number_clusters(table: pd.DataFrame) -> np.ndarray:
    """Last hops if they have ten prompts on average, else memories."""
    hops = [
        re.sub(r"\s+", " ", text.replace(name, "#"))
        for text, name in table[["explicit_sentence", "explicit_entity"]].to_numpy()
    ]
    few = 10 * len(set(hops)) <= len(hops)
    return np.unique(hops if few else table["explicit_entity"], return_inverse=True)[1]


def cross_fit(effects: np.ndarray, values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Each prompt's value at the site with the best mean effect in nine tenths of the clusters, over 30 divisions."""
    rng, n_clusters, found = np.random.default_rng(1), clusters.max() + 1, np.zeros(len(values))
    for _ in range(30):
        folds = rng.permutation(np.arange(n_clusters) % min(10, n_clusters))[clusters]
        for fold in np.unique(folds):
            here = folds == fold
            found[here] += values[here, effects[~here].mean(axis=0).argmax()] / 30
    return found


def describe(values: np.ndarray, clusters: np.ndarray) -> tuple[float, float, float]:
    """Mean, and the means around it that flips of the signs of whole clusters do not refuse at 5 %, by bisection."""
    sizes, ends = np.bincount(clusters), []
    signs = np.random.default_rng(2).choice([-1, 1], size=(5000, len(sizes)))

    def is_refused(mean: float) -> bool:
        rest = np.bincount(clusters, values) - mean * sizes
        return bool(np.mean(np.abs(signs @ rest) >= abs(rest.sum()) - 1e-9) < 0.05)

    for far in (values.min() - 1, values.max() + 1):
        near = values.mean()
        for _ in range(40):
            middle = (near + far) / 2
            near, far = (near, middle) if is_refused(middle) else (middle, far)
        ends.append(float(near))
    return float(values.mean()), ends[0], ends[1]


def compute_findings(root: Path, name: str) -> dict[str, tuple[float, ...]]:
    """The numbers of one column of the README's table."""
    folder = root / "experiments/tweak_factor_analysis" / FOLDERS[name] / "memory_tweaker_unembed_head_hook"
    table = pd.read_csv(min(folder.glob("*.csv")), keep_default_na=False)
    clusters, grid = number_clusters(table), read_grid(folder)
    random = [
        read_grid(path)
        for path in (root / "experiments/part_of_speech_tweak_factor_injections/pos_results" / RANDOM[name]).iterdir()
    ]
    effects = {site: np.log(cells["after"] / cells["before"]).to_numpy() for site, cells in grid.items()}
    shared = [site for site in effects if all(site in one for one in random)]
    baseline = {
        site: np.mean([np.log(one[site]["after"] / one[site]["before"]) for one in random], axis=0) for site in shared
    }
    here = grid[SITES[name]]
    change = 100 * (here["after"] / here["before"] - 1)
    all_sites = np.stack(list(effects.values()), axis=1)
    of_shared = np.stack([effects[site] for site in shared], axis=1)
    contrast = of_shared - np.stack([baseline[site] for site in shared], axis=1)
    return {
        "prompts": (len(table),),
        "clusters of prompts (effectively)": (clusters.max() + 1, len(table) ** 2 / (np.bincount(clusters) ** 2).sum()),
        "explicit prompts are answered better": describe(
            np.log(table["answer_prob_exp"] / table["answer_prob_obs"]).to_numpy(), clusters
        ),
        "the paper's site (layer from 0, magnitude)": SITES[name],
        "change there by the paper's average (mean within 2 sd)": (
            change[(change - change.mean()).abs() <= 2 * change.std()].mean(),
        ),
        "the same by the plain mean": (change.mean(),),
        "the same by the median": (change.median(),),
        "mean effect there": (np.log(here["after"] / here["before"]).mean(),),
        "mean effect at sites chosen on other prompts": describe(cross_fit(all_sites, all_sites, clusters), clusters),
        "curated minus random words, at sites swept with both": describe(
            cross_fit(of_shared, contrast, clusters), clusters
        ),
    }
