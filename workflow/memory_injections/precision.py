"""The arithmetic that the injections may run in."""

from typing import Literal

Precision = Literal["float32", "tf32", "bfloat16"]
