"""Recording activations: what a model computes at the last position of every text of a data set.

They are kept in one memory-mapped safetensors file for each model and data set, the activation cache. For each kind of
text (explicit prompt, obscure prompt, memory) it has these tensors, with a row for each prompt pair:

- `<kind>.resid` [prompt, layer + 1, d_model]: the residual stream before every block, and after the last one
- `<kind>.attn_out`, `<kind>.mlp_out` [prompt, layer, d_model]: what attention and MLP add to it
- `<kind>.z` [prompt, layer, head, d_head]: from which `processed.compute_head_results` gives each head's output exactly
- `<kind>.n_tokens`, `<kind>.p_answer`, `<kind>.rank_answer` [prompt]: the number of tokens, and the probability and the
  rank of the answer as next token

A prompt's last position is the one behind which its answer is scored: a bare space, if the tokenizer writes one between
them as a token of its own (see `tokenisation.Prompt`). A memory is read as it stands.

It also has `answer_id`, `memory_id` and `injected_id` [prompt], the tokens that stand for the answer, the memory in a
text and the memory as it is injected (`terms.TARGETS`), and in its metadata the names of the model and the data set.
Ranks count from 0, the most probable token. All activations are in the coordinates of the processed weights (see
`processed_weights`).
"""

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedTokenizerBase

from memory_injections.models.limits import limit_activation_tokens
from memory_injections.models.loading import stack_blocks
from memory_injections.models.scoring import score_token
from memory_injections.models.tokenisation import (
    batch_by_length,
    check_length,
    find_first_token,
    find_injected_token,
    tokenise_pairs,
    tokenise_prompt,
)
from memory_injections.terms import KIND_COLUMNS

# What a model's end reads, its final norm or else its unembedding: the residual stream after the last block. The hook
# of the block itself is silent in models whose blocks return lists (OpenAI GPT).
ENDS = ("ln_final.hook_in", "unembed.hook_in")


@torch.inference_mode()
def record_activations(
    bridge: TransformerBridge, tokenizer: PreTrainedTokenizerBase, pairs: pd.DataFrame, bos: bool
) -> dict[str, Tensor]:
    """Compute the tensors of the activation cache for some prompt pairs, on the CPU, in float32 and int64.

    `bos` says whether every text starts with the BOS token. Raises `StudyError` for a prompt and an answer that
    `tokenise_pairs` refuses, a memory without tokens, and a text that is longer than the model's context.
    """
    prompts = tokenise_pairs(tokenizer, pairs, bos)
    rows = {kind: [prompt.tokens for prompt in of_kind] for kind, of_kind in prompts.items()}
    rows["memory"] = [tokenise_prompt(tokenizer, memory, bos) for memory in pairs["memory"]]
    answers = torch.tensor([prompt.answer for prompt in prompts["obscure"]])
    tensors = {
        "answer_id": answers,
        "memory_id": torch.tensor([find_first_token(tokenizer, memory) for memory in pairs["memory"]]),
        "injected_id": torch.tensor([find_injected_token(tokenizer, memory) for memory in pairs["memory"]]),
    }
    for kind, column in KIND_COLUMNS.items():
        for prompt_id, row in zip(pairs["prompt_id"], rows[kind], strict=True):
            check_length(row, f"prompt pair {prompt_id}: {column}", bridge.cfg.n_ctx)
        tensors |= {f"{kind}.{name}": values for name, values in _record_texts(bridge, rows[kind], answers).items()}
    return tensors


def _record_texts(
    bridge: TransformerBridge, rows: Sequence[Sequence[int]], answers: Int[Tensor, " text"]
) -> dict[str, Tensor]:
    """Record the activations of texts, given as token ids, in batches of texts of one length; return them in order."""
    lengths = [len(row) for row in rows]
    tensors = {"n_tokens": torch.tensor(lengths)}
    device = torch.device(str(bridge.cfg.device))
    max_tokens = limit_activation_tokens(device.type, bridge.cfg.n_layers, bridge.cfg.d_model)
    for batch in batch_by_length(lengths, max_tokens):
        tokens = torch.tensor([rows[index] for index in batch], device=device)
        for name, values in _record_batch(bridge, tokens, answers[batch].to(tokens.device)).items():
            tensors.setdefault(name, values.new_empty(len(rows), *values.shape[1:]))[batch] = values
    return tensors


def _record_batch(
    bridge: TransformerBridge, tokens: Int[Tensor, "batch pos"], answers: Int[Tensor, " batch"]
) -> dict[str, Tensor]:
    hooks = ("hook_resid_pre", "hook_attn_out", "hook_mlp_out", "attn.hook_z", *ENDS)
    logits, cache = bridge.run_with_cache(tokens, names_filter=lambda name: name.endswith(hooks))
    resid_last = next(cache[name] for name in ENDS if name in cache)[:, -1:].float().cpu()

    def stack(hook: str, layers: Sequence[int]) -> Float[Tensor, "batch layer ..."]:
        # On the device first: a copy for each block would take longer.
        last = (cache[f"blocks.{layer}.{hook}"][:, -1] for layer in layers)
        return stack_blocks(last, tokens.device, dim=1).cpu()

    layers = range(bridge.cfg.n_layers)
    p_answer, rank_answer = score_token(logits[:, -1], answers)
    return {
        "resid": torch.cat([stack("hook_resid_pre", layers), resid_last], dim=1),
        "attn_out": stack("hook_attn_out", layers),
        "mlp_out": stack("hook_mlp_out", layers),
        "z": stack("attn.hook_z", layers),
        "p_answer": p_answer.cpu(),
        "rank_answer": rank_answer.cpu(),
    }
