"""The activation cache: what a model computes at the last position of every text of a data set.

One memory-mapped safetensors file for a model and a data set. For each kind of text (explicit prompt, obscure
prompt, memory) it holds, a row for each prompt pair:

- `<kind>.resid` [prompt, layer + 1, d_model]: the residual stream before every block, and after the last one
- `<kind>.attn_out`, `<kind>.mlp_out` [prompt, layer, d_model]: what attention and MLP add to it
- `<kind>.z` [prompt, layer, head, d_head]: determines every head's output exactly (`lens.head_results`)
- `<kind>.n_tokens`, `<kind>.p_answer`, `<kind>.rank_answer` [prompt]: length, and probability and rank of the answer

and once `answer_id`, `memory_id` [prompt]: the first tokens of answer and memory. Ranks count from 0, the most
probable token. Everything is in the coordinates of the processed weights (see `lens`).
"""

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedTokenizerBase

from memory_injections.models.limits import ACTIVATION_TOKENS
from memory_injections.models.scoring import probability_and_rank
from memory_injections.models.tokenisation import answer_ids, check_context, first_token, length_batches, prompt_ids

KINDS = {"explicit": "explicit_prompt", "obscure": "obscure_prompt", "memory": "memory"}


@torch.inference_mode()
def compute(
    bridge: TransformerBridge, tokenizer: PreTrainedTokenizerBase, pairs: pd.DataFrame, bos: bool
) -> dict[str, Tensor]:
    """The tensors of the activation cache for some prompt pairs, on the CPU in float32.

    Raises `StudyError` for a text without tokens or one that is too long.
    """
    answers = torch.tensor(answer_ids(tokenizer, pairs))
    cache = {
        "answer_id": answers,
        "memory_id": torch.tensor([first_token(tokenizer, memory) for memory in pairs["memory"]]),
    }
    for kind, column in KINDS.items():
        rows = [prompt_ids(tokenizer, text, bos) for text in pairs[column]]
        check_context(rows, pairs["prompt_id"], column, bridge.cfg.n_ctx)
        cache |= {f"{kind}.{name}": values for name, values in _of_texts(bridge, rows, answers).items()}
    return cache


def _of_texts(
    bridge: TransformerBridge, rows: Sequence[Sequence[int]], answers: Int[Tensor, " text"]
) -> dict[str, Tensor]:
    """The activations of texts, in their order, from batches of texts of one length."""
    lengths = [len(row) for row in rows]
    whole = {"n_tokens": torch.tensor(lengths)}
    for batch in length_batches(lengths, ACTIVATION_TOKENS):
        tokens = torch.tensor([rows[index] for index in batch], device=bridge.cfg.device)
        for name, values in _of_batch(bridge, tokens, answers[batch].to(tokens.device)).items():
            whole.setdefault(name, values.new_empty(len(rows), *values.shape[1:]))[batch] = values
    return whole


def _of_batch(
    bridge: TransformerBridge, tokens: Int[Tensor, "batch pos"], answers: Int[Tensor, " batch"]
) -> dict[str, Tensor]:
    hooks = ("hook_resid_pre", "hook_resid_post", "hook_attn_out", "hook_mlp_out", "attn.hook_z")
    logits, cache = bridge.run_with_cache(tokens, names_filter=lambda name: name.endswith(hooks))

    def stack(hook: str, layers: Sequence[int]) -> Float[Tensor, "batch layer ..."]:
        return torch.stack([cache[f"blocks.{layer}.{hook}"][:, -1] for layer in layers], dim=1).float().cpu()

    layers = range(bridge.cfg.n_layers)
    p_answer, rank_answer = probability_and_rank(logits[:, -1], answers)
    resid_pre, resid_last = stack("hook_resid_pre", layers), stack("hook_resid_post", layers[-1:])
    return {
        "resid": torch.cat([resid_pre, resid_last], dim=1),
        "attn_out": stack("hook_attn_out", layers),
        "mlp_out": stack("hook_mlp_out", layers),
        "z": stack("attn.hook_z", layers),
        "p_answer": p_answer.cpu(),
        "rank_answer": rank_answer.cpu(),
    }
