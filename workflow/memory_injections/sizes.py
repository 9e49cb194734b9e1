"""How large models and data sets are, known before anything of them is fetched, and what a pass through a model costs.

A model's size follows from its configuration: it is built without weights, and its matrices are counted. FLOP are
counted as `torch.utils.flop_counter` does: two for each multiplication in a matrix product, attention as full squares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoConfig, PreTrainedConfig
from yaml import safe_load

from .activations import KINDS
from .checkpoints import read_manifest
from .config import Dataset, FileDataset, HuggingFaceModel, LocalModel, Model, TwoWikiDataset, UrlDataset
from .downloads import download_config
from .errors import StudyError
from .models import Components
from .precision import Precision
from .prompts import normalise_pairs, read_csv
from .weights import weightless

KNOWN = Path(__file__).parents[2] / "resources" / "costs.yaml"
SHARED = Path("results/shared")
# Byte-pair tokenizers on the prompts of the studies: 3.9 to 4.8, 4.3 in the middle.
CHARACTERS_PER_TOKEN = 4.3
TYPICAL_TOKENS = {"explicit": 12, "obscure": 16, "memory": 6}


@cache
def known() -> dict[str, Any]:
    """The file of known models, data sets and machines."""
    return safe_load(KNOWN.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class ModelSize:
    """A model's matrices, counted in weights; its blocks are alike.

    `reading` are a block's query, key and value matrices, `writing` its attention's output matrix, `mlp` the others;
    `source` says where the configuration comes from.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_vocab: int
    n_parameters: int
    reading: int
    writing: int
    mlp: int
    source: str

    @classmethod
    def of(cls, config: PreTrainedConfig, source: str) -> "ModelSize":
        """The size of the model that a configuration describes."""
        model = weightless(config)
        components = Components(model)
        attention, writing = _weights(components.attention[-1]), _weights(components.last_writers[0])
        return cls(
            n_layers=len(components.blocks),
            n_heads=config.num_attention_heads,
            d_model=config.hidden_size,
            d_vocab=components.unembed.weight.shape[0],
            n_parameters=model.num_parameters(),
            reading=attention - writing,
            writing=writing,
            mlp=_weights(components.blocks[-1]) - attention,
            source=source,
        )

    def weight_bytes(self, precision: Precision = "float32") -> int:
        """Memory of the weights."""
        return self.n_parameters * (2 if precision == "bfloat16" else 4)

    @property
    def lens_bytes(self) -> int:
        """Memory of `lens.Lens`: embedding, unembedding with bias, and output matrices, in float32."""
        return 4 * (2 * self.d_vocab * self.d_model + self.d_vocab + self.n_layers * self.writing)

    @property
    def _unembedding(self) -> int:
        return 2 * self.d_model * self.d_vocab

    def _attention(self, positions: float) -> float:
        """FLOP of a block's attention, without its output matrix."""
        return positions * (2 * self.reading + 4 * positions * self.writing // self.d_model)

    def full_pass(self, positions: float) -> float:
        """FLOP of a pass that computes everything, logits at every position included."""
        block = self._attention(positions) + 2 * positions * (self.writing + self.mlp)
        return self.n_layers * block + positions * self._unembedding

    def clean_pass(self, positions: float) -> float:
        """FLOP of `InjectionEngine.clean` for one prompt: the last block writes at the last position only."""
        written = (self.n_layers - 1) * positions + 1
        return self.n_layers * self._attention(positions) + 2 * written * (self.writing + self.mlp) + self._unembedding

    def cell(self, layer: int, positions: float) -> float:
        """FLOP of `InjectionEngine.injected` for one cell: from the layer's MLP on, without its attention."""
        above = self.n_layers - 1 - layer
        attention = above * self._attention(positions)
        writing = ((above - 1) * positions + 1) * self.writing if above else 0
        return attention + 2 * (writing + (above * positions + 1) * self.mlp) + self._unembedding

    def heads(self) -> float:
        """FLOP of every head's output at one position, read in vocabulary space."""
        return self.n_layers * (2 * self.writing + self.n_heads * self._unembedding)


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim == 2)


@dataclass(frozen=True)
class DataSize:
    """How many prompt pairs a data set has, and how many tokens, BOS included, each kind of text has on average."""

    n_prompts: int
    tokens: Mapping[str, float]
    source: str


def model_size(name: str, model: Model) -> ModelSize:
    """The size of a study's model, from its folder, `KNOWN` or the hub; raises `StudyError` if none of them has it.

    The hub comes last: where it cannot be reached, it takes half a minute to say so.
    """
    if isinstance(model, LocalModel):
        return _of_folder(Path(model.path))
    folder = SHARED / "models" / name
    if (folder / "manifest.json").is_file() and read_manifest(folder / "manifest.json")["source"] == model.model_dump():
        return _of_folder(folder / "checkpoint")
    origin = model.repo if isinstance(model, HuggingFaceModel) else model.package
    if origin in known()["models"]:
        return ModelSize.of(AutoConfig.for_model(**known()["models"][origin]), f"resources/{KNOWN.name}")
    if isinstance(model, HuggingFaceModel):
        return _of_folder(download_config(origin, model.revision).parent, "the hub")
    raise StudyError(
        f"the size of {origin} is not known beforehand; fetch it with `snakemake --cores 1 {folder / 'manifest.json'}`"
    )


def _of_folder(folder: Path, source: str | None = None) -> ModelSize:
    try:
        return ModelSize.of(AutoConfig.from_pretrained(folder), source or str(folder))
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StudyError(
            f"the config.json of {source or folder} cannot be read ({reason}); save the model again"
        ) from None


def data_size(name: str, dataset: Dataset, n_prompts: int | None = None) -> DataSize:
    """The size of a study's data set, from its file, or from `KNOWN`, or else `n_prompts` of `TYPICAL_TOKENS`.

    Raises `StudyError` if the data set is neither here nor known, and `n_prompts` is not given.
    """
    path = Path(dataset.path) if isinstance(dataset, FileDataset) else SHARED / "datasets" / f"{name}.csv"
    n_rows = dataset.size if isinstance(dataset, TwoWikiDataset) else dataset.rows
    if isinstance(dataset, FileDataset) or path.is_file():
        pairs = normalise_pairs(read_csv(path), str(path), n_rows)
        tokens = {kind: 1 + pairs[column].str.len().mean() / CHARACTERS_PER_TOKEN for kind, column in KINDS.items()}
        return DataSize(len(pairs), tokens, str(path))
    if isinstance(dataset, TwoWikiDataset):
        return DataSize(dataset.size, TYPICAL_TOKENS, "size in the config")
    address = dataset.url if isinstance(dataset, UrlDataset) else dataset.file
    entry, source = known()["datasets"].get(Path(address).name), f"resources/{KNOWN.name}"
    if entry is None:
        if n_prompts is None:
            raise StudyError(
                f"data set {name} is not here; fetch it with `snakemake --cores 1 {path}`, "
                "or say with --prompts how many prompt pairs it has"
            )
        entry, source = {"n_prompts": n_prompts, "tokens": TYPICAL_TOKENS}, "--prompts"
    return DataSize(min(entry["n_prompts"], n_rows or entry["n_prompts"]), entry["tokens"], source)
