"""Which prompts of a data set count for the verdicts on a model: by what it says of them without any injection."""

from pathlib import Path

from _job import start_job
from memory_injections.analysis.population import TEXTS, choose_prompts, judge_texts, mark_prompts
from memory_injections.atomic_files import replace_file
from memory_injections.controls.plan import PlannedPrompts
from memory_injections.controls.texts import list_texts, score_texts
from memory_injections.controls.writing import Writer
from memory_injections.data.prompt_pairs import read_pairs
from memory_injections.jobs.loading import load_on_reserved_devices
from torch import set_num_threads  # behind _job, which hides tracebacks of Ctrl-C

if __name__ == "__main__":
    with start_job(globals()) as job:
        set_num_threads(job.threads)
        inputs, params, pairs = job.input, job.params, read_pairs(Path(job.input.pairs))
        with load_on_reserved_devices(inputs.checkpoint, inputs.manifest, inputs.processed, params.precision) as model:
            planned = PlannedPrompts.of_pairs(pairs, model.tokenizer, model.engine.n_ctx)
            texts = list_texts(planned)
            texts = texts[texts["text"].isin(TEXTS)]
            if params.known_rank is None:
                said = judge_texts(Writer(model, planned).write_after_texts(texts))
            else:
                said = judge_texts(score_texts(texts, model.engine, model.tokenizer), params.known_rank)
        marks = mark_prompts(pairs, said)
        chosen = choose_prompts(marks, params.population, params.leave_out).reset_index()
        with replace_file(Path(job.output[0])) as path:
            chosen.assign(model=params.model, dataset=params.dataset).to_parquet(path, index=False)
