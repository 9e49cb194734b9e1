"""The controls of one model on one data set: the sites that the evidence chooses, and every cell there."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from memory_injections.activations.cache_file import ActivationCache, measure_residual_norms
from memory_injections.analysis.clusters import cluster_prompts
from memory_injections.analysis.evidence import COLUMNS, group_encodings, read_any
from memory_injections.analysis.population import SHORTCUTS, keep_prompts
from memory_injections.atomic_files import replace_file
from memory_injections.controls.kinds import SHUFFLED
from memory_injections.controls.plan import PlannedPrompts, list_specs, plan_controls
from memory_injections.controls.settings import Answers, Controls
from memory_injections.controls.sites import choose_control_sites, choose_sites_of_any, join_sites
from memory_injections.controls.texts import list_texts, score_texts
from memory_injections.controls.vector_specs import ControlEncoder
from memory_injections.controls.writing import Writer, choose_writing_sites
from memory_injections.errors import ControlLayerError
from memory_injections.injection.cell_computer import CellComputer
from memory_injections.injection.loaded_model import LoadedModel
from memory_injections.paper.reported import find_reported_site, identify_as_papers, rename_numbers
from memory_injections.sweeps.cells import KEY, SCORES_OF_CONTROLS, index_sweeps, read_cells
from memory_injections.sweeps.experiment import describe_context, open_store, score_cells
from memory_injections.sweeps.store import CellStore
from memory_injections.terms import Outcome

# How many cells are looked up, computed and written together. This bounds the memory of a job.
CELLS_AT_ONCE = 20_000
# How many answers are written before they are kept for a job that goes on later.
TEXTS_AT_ONCE = 2000
Keep = Callable[[str, Callable[[], pd.DataFrame]], pd.DataFrame]
_TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("model", "dataset", "encoding", "part", "control", "positions")),
        ("relative", pa.bool_()),
        ("draw", pa.int16()),
        ("prompt_id", pa.int32()),
        ("layer", pa.int16()),
        ("magnitude", pa.float64()),
        *SCORES_OF_CONTROLS.items(),
    ]
)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ControlExperiment:
    """Controls of the injections of one model into the prompts of one data set; `words` are those to match.

    `answers` says how whole answers are scored and which are written.
    """

    model: LoadedModel
    cache: ActivationCache
    pairs: pd.DataFrame
    controls: Controls
    answers: Answers
    words: Sequence[str]
    seed: int

    @cached_property
    def _planned(self) -> PlannedPrompts:
        return PlannedPrompts.of_pairs(self.pairs, self.model.tokenizer, self.model.engine.n_ctx)

    def choose_sites(
        self, curated: Iterable[Path], paper: Mapping[str, Any], outcome: Outcome, counted: pd.Index | None = None
    ) -> pd.DataFrame:
        """Choose the sites of sweeps of curated memories: in each encoding that is asked for, and among all.

        They are chosen by the effects on an outcome, for the prompts that are `counted` (None: all), none if there are
        none. `paper` has the sites that the paper reports. Raises `ControlLayerError` for a site of the user's in a
        layer that the model does not have.
        """
        for site in self.controls.sites:
            if site.layer >= self.model.engine.n_layers:
                raise ControlLayerError(site.layer, self.model.engine.n_layers)
        if counted is not None and counted.empty:
            return join_sites([], [])
        papers = identify_as_papers(self.model.manifest, self.pairs, paper)
        names = {(self.cache.model, self.cache.dataset): papers} if papers else {}
        numbers = {"sites": rename_numbers(paper["sites"], names)}
        groups, sweeps = cluster_prompts(self.pairs), index_sweeps(curated)
        by_encoding, of_any = [], []
        for sweep, path in sweeps.items():
            if sweep.encoding in (self.controls.encodings or [sweep.encoding]):
                cells = keep_prompts(read_cells(path, COLUMNS, outcome), counted)
                reported = find_reported_site(sweep, numbers)
                more = [site for site in self.controls.sites if site.relative == sweep.relative]
                sites = choose_control_sites(cells, groups, self.seed, reported, more)
                by_encoding.append(sites.assign(encoding=sweep.encoding, relative=sweep.relative))
        for sweep, parts in group_encodings(sweeps).items():
            sites = choose_sites_of_any(keep_prompts(read_any(parts, sweeps, outcome), counted), groups, self.seed)
            of_any.append(sites.assign(relative=sweep.relative))
        return join_sites(by_encoding, of_any)

    def write_cells(self, sites: pd.DataFrame, store: Path, code: str, output: Path) -> None:
        """Write all cells at some sites, in the columns of `SCHEMA`.

        What the folder `store` does not have yet is computed and put there; `code` is the digest of what computes it.
        """
        specs = list_specs(self._planned, self.controls, self.words, self.seed)
        planned = (
            plan_controls(sites, self._planned, specs, self.controls, self.model.tokenizer) if len(sites) else sites
        )
        answers = [prompt.answer for prompt in self._planned.prompts.values()]
        context = describe_context(self.model, code) | {"answers": sorted(set(answers))}
        with replace_file(output) as path, pq.ParquetWriter(path, SCHEMA) as writer:
            for relative, part in planned.groupby("relative"):
                encoder = ControlEncoder(self.model.build_encoder(bool(relative)))
                computer = CellComputer(self.model.engine, encoder, answers=answers, whole=self.answers.positions)
                with open_store(store, context, computer, SCORES_OF_CONTROLS) as cell_store:
                    for scored in run_controls(part, self._planned, computer, cell_store):
                        table = pa.Table.from_pandas(self.name(scored), SCHEMA, preserve_index=False)
                        writer.write_table(table)

    def write_answers(self, sites: pd.DataFrame, keep: Keep) -> pd.DataFrame:
        """Write answers under curated and shuffled memories; see `writing.Writer.write_under_injections`.

        `keep` returns the table that a function makes, or one that it has kept under its name.
        """
        places = choose_writing_sites(sites if self.answers.write else sites.iloc[:0])
        kinds = Controls(kinds=(SHUFFLED,), shuffles=1)
        specs = list_specs(self._planned, kinds, self.words, self.seed)
        return self._keep_parts("written", places, keep, lambda part: self._writer.write_under_injections(part, specs))

    def score_texts(self, keep: Keep) -> pd.DataFrame:
        """Score the texts that controls are compared with; see `texts.score_texts`.

        Columns written and is_right, where answers are written: what the model writes after each text, but those that
        look for shortcuts.
        """
        texts = list_texts(self._planned)
        scored = score_texts(texts, self.model.engine, self.model.tokenizer)
        if not self.answers.write:
            return scored
        first = scored[["prompt_id", "text", "next_token_id"]]
        scorable = texts[~texts["text"].isin(SHORTCUTS)].merge(first)
        written = self._keep_parts("texts", scorable, keep, self._writer.write_after_texts)
        columns = ["prompt_id", "text", "written", "is_right"]
        return scored.merge(written[columns], on=columns[:2], how="left")

    @cached_property
    def _writer(self) -> Writer:
        ids, n_layers = self.pairs["prompt_id"], self.model.engine.n_layers
        norms = measure_residual_norms(self.cache, self.model.processed).numpy()
        scales = {True: norms, False: np.ones((len(ids), n_layers))}
        return Writer(
            self.model,
            self._planned,
            {relative: pd.DataFrame(scale, index=ids) for relative, scale in scales.items()},
            self.answers.positions,
        )

    def _keep_parts(
        self, name: str, rows: pd.DataFrame, keep: Keep, make: Callable[[pd.DataFrame], pd.DataFrame]
    ) -> pd.DataFrame:
        """Make a table from some rows, a part at a time, so that an interrupted job goes on where it was."""
        starts = range(0, max(1, len(rows)), TEXTS_AT_ONCE)
        with tqdm(total=len(rows), desc=f"answers ({name})", unit="text") as progress:
            tables = []
            for start in starts:
                part = rows.iloc[start : start + TEXTS_AT_ONCE]
                tables.append(keep(f"{name}.{start}", partial(make, part)))
                progress.update(len(part))
        return pd.concat(tables, ignore_index=True)

    def name(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add the names of the model and the data set to a table, as columns."""
        return table.assign(model=self.cache.model, dataset=self.cache.dataset)


def run_controls(
    cells: pd.DataFrame, planned: PlannedPrompts, computer: CellComputer, store: CellStore
) -> Iterator[pd.DataFrame]:
    """Yield all cells of a plan with their scores, some prompts at a time; known ones are not computed again."""
    n_computed = 0
    numbers = cells.groupby("prompt_id", sort=True).ngroup()
    at_once = max(1, CELLS_AT_ONCE * (int(numbers.max()) + 1) // len(cells))
    with tqdm(total=len(cells), desc="controls", unit="cell") as progress:
        for _, part in cells.groupby(numbers // at_once):
            scores, _, n_new = score_cells(part, planned.keyed, computer, store, progress)
            n_computed += n_new
            yield part.merge(scores, on=KEY, how="left", validate="many_to_one")
    logger.info("%d cells of controls, %d computed", len(cells), n_computed)
