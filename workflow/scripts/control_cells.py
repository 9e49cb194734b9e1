"""The cells of the controls of a model on a data set, the sites they are at, and the texts they are compared with."""

from pathlib import Path

from _job import start_job
from memory_injections.activations.cache_file import ActivationCache
from memory_injections.analysis.population import read_population
from memory_injections.atomic_files import replace_file
from memory_injections.controls.experiment import ControlExperiment
from memory_injections.controls.settings import Answers, Controls
from memory_injections.data.prompt_pairs import read_pairs
from memory_injections.data.text_tables import read_column
from memory_injections.jobs.loading import load_on_reserved_devices
from memory_injections.jobs.unfinished import UnfinishedParts
from torch import set_num_threads  # behind _job, which hides tracebacks of Ctrl-C

if __name__ == "__main__":
    with start_job(globals()) as job:
        set_num_threads(job.threads)
        inputs, params, output = job.input, job.params, job.output
        words = [word for kind in params.word_kinds for word in read_column(Path(inputs.words), kind)]
        cache, pairs = ActivationCache(inputs.activations), read_pairs(Path(inputs.pairs))
        with load_on_reserved_devices(inputs.checkpoint, inputs.manifest, inputs.processed, params.precision) as model:
            controls = Controls.model_validate(params.controls)
            answers = Answers.model_validate(params.answers)
            experiment = ControlExperiment(model, cache, pairs, controls, answers, words, params.seed)
            counted = read_population(map(Path, inputs.population)).get((params.model, params.dataset))
            sites = experiment.choose_sites(map(Path, inputs.curated), params.paper, params.outcome, counted)
            experiment.write_cells(sites, Path(params.store), params.engine, Path(output.cells))
            files = {name: Path(inputs[name]) for name in ("manifest", "processed", "pairs", "activations")}
            files |= {Path(path).name: Path(path) for path in [*inputs.curated, *inputs.population]}
            settings = {**dict(params.items()), "device": model.engine.device.type}
            unfinished = UnfinishedParts(Path(params.unfinished), files, settings)
            tables = {
                output.sites: sites,
                output.texts: experiment.score_texts(unfinished.keep),
                output.written: experiment.write_answers(sites, unfinished.keep),
            }
        for file, table in tables.items():
            with replace_file(Path(file)) as path:
                experiment.name(table).to_parquet(path, index=False)
        unfinished.discard()
