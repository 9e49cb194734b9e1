"""Obscure prompts without one part of their description."""

import pytest
from memory_injections.controls.descriptions import Description
from memory_injections.controls.shortcuts import leave_out

REST = "died in"


def split(description: str, entity: str = "", before: str = "") -> tuple[str, str] | None:
    prompt = f"{before}{description} {REST}"
    return leave_out(prompt, Description(description, len(before), len(before) + len(description)), entity)


@pytest.mark.parametrize(
    ("description", "without_entity", "without_relation"),
    [
        ("The author of Das Kapital", "The author", "Das Kapital"),
        ("The author of The Lord of the Rings", "The author", "The Lord of the Rings"),
        ("The author of On the Origin of Species", "The author", "On the Origin of Species"),
        ("The novel in which Big Brother watches everyone", "The novel", "Big Brother"),
        ("The ruler of the country where the Taj Mahal stands", "The ruler of the country", "Taj Mahal"),
        ("Steve Jobs' successor", "Successor", "Steve Jobs"),
        ("Schrodinger's laboratory assistant", "Laboratory assistant", "Schrodinger"),
        ("The U.S.'s first laboratory", "First laboratory", "U.S."),
    ],
)
def test_a_name_in_capitals_is_the_entity(description: str, without_entity: str, without_relation: str) -> None:
    assert split(description) == (f"{without_entity} {REST}", f"{without_relation} {REST}")


@pytest.mark.parametrize(
    "description",
    [
        "The largest church in the world",  # names nothing
        "Animals with long trunks",  # has a capital only as every sentence has
        "Lord Kelvin",  # is nothing but a name
        "The King of Pop",
    ],
)
def test_without_both_parts_there_is_no_test(description: str) -> None:
    assert split(description) is None


def test_an_entity_that_the_data_set_names_comes_first() -> None:
    found = split("the director of he's a cockeyed Wonder", "He's a Cockeyed Wonder", before="The spouse of ")
    assert found == (f"The spouse of the director {REST}", f"The spouse of he's a cockeyed Wonder {REST}")
    assert split("The director of Gunsmoke", "Another film") == (f"The director {REST}", f"Gunsmoke {REST}")
