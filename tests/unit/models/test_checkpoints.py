"""Model folders that are broken, hostile or swapped end in one sentence, and never in other numbers."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch
from bench import CPU
from memory_injections.checksums import write_checksum
from memory_injections.errors import DamagedFileError, StudyError
from memory_injections.jobs.checks import check_inputs
from memory_injections.models.checkpoints import READ, check_model_folder, check_weights, guard_model
from memory_injections.models.loading import load_bridge, load_causal_lm
from memory_injections.models.sources import LocalModel
from safetensors.torch import load_file, save_file
from torch import Tensor

Edit = Callable[[Path], None]


def set_key(key: str, value: Any, file: str = "config.json") -> Edit:
    def edit(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(content | {key: value}))

    return edit


def write(file: str, content: str | bytes) -> Edit:
    def edit(folder: Path) -> None:
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())

    return edit


def change_weights(change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Edit:
    def edit(folder: Path) -> None:
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})

    return edit


def without(part: str) -> Edit:
    return change_weights(lambda weights: {name: value for name, value in weights.items() if part not in name})


def with_other(name: str, value: Callable[[Tensor], Tensor]) -> Edit:
    return change_weights(lambda weights: weights | {name: value(weights[name])})


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def enlarge_tokenizer(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["George Washington"])
    tokenizer.save_pretrained(folder)


def be_encoder_decoder(folder: Path) -> None:
    from transformers import BartConfig

    BartConfig(d_model=32, encoder_layers=1, decoder_layers=1, vocab_size=400).save_pretrained(folder)


def copy_weights(name: str) -> Edit:
    def edit(folder: Path) -> None:
        shutil.copy(folder / "model.safetensors", folder / name)

    return edit


def move(name: str, to: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).rename(folder / to)

    return edit


def shard_weights(keep_whole: bool) -> Edit:
    def edit(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        places: dict[str, str] = {}
        for number, names in enumerate((list(weights)[::2], list(weights)[1::2]), start=1):
            file = f"model-{number:05}-of-00002.safetensors"
            save_file({name: weights[name] for name in names}, folder / file, {"format": "pt"})
            places |= dict.fromkeys(names, file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
        if not keep_whole:
            (folder / "model.safetensors").unlink()

    return edit


NORM, QUERY = "model.norm.weight", "model.layers.1.self_attn.q_proj.weight"
HOSTILE: dict[str, tuple[Edit, str]] = {
    "config a list": (write("config.json", "[1, 2]"), "config.json is not a JSON object but list"),
    "config null": (write("config.json", "null"), "config.json is not a JSON object but NoneType"),
    "config binary": (write("config.json", b"\xff\xfe{"), "config.json is not a JSON object"),
    "config deeply nested": (write("config.json", "[" * 100_000), "config.json is not a JSON object"),
    "no model type": (write("config.json", "{}"), "cannot be loaded"),
    "unknown model type": (set_key("model_type", "gpt7"), "cannot be loaded"),
    "model type a list": (set_key("model_type", ["llama"]), "cannot be loaded"),
    "code in config": (
        set_key("auto_map", {"AutoConfig": "evil.Config"}), "brings code of its own (auto_map in config.json)"
    ),
    "code in tokenizer": (
        set_key("auto_map", {"AutoTokenizer": ["evil.Tokenizer", None]}, "tokenizer_config.json"),
        "brings code of its own (auto_map in tokenizer_config.json)",
    ),
    "width a text": (set_key("hidden_size", "wide"), "cannot be loaded"),
    "width zero": (set_key("hidden_size", 0), "other shapes"),
    "width negative": (set_key("hidden_size", -32), "cannot be loaded"),
    "width null": (set_key("hidden_size", None), "cannot be loaded"),
    "heads zero": (set_key("num_attention_heads", 0), "cannot be loaded"),
    "heads do not divide": (set_key("num_attention_heads", 5), "cannot be loaded"),
    "key-value heads do not divide": (set_key("num_key_value_heads", 3), "other shapes"),
    "no layers": (set_key("num_hidden_layers", 0), "num_hidden_layers is 0, but the weights are 30 tensors"),
    "a billion layers": (set_key("num_hidden_layers", 10**9), "num_hidden_layers is 1000000000"),
    "more layers": (set_key("num_hidden_layers", 4), "lacks the weights model.layers.3."),
    "fewer layers": (set_key("num_hidden_layers", 2), "weights that its config.json has no place for, model.layers.2."),
    "unknown activation": (set_key("hidden_act", "os.system"), "cannot be loaded"),
    "encoder-decoder": (be_encoder_decoder, "architecture bart is not supported because it has an encoder"),
    "larger vocabulary": (set_key("vocab_size", 401), "other shapes than its config.json says"),
    "smaller vocabulary": (set_key("vocab_size", 300), "has the token 399, but the model has 300 tokens"),
    "larger tokenizer": (enlarge_tokenizer, "has the token 400, but the model has 400 tokens"),
    "tokenizer a list": (write("tokenizer.json", "[]"), "cannot be loaded"),
    "tokenizer cut": (write("tokenizer.json", '{"version": "1.0", "mod'), "cannot be loaded"),
    "tokenizer empty": (write("tokenizer.json", "{}"), "cannot be loaded"),
    "index a list": (write("model.safetensors.index.json", "[]"), "index.json is not a JSON object but list"),
    "index without files": (write("model.safetensors.index.json", '{"weight_map": 3}'), "has no weight_map"),
    "index leads elsewhere": (
        write("model.safetensors.index.json", '{"weight_map": {"a": "../model.safetensors"}}'), "are missing"
    ),
    "weights a pickle": (write("model.safetensors", pickle.dumps(print)), "model.safetensors are damaged"),
    "weights empty": (write("model.safetensors", b""), "model.safetensors are damaged"),
    "weights cut": (
        lambda folder: os.truncate(folder / "model.safetensors", 5000), "model.safetensors are damaged"
    ),
    "only a pickle": (pickle_weights, "pytorch_model.bin, a pickle, which could run any code"),
    "weights in int8": (
        with_other(QUERY, lambda value: (value * 100).to(torch.int8)), f"have {QUERY} in I8, whose scale is not known"
    ),
    "weights in int64": (
        with_other(QUERY, lambda value: (value * 100).to(torch.int64)), f"have {QUERY} in I64, whose scale is not known"
    ),
    "weights in fp8": (
        with_other(QUERY, lambda value: value.to(torch.float8_e4m3fn)), f"{QUERY} in F8_E4M3, whose scale is not known"
    ),
    "quantised": (
        set_key("quantization_config", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
        "has quantised weights (quantization_config in config.json), which are not read as they are meant; save",
    ),
    "quantised below": (
        set_key("text_config", {"compression_config": {"format": "int"}}), "(compression_config in config.json)"
    ),
    "quantised by a file beside it": (write("quantize_config.json", '{"bits": 4}'), "has the file quantize_conf"),
    "an adapter": (write("adapter_config.json", '{"r": 8}'), "an adapter, which is not applied; merge it into the wei"),
    "weights twice": (copy_weights("model.fp16.safetensors"), "more than one set of weights (model.fp16.safet"),
    "weights in another place": (copy_weights("consolidated.safetensors"), "(consolidated.safetensors is in addition"),
    "shards beside the whole": (shard_weights(keep_whole=True), "(model.safetensors is in addition to model-00001-of-"),
    "shards without an index": (
        move("model.safetensors", "model-00001-of-00001.safetensors"), "00001.safetensors but no model.safetensors.in"
    ),
    "config elsewhere": (
        set_key("configuration_files", ["config.4.0.0.json"]), "names other files to be read (configuration_files in c"
    ),
    "weights elsewhere": (
        set_key("transformers_weights", "other/model.safetensors"), "files to be read (transformers_weights in config"
    ),
    "kernels of the hub": (
        set_key("attn_implementation", "some/kernel"),
        "asks for kernels from the hub (attn_implementation in config.json), which are code and never run; remove that",
    ),
    "kernels below": (
        set_key("text_config", {"_attn_implementation": {"": "paged|some/kernel@v1"}}), "(_attn_implementation in conf"
    ),
    "kernels switched on": (set_key("use_kernels", True), "asks for kernels from the hub (use_kernels in config.json)"),
    "one tensor missing": (without(QUERY), f"lacks the weights {QUERY}; save"),
    "a layer missing": (without("layers.1."), "and 6 more; save the whole model again"),
    "all weights missing": (
        change_weights(lambda weights: {"of.another.model": torch.ones(2)}), "but the weights are 1 tensors"
    ),
    "weights of another model": (
        change_weights(lambda weights: {f"transformer.{name}": value for name, value in weights.items()}),
        "lacks the weights lm_head.weight",
    ),
    "a tensor too many": (
        change_weights(lambda weights: weights | {"model.layers.0.extra": torch.ones(2)}),
        "no place for, model.layers.0.extra",
    ),
    "a tensor of another shape": (with_other(QUERY, lambda value: value[:16]), f"{QUERY} [16, 32] for [32, 32]"),
    "a weight not a number": (with_other(NORM, lambda value: value * torch.nan), f"not finite, {NORM}"),
    "an infinite weight": (with_other(QUERY, lambda value: value / 0), f"not finite, {QUERY}"),
}  # fmt: skip


def load(folder: Path, copy: Path) -> None:
    """Do with a model folder what a study does before it computes anything."""
    source = LocalModel(source="local", path=str(folder))
    copy.mkdir()
    source.fetch(copy)
    load_causal_lm(copy, CPU)


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_folder_is_refused_in_one_sentence(fault: str, tiny_models: dict[str, Path], tmp_path: Path) -> None:
    edit, sentence = HOSTILE[fault]
    folder = shutil.copytree(tiny_models["llama"], tmp_path / "model")
    edit(folder)
    with pytest.raises(StudyError) as error:
        load(folder, tmp_path / "copy")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_whole_model_and_masks_of_old_versions_are_accepted(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_models["gpt-neo"], tmp_path / "model")
    mask = {"transformer.h.0.attn.attention.masked_bias": torch.tensor(-1e9)}
    change_weights(lambda weights: weights | mask)(folder)
    set_key("transformers_weights", "model.safetensors")(folder)
    load(folder, tmp_path / "copy")


def test_a_table_of_indices_is_no_weight(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_models["llama"], tmp_path / "model")
    tables = {"model.layers.0.mlp.experts_of_tokens": torch.arange(4), "model.layers.0.mask": torch.ones(2) > 0}
    change_weights(lambda weights: weights | tables)(folder)
    check_weights(folder)


# What becomes of a file of a model's folder: it is read, left alone, or refused with a reason.
FATES = {
    "read": (
        "added_tokens.json", "chat_template.jinja", "emoji.json", "generation_config.json", "merges.txt",
        "sentencepiece.bpe.model", "special_tokens_map.json", "tekken.json", "tokenizer.4.0.0.json", "tokenizer.model",
        "qwen.tiktoken", "vocab.txt",
    ),
    "left alone": (
        "README.md", "LICENSE", "LICENSE.txt", "custom.txt", "notes.xlsx", "picture.png", "odd {name}.txt",
        "modeling_other.py", "zero_to_fp32.py", "spec.yaml", "params.json", "preprocessor_config.json",
        "pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json", "tf_model.h5",
        "flax_model.msgpack", "other.mlmodel", "model.ckpt.index", "model.ckpt.data-00000-of-00001", "model.onnx",
        "model-Q4_K.gguf", "ggml-model.bin", "64.tflite", "consolidated.00.pth", "openvino_model.bin",
        "training_args.bin", "trainer_state.json", "optimizer.pt", "optimizer_1.bin", "scheduler.pt", "scaler.pt",
        "rng_state_0.pth", "random_states_0.pkl", "tokenizer.model.v3", ".gitattributes", ".adapter_config.json",
        ".git/config", ".cache/huggingface/x.lock", "onnx/model.onnx", "original/consolidated.00.pth",
    ),
    "an adapter, which is not applied; merge it into the weights": (
        "adapter_config.json", "adapter_model.safetensors.index.json",
    ),
    "its weights are quantised": ("quant_config.json", "quantize_config.json", "hf_quant_config.json"),
    "weights that would be ignored; move it elsewhere if": (
        "adapter_model.bin", "pytorch_lora_weights.bin", "delta.bin", "medusa_lm_head.pt", "v_head.pth", "epoch=3.ckpt",
        "weights.h5", "other.msgpack", "weights.npz", "head.pkl",
    ),
    "has more than one set of weights (": (
        "adapter_model.safetensors", "consolidated.safetensors", "model.fp16.safetensors", "lora.safetensors",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fate", FATES)
def test_every_file_of_a_folder_is_accounted_for(fate: str, tiny_models: dict[str, Path], tmp_path: Path) -> None:
    """A clone of a repository has many files; whatever those hold that are left alone, nothing runs again for them."""
    folder = shutil.copytree(tiny_models["llama"], tmp_path / "model")
    source = LocalModel(source="local", path=str(folder))
    without = source.local_files()
    for name in FATES[fate]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = path.read_bytes() if path.is_file() else None
        path.write_bytes(b"\xff" if kept is None else kept)
        if fate in ("read", "left alone"):
            check_model_folder(folder)
            assert (str(path) in source.local_files()) == (fate == "read"), name
        else:
            with pytest.raises(StudyError) as error:
                check_model_folder(folder)
            assert str(error.value).startswith(f"model folder {folder} has ")
            assert fate in str(error.value), name
            assert name in str(error.value)
        if kept is None:
            path.unlink()
    assert source.local_files() == without


def test_what_is_left_alone_is_not_loaded(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_models["llama"], tmp_path / "model")
    files = {Path(file).name for file in LocalModel(source="local", path=str(folder)).local_files()}
    for name in FATES["left alone"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\xff")
    load(folder, tmp_path / "copy")
    linked = {path.name for path in (tmp_path / "copy").iterdir()}
    assert linked == files >= {"config.json", "model.safetensors", "tokenizer.json"}


def test_all_that_a_tokenizer_consists_of_is_read() -> None:
    """The files of the tokenizers of all causal models in transformers, other than halves of encoder-decoders."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name

    encoders = {"marian", "prophetnet", "roc_bert", "whisper"}
    names = {TOKENIZER_MAPPING_NAMES.get(kind) for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if kind not in encoders}
    classes = [tokenizer_class_from_name(name) for name in names if name]
    files = {file for found in classes for file in getattr(found, "vocab_files_names", {}).values()}
    assert {"vocab.json", "merges.txt", "emoji.json", "tokenizer.model"} < files
    assert not {file for file in files if not any(fnmatchcase(file, pattern) for pattern in READ)}


def test_shards_are_one_set_of_weights(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_models["llama"], tmp_path / "model")
    shard_weights(keep_whole=False)(folder)
    load(folder, tmp_path / "copy")


def test_a_study_with_a_broken_config_is_refused_when_it_is_read(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    from conftest import tiny_study
    from memory_injections.config.study import parse_study

    folder = shutil.copytree(tiny_models["llama"], tmp_path / "model")
    for fault in ("config a list", "config null", "config deeply nested", "code in config"):
        edit, sentence = HOSTILE[fault]
        edit(folder)
        with pytest.raises(StudyError) as error:
            check_inputs(parse_study(tiny_study(folder)))
        assert sentence in str(error.value)
        shutil.copy(tiny_models["llama"] / "config.json", folder / "config.json")


@pytest.fixture
def fetched(tiny_models: dict[str, Path], tmp_path: Path) -> tuple[Path, Path, Path]:
    """A model's own folder, its folder in a study, and its manifest."""
    folder, checkpoint, manifest = tmp_path / "own", tmp_path / "checkpoint", tmp_path / "manifest.json"
    shutil.copytree(tiny_models["llama"], folder)
    checkpoint.mkdir()
    about = LocalModel(source="local", path=str(folder)).fetch(checkpoint)
    manifest.write_text(json.dumps(about))
    write_checksum(manifest)
    return folder, checkpoint, manifest


def test_a_model_is_verified_before_it_is_loaded(fetched: tuple[Path, Path, Path]) -> None:
    folder, checkpoint, manifest = fetched
    with guard_model(checkpoint, manifest):
        pass
    with_other(NORM, lambda value: value + 1)(folder)
    with guard_model(checkpoint, manifest, weights=False):
        pass
    no_longer = pytest.raises(DamagedFileError, match=r"own/model\.safetensors is no longer the file that it describes")
    with no_longer, guard_model(checkpoint, manifest):
        raise AssertionError("the model must not be loaded")
    set_key("rms_norm_eps", 1.0)(folder)
    with pytest.raises(DamagedFileError), guard_model(checkpoint, manifest, weights=False):
        pass


def test_a_model_swapped_while_it_is_loaded_and_back_again_is_noticed(fetched: tuple[Path, Path, Path]) -> None:
    folder, checkpoint, manifest = fetched
    weights = folder / "model.safetensors"

    def swap() -> None:
        weights.rename(folder / "old")
        shutil.copy2(folder / "old", weights)
        with_other(NORM, lambda value: value + 1)(folder)
        load_causal_lm(checkpoint, CPU)
        (folder / "old").replace(weights)

    with pytest.raises(DamagedFileError), guard_model(checkpoint, manifest):
        swap()


def test_a_loaded_model_does_not_change_with_its_file(fetched: tuple[Path, Path, Path]) -> None:
    folder, checkpoint, _ = fetched
    models = load_causal_lm(checkpoint, CPU), load_bridge(checkpoint, CPU)
    before = [[weights.clone() for weights in model.parameters()] for model in models]
    size = (folder / "model.safetensors").stat().st_size
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(bytes(size))
    for model, weights in zip(models, before, strict=True):
        assert all(map(torch.equal, model.parameters(), weights))
