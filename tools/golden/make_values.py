"""Compute what the authors' own functions say of a model, as golden values, or compare it with stored ones.

    python tools/golden/make_values.py --authors CHECKOUT --model tests/golden --pairs tests/golden/pairs.csv

writes the values beside the model; with `--against FOLDER` it compares them with the values there instead. CHECKOUT is
the authors' repository at COMMIT, whose functions are imported and run as they are. The README beside this file names
the environment.
"""

import argparse
import ast
import contextlib
import importlib
import io
import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers
from transformer_lens import HookedTransformer

COMMIT = "ce79ef6c98a58d5b67ca1b017758622327b484bd"
LIBRARIES = ("torch", "transformer-lens", "transformers", "tokenizers", "numpy", "pandas", "pyarrow")
# A name that their loader takes for a GPT-2; the hub is never asked for it.
STAND_IN = "gpt2-small"
HOOKS = {
    "unembed": "memory_tweaker_unembed_head_hook",
    "embed": "memory_tweaker_embed_head_hook",
    "layer": "memory_layer_encoding_hook",
}
SENTENCES = ("explicit_sentence", "obscure_sentence")
MAGNITUDES = (1, 4, 10)
RANDOM_WORDS, RANDOM_MAGNITUDE = ("be", "have", "do"), 5
TOP_K = 30
# Of how many pairs the heads, and the random words, are stored.
HEAD_PAIRS, RANDOM_PAIRS = 4, 12
CELL = ["row", "layer", "tweak"]
# How exactly values must agree: probabilities and logits relatively, log-probabilities and logits near 0 absolutely.
RELATIVE, LOG_PROBABILITY, LOGIT = 1e-4, 1e-5, 1e-4


class Authors:
    """The authors' functions, and their model loaded from a folder in place of the hub."""

    def __init__(self, checkout: Path, model: Path) -> None:
        redirect_hub(model)
        torch.set_grad_enabled(False)
        self.checkout = checkout
        # Their modules are found relative to the root of the repository.
        sys.path[:0] = [str(checkout), str(checkout / "experiments" / "tweak_factor_analysis")]
        self.utils: Any = importlib.import_module("utils")
        self.sweeps: Any = importlib.import_module("injection_tweak_factor_analysis")
        with contextlib.redirect_stdout(io.StringIO()):
            self.model: HookedTransformer = self.utils.get_model(STAND_IN, dtype=torch.float32, device="cpu")

    def sweep(self, pairs: pd.DataFrame, encoding: str, magnitude: float) -> pd.DataFrame:
        """Run `edit_heatmap`: a row a cell, with the probabilities and the most probable tokens after the injection."""
        with contextlib.redirect_stdout(io.StringIO()):
            table = self.sweeps.edit_heatmap(
                pairs,
                self.model,
                torch.float32,
                getattr(self.utils, HOOKS[encoding]),
                layers=self.model.cfg.n_layers,
                tweak_factor=magnitude,
                k=TOP_K,
            )
        cells = [
            {
                "dataset": "hand",
                "row": row,
                "layer": layer,
                "tweak": magnitude,
                "encoding": encoding,
                "answer_prob_exp": table["answer_prob_exp"][row],
                "answer_prob_obs": table["answer_prob_obs"][row],
                "answer_prob_edit": table[f"ans_prob_obs_edit_layer{layer}"][row],
                "top30_ids": " ".join(map(str, table[f"topk_tok_obs_edit_layer{layer}"][row])),
            }
            for row in table.index
            for layer in range(self.model.cfg.n_layers)
        ]
        return pd.DataFrame(cells)

    def read_heads(self, prompt: str) -> list[dict[str, Any]]:
        """Run `get_caches_for_prompt`: the highest tokens of every head, whose logits it reads from `unembed`."""
        config, logits = self.model.cfg, []
        names = [f"blocks.{layer}.attn.hook_result" for layer in range(config.n_layers)]
        functions = self.load_functions(
            "experiments/interpret_attn/interpret_attn.py",
            {"torch": torch, "pd": pd, "model": self.model, "num_heads": config.n_heads},
        )
        handle = self.model.unembed.register_forward_hook(lambda _, __, output: logits.append(output[0, -1]))
        table = functions["get_caches_for_prompt"](prompt, pd.DataFrame(), names, k_tokens=TOP_K)
        handle.remove()
        heads = []
        # The first call of `unembed` is the model's own.
        for row, of_head in zip(table.to_dict("records"), logits[1:], strict=True):
            ids = row["head_output"]
            values = [float(f"{value:.9g}") for value in of_head[ids].tolist()]
            heads.append({"layer": row["layer"], "head": row["head"], "top30_ids": ids.tolist(), "top30_vals": values})
        return heads

    def load_functions(self, module: str, names: dict[str, Any]) -> dict[str, Any]:
        """Run nothing of a module but the definitions of its functions, which see `names`.

        The script of the heads cannot be imported: it imports what `utils.py` no longer has, and runs at once.
        """
        tree = ast.parse((self.checkout / module).read_text(encoding="utf-8"))
        tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        namespace = {**names, "args": SimpleNamespace(model_name=STAND_IN)}
        exec(compile(tree, module, "exec"), namespace)
        return namespace

    def list_tokens(self, text: str) -> list[int]:
        """Tokenise as their functions do, without BOS."""
        return self.model.to_tokens(text, prepend_bos=False)[0].tolist()


def redirect_hub(model: Path) -> None:
    """Let everything that would be looked up on the hub be read from this folder."""
    loaders: list[Any] = [transformers.AutoConfig, transformers.AutoTokenizer, transformers.AutoModelForCausalLM]
    for loader in loaders:
        from_pretrained = loader.from_pretrained

        def from_folder(_: str, *arguments: Any, of: Any = from_pretrained, **options: Any) -> Any:
            loaded = of(str(model), *arguments, **options)
            if isinstance(loaded, transformers.GPT2Config):
                loaded.n_ctx = loaded.n_positions  # GPT-2's config on the hub has both
            return loaded

        loader.from_pretrained = from_folder


def check_commit(checkout: Path) -> None:
    """Refuse another commit of the authors' repository, or files that were changed."""
    for command, expected in (("rev-parse HEAD", COMMIT), ("status --porcelain --untracked-files=no", "")):
        said = subprocess.check_output(["git", "-C", str(checkout), *command.split()], text=True).strip()
        if said != expected:
            raise SystemExit(f"{checkout} is not the authors' repository at {COMMIT}, unchanged: {said}")


def read_pairs(path: Path, rows: int | None) -> pd.DataFrame:
    """Read prompt pairs in the authors' form; answers get their leading space, as in the authors' loader."""
    table = pd.read_csv(path, nrows=rows)
    return table.assign(answer=" " + table["answer"])


def compute_values(authors: Authors, pairs: pd.DataFrame) -> dict[str, Any]:
    """Compute all values, by the name of their file."""
    values: dict[str, Any] = {}
    for encoding in HOOKS:
        cells = pd.concat([authors.sweep(pairs, encoding, magnitude) for magnitude in MAGNITUDES])
        cells = cells.sort_values(CELL).reset_index(drop=True)
        values[f"sweep_hand_{encoding}.csv"] = cells.drop(columns="top30_ids")
        values[f"topk_hand_{encoding}.csv"] = cells[["dataset", *CELL, "encoding", "top30_ids"]]
    values["sweep_hand_tokens.json"] = [
        {
            "row": row,
            "prompt": pair["obscure_sentence"],
            "memory": pair["explicit_entity"],
            "answer": pair["answer"],
            "memory_ids": authors.list_tokens(pair["explicit_entity"]),
            "answer_ids": authors.list_tokens(pair["answer"]),
            "answer_first": authors.list_tokens(pair["answer"])[0],
        }
        for row, pair in enumerate(pairs.to_dict("records"))
    ]
    values["heads.json"] = [
        {"row": row, "sentence": sentence, "prompt": prompt, **head}
        for row, pair in pairs.head(HEAD_PAIRS).iterrows()
        for sentence, prompt in pair[list(SENTENCES)].items()
        for head in authors.read_heads(prompt)
    ]
    values["random.csv"] = compute_random(authors, pairs.head(RANDOM_PAIRS))
    return values


def compute_random(authors: Authors, pairs: pd.DataFrame) -> pd.DataFrame:
    """Inject the same words into every prompt, in the middle of the model."""
    parts = []
    for word in RANDOM_WORDS:
        cells = authors.sweep(pairs.assign(explicit_entity=word), "unembed", RANDOM_MAGNITUDE)
        parts.append(cells[cells["layer"] == authors.model.cfg.n_layers // 2].assign(word=word))
    return pd.concat(parts).drop(columns="encoding").sort_values(["row", "word"])


def write_values(values: dict[str, Any], folder: Path) -> None:
    """Write values and the versions of what computed them."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
    files = {**values, "versions.json": {"msakarvadia/memory_injections": COMMIT, **versions}}
    for name, content in files.items():
        if isinstance(content, pd.DataFrame):
            content.to_csv(folder / name, index=False, float_format="%.9g", lineterminator="\n")
        elif isinstance(content, list):
            lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in content)
            (folder / name).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        else:
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def compare_values(values: dict[str, Any], folder: Path) -> None:
    """Compare with every value that is stored in a folder; raises `AssertionError` where one differs."""
    for name in ("random.csv", *(f"sweep_hand_{encoding}.csv" for encoding in HOOKS)):
        keys = [*CELL, "word"] if name == "random.csv" else CELL
        stored = pd.read_csv(folder / name).merge(values[name], on=keys, how="left", suffixes=("", "_now"))
        for column in ("answer_prob_exp", "answer_prob_obs", "answer_prob_edit"):
            then, now = stored[column], stored[f"{column}_now"]
            np.testing.assert_allclose(now, then, rtol=RELATIVE, err_msg=f"{name}, {column}")
            np.testing.assert_allclose(np.log(now), np.log(then), rtol=0, atol=LOG_PROBABILITY, err_msg=name)
            print(f"{name}, {column}: {len(stored)} values, largest difference {abs(now / then - 1).max():.1e}")
    for name in (f"topk_hand_{encoding}.csv" for encoding in HOOKS):
        stored = pd.read_csv(folder / name).merge(values[name], on=CELL, how="left", suffixes=("", "_now"))
        same = stored["top30_ids"] == stored["top30_ids_now"]
        sets = [
            len(set(then.split()) & set(now.split()))
            for then, now in zip(stored["top30_ids"], stored["top30_ids_now"], strict=True)
        ]
        print(f"{name}: {same.sum()} of {len(stored)} in the same order, at least {min(sets)} of {TOP_K} tokens common")
        assert min(sets) >= TOP_K - 1, name
    heads = {(head["prompt"], head["layer"], head["head"]): head for head in values["heads.json"]}
    stored_heads = json.loads((folder / "heads.json").read_text(encoding="utf-8"))
    for head in stored_heads:
        now = heads[head["prompt"], head["layer"], head["head"]]["top30_vals"]
        np.testing.assert_allclose(now, head["top30_vals"], rtol=RELATIVE, atol=LOGIT, err_msg="heads.json")
    print(f"heads.json: {len(stored_heads)} heads agree")


def main() -> None:
    """Compute values, and write or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--authors", type=Path, required=True, help="checkout of the authors' repository")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model; values are written there, too")
    parser.add_argument("--pairs", type=Path, required=True, help="CSV file of the prompt pairs")
    parser.add_argument("--rows", type=int, help="how many of its rows to take")
    parser.add_argument("--against", type=Path, help="folder with values to compare with, in place of writing")
    chosen = parser.parse_args()
    check_commit(chosen.authors)
    values = compute_values(Authors(chosen.authors, chosen.model), read_pairs(chosen.pairs, chosen.rows))
    if chosen.against:
        compare_values(values, chosen.against)
    else:
        write_values(values, chosen.model)


if __name__ == "__main__":
    main()
