"""Scores of a next-token distribution, on numbers that can be checked by hand."""

import numpy as np
import pytest
import torch
from memory_injections.models.scoring import score_token


def test_probability_and_rank() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 3.0, 0.0]])
    probability, rank = score_token(logits, torch.tensor([2, 0]))
    expected = [np.e / (1 + np.e + np.e**2), np.e**3 / (2 * np.e**3 + 1)]
    assert probability.tolist() == pytest.approx(expected)
    assert rank.tolist() == [1, 0]
