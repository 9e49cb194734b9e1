"""One entity has one identity, however it is written."""

import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_injections.data.entities import find_entity, identify_entity

BLANKS = st.text(" \t\n\u00a0\u2003\u200b\ufeff", max_size=3)
# One character each; those whose case is not a matter of one character more come by themselves.
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cn", "Co"]), max_size=8) | st.sampled_from(
    ["Straße", "José Martí", "Ἀθῆναι", "Ångström", "Ελλάς", "İstanbul", "한국", "ﬁn"]
)


@given(TEXTS, st.sampled_from(["NFC", "NFD"]), BLANKS, BLANKS)
def test_blanks_around_and_unicode_forms_and_case_make_no_other_entity(
    text: str, form: Literal["NFC", "NFD"], before: str, after: str
) -> None:
    identity = identify_entity(text)
    assert identify_entity(identity) == identity
    for same in (text.casefold(), before + text + after, unicodedata.normalize(form, text)):
        assert identify_entity(same) == identity


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("George Washington", "george\u00a0 WASHINGTON "),
        ("José", "JOSE\u0301"),
        ("STRASSE", "straße"),
        ("Ελλάς", "ΕΛΛΆΣ"),
        (" A. T.", "a. t."),
    ],
)
def test_other_letters_of_the_same_entity(one: str, other: str) -> None:
    assert identify_entity(one) == identify_entity(other)


@pytest.mark.parametrize(("one", "other"), [("Jose", "José"), ("Washington", "George Washington"), ("a b", "ab")])
def test_other_entities(one: str, other: str) -> None:
    assert identify_entity(one) != identify_entity(other)


@pytest.mark.parametrize(
    ("text", "entity", "found"),
    [
        ("The home of Ada is", "Ada ", ["Ada"]),
        ("ada saw ADA and Ada", "Ada", ["Ada"]),
        ("ada saw ADA", " Ada", ["ada", "ADA"]),
        ("The poems of Jose\u0301  Marti\u0301 are", "josé martí", ["Jose\u0301  Marti\u0301"]),
        ("Die Straße war", "STRASSE", ["Straße"]),
        ("Die Straße war", "stras", []),
        ("Nobody is here", "Ada", []),
    ],
)
def test_an_entity_is_found_as_it_is_written_or_else_in_other_letters(text: str, entity: str, found: list[str]) -> None:
    assert [text[start:stop] for start, stop in find_entity(text, entity)] == found


@given(st.text(max_size=5), TEXTS.filter(identify_entity), st.text(max_size=5))
def test_what_is_found_is_the_entity(before: str, entity: str, after: str) -> None:
    text = f"{before} {unicodedata.normalize('NFD', entity).casefold()} {after}"
    found = find_entity(text, entity)
    assert found
    assert all(identify_entity(text[start:stop]) == identify_entity(entity) for start, stop in found)
