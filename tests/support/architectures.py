"""Tiny configurations of every family that transformers loads as a causal decoder and TransformerLens maps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

SMALL: dict[str, Any] = {"vocab_size": 400, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
GPT2: dict[str, Any] = {"n_layer": 3, "n_head": 4, "n_embd": 32, "n_positions": 64}
USUAL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 64,
}  # fmt: skip
GROUPED: dict[str, Any] = {**USUAL, "num_key_value_heads": 2}
HEADS: dict[str, Any] = {**GROUPED, "head_dim": 8}
LOCAL: dict[str, Any] = {"sliding_window": 4}
FEW_EXPERTS: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
ROUTED: dict[str, Any] = {
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_shared_experts": 1,
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
}  # fmt: skip
LATENT: dict[str, Any] = {
    **USUAL, "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 8, "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8, "v_head_dim": 6,
}  # fmt: skip
FALCON: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
MAMBA: dict[str, Any] = {**GROUPED, "mamba_n_heads": 4, "mamba_d_head": 16}


@dataclass(frozen=True)
class Family:
    """A family of models: transformers' name of its config, and the sizes of a tiny model of it."""

    model_type: str
    sizes: Mapping[str, Any] = field(default_factory=dict)

    def configure(self) -> PreTrainedConfig:
        """The configuration of a tiny model."""
        return AutoConfig.for_model(self.model_type, **SMALL, **self.sizes)

    def build(self) -> PreTrainedModel:
        """A tiny model with random weights, norms and biases."""
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(self.configure()).eval().requires_grad_(False)
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return model


# Every make of attention and block once: the quick tests take these.
QUICK: dict[str, Family] = {
    "Bloom": Family("bloom", {"n_layer": 3, "n_head": 4, "hidden_size": 32}),
    "Cohere 2 (Command R7B)": Family("cohere2", {**HEADS, **LOCAL, "num_hidden_layers": 4}),
    "DeepSeek-V3": Family("deepseek_v3", {**LATENT, **ROUTED}),
    "Falcon": Family("falcon", FALCON),
    "Gemma 2": Family("gemma2", {**HEADS, **LOCAL, "num_hidden_layers": 4, "query_pre_attn_scalar": 8}),
    "Gemma 4, per-layer inputs": Family(
        "gemma4_text",
        {**HEADS, **LOCAL, "num_hidden_layers": 6, "global_head_dim": 8, "hidden_size_per_layer_input": 8,
         "num_kv_shared_layers": 0, "vocab_size_per_layer_input": 400},
    ),
    "GPT-BigCode (SantaCoder, StarCoder)": Family("gpt_bigcode", GPT2),
    "Granite": Family(
        "granite", {**GROUPED, "residual_multiplier": 0.5, "embedding_multiplier": 2.0, "logits_scaling": 2.0}
    ),
    "Llama 4": Family(
        "llama4_text",
        {**HEADS, **FEW_EXPERTS, "num_hidden_layers": 4, "num_experts_per_tok": 1, "intermediate_size_mlp": 64,
         "attention_chunk_size": 4, "moe_layers": [1, 3]},
    ),
    "Mixtral": Family("mixtral", {**GROUPED, **FEW_EXPERTS}),
    "MPT": Family("mpt", {"n_layers": 3, "n_heads": 4, "d_model": 32, "max_seq_len": 64}),
    "OLMo 2": Family("olmo2", GROUPED),
    "OpenAI GPT": Family("openai-gpt", GPT2),
    "OPT": Family(
        "opt",
        {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 64,
         "max_position_embeddings": 64, "word_embed_proj_dim": 32},
    ),
    "XGLM": Family(
        "xglm",
        {"d_model": 32, "num_layers": 3, "attention_heads": 4, "ffn_dim": 64, "max_position_embeddings": 64},
    ),
}  # fmt: skip

OTHERS: dict[str, Family] = {
    "AFMoE (Trinity)": Family("afmoe", {**HEADS, **LOCAL, **EXPERTS, "num_hidden_layers": 4, "num_dense_layers": 1}),
    "Apertus": Family("apertus", GROUPED),
    "Arcee": Family("arcee", GROUPED),
    "CodeGen": Family("codegen", {**GPT2, "rotary_dim": 4}),
    "Cohere (Command R)": Family("cohere", GROUPED),
    "DeepSeek-V2": Family("deepseek_v2", {**LATENT, **ROUTED}),
    "ERNIE 4.5": Family("ernie4_5", HEADS),
    "EXAONE 4": Family("exaone4", {**GROUPED, **LOCAL, "num_hidden_layers": 4, "sliding_window_pattern": 4}),
    "FlexOlmo": Family("flex_olmo", {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2}),
    "Gemma": Family("gemma", HEADS),
    "Gemma 3": Family("gemma3_text", {**HEADS, **LOCAL, "num_hidden_layers": 6, "query_pre_attn_scalar": 8}),
    "Gemma 4": Family(
        "gemma4_text",
        {**HEADS, **LOCAL, "num_hidden_layers": 6, "global_head_dim": 8, "hidden_size_per_layer_input": 0,
         "num_kv_shared_layers": 0},
    ),
    "GLM": Family("glm", HEADS),
    "GLM-4": Family("glm4", HEADS),
    "GLM-4 MoE (GLM-4.5)": Family("glm4_moe", {**HEADS, **ROUTED}),
    "GLM-4 MoE Lite": Family("glm4_moe_lite", {**LATENT, **ROUTED}),
    "GLM MoE DSA (GLM-5)": Family("glm_moe_dsa", {**LATENT, **ROUTED}),
    "GPT-2": Family("gpt2", GPT2),
    "GPT-J": Family("gptj", {**GPT2, "rotary_dim": 4}),
    "GPT-Neo": Family(
        "gpt_neo",
        {"num_layers": 4, "num_heads": 4, "hidden_size": 32, "window_size": 4, "max_position_embeddings": 64,
         "attention_types": [[["global", "local"], 2]]},
    ),
    "GPT-NeoX (Pythia)": Family("gpt_neox", USUAL),
    "Granite MoE": Family("granitemoe", {**GROUPED, **FEW_EXPERTS, "residual_multiplier": 0.5}),
    "HunYuan dense": Family("hunyuan_v1_dense", HEADS),
    "Jais 2": Family("jais2", HEADS),
    "Laguna": Family("laguna", HEADS),
    "LFM2, attention only": Family("lfm2", GROUPED),
    "Llama": Family("llama", GROUPED),
    "MiniMax-M2": Family("minimax_m2", {**HEADS, **FEW_EXPERTS}),
    "Ministral 3": Family("ministral3", HEADS),
    "Mistral": Family("mistral", {**GROUPED, **LOCAL}),
    "ModernBERT decoder (Ettin)": Family("modernbert-decoder", {**USUAL, "local_attention": 4}),
    "NanoChat": Family("nanochat", HEADS),
    "Nemotron": Family("nemotron", HEADS),
    "OLMo": Family("olmo", GROUPED),
    "OLMo 3": Family("olmo3", {**GROUPED, **LOCAL, "num_hidden_layers": 4}),
    "OLMoE": Family("olmoe", {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2}),
    "Phi": Family("phi", USUAL),
    "Phi-3": Family("phi3", GROUPED),
    "Qwen2, Qwen2.5": Family("qwen2", GROUPED),
    "Qwen2 MoE": Family(
        "qwen2_moe", {**GROUPED, **EXPERTS, "shared_expert_intermediate_size": 16, "decoder_sparse_step": 1}
    ),
    "Qwen3": Family("qwen3", HEADS),
    "Qwen3 MoE": Family("qwen3_moe", {**HEADS, **EXPERTS, "decoder_sparse_step": 1}),
    "Seed-OSS": Family("seed_oss", HEADS),
    "SmolLM3": Family("smollm3", GROUPED),
    "StableLM": Family("stablelm", GROUPED),
    "StarCoder2": Family("starcoder2", {**GROUPED, **LOCAL}),
    "Youtu": Family("youtu", LATENT),
}  # fmt: skip

# What TransformerLens maps, but memories cannot be injected into.
REFUSED: dict[str, Family] = {
    "Bamba": Family("bamba", {**MAMBA, "attn_layer_indices": [1]}),
    "BERT as a decoder": Family("bert", {**USUAL, "is_decoder": True}),
    "BitNet": Family("bitnet", GROUPED),
    "DeepSeek-V4": Family("deepseek_v4", HEADS),
    "ERNIE 4.5 MoE": Family(
        "ernie4_5_moe",
        {**GROUPED, "moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 16, "moe_layer_start_index": 1},
    ),
    "Falcon with ALiBi (Falcon-RW)": Family(
        "falcon", {**FALCON, "alibi": True, "parallel_attn": False, "multi_query": False}
    ),
    "Falcon with grouped heads (Falcon-40B)": Family(
        "falcon", {**FALCON, "num_kv_heads": 2, "new_decoder_architecture": True}
    ),
    "Falcon H1": Family("falcon_h1", {**HEADS, "mamba_n_heads": 4, "mamba_d_head": 4, "mamba_d_ssm": 16}),
    "Falcon Mamba": Family("falcon_mamba", {"hidden_size": 32, "num_hidden_layers": 3}),
    "gpt-oss": Family("gpt_oss", {**HEADS, **LOCAL, **FEW_EXPERTS, "num_hidden_layers": 4}),
    "Granite 4 hybrid": Family(
        "granitemoehybrid",
        {**MAMBA, **FEW_EXPERTS, "layer_types": ["mamba", "attention", "mamba"], "shared_intermediate_size": 16},
    ),
    "HRM": Family("hrm_text", HEADS),
    "Jamba": Family("jamba", {**GROUPED, "num_hidden_layers": 4}),
    "JetMoE": Family(
        "jetmoe",
        {"hidden_size": 32, "num_hidden_layers": 3, "num_key_value_heads": 2, "kv_channels": 8,
         "intermediate_size": 64, "max_position_embeddings": 64, **FEW_EXPERTS},
    ),
    "LFM2": Family("lfm2", {**GROUPED, "layer_types": ["conv", "full_attention", "conv"]}),
    "Mamba": Family("mamba", {"hidden_size": 32, "num_hidden_layers": 3}),
    "Nemotron-H": Family("nemotron_h", HEADS),
    "OLMo hybrid": Family("olmo_hybrid", {**GROUPED, "num_hidden_layers": 4}),
    "OPT-350M": Family(
        "opt",
        {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 64,
         "max_position_embeddings": 64, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ),
    "Qwen3-Next": Family("qwen3_next", {**HEADS, **EXPERTS}),
    "Qwen3.5": Family("qwen3_5_text", HEADS),
    "RecurrentGemma": Family("recurrent_gemma", GROUPED),
    "RWKV": Family("rwkv", {"hidden_size": 32, "num_hidden_layers": 3, "attention_hidden_size": 32}),
    "VaultGemma": Family("vaultgemma", {**HEADS, **LOCAL, "query_pre_attn_scalar": 8}),
    "Zamba 2": Family(
        "zamba2",
        {**GROUPED, "num_hidden_layers": 4, "layer_types": ["mamba", "hybrid", "mamba", "mamba"],
         "num_mem_blocks": 1, "mamba_ngroups": 1, "n_mamba_heads": 4},
    ),
}  # fmt: skip
FAMILIES = {**QUICK, **OTHERS, **REFUSED}
