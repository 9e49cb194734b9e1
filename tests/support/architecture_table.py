"""The table of docs/architectures.md, from tiny models of every family: `make architectures` writes it."""

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import fork_server
import torch
from architecture_study import run_families
from architectures import FAMILIES, Family
from memory_injections.errors import UnsupportedArchitectureError
from memory_injections.injection.load_check import load_checked_bridge
from memory_injections.injection.skipping_engine import SkippingEngine, get_first, set_first
from memory_injections.models.loading import describe_model
from tiny_models import train_tokenizer
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedConfig, PreTrainedModel

CPU = torch.device("cpu")
HEADER = ("family", "class in transformers", "result", "gain", "block", "norm", "keys and values", "experts", "window")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
WINDOWS = ("sliding_window", "window_size", "local_attention", "attention_chunk_size")


def describe_family(name: str, family: Family) -> str:
    """The family's row of the table."""
    config = family.configure()
    return format_row([name, *describe_result(family, config), *describe_heads(config), *describe_rest(config)])


def format_row(cells: list[str] | tuple[str, ...]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def describe_result(family: Family, config: PreTrainedConfig) -> list[str]:
    """Class, result of the check at load, the final norm's gain, block and norm; empty where a refusal comes first."""
    try:
        describe_model(config)
        model = family.build()
        shape = describe_block(model)
    except UnsupportedArchitectureError as error:
        return [error.architecture, describe_refusal(str(error)), "", "", ""]
    try:
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            train_tokenizer().save_pretrained(folder)
            bridge, _ = load_checked_bridge(Path(folder), CPU)
    except UnsupportedArchitectureError as error:
        return [error.architecture, describe_refusal(str(error)), "", *shape]
    return [type(model).__name__, "exact", "" if has_final_gain(bridge) else "folded in", *shape]


def has_final_gain(bridge: TransformerBridge) -> bool:
    """Whether the final norm of a processed bridge still multiplies by a gain."""
    if not hasattr(bridge, "ln_final"):
        return False
    # Its mean is zero and its mean square is one, so a norm without gain and bias leaves it as it is.
    signs = torch.tensor([1.0, -1.0]).repeat(bridge.cfg.d_model // 2)
    return not torch.allclose(bridge.ln_final(signs[None, None])[0, 0], signs, atol=1e-3)


def describe_refusal(sentence: str) -> str:
    """The reason of a refusal, without what varies from machine to machine."""
    reason = sentence.partition(" is not supported because ")[2].removesuffix("; use another model")
    return "refused: " + re.sub(r" by [\d.]+(%| nats)|(?<=fails):.*", "", reason)


def describe_block(model: PreTrainedModel) -> list[str]:
    """How attention and MLP follow each other, and where norms are, as a hook on the last block's attention shows."""
    parts = SkippingEngine(model).components
    block, attention, out = parts.blocks[-1], parts.attention[-1], parts.attn_out[-1]
    seen: dict[str, list[torch.Tensor]] = {"block": [], "attention": [], "MLP": []}

    def keep(name: str) -> Any:
        return lambda _, args, kwargs: seen[name].append(args[0] if args else kwargs["hidden_states"])

    block.register_forward_pre_hook(keep("block"), with_kwargs=True)
    attention.register_forward_pre_hook(keep("attention"), with_kwargs=True)
    mlp = next(module for name, module in block.named_modules() if name.split(".")[-1] in MLPS)
    mlp.register_forward_pre_hook(keep("MLP"), with_kwargs=True)
    model(input_ids=torch.tensor([[1, 2, 3]]), use_cache=False)
    out.register_forward_hook(lambda _, __, output: set_first(output, get_first(output) + torch.randn(32)))
    model(input_ids=torch.tensor([[1, 2, 3]]), use_cache=False)
    is_parallel = torch.equal(*seen["MLP"])
    is_before = not torch.equal(seen["block"][0], seen["attention"][0])
    places = [*(["before"] if is_before else []), *(["behind"] if out not in set(attention.modules()) else [])]
    norms = {"RMS" if "RMS" in type(module).__name__ else "layer" for module in block.modules() if is_norm(module)}
    kind = " and ".join(sorted(norms))
    return ["parallel" if is_parallel else "sequential", f"{kind}, {' and '.join(places) or 'behind the sum'}"]


MLPS = ("mlp", "feed_forward", "ffn", "fc1", "block_sparse_moe", "moe", "intermediate")


def is_norm(module: torch.nn.Module) -> bool:
    """Whether a module is a norm, by the name of its class."""
    return "norm" in type(module).__name__.lower()


def describe_heads(config: PreTrainedConfig) -> list[str]:
    """How many heads share keys and values in the tiny model."""
    if getattr(config, "kv_lora_rank", None):
        return ["latent"]
    n_heads = config.num_attention_heads if hasattr(config, "num_attention_heads") else 0
    shared = 1 if getattr(config, "multi_query", False) else getattr(config, "num_key_value_heads", None) or n_heads
    if getattr(config, "new_decoder_architecture", False):
        shared = config.num_kv_heads
    return [{n_heads: "of each head", 1: "of all heads"}.get(shared, "grouped") if n_heads else ""]


def describe_rest(config: PreTrainedConfig) -> list[str]:
    """Whether the tiny model has experts, and attention with a window."""
    experts = any((getattr(config, name, None) or 0) > 1 for name in EXPERTS)
    window = any(getattr(config, name, None) for name in WINDOWS)
    return ["yes" if experts else "", "yes" if window else ""]


def write_table(page: Path) -> None:
    """Replace the table of a page; raise `SystemExit` for a family whose study ends otherwise than its row says."""
    with tempfile.TemporaryDirectory() as folder:
        fork_server.start(Path(folder))
        refusals = run_families(Path(folder), FAMILIES, Path(folder) / "python")
    rows = []
    for name in sorted(FAMILIES, key=str.lower):
        rows.append(describe_family(name, FAMILIES[name]))
        result = describe_refusal(refusals[name]) if refusals[name] else "exact"
        if f"| {result} |" not in rows[-1]:
            raise SystemExit(f"the study of {name} ended with: {refusals[name] or 'all results'}; its row: {rows[-1]}")
    table = [format_row(HEADER), format_row(["---"] * len(HEADER)), *rows]
    before, _, rest = page.read_text(encoding="utf-8").partition(f"| {HEADER[0]} |")
    after = re.sub(r"\A.*\n(\|.*\n)*", "", rest)
    page.write_text(before + "\n".join(table) + "\n" + after, encoding="utf-8")


if __name__ == "__main__":
    write_table(Path(sys.argv[1]))
