"""Questions to the playground: examples, and what asks the same from the command line and in Python.

The examples are for the default study's model: prompts where a memory works at a site, and others where it fails.
"""

import shlex
from dataclasses import dataclass

from memory_injections.data.characters import strip_end, strip_ends

# The paper's grid (section 4) goes from 1 to 15.
MAGNITUDES = (0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 11.0, 15.0)
HELPS = "The memory raises the answer, and much more than the shuffled one does."
SHUFFLED_TOO = "The memory raises the answer, but the shuffled one does nearly as much."
SHUFFLED_MORE = "The memory raises the answer, but the shuffled one does more."
LOWERS = "The memory makes the answer less probable."


@dataclass(frozen=True)
class Question:
    """A prompt, the memory to inject, the answer that is followed, and a shuffled memory: another prompt's."""

    prompt: str
    memory: str
    answer: str
    shuffled: str
    model: str

    @classmethod
    def read(cls, prompt: str, memory: str, answer: str, shuffled: str, model: str) -> "Question":
        """Return a question without the invisible characters that the model is not to read at the ends of its texts."""
        return cls(strip_end(prompt), strip_ends(memory), strip_ends(answer), strip_ends(shuffled), model)

    @property
    def memories(self) -> tuple[str, str]:
        """The memory and the shuffled one."""
        return self.memory, self.shuffled


@dataclass(frozen=True)
class Site:
    """A layer and a magnitude, and the layer whose heads are read there: the next, the first that sees the memory.

    Behind the last layer there are no heads; there, its own are read, which the memory does not change.
    """

    layer: int
    magnitude: float
    heads_layer: int

    @classmethod
    def of(cls, layer: int, magnitude: float, n_layers: int) -> "Site":
        """Return a site of a model with so many layers."""
        return cls(layer, magnitude, min(layer + 1, n_layers - 1))


def write_commands(question: Question, site: Site) -> str:
    """Write the commands that show the map, and what the page shows of a site, one a line."""
    prompt, answer = question.prompt, {"answer": question.answer}
    whole = {"layer": "all", "magnitude": ",".join(f"{each:g}" for each in MAGNITUDES)}
    here = {"layer": str(site.layer), "magnitude": f"{site.magnitude:g}"}
    lines = [
        _write_command(question, "inject", [prompt, question.memory], whole | answer),
        *(_write_command(question, "inject", [prompt, memory], here | answer) for memory in question.memories),
        *(_write_command(question, "generate", [prompt, memory], here) for memory in question.memories),
        _write_command(question, "heads", [prompt], {"layer": str(site.heads_layer)}),
    ]
    return "\n".join(lines)


def _write_command(question: Question, command: str, texts: list[str], options: dict[str, str]) -> str:
    options = {"model": question.model, **options}
    named = [part for name, value in options.items() for part in (f"--{name}", value)]
    # Behind two dashes, a text that starts with a dash is no option.
    dashes = ["--"] if any(text.startswith("-") for text in texts) else []
    return shlex.join(["memory-injections", command, *named, *dashes, *texts])


def write_python(question: Question, site: Site) -> str:
    """Write the Python code that prints the map, and what the page shows of a site."""
    return f"""\
from memory_injections import Injector, injecting

injector = Injector.load({question.model!r})
prompt, answer = {question.prompt!r}, {question.answer!r}
print(injector.sweep(prompt, {question.memory!r}, magnitudes={list(MAGNITUDES)}, answer=answer).table)
for memory in {question.memories!r}:
    site = {{"layer": {site.layer}, "magnitude": {site.magnitude}}}
    print(injector.inject(prompt, memory, **site, answer=answer).table)
    print(injector.generate(prompt, memory, **site))
    with injecting(injector.model.process_weights(), {site.magnitude} * injector.vector(memory), {site.layer}):
        print(injector.heads(prompt, [{site.heads_layer}], answer=answer))
"""


@dataclass(frozen=True)
class Example:
    """A question, a site for it, and what it shows there."""

    prompt: str
    memory: str
    answer: str
    shuffled: str
    layer: int
    magnitude: float
    shows: str


WORKS = (
    Example(
        "The author of Das Kapital is buried in the city of", "Karl Marx", "London", "Don Quixote", 9, 2.0, HELPS
    ),
    Example(
        "The hormone discovered by Banting and Best is produced in an organ called the", "Insulin", "pancreas",
        "Karl Marx", 3, 4.0, HELPS,
    ),
    Example(
        "The squire of the knight who fought windmills is named", "Don Quixote", "Sancho Panza", "Insulin", 15, 4.0,
        HELPS,
    ),
)  # fmt: skip
FAILS = (
    Example(
        "The longest river in Africa flows into the", "Nile", "Mediterranean Sea", "Don Quixote", 6, 4.0, SHUFFLED_TOO
    ),
    Example(
        "The animal in the World Wildlife Fund logo feeds almost entirely on", "giant panda", "bamboo",
        "Napoleon Bonaparte", 3, 2.0, SHUFFLED_MORE,
    ),
    Example(
        "The Maid of Orleans was burned at the stake in the city of", "Joan of Arc", "Rouen", "Karl Marx", 15, 4.0,
        LOWERS,
    ),
)  # fmt: skip
