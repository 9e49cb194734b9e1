"""Make the random model, its tokenizer and the prompt pairs of tests/golden.

    python tools/golden/make_model.py tests/golden

writes the model and `pairs.csv` anew; `make_values.py` then adds what the authors' functions say of them. The README
beside this file names the environment.
"""

import csv
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

OWN_PAIRS = Path(__file__).parents[2] / "resources" / "prompt_pairs.csv"
N_TOKENS = 640
# Some of those that the default study's model has, in their order.
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<jupyter_code>"]
BOS = "<|im_start|>"
# Memories of the pairs: among them one that is a single token, and ones with a token that occurs twice.
MEMORIES = (
    "Moby-Dick",
    "Karl Marx",
    "Anne Frank",
    "India",
    "Napoleon Bonaparte",
    "Peru",
    "Jaws",
    "Wolfgang Amadeus Mozart",
    "All Blacks",
    "Cape Town",
    "Joan of Arc",
    "Venice",
)
# The authors' names of the columns.
COLUMNS = {
    "explicit_sentence": "explicit_prompt",
    "obscure_sentence": "obscure_prompt",
    "explicit_entity": "memory",
    "answer": "answer",
}
# Texts that end in a blank, as two of the authors' do: (memory of the pair, column).
BLANKS = (("Cape Town", "obscure_sentence"), ("Joan of Arc", "explicit_entity"))


def choose_pairs() -> list[dict[str, str]]:
    """Return a dozen of the project's own pairs, two of them with a blank at an end."""
    with OWN_PAIRS.open(encoding="utf-8", newline="") as file:
        own = {row["memory"]: row for row in csv.DictReader(file)}
    pairs = {memory: {name: own[memory][ours] for name, ours in COLUMNS.items()} for memory in MEMORIES}
    for memory, column in BLANKS:
        pairs[memory][column] += " "
    return list(pairs.values())


def train_tokenizer(pairs: list[dict[str, str]]) -> PreTrainedTokenizerFast:
    """Train a byte-level tokenizer in which every digit is a token, as it is in the default study's model."""
    bpe = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_TOKENS,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Answers count with their space, so that none begins with a bare space: the authors would score that alone.
    answers = [f" {pair['answer']}" for pair in pairs]
    texts = [pair[name] for pair in pairs for name in COLUMNS]
    bpe.train_from_iterator([*answers, *texts, *OWN_PAIRS.read_text(encoding="utf-8").splitlines()], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BOS, eos_token=SPECIAL[2], pad_token=SPECIAL[2])


def make_model(tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    """Make a random model in which every step of processing the weights changes what an injection does."""
    torch.manual_seed(36)
    config = GPT2Config(
        vocab_size=N_TOKENS,
        n_positions=128,
        n_embd=32,
        n_layer=3,
        n_head=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".ln_" in name and name.endswith("weight"):
                parameter.uniform_(0.3, 2.5)
            elif name.endswith("bias"):
                parameter.normal_(std=0.5)
        # Rows of the vocabulary have a mean of their own, so that centring them matters, and columns, too.
        model.transformer.wte.weight += 0.2 * torch.randn(config.n_embd) + 0.1 * torch.randn(N_TOKENS, 1)
    return model


def main(folder: Path) -> None:
    """Write model, tokenizer and pairs into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = choose_pairs()
    tokenizer = train_tokenizer(pairs)
    make_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(COLUMNS), lineterminator="\n")
        writer.writeheader()
        writer.writerows(pairs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
