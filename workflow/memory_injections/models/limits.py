"""How many tokens, rows and heads are computed at once, and what batches are padded and filled up to.

Plain numbers, without the libraries that compute: what a job costs follows from them, too.
"""

import os
from collections.abc import Mapping

from memory_injections.errors import StudyError

# Tokens of a batch of cells: with more at once a CPU's caches, or a GPU's multiprocessors, have nothing left to gain.
CELL_TOKENS: Mapping[str, int] = {"cpu": 2048, "cuda": 65536}
# Cells that run the last position only, of which a batch has so many: their logits take the memory, not their tokens.
LAST_POSITION_CELLS: Mapping[str, int] = {"cpu": 256, "cuda": 4096}
# Prompts of cells are padded to a multiple of so many positions, which is a matter of the prompt alone: what is
# computed for a cell does not depend on its neighbours. A CPU's kernels want even addresses, a GPU wants fewer and
# larger batches.
CELL_PADDING: Mapping[str, int] = {"cpu": 2, "cuda": 4}
# Matrix products of a few rows take other paths than larger ones and round otherwise: smaller ones are filled up, so
# that a cell's numbers do not depend on the cells that happen to be computed with it. Within blocks, the rows of a
# product are the positions of all prompts.
MIN_ROWS = 32
# Tokens of a batch of memories that are run by themselves, and the positions that they are padded to a multiple of.
MEMORY_TOKENS = 1024
MEMORY_PADDING = 4
# Tokens of a batch of texts whose activations are recorded, and what is recorded of them at most, there and in memory.
ACTIVATION_TOKENS: Mapping[str, int] = {"cpu": 1024, "cuda": 8192}
RECORDED_BYTES, RECORDED_BYTES_AT_ONCE = 2**32, 2**30
# Rows of a product with the unembedding where heads are read in vocabulary space, and the texts that are read together.
READ_AT_ONCE = 1024
TEXTS_READ_AT_ONCE = 512
# Outputs of heads that are in one piece of a table.
HEADS_AT_ONCE = 1024
# Prompts behind which answers are written are filled up to a multiple of so many tokens.
PROMPT_PADDING = 8
# How many tokens more than the longest right answer has are written: "the", quotation marks and the like.
MORE_TOKENS = 4
# How often weight processing holds a model's weights on its GPUs for a while.
PROCESSING_COPIES = 2
# The environment variable that says how many MB of a GPU a job may take.
GPU_MEMORY_VARIABLE = "MEMORY_INJECTIONS_GPU_MB"


def limit_activation_tokens(device: str, n_layers: int, d_model: int) -> int:
    """Return how many tokens of texts a model of that size records together."""
    per_token = 4 * 4 * n_layers * d_model  # four tensors of every block, in float32
    return max(1, min(ACTIVATION_TOKENS.get(device, ACTIVATION_TOKENS["cpu"]), RECORDED_BYTES // per_token))


def limit_gpu_memory(n_bytes: int) -> int:
    """Return how much of a GPU's memory a job may take: all, or as many MB as the environment variable says.

    Raises `StudyError` if that is no positive whole number.
    """
    limit = os.environ.get(GPU_MEMORY_VARIABLE)
    if not limit:
        return n_bytes
    if not limit.isdecimal() or int(limit) == 0:
        raise StudyError(f"{GPU_MEMORY_VARIABLE}={limit} is no number of MB; set one, such as 40000, or unset it")
    return min(n_bytes, 10**6 * int(limit))
