"""The words of the report that a reader may not know, with what they mean."""

from collections.abc import Mapping

import pandas as pd

from memory_injections.controls.kinds import CONTROLS
from memory_injections.injection.encodings import ENCODINGS
from memory_injections.terms import ANY_ENCODING, CURATED

WORDS = {
    "explicit, obscure prompt": "one names an entity, the other describes it; both have the same answer",
    "memory": "the entity's name, or whatever text is injected in its place",
    "curated memory": "the prompt's own entity",
    "encoding": "how a memory becomes a vector",
    "site": "a layer, counted from 0, and a magnitude or dose",
    "magnitude": "the number that the memory's vector is multiplied by",
    "matched, relative doses": "the injected vector's length is a share of the residual stream's",
    "sweep": "all sites of one model, data set, kind of memory and encoding",
    "nats": "units of natural logarithms: +0.69 nats double a probability, −0.69 nats halve it",
    "effect": "how much an injection changes the log-probability of the answer",
    "contrast": "the effect of curated memories minus that of a control, prompt by prompt",
    "rank": "how many tokens are more probable; 0 is the most probable one",
    "rescued, broken": "wrong before the injection and right after it; right before and wrong after",
    "cluster": "prompts that are not independent, because they share an entity or a relation",
    "interval": "the 95 % interval of a mean over clusters",
}


def explain_words(tables: Mapping[str, pd.DataFrame], margin: float) -> dict[str, str]:
    """Explain the report's words, with the encodings and controls that the study has, by the words."""
    encodings = {name: ENCODINGS[name].label for name in tables["evidence"]["encoding"].unique() if name in ENCODINGS}
    shown = tables["control_contrasts"]["memories"].unique() if "control_contrasts" in tables else ()
    return {
        **WORDS,
        "practically zero": f"the whole 99 % interval lies within {margin:g} nats of zero",
        f"{ANY_ENCODING} (encoding)": "the site is chosen among those of all encodings",
        **{f"{name} (encoding)": label for name, label in encodings.items()},
        **{f"{name.replace('_', ' ')} (control)": CONTROLS[name].label for name in shown if name != CURATED},
    }
