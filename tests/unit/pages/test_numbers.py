"""Numbers in sentences of a page."""

from memory_injections.pages.numbers import typeset


def test_numbers_have_a_minus_and_stay_on_one_line() -> None:
    assert typeset("-0.01 nats [-0.09, +0.07]") == "−0.01\u00a0nats [−0.09,\u00a0+0.07]"
    assert typeset("smollm2-135m gains 3 % of 2-hop prompts") == "smollm2-135m gains 3\u00a0% of 2-hop prompts"
