"""Grids of injections."""

import pytest
from memory_injections.errors import LayerError, TooManyShardsError
from memory_injections.sweeps.grid import (
    InjectionGrid,
    LayerStep,
    RelativeDoses,
    Sweep,
    expand_grids,
    split_sweeps,
    take_shard,
)


def test_layer_out_of_range() -> None:
    grid = InjectionGrid(layers=(12, 0))
    assert grid.list_layers(13) == [0, 12]
    with pytest.raises(LayerError, match="layer 12 is out of range; the model has 12 layers: 0 to 11") as error:
        grid.list_layers(12)
    assert (error.value.layer, error.value.n_layers) == (12, 12)
    with pytest.raises(LayerError, match="layer 12 is out of range"):
        expand_grids([InjectionGrid(), grid], 12)


def test_a_grid_becomes_a_sweep_for_each_kind() -> None:
    grid = InjectionGrid(memories=("curated", "nouns"), encodings=("embed",), layers=LayerStep(step=3), magnitudes=(2,))
    assert expand_grids([grid], 7) == [Sweep(memories, "embed", [0, 3, 6], (2.0,)) for memories in grid.memories]


def test_relative_doses_make_sweeps_of_their_own() -> None:
    grid = InjectionGrid(encodings=("unembed", "layer"), magnitudes=RelativeDoses(relative=(0.1, 0.2)))
    assert InjectionGrid.model_validate(grid.model_dump()) == grid
    relative = expand_grids([grid], 2)
    assert [(sweep.encoding, sweep.relative, sweep.magnitudes) for sweep in relative] == [
        ("unembed", True, (0.1, 0.2)),
        ("layer", True, (0.1, 0.2)),
    ]
    factors = expand_grids([InjectionGrid()], 2)
    assert split_sweeps([*relative, *factors]) == [factors, relative]
    assert split_sweeps(factors) == [factors]


def test_jobs_share_out_all_layers() -> None:
    sweeps = [Sweep("curated", "unembed", range(5), (1.0,)), Sweep("nouns", "embed", [1], (1.0,))]
    shares = [take_shard(sweeps, shard, 3) for shard in (1, 2, 3)]
    assert [[(sweep.memories, sweep.layers) for sweep in share] for share in shares] == [
        [("curated", [0, 3])],
        [("curated", [1, 4]), ("nouns", [1])],
        [("curated", [2])],
    ]
    with pytest.raises(TooManyShardsError, match="6 jobs cannot share out 5 layers; use 5 or less"):
        take_shard(sweeps, 1, 6)
