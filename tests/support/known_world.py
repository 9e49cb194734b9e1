"""A small world whose facts are known, and tiny models that learn its texts, with or without its facts.

Countries have things ("country07 capital capital02"); models learn these facts by heart. Where people live stands in
the text alone ("person03 country07 person14 country01 person03 capital capital02"): a model has to take the country
from there, and to work out the second hop from it. If a text asks for a person's capital and does not say where they
live, the first hop is missing, and nothing but the memory of the country can help.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast

N_COUNTRIES, N_PEOPLE = 12, 24
RELATIONS = ("capital", "river", "mountain", "language", "coin", "dish")
PEOPLE = [f"person{number:02d}" for number in range(N_PEOPLE)]
COUNTRIES = [f"country{number:02d}" for number in range(N_COUNTRIES)]
THINGS = [[f"{relation}{number:02d}" for number in range(N_COUNTRIES)] for relation in RELATIONS]
WORDS = ["<bos>", *PEOPLE, *COUNTRIES, *RELATIONS, *(thing for things in THINGS for thing in things)]
STEPS, BATCH, RATE = 400, 128, 1e-2
# What each country has, [relation, country].
World = Int[np.ndarray, "relation country"]


def draw_world(seed: int) -> World:
    """Draw the facts of a world: every thing belongs to one country."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(N_COUNTRIES) for _ in RELATIONS])


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of whole words."""
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<bos>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<bos>", eos_token="<bos>")


def write_texts(world: World, rng: np.random.Generator) -> list[list[str]]:
    """Write texts that say where people live and ask for one of them, bare facts, and questions without a first hop."""

    def ask(country: int) -> str:
        relation = rng.integers(len(RELATIONS))
        return f"{RELATIONS[relation]} {THINGS[relation][world[relation, country]]}"

    told, facts = [], []
    for _ in range(BATCH):
        people, countries = rng.permutation(N_PEOPLE)[:2], rng.permutation(N_COUNTRIES)[:2].tolist()
        lines = " ".join(f"{PEOPLE[p]} {COUNTRIES[c]}" for p, c in zip(people, countries, strict=True))
        asked = rng.integers(2)
        told.append(f"{lines} {PEOPLE[people[asked]]} {ask(countries[asked])}")
    for country in rng.integers(N_COUNTRIES, size=BATCH // 4).tolist():
        facts += [f"{COUNTRIES[country]} {ask(country)}", f"{rng.choice(PEOPLE)} {ask(int(rng.integers(N_COUNTRIES)))}"]
    return [told, facts]


def train(knows: bool) -> PreTrainedModel:
    """Train a model on texts of world 0 or, if it is not to know its facts, of another world at every step.

    The loss is that of a text's last word.
    """
    torch.manual_seed(0)
    rng, tokenizer = np.random.default_rng(0), build_tokenizer()
    model = AutoModelForCausalLM.from_config(
        LlamaConfig(
            num_hidden_layers=2, num_attention_heads=4, hidden_size=32, intermediate_size=128, vocab_size=len(WORDS),
            max_position_embeddings=16, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.1)
    for step in range(STEPS):
        loss = torch.zeros(())
        for texts in write_texts(draw_world(0 if knows else 1 + step), rng):
            ids = tokenizer([f"<bos> {text}" for text in texts], return_tensors="pt")["input_ids"]
            loss = loss + cross_entropy(model(input_ids=ids[:, :-1]).logits[:, -1], ids[:, -1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def save_model(knows: bool, folder: Path) -> None:
    """Train a model, and save it with its tokenizer."""
    train(knows).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)


def write_pairs() -> pd.DataFrame:
    """Prompt pairs of world 0 about people whose homes are nowhere said, four for each country."""
    world, rows = draw_world(0), []
    for index in range(4 * N_COUNTRIES):
        country, relation = index % N_COUNTRIES, (index // N_COUNTRIES + index) % len(RELATIONS)
        rows.append(
            {
                "explicit_prompt": f"{COUNTRIES[country]} {RELATIONS[relation]}",
                "obscure_prompt": f"{PEOPLE[index % N_PEOPLE]} {RELATIONS[relation]}",
                "memory": COUNTRIES[country],
                "answer": THINGS[relation][world[relation, country]],
            }
        )
    return pd.DataFrame(rows)
