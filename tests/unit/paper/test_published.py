"""Reading the authors' published files as cells."""

from collections.abc import Callable
from pathlib import Path

import pytest
from authors_files import TINY_CURATED, TINY_RANDOM, curated_folder, read_sweep, write_authors_files
from memory_injections.analysis.averages import select_site
from memory_injections.errors import StudyError
from memory_injections.paper.published import find_sweeps
from memory_injections.paper.published_sources import CURATED_RESULTS
from memory_injections.sweeps.cells import SCHEMA
from memory_injections.sweeps.identity import ID_COLUMNS, SweepId


def test_every_sweep_and_cell_of_a_copy_is_found(tmp_path: Path) -> None:
    root = write_authors_files(tmp_path / "theirs")
    folders = find_sweeps(root)
    assert set(folders) == {TINY_CURATED, TINY_RANDOM}
    assert folders[TINY_CURATED] == curated_folder(root)
    for name in folders:
        cells = read_sweep(root, name)
        assert list(cells) == SCHEMA.names
        assert cells[ID_COLUMNS].drop_duplicates().to_dict("records") == [name.columns]
        assert len(cells.drop_duplicates(["prompt_id", "layer", "magnitude"])) == len(cells) == 6 * 2 * 2


def test_random_memories_are_the_words_that_were_injected(authors: Path) -> None:
    cells = read_sweep(authors, SweepId("gpt2", "hand", "top_5000_words", "unembed"))
    assert len(cells) == 106 * 12 * 15
    first = select_site(cells, 0, 1).iloc[0]
    assert (first["memory"], first["top_token_id"]) == ("since", 13)


def test_models_of_an_organisation_are_found(tmp_path: Path) -> None:
    theirs = write_authors_files(tmp_path / "theirs")
    data = theirs / CURATED_RESULTS / "data"
    (data / "EleutherAI").mkdir()
    (data / "gpt2-small").rename(data / "EleutherAI" / "gpt-j-6B")
    assert set(find_sweeps(theirs)) == {SweepId("gpt-j-6b", "hand", "curated", "unembed"), TINY_RANDOM}


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.rename(path.with_name("tweak.csv")), "has no magnitude at the end of its name"),
        (lambda path: path.write_text("a,b\n1,2\n"), "has no column ans_prob_obs_edit_layer"),
        (lambda path: path.write_text(path.read_text().replace("answer_prob_obs", "p")), "no column answer_prob_obs"),
        (lambda path: path.write_text(path.read_text().replace("0.", "7.")), "something else than probabilities"),
        (lambda path: path.with_name("tweak_1.0.csv").write_text(path.read_text()), "are of the same magnitude"),
    ],
)
def test_a_file_that_is_not_theirs_is_one_clear_sentence(
    tmp_path: Path, spoil: Callable[[Path], object], sentence: str
) -> None:
    root = write_authors_files(tmp_path / "theirs")
    spoil(curated_folder(root) / "tweak_1.csv")
    with pytest.raises(StudyError, match=sentence):
        read_sweep(root)


def test_a_folder_without_results_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="has no results of the authors"):
        find_sweeps(tmp_path)
