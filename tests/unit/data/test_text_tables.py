"""CSV files as tables of text: what is read is what is written, or it is refused in one sentence. Word lists, too."""

import bz2
import csv
import gzip
import io
import logging
import lzma
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from conftest import PAIRS, WORDS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from memory_injections.atomic_files import write_csv
from memory_injections.data import text_files
from memory_injections.data.characters import has_text
from memory_injections.data.prompt_pairs import TEXT_COLUMNS, iterate_pairs, normalise_pairs, read_pairs
from memory_injections.data.text_tables import read_column, read_csv, read_records, read_words
from memory_injections.errors import StudyError


def zip_files(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def zip_text(content: bytes) -> bytes:
    return zip_files(**{"pairs/": "", "pairs/a.csv": content.decode(), "__MACOSX/._a.csv": "\0"})


PACKERS: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, bz2.compress, lzma.compress, zip_text]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a,b\n1,2,3\n", "the row that ends in line 2 has 3 cells, and the heading has 2; repair it"),
        (b"a,b\n1,2,\n", "the row that ends in line 2 has 3 cells"),
        (b"a,b\n\n1,2\n3\n", "the row that ends in line 4 has 1 cells"),
        (b'a,b\n1,"2\n3,4\n', r"\(line 3: unexpected end of data\); repair the quotes"),
        (b'a,b\n"1,2\n3,"4"\n', r"\(line 3: ',' expected after '\"'\)"),
        (b'a,b\n1,2"\n', r"\(line 2: a quote without another\)"),
        (b'a,b\n1,"2"3\n', r"\(line 2: ',' expected after '\"'\)"),
        (b'a,b,c\n1,2,"3\n4,5,6\n7,8,9"\n', "the row that ends in line 4 has a cell that holds 3 rows; remove the q"),
        (b'a,b\n"1,2\n3",4\n', "the row that ends in line 3 has a cell that holds 2 rows"),
    ],
)
def test_rows_that_are_not_what_they_seem(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(StudyError, match=rf"^file .*bad.csv is not a CSV table.* ?{reason}"):
        read_csv(tmp_path / "bad.csv")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty; give a CSV table with a heading$"),
        (b"\n \n", "is empty; give a CSV table with a heading$"),
        (b"a,b\n\xe9,2\n", r"is not a CSV table in UTF-8 \(byte 0xe9\); save it as UTF-8$"),
        ("a,b\n1,2\n".encode("utf-16"), r"is not a CSV table in UTF-8 \(byte 0xff\); save it as UTF-8$"),
        (b"a,b,a\n1,2,3\n", "has two columns 'a'; remove or rename one of them$"),
        (zip_files(), "is a zip archive of 0 files; give the one that is meant"),
        (zip_files(a="a,b\n", b="a,b\n"), "is a zip archive of 2 files; give the one that is meant"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(StudyError, match=f"^file .*bad.csv {sentence}"):
        read_csv(tmp_path / "bad.csv")


def test_a_stray_quote_swallows_no_rows(tmp_path: Path) -> None:
    """Whichever cell of the project's own pairs gets one, the file is refused."""
    lines = PAIRS.read_text(encoding="utf-8").splitlines(keepends=True)[:8]
    for line in range(1, len(lines)):
        for place in (0, lines[line].index(",") + 1, len(lines[line]) - 1):
            broken = [*lines[:line], f'{lines[line][:place]}"{lines[line][place:]}', *lines[line + 1 :]]
            (tmp_path / "bad.csv").write_text("".join(broken), encoding="utf-8")
            with pytest.raises(StudyError, match="is not a CSV table"):
                read_csv(tmp_path / "bad.csv")


def test_a_cell_may_go_over_several_lines_and_have_every_sign(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        'a,b\r\n"1\n2, 3","He said ""no"""\r\n10001,London\r\n', encoding="utf-8", newline=""
    )
    expected = [{"a": "1\n2, 3", "b": 'He said "no"'}, {"a": "10001", "b": "London"}]
    assert read_csv(tmp_path / "a.csv").to_dict("records") == expected


def test_numbers_stay_text_wherever_the_first_word_comes(tmp_path: Path) -> None:
    years = [f"{year:05}" for year in range(10_001)]
    (tmp_path / "a.csv").write_text("\n".join(["answer", *years, "London", "NA", "1e5"]), encoding="utf-8")
    assert read_csv(tmp_path / "a.csv")["answer"].tolist() == [*years, "London", "NA", "1e5"]


def test_columns_without_a_heading_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",a,\n0,1,\n1,2,\n", encoding="utf-8")
    assert read_csv(tmp_path / "a.csv").to_dict("list") == {"a": ["1", "2"]}


def test_the_log_says_how_many_lines_became_how_many_pairs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    text = ",".join(TEXT_COLUMNS) + '\n"a\nb",c,d,e\n\na,b,c,d\na,b,c,d\n'
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    normalise_pairs(read_csv(tmp_path / "a.csv", "web"), "web", rows=2)
    assert caplog.messages == ["web: 6 lines became a heading and 3 rows", "web: 3 rows became 2 prompt pairs"]


@pytest.mark.parametrize("pack", PACKERS)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.zip"])
def test_contents_say_how_a_file_is_packed_not_its_name(tmp_path: Path, pack: Callable, name: str) -> None:
    (tmp_path / name).write_bytes(pack(b"a,b\n1,2\n"))
    assert read_csv(tmp_path / name).to_dict("records") == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("pack", PACKERS[1:])
def test_a_packed_file_that_is_cut_or_changed_is_one_sentence(tmp_path: Path, pack: Callable) -> None:
    table = PAIRS.read_bytes()
    packed = pack(table)
    (tmp_path / "whole").write_bytes(packed)
    whole = read_csv(tmp_path / "whole")
    assert len(whole) == 72
    path = tmp_path / "pairs.csv"
    for size in range(7, len(packed), max(1, len(packed) // 40)):
        path.write_bytes(packed[:size])
        with pytest.raises(
            StudyError, match=r"^file .*pairs.csv (cannot be read \(.*\); if it is cut or damaged, get|is)"
        ):
            read_csv(path)
    for place in range(0, len(packed), max(1, len(packed) // 40)):
        path.write_bytes(packed[:place] + bytes([packed[place] ^ 255]) + packed[place + 1 :])
        with suppress(StudyError):
            assert read_csv(path).equals(whole)  # where the byte says nothing of the contents


@pytest.mark.parametrize("pack", PACKERS)
def test_a_small_file_that_unpacks_to_a_huge_one_is_stopped_early(
    tmp_path: Path, pack: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "LARGEST_TABLE", 2 * 2**20)
    for size, is_read in ((2, True), (3, False)):
        (tmp_path / "a.csv").write_bytes(pack(b"a\n" + (b"x" * 1023 + b"\n") * (size * 1024 - 1)))
        if is_read:
            assert len(read_csv(tmp_path / "a.csv")) == 2047
        else:
            with pytest.raises(
                StudyError, match=r"a.csv holds more than 2 MiB; check that it is the file that is meant"
            ):
                read_csv(tmp_path / "a.csv")


def test_an_encrypted_archive_is_one_sentence(tmp_path: Path) -> None:
    content = bytearray(zip_files(a="a,b\n1,2\n"))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(StudyError, match=r"a.zip cannot be read \(.*encrypted.*\)"):
        read_csv(tmp_path / "a.zip")


FORMS = ("\u00a0", "\u200b", "\ufeff", "\u2028", "\x85", "\0", "e\u0301", "\u00e9")
SIGNS = st.sampled_from([*" \t\n\r,\";'#\\|=", "\r\n", '""', *FORMS])
CELLS = st.lists(SIGNS | st.text(st.characters(codec="utf-8"), max_size=4), max_size=5).map("".join)
FULL = CELLS.filter(has_text)


def read_or_explain(path: Path) -> pd.DataFrame | str:
    """The prompt pairs of a file, or the sentence that refuses it."""
    try:
        return normalise_pairs(read_csv(path), "x")
    except StudyError as error:
        return str(error)


@given(
    rows=st.lists(st.tuples(FULL, FULL, FULL, FULL, CELLS), min_size=1, max_size=4),
    columns=st.permutations([*TEXT_COLUMNS, "topic"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-le", "latin-1", "cp1252", "shift-jis"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    pack=st.sampled_from(PACKERS[:2]),
)
@example([("a\r", "b", "c", "d", "")], [*TEXT_COLUMNS, "topic"], "utf-8", "\n", ",", csv.QUOTE_ALL, bytes)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_comes_back_as_it_was_or_is_refused_in_a_sentence(
    tmp_path: Path, rows: list[tuple[str, ...]], columns: list[str], encoding: str, end: str, separator: str,
    quoting: Literal[0, 1], pack: Callable,
) -> None:  # fmt: skip
    text = io.StringIO(newline="")
    # Where it quotes what has to be quoted, Python's writer knows no other line ends than its own.
    end = end if quoting == csv.QUOTE_ALL else "\r\n"
    writer = csv.writer(text, lineterminator=end, delimiter=separator, quoting=quoting)
    writer.writerows([columns, *rows])
    path = tmp_path / "pairs.csv"
    path.write_bytes(pack(text.getvalue().encode(encoding, "ignore")))
    order = dict(zip(columns, range(5), strict=True))
    pairs = read_or_explain(path)
    is_plain = encoding.startswith("utf-8") and separator == "," and quoting == csv.QUOTE_ALL
    is_whole = all(has_text(row[order[name]]) for row in rows for name in TEXT_COLUMNS)
    if isinstance(pairs, str):
        assert not (is_plain and is_whole) or "a cell that holds" in pairs
        return
    assert separator == ","
    if encoding.startswith("utf-8"):
        expected = {name: [row[order[name]] for row in rows] for name in pairs.columns[1:]}
        assert pairs.drop(columns="prompt_id").to_dict("list") == expected
    # What a job writes of it is read back by every later job.
    pairs.insert(0, "dataset", "mine")
    write_csv(pairs, tmp_path / "job.csv")
    pd.testing.assert_frame_equal(read_pairs(tmp_path / "job.csv"), pairs)
    pd.testing.assert_frame_equal(pd.concat(iterate_pairs(tmp_path / "job.csv", 2), ignore_index=True), pairs)


@given(rows=st.lists(st.tuples(FULL, FULL, FULL, FULL, CELLS), min_size=1, max_size=4))
@example([("in Paris, London, Rome\nor Bern, the", "b", "c", "d", "")])
@example([("a", "b", "c", "d", "x" * 200_000)])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_job_writes_every_later_job_reads(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    """Also texts that a user's file could not have: those from Parquet and JSON never were in a CSV file."""
    pairs = normalise_pairs(pd.DataFrame(rows, columns=[*TEXT_COLUMNS, "context"], dtype=str), "x")
    pairs.insert(0, "dataset", "mine")
    write_csv(pairs, tmp_path / "job.csv")
    pd.testing.assert_frame_equal(read_pairs(tmp_path / "job.csv"), pairs)


@pytest.mark.parametrize("cluster", ["stripped", "dataset", "prompt_id"])
def test_a_column_of_the_studys_own_is_no_cluster(cluster: str) -> None:
    table = pd.DataFrame([["a", "b", "c", "d", "e"]], columns=[*TEXT_COLUMNS, cluster])
    with pytest.raises(StudyError, match=f"x: {cluster} is a column of the study's own and cannot be the cluster"):
        normalise_pairs(table, "x", cluster=cluster)


@pytest.mark.parametrize("content", ['["a", "b"]', "[1]", "3\n4\n", '[[{"a": 1}]]'])
def test_records_that_are_no_objects_are_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text(content, encoding="utf-8")
    with pytest.raises(StudyError, match="x has records that are no JSON objects"):
        read_records(tmp_path / "records.json", "x")


def test_own_tables_are_read_whole() -> None:
    assert [read_csv(path).shape for path in (PAIRS, WORDS)] == [(72, 6), (60, 5)]


def test_word_columns(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("\ufeffTop 5000 Words,Nouns\nthe,time\nbe,\nthe,year\n", encoding="utf-8")
    assert read_words(path) == {"top_5000_words": ["the", "be"], "nouns": ["time", "year"]}
    with pytest.raises(StudyError, match=r"no column 'noun'; allowed: curated, top_5000_words, nouns"):
        read_column(path, "noun")
    path.write_text("Nouns,nouns\ntime,day\n", encoding="utf-8")
    with pytest.raises(StudyError, match="two columns for nouns"):
        read_words(path)
    path.write_text("nouns,verbs\ntime,\n", encoding="utf-8")
    with pytest.raises(StudyError, match="column verbs is empty"):
        read_words(path)


def test_own_words() -> None:
    words = read_words(WORDS)
    assert list(words) == ["nouns", "verbs", "adjectives", "adverbs", "conjunctions"]
    assert all(len(words[column]) >= 40 for column in words if column != "conjunctions")
    every = [word for column in words.values() for word in column]
    assert len(every) == len(set(every))
