"""The injection sweep of one kind of memory in one encoding."""

from functools import partial
from pathlib import Path

import torch
from memory_injections.cache import ActivationCache
from memory_injections.checkpoints import read_manifest
from memory_injections.config import CURATED, InjectionGrid
from memory_injections.engine import InjectionEngine
from memory_injections.files import job_log, whole_file
from memory_injections.lens import Lens
from memory_injections.models import load_causal_lm, load_tokenizer
from memory_injections.prompts import read_pairs, words_of_column
from memory_injections.sweep import cached_vectors, draw_word, memory_vectors, sweep

if __name__ == "__main__":
    torch.set_num_threads(snakemake.threads)
    with job_log(snakemake.log[0]):
        memories, encoding = snakemake.wildcards.memories, snakemake.wildcards.encoding
        grid = InjectionGrid.model_validate(snakemake.params.grid)
        layers = grid.layer_list(read_manifest(snakemake.input.manifest)["n_layers"])
        pairs = read_pairs(Path(snakemake.input.pairs))
        if memories == CURATED:
            candidates = list(pairs["memory"])
            by_prompt = dict(zip(pairs["prompt_id"], candidates, strict=True))
            memory_of = lambda prompt_id, layer, magnitude: by_prompt[prompt_id]  # noqa: E731
        else:
            candidates = words_of_column(Path(snakemake.input.words[0]), memories)
            memory_of = partial(draw_word, candidates, snakemake.params.seed, memories)

        checkpoint = Path(snakemake.input.checkpoint)
        engine, tokenizer = InjectionEngine(load_causal_lm(checkpoint)), load_tokenizer(checkpoint)
        cache = ActivationCache(snakemake.input.activations)
        if memories == CURATED and encoding == "layer":
            vectors = cached_vectors(cache, pairs, engine.device)
        else:
            lens = Lens.load(snakemake.input.lens, engine.device)
            vectors = memory_vectors(encoding, candidates, engine, tokenizer, lens)
        answers = cache["answer_id"].tolist()
        cells = sweep(engine, tokenizer, pairs, answers, memory_of, vectors, layers, grid.magnitudes)
        explicit = dict(zip(pairs["prompt_id"], cache["explicit.p_answer"].tolist(), strict=True))
        cells.insert(4, "p_explicit", cells["prompt_id"].map(explicit).astype("float32"))
        with whole_file(Path(snakemake.output[0])) as path:
            cells.to_parquet(path, index=False)
