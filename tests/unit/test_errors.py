"""The sentence of an error is printable, whatever the user's files and names hold."""

from hypothesis import given
from hypothesis import strategies as st
from memory_injections.errors import StudyError, make_printable


@given(st.text())
def test_a_sentence_is_printable(text: str) -> None:
    assert str(StudyError(text)).isprintable()
    assert make_printable(text, keep="\n").replace("\n", "").isprintable()


def test_a_printable_sentence_stays_as_it_is() -> None:
    assert str(StudyError("file été/日本.csv does not exist")) == "file été/日本.csv does not exist"
    assert str(StudyError("\x1b[31m\u202e")) == r"\x1b[31m\u202e"
