"""What the authors' files cover: files of another length, magnitudes that are missing, and tokens that are scored."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from authors_files import HOOK, TINY_CURATED, TINY_RANDOM, curated_folder, random_folder, write_authors_files
from memory_injections.errors import StudyError
from memory_injections.paper.coverage import build_coverage, find_scored_token, list_ranges, read_flags, survey_files
from memory_injections.paper.published import find_sweeps, iterate_cells, list_magnitudes
from memory_injections.paper.published_sources import CURATED_RESULTS
from memory_injections.sweeps.identity import ID_COLUMNS, SweepId


def cover(root: Path, sweep: SweepId = TINY_CURATED) -> pd.Series:
    """The row of one sweep."""
    table = build_coverage(survey_files(root), [1, 2, 3])
    (row,) = [row for _, row in table.iterrows() if SweepId(*row[ID_COLUMNS]) == sweep]
    return row


def cut(path: Path, end: str) -> None:
    """Cut a file behind the last place where it says `end`."""
    text = path.read_text()
    path.write_text(text[: text.rindex(end) + len(end)])


def keep_rows(path: Path, n_rows: int) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[: n_rows + 1]))


def test_coverage_of_whole_files(tmp_path: Path) -> None:
    row = cover(write_authors_files(tmp_path / "theirs"))
    assert row[["n_files", "magnitudes", "missing", "n_layers", "n_prompts"]].tolist() == [2, "1, 2", "3", 2, 6]
    assert row[["left_out", "flag"]].tolist() == ["", ""]
    assert pd.isna(row["scored_token"])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: keep_rows(path, 3), "3 rows of 6"),
        (lambda path: keep_rows(path, 0), "0 rows of 6"),
        (lambda path: cut(path, "answer 4"), "row 4 (counted from 0) is not whole"),
        (lambda path: cut(path, '"[7, 8'), "row 5 (counted from 0) is not whole"),
        (lambda path: cut(path, '9]"'), "row 5 (counted from 0) is not whole"),
        (lambda path: path.write_text(path.read_text().replace("answer 2,", "answer 2,0,")), "row 2 (counted"),
        (lambda path: path.write_bytes(path.read_bytes()[:-3] + b"\xc3"), "row 5 (counted"),
    ],
)
def test_a_file_of_another_length_is_left_out_and_listed(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    root = write_authors_files(tmp_path / "theirs")
    spoil(curated_folder(root) / "tweak_1.csv")
    row = cover(root)
    assert row[["n_files", "magnitudes", "missing", "n_prompts"]].tolist() == [1, "2", "1, 3", 6]
    assert row["left_out"].startswith(f"tweak_1.csv: {reason}")
    assert row["flag"] == ""
    (used,) = survey_files(root)[TINY_CURATED]["used"]
    cells = pd.concat(iterate_cells(TINY_CURATED, [Path(used)]))
    assert set(cells["magnitude"]) == {2}


def test_the_length_of_a_data_set_is_that_of_most_of_its_files_in_all_sweeps(tmp_path: Path) -> None:
    root = write_authors_files(tmp_path / "theirs")
    for magnitude in (1, 2):
        keep_rows(curated_folder(root) / f"tweak_{magnitude}.csv", 5)
    row = cover(root)
    assert row[["n_files", "n_prompts"]].tolist() == [0, 6], "on a tie, the larger number"
    assert row["flag"] == "none of its files can be used"
    keep_rows(random_folder(root) / "gpt2-small_hand_pos_inject_tweakFactor_1.csv", 5)
    assert cover(root)["n_files"] == 2
    assert cover(root, TINY_RANDOM)["left_out"] == "gpt2-small_hand_pos_inject_tweakFactor_2.csv: 6 rows of 5"


def test_results_without_a_whole_file_are_one_clear_sentence(tmp_path: Path) -> None:
    root = write_authors_files(tmp_path / "theirs")
    for path in (*curated_folder(root).iterdir(), *random_folder(root).iterdir()):
        cut(path, '"[7, 8')
        keep_rows(path, 0)
    with pytest.raises(StudyError, match="has no whole file of the authors' results; fetch or copy it again"):
        survey_files(root)


def write_sweep(folder: Path, token: int | None, n_answers: int = 12) -> None:
    """Write a sweep of 12 prompts and 2 layers that scores one token, or with None the answer 100 + its number."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for magnitude in (1, 2):
        answers = np.arange(12) % n_answers
        table = pd.DataFrame({"answer": [f" answer {answer}" for answer in answers], "explicit_entity": "someone"})
        table = table.assign(answer_prob_exp=0.1, answer_prob_obs=0.1)
        for layer in range(2):
            scored = [100 + answer if token is None else token for answer in answers.tolist()]
            table[f"ans_prob_obs_edit_layer{layer}"] = np.where(np.arange(12) == 5, 0.01, rng.uniform(0.05, 0.9, 12))
            others = [rng.choice(1000, 29, replace=False) + 1000 for _ in answers]
            table[f"topk_tok_obs_edit_layer{layer}"] = [
                str([*other.tolist(), own] if row != 5 else other.tolist())
                for row, (own, other) in enumerate(zip(scored, others, strict=True))
            ]
        table.to_csv(folder / f"tweak_{magnitude}.csv")


def test_a_sweep_that_scores_one_token_for_every_prompt_is_flagged(tmp_path: Path) -> None:
    root = write_authors_files(tmp_path / "theirs")
    llama = SweepId("llama-2-7b", "2wmh", "curated", "unembed")
    write_sweep(root / CURATED_RESULTS / "multi_1000" / "meta-llama" / "Llama-2-7b-hf" / HOOK, 29871)
    row = cover(root, llama)
    assert row["scored_token"] == 29871
    assert row["flag"] == "the probabilities are those of token 29871 for every prompt, not of the answers"
    build_coverage(survey_files(root), [1, 2]).to_csv(tmp_path / "coverage.csv", index=False)
    for table in (build_coverage(survey_files(root), [1, 2]), pd.read_csv(tmp_path / "coverage.csv")):
        assert read_flags(table) == {llama: row["flag"]}


@pytest.mark.parametrize(("token", "n_answers"), [(None, 12), (29871, 9)])
def test_a_sweep_that_scores_answers_or_too_few_to_tell_is_not_flagged(
    tmp_path: Path, token: int | None, n_answers: int
) -> None:
    write_sweep(tmp_path / "sweep", token, n_answers)
    assert find_scored_token(sorted((tmp_path / "sweep").iterdir())) is None


def test_the_authors_sweeps_of_gpt2_score_answers(authors: Path) -> None:
    for sweep, folder in find_sweeps(authors).items():
        assert find_scored_token(list_magnitudes(folder).values()) is None, sweep


def test_all_of_the_authors_files_are_used(authors: Path) -> None:
    surveyed = survey_files(authors)
    json.dumps({sweep.path: files for sweep, files in surveyed.items()})
    assert {(sweep.dataset, files["n_prompts"]) for sweep, files in surveyed.items()} == {("hand", 106), ("2wmh", 1000)}
    assert not any(files["left_out"] for files in surveyed.values())
    assert sorted({len(files["used"]) for files in surveyed.values()}) == [2, 15]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([5, 4], "4, 5"), (range(1, 16), "1-15"), ([1, 2, 3, 5, 0.5, 8, 9, 10, 11], "0.5, 1-3, 5, 8-11")],
)
def test_numbers_are_written_as_ranges(numbers: list[float], text: str) -> None:
    assert list_ranges(numbers) == text
