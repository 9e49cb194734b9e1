"""How large a model is, known without its weights."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from .precision import Precision


def weightless(config: PreTrainedConfig) -> PreTrainedModel:
    """The model of a configuration, every part and shape of it, but no weights in memory."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def model_bytes(folder: Path, precision: Precision = "float32") -> int:
    """How much memory a model's weights take."""
    n_parameters = weightless(AutoConfig.from_pretrained(folder)).num_parameters()
    return n_parameters * (2 if precision == "bfloat16" else 4)
