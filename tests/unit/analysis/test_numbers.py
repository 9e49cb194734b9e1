"""Numbers as text: nothing has no sign, and the ends of an interval differ."""

import math

import pytest
from memory_injections.analysis.effects import describe_effect
from memory_injections.analysis.numbers import choose_digits, write_signed


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 2, "0.00"),
        (-0.004, 2, "0.00"),
        (0.004, 1, "0.0"),
        (-0.006, 2, "-0.01"),
        (1234.5, 1, "+1,234.5"),
        (100, 0, "+100"),
    ],
)
def test_nothing_has_no_sign(value: float, digits: int, text: str) -> None:
    assert write_signed(value, digits) == text


def test_the_ends_of_an_interval_differ() -> None:
    assert describe_effect({"effect": 0.004, "low": 0.001, "high": 0.008}) == "+0.004 nats [+0.001, +0.008]"
    assert describe_effect({"effect": 0.2, "low": 0.07, "high": 0.31}) == "+0.20 nats [+0.07, +0.31]"
    assert [choose_digits(0, width) for width in (5, 0.05, 0.002, 1e-9, 0, math.nan)] == [2, 2, 3, 4, 2, 2]
