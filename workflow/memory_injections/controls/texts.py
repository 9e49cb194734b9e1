"""The texts that injections are compared with: the prompts themselves, and texts in front of them."""

import logging
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from transformers import PreTrainedTokenizerBase

from memory_injections.controls.kinds import CONTROLS
from memory_injections.controls.plan import PlannedPrompts
from memory_injections.errors import StudyError
from memory_injections.injection.cell_computer import Batches
from memory_injections.injection.engine import InjectionEngine
from memory_injections.models.limits import CELL_PADDING
from memory_injections.models.scoring import score_answers
from memory_injections.models.tokenisation import Prompt, batch_by_length, pad

logger = logging.getLogger(__name__)


def list_texts(planned: PlannedPrompts) -> pd.DataFrame:
    """List the texts that injections are compared with: prompt_id, text (its name), prompt and answer.

    - obscure, explicit: the prompts themselves
    - every control that is a text: what it writes, in front of the obscure prompt
    - first_hop: what the description stands for, where it is found; the answer is the memory
    """
    rows = []
    for pair in planned.pairs.to_dict("records"):
        name, description = pair["prompt_id"], planned.descriptions[pair["prompt_id"]]
        texts = {"obscure": pair["obscure_prompt"], "explicit": pair["explicit_prompt"]}
        for control in CONTROLS.values():
            if control.write and (written := control.write(pair, description and description.opening)):
                texts[control.name] = f"{written} {pair['obscure_prompt']}"
        if description is not None:
            rows.append((name, "first_hop", f"{description.opening} is", pair["memory"].strip()))
        rows += [(name, text, prompt, pair["answer"]) for text, prompt in texts.items()]
    return pd.DataFrame(rows, columns=["prompt_id", "text", "prompt", "answer"])


def score_texts(texts: pd.DataFrame, engine: InjectionEngine, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """Return how probable each text's answer is, and the most probable token there.

    Columns: prompt_id, text, p, logp (nats), rank, top_token_id, top_token. Texts that do not split from their answers
    into tokens, or are longer than the model's context, are left out.
    """
    prompts = {}
    for index, text in texts.iterrows():
        try:
            prompt = Prompt.tokenise(tokenizer, text["prompt"], text["answer"])
        except StudyError as error:
            logger.warning("left out %s of prompt pair %d: %s", text["text"], text["prompt_id"], error)
            continue
        if engine.n_ctx is None or len(prompt.tokens) <= engine.n_ctx:
            prompts[index] = prompt
        else:
            logger.warning("left out %s of prompt pair %d: too long", text["text"], text["prompt_id"])
    scores = score_prompts(list(prompts.values()), engine)
    scored = texts.loc[list(prompts), ["prompt_id", "text"]].assign(**scores).reset_index(drop=True)
    return scored.assign(top_token=[str(tokenizer.decode([token])) for token in scored["top_token_id"].tolist()])


def score_prompts(prompts: Sequence[Prompt], engine: InjectionEngine) -> Mapping[str, torch.Tensor]:
    """Return p, logp (nats) and rank of each prompt's answer, and top_token_id, without an injection, each [prompt]."""
    batches, multiple_of = Batches(engine.device), CELL_PADDING[engine.device.type]
    lengths = [len(prompt.tokens) for prompt in prompts]
    scores: dict[str, torch.Tensor] = {}
    waiting: Sequence[int] = range(len(prompts))
    while waiting:
        done: set[int] = set()
        for chosen in batch_by_length([lengths[index] for index in waiting], batches.max_tokens, multiple_of):
            batch = [waiting[index] for index in chosen]

            def score(batch: Sequence[int] = tuple(batch)) -> Mapping[str, torch.Tensor]:
                tokens, sizes = pad([prompts[index].tokens for index in batch], engine.device, multiple_of)
                answers = torch.tensor([prompts[index].answer for index in batch], device=engine.device)
                log_probs = engine.clean(tokens, sizes, []).logits.log_softmax(dim=1)
                return {**score_answers(log_probs, answers), "top_token_id": log_probs.argmax(dim=1)}

            found = batches.attempt(len(batch), max(lengths[index] for index in batch), score)
            if found is None:
                break  # the others are batched anew, in smaller batches
            done.update(batch)
            for name, values in found.items():
                scores.setdefault(name, values.new_empty(len(prompts), device="cpu"))[batch] = values.cpu()
        waiting = [index for index in waiting if index not in done]
    return scores
