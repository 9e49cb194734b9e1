"""The texts that injections are compared with: the prompts themselves, and texts in front of them."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedTokenizerBase

from memory_injections.controls.kinds import CONTROLS
from memory_injections.controls.plan import PlannedPrompts
from memory_injections.controls.shortcuts import leave_out
from memory_injections.data.answers import list_answers
from memory_injections.data.prompt_pairs import ENTITY, FIRST_HOP
from memory_injections.errors import StudyError
from memory_injections.injection.cell_computer import Batches, WholeAnswers
from memory_injections.injection.engine import InjectionEngine
from memory_injections.models.limits import CELL_PADDING
from memory_injections.models.scoring import score_answers
from memory_injections.models.tokenisation import Prompt, batch_by_length, check_length, pad

logger = logging.getLogger(__name__)


def list_texts(planned: PlannedPrompts) -> pd.DataFrame:
    """List the texts that injections are compared with: prompt_id, text (its name), prompt and answers, as right ones.

    - obscure, explicit: the prompts themselves
    - every control that is a text: what it writes, in front of the obscure prompt
    - first_hop: the data set's own text that the memory follows, or else the description and "is", where it is found;
      the answer is the memory
    - without_entity, without_relation: the obscure prompt with a part of its description left out, if it has both
    """
    rows = []
    for pair in planned.pairs.to_dict("records"):
        name, description = pair["prompt_id"], planned.descriptions[pair["prompt_id"]]
        texts = {"obscure": pair["obscure_prompt"], "explicit": pair["explicit_prompt"]}
        for control in CONTROLS.values():
            if control.write and (written := control.write(pair, description and description.opening)):
                texts[control.name] = f"{written} {pair['obscure_prompt']}"
        first_hop = pair.get(FIRST_HOP) or (description and f"{description.opening} is")
        if first_hop:
            rows.append((name, "first_hop", first_hop, [pair["memory"].strip()]))
        parts = description and leave_out(pair["obscure_prompt"], description, pair.get(ENTITY, ""))
        if parts:
            texts |= dict(zip(("without_entity", "without_relation"), parts, strict=True))
        rows += [(name, text, prompt, list_answers(pair)) for text, prompt in texts.items()]
    return pd.DataFrame(rows, columns=["prompt_id", "text", "prompt", "answers"])


def score_texts(texts: pd.DataFrame, engine: InjectionEngine, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """Return how probable each text's answer is, and the most probable token there.

    Columns: prompt_id, text, p, logp (nats) and rank of the answer's first token, logp_whole of the whole answer or, if
    that is more, of an alias, next_token_id, top_token_id and top_token (see `score_prompts`). Texts that do not split
    from their answers into tokens, or are longer than the model's context, are left out.
    """
    prompts = {}
    for index, text in texts.iterrows():
        for number, answer in enumerate(text["answers"]):
            try:
                prompt = Prompt.tokenise(tokenizer, text["prompt"], answer)
                check_length(prompt.whole, "it", engine.n_ctx)
            except StudyError as error:
                if number == 0:
                    logger.warning("left out %s of prompt pair %d: %s", text["text"], text["prompt_id"], error)
                    break
            else:
                prompts[index, number] = prompt
    scores = pd.DataFrame(
        {name: values.numpy() for name, values in score_prompts(list(prompts.values()), engine).items()},
        index=pd.MultiIndex.from_tuples(list(prompts), names=["text", "answer"]),
    )
    first = scores.xs(0, level="answer").assign(logp_whole=scores["logp_whole"].groupby("text").max())
    scored = texts.loc[first.index, ["prompt_id", "text"]].join(first).reset_index(drop=True)
    return scored.assign(top_token=[str(tokenizer.decode([token])) for token in scored["top_token_id"].tolist()])


def score_prompts(prompts: Sequence[Prompt], engine: InjectionEngine) -> Mapping[str, torch.Tensor]:
    """Return the scores of each prompt's answer, without an injection, each [prompt].

    They are p, logp (nats) and rank of its first token, logp_whole of all its tokens, top_token_id, the most probable
    token in the place of the first, and next_token_id, the one behind the prompt itself: without the answer's bare
    spaces.
    """
    batches, multiple_of = Batches(engine.device), CELL_PADDING[engine.device.type]
    lengths = [len(prompt.whole) - 1 for prompt in prompts]
    scores: dict[str, torch.Tensor] = {}
    waiting: Sequence[int] = range(len(prompts))
    while waiting:
        done: set[int] = set()
        for chosen in batch_by_length([lengths[index] for index in waiting], batches.max_tokens, multiple_of):
            batch = [waiting[index] for index in chosen]

            def score(batch: Sequence[int] = tuple(batch)) -> Mapping[str, torch.Tensor]:
                here = [prompts[index] for index in batch]
                whole = WholeAnswers(here, engine.device)
                tokens, sizes = pad([prompt.whole[:-1] for prompt in here], engine.device, multiple_of)
                answers = torch.tensor([prompt.answer for prompt in here], device=engine.device)
                log_probs = engine.clean(tokens, sizes, [], whole.n_read).logits.log_softmax(dim=1)
                first, logp_whole = whole.score(log_probs, np.arange(len(here)))
                n_bare = torch.tensor([prompt.n_bare for prompt in here], device=engine.device)
                next_token = log_probs[first - n_bare].argmax(dim=1)
                log_probs = log_probs[first]
                scored = score_answers(log_probs, answers) | {"logp_whole": logp_whole, "next_token_id": next_token}
                return {**scored, "top_token_id": log_probs.argmax(dim=1)}

            found = batches.attempt(len(batch), max(lengths[index] for index in batch), score)
            if found is None:
                break  # the others are batched anew, in smaller batches
            done.update(batch)
            for name, values in found.items():
                scores.setdefault(name, values.new_empty(len(prompts), device="cpu"))[batch] = values.cpu()
        waiting = [index for index in waiting if index not in done]
    return scores
