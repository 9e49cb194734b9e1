"""The command line on tiny models."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_calls import document, here, run
from memory_injections import Injector
from memory_injections.command_line import cli, injections
from memory_injections.interactive.pretrained import CACHE_VARIABLE

__all__ = ["here"]

PROMPT, MEMORY, ANSWER = "The author of Das Kapital is buried in the city of", "Karl Marx", "London"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session")
def llama(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["llama"]


@pytest.fixture(scope="session")
def injector(llama: Path) -> Injector:
    return Injector.load(llama, "cpu")


def test_inject(llama: Path, injector: Injector) -> None:
    at: dict[str, Any] = {"layer": 1, "magnitude": 0.5, "encoding": "embed", "answer": ANSWER, "top_k": 3}
    expected = injector.inject(PROMPT, MEMORY, other="Don Quixote", **at)
    command = ["inject", PROMPT, MEMORY, "--layer", "1", "--magnitude", "0.5", "--encoding", "embed", "--top", "3"]
    found = document(*command, "--answer", ANSWER, "--model", str(llama))
    said: dict[str, Any] = {
        "model": str(llama),
        "prompt": PROMPT,
        "memory": MEMORY,
        "other": "Don Quixote",
        "encoding": "embed",
    }
    said |= {"answer": ANSWER, "layer": 1, "magnitude": 0.5}
    assert {key: found[key] for key in said} == said
    assert found["kl"] == pytest.approx(expected.kl, rel=1e-4)
    pd.testing.assert_frame_equal(pd.DataFrame(found["next_tokens"]), expected.table, check_dtype=False, rtol=1e-4)
    assert expected.answer is not None
    assert found["answer_token"]["token_id"] == expected.answer["token_id"]
    shown = run(*command, "--answer", ANSWER, "--model", str(llama)).stdout.splitlines()
    assert len(shown) == 2 + len(expected.table)
    assert "with Don Quixote or a random direction" in shown[-1]
    for line, row in zip(shown[1:-1], expected.table.itertuples(), strict=True):
        assert line.lstrip().startswith("→") == (row.token_id == expected.answer["token_id"])
        assert repr(row.token) in line
        assert f"{row.p_obscure:.3g}" in line
        assert f"{row.p_injected:.3g}" in line
        assert f"{row.p_shuffled:.3g}" in line
        assert f"{row.p_random:.3g}" in line
    shown = run(*command, "--model", str(llama)).stdout.splitlines()
    assert not any(line.lstrip().startswith("→") for line in shown)


def test_blanks_at_the_ends_of_texts_change_nothing(llama: Path, tmp_path: Path) -> None:
    at = ["--layer", "1", "--model", str(llama)]
    clean, written = (
        [f"{PROMPT}{blank}", f"{blank}{MEMORY}", "--answer", f"{blank}{ANSWER}"] for blank in ("", "\u200b ")
    )
    for form in ([*at], [*at[:1], "0,1", *at[2:]]):
        assert run("inject", *written, *form).stdout == run("inject", *clean, *form).stdout
    assert "left out 2 invisible characters around the prompt" in run("inject", *written, *at).stderr
    texts = {"explicit_prompt": PROMPT, "obscure_prompt": PROMPT, "memory": MEMORY, "answer": ANSWER}
    shown = []
    for blank in ("", " \n"):
        table = pd.DataFrame([texts, texts | {"memory": f"Adam Smith{blank}", "obscure_prompt": f"Here lies{blank}"}])
        table.to_csv(tmp_path / "pairs.csv", index=False)
        shown.append(run("inject", "--pairs", str(tmp_path / "pairs.csv"), *at).stdout)
    assert shown[0] == shown[1]


def test_several_sites_give_a_heat_map(llama: Path, injector: Injector) -> None:
    grid = injector.sweep(PROMPT, MEMORY, layers=[0, 2], magnitudes=[0.5, 1, 2], answer=ANSWER)
    command = ["inject", PROMPT, MEMORY, "--layer", "2,0", "--magnitude", "0.5,1..2", "--model", str(llama)]
    found = document(*command, "--answer", ANSWER)
    assert found["token"] == grid.token
    pd.testing.assert_frame_equal(
        pd.DataFrame(found["cells"]), grid.table.reset_index(drop=True), check_dtype=False, rtol=1e-4
    )
    assert found["best"]["p_injected"] == max(cell["p_injected"] for cell in found["cells"])
    head, *rows, best = run(*command, "--answer", ANSWER).stdout.splitlines()
    assert head.split() == ["layer", "0.5", "1", "2"]
    assert [row.split()[0] for row in rows] == ["0", "2"]
    for row, (_, changes) in zip(rows, grid.percent_change.iterrows(), strict=True):
        np.testing.assert_allclose([float(cell) for cell in row.split()[1:]], changes, atol=0.6)
    assert repr(grid.token) in best
    assert f"at layer {grid.best.layer}, magnitude {grid.best.magnitude:g} " in best
    at: dict[str, Any] = {"layer": int(grid.best.layer), "magnitude": grid.best.magnitude, "answer": ANSWER}
    there = injector.inject(PROMPT, MEMORY, other="Adam Smith", **at).answer
    assert there is not None
    best = run(*command, "--answer", ANSWER, "--other", "Adam Smith").stdout.splitlines()[-1]
    assert f"another memory (Adam Smith) makes it {there.p_shuffled:.3g}, random directions" in best
    assert f"length {there.p_random:.3g} on average" in best
    # Without an answer, the command follows the token that is most probable without the memory.
    assert document(*command)["best"]["rank_obscure"] == 0


@pytest.mark.parametrize("name", ["map.png", "map.pdf", "map.svg"])
def test_plot(name: str, llama: Path, tmp_path: Path) -> None:
    command = ["inject", PROMPT, MEMORY, "--answer", ANSWER, "--model", str(llama), "--plot", str(tmp_path / name)]
    run(*command, "--layer", "all", "--magnitude", "1,2")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    start = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[Path(name).suffix]
    assert (tmp_path / name).read_bytes().startswith(start)
    said = run(*command, "--layer", "1", status=1).stderr
    assert "--plot draws a map of several sites; give several layers or magnitudes" in said


@pytest.fixture
def pairs(tmp_path: Path) -> pd.DataFrame:
    """Three prompt pairs, which are in the file `pairs.csv` too."""
    names = [("Karl Marx", "author of Das Kapital", "London"), ("Abraham Lincoln", "author of the Gettysburg", "Kent")]
    names.append(("Joan of Arc", "Maid of Orleans", "Rouen"))
    rows = [(f"{name} is in", f"The {who} is in", name, answer) for name, who, answer in names]
    table = pd.DataFrame(rows, columns=["explicit_prompt", "obscure_prompt", "memory", "answer"])
    table.to_csv(tmp_path / "pairs.csv", index=False)
    return table


def test_a_file_of_pairs(
    pairs: pd.DataFrame, llama: Path, injector: Injector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(injections.results, "_width", 160)
    command = ["inject", "--pairs", str(tmp_path / "pairs.csv"), "--layer", "1", "--magnitude", "2"]
    command += ["--model", str(llama)]
    found = pd.DataFrame(document(*command)["pairs"])
    assert sorted(found["shuffled"]) == sorted(pairs["memory"])
    assert (found["shuffled"] != pairs["memory"]).all()
    effects: dict[str, list[float]] = {"effect": [], "effect_shuffled": []}
    for pair, shuffled in zip(pairs.itertuples(), found["shuffled"], strict=True):
        for name, memory in (("effect", pair.memory), ("effect_shuffled", shuffled)):
            answer = injector.inject(pair.obscure_prompt, memory, layer=1, magnitude=2, answer=pair.answer).answer
            assert answer is not None
            effects[name].append(float(np.log(answer.p_injected / answer.p_obscure)))
    for name, own in effects.items():
        np.testing.assert_allclose(found[name], own, atol=1e-3)
    assert (found["effect_random"] - found["effect"]).abs().max() > 1e-3
    run(*command, "--save", str(tmp_path / "effects.csv"))
    saved = pd.read_csv(tmp_path / "effects.csv")
    pd.testing.assert_frame_equal(saved, found, check_dtype=False, rtol=1e-4)
    _, *rows, mean, _, _, memory, shuffled, random, verdict, _ = run(*command).stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["0", "1", "2"]
    assert mean.split()[0] == "mean"
    assert float(mean.split()[1]) == pytest.approx(np.mean(effects["effect"]), abs=0.006)
    for line, other in ((memory, 0), (shuffled, found["effect_shuffled"]), (random, found["effect_random"])):
        contrast = float((found["effect"] - other).mean())
        assert f"{contrast:+z.2f} nats (no interval: fewer than 6 clusters" in line
    assert verdict.startswith("Verdict: inconclusive. Here these 3 pairs do not tell whether the memory helps")


def test_pairs_are_judged_by_the_rule_of_a_study(pairs: pd.DataFrame, llama: Path, tmp_path: Path) -> None:
    ends = ("I", "II", "III")
    more = [pairs, *(pairs.assign(memory=[f"{name} {end}" for name in pairs["memory"]]) for end in ends)]
    pd.concat(more).to_csv(tmp_path / "pairs.csv", index=False)
    found = document(
        "inject", "--pairs", str(tmp_path / "pairs.csv"), "--layer", "1", "--dose", "1e-4", "--model", str(llama)
    )
    effects, means = pd.DataFrame(found["pairs"]), pd.DataFrame(found["means"]).set_index("minus")
    assert found["relative"]
    assert found["magnitude"] == 1e-4
    assert 0 < effects["effect"].abs().max() < 1e-3  # so small a dose changes next to nothing
    for name, row in means.iterrows():
        values = effects["effect"] - (effects[f"effect_{name}"] if name else 0)
        assert row["effect"] == pytest.approx(values.mean(), abs=1e-9)
        assert row["low"] <= row["effect"] <= row["high"]
    assert set(means["n_clusters"]) == {12}
    assert found["verdict"] == "practically zero"
    assert found["sentence"].startswith("Verdict: practically zero. Here the memory changes answers by less")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--pairs", "nowhere.csv"], "--pairs nowhere.csv does not exist; give a CSV file of prompt pairs"),
        (["--pairs", "pairs.csv", "--layer", "all"], "--pairs takes one layer and one magnitude or dose; a"),
        (["--pairs", "pairs.csv", "--dose", "1", "--magnitude", "1"], "--dose is for --pairs, in place of --magnitude"),
        ([PROMPT, MEMORY, "--dose", "1"], "--dose is for --pairs, in place of --magnitude; give only one of them"),
        (["--pairs", "pairs.csv", "--answer", "London"], "--pairs has prompts, memories and answers; give none"),
        (["--pairs", "words.csv"], "words.csv has no column explicit_prompt"),
        (["--pairs", "alike.csv"], "more than half of the pairs share a memory, so they cannot be exchanged"),
        ([PROMPT], "the memory or the prompt is missing; give PROMPT and MEMORY, or --pairs and a file"),
    ],
)
def test_bad_pairs(
    arguments: list[str],
    sentence: str,
    pairs: pd.DataFrame,
    llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.csv").write_text("word\nhouse\n")
    pairs.head(1).to_csv("alike.csv", index=False)
    said = run("inject", "--layer", "1", "--model", str(llama), *arguments, status=1).stderr.splitlines()
    assert said[-1].startswith(f"memory-injections: {sentence}")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (0.0, "0.0"), (-9.94, "-9.9"), (9.96, "+10"), (-100, "-100"), (999.4, "+999"), (12345, "+12k"),
        (3.2e6, "+3M"), (7e11, "+700G"), (float("nan"), "-"),
    ],
)  # fmt: skip
def test_a_change_fits_its_cell(change: float, text: str) -> None:
    assert cli.terminal.format_compactly(change) == text


@pytest.mark.parametrize("name", ["grid.csv", "new/grid.parquet"])
def test_find(name: str, llama: Path, injector: Injector, tmp_path: Path, here: Path) -> None:
    grid = injector.sweep(PROMPT, MEMORY, magnitudes=[1, 2], answer=ANSWER)
    command = ["find", PROMPT, MEMORY, ANSWER, "--magnitude", "1,2", "--model", str(llama)]
    done = run(*command, "--save", str(tmp_path / name))
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    saved = read(tmp_path / name)
    pd.testing.assert_frame_equal(saved, grid.table.reset_index(drop=True), check_dtype=False, rtol=1e-4)
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [Path(name).name]
    assert len(done.stdout.splitlines()) > 4
    assert "One prompt's best site is no evidence" in done.stdout
    assert not any(here.iterdir())
    as_json = run(*command, "--json")
    assert json.loads(as_json.stdout)["best"]["layer"] == grid.best["layer"]
    assert "One prompt's best site is no evidence" in as_json.stderr
    assert not any(here.iterdir())  # without a file name nothing is saved


def test_find_takes_the_papers_grid(llama: Path) -> None:
    cells = pd.DataFrame(document("find", PROMPT, MEMORY, ANSWER, "--model", str(llama))["cells"])
    assert len(cells) == 3 * 15
    assert set(cells["magnitude"]) == set(range(1, 16))


def test_heads(llama: Path, injector: Injector) -> None:
    found = document("heads", PROMPT, "--layer", "0..1", "--top", "2", "--model", str(llama))
    expected = injector.heads(PROMPT, [0, 1], top_k=2)
    pd.testing.assert_frame_equal(pd.DataFrame(found["heads"]), expected, check_dtype=False, rtol=1e-4)
    shown = run("heads", PROMPT, "--top", "2", "--model", str(llama)).stdout.splitlines()
    assert [line.split()[:2] for line in shown[1:]] == [[str(i), str(j)] for i in range(3) for j in range(4)]
    assert repr(expected["token"][0]) in shown[1]


def test_heads_are_ranked_by_a_target(llama: Path, injector: Injector) -> None:
    command = ["heads", PROMPT, "--target", ANSWER, "--model", str(llama)]
    found = pd.DataFrame(document(*command, "--top", "1")["heads"])
    every = injector.heads(PROMPT, top_k=injector.model.processed.W_U.shape[1], answer=ANSWER)
    token = injector.tokenise_answer(PROMPT, ANSWER).answer
    own = every[every["token_id"] == token].sort_values("logit", ascending=False)
    assert found[["layer", "head"]].to_numpy().tolist() == own[["layer", "head"]].to_numpy().tolist()
    np.testing.assert_allclose(found["answer_logit"], own["logit"], rtol=1e-4, atol=1e-6)
    assert found["answer_rank"].tolist() == own["rank"].tolist()
    first = run(*command).stdout.splitlines()[1].split()
    assert first[:4] == [
        f"{found[name][0]:{form}}"
        for name, form in zip(("layer", "head", "answer_rank", "answer_logit"), ("", "", "", ".2f"), strict=True)
    ]


def test_generate(llama: Path, injector: Injector) -> None:
    expected = injector.generate(PROMPT, MEMORY, layer=0, magnitude=2, max_new_tokens=4, temperature=0.7, seed=3)
    command = ["generate", PROMPT, MEMORY, "--layer", "0", "--magnitude", "2", "--tokens", "4", "--model", str(llama)]
    found = document(*command, "--temperature", "0.7", "--seed", "3")
    assert (found["before"], found["after"]) == (expected.obscure, expected.injected)
    other = injector.generate(PROMPT, "Don Quixote", layer=0, magnitude=2, max_new_tokens=4, temperature=0.7, seed=3)
    assert (found["other"], found["shuffled"]) == ("Don Quixote", other.injected)
    assert found["random"] not in (found["after"], found["before"])
    greedy = document(*command)
    assert (greedy["before"], greedy["after"]) != (found["before"], found["after"])
    seeded = document(*command, "--seed", "3")  # draws nothing but the random direction
    assert greedy == seeded | {"seed": 0, "random": greedy["random"]}
    assert run(*command).stdout.count(PROMPT) == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--layer", "3"], "layer 3 is out of range; the model has 3 layers: 0 to 2"),
        (["--layer", "0,-1"], "layer -1 is out of range"),
        (["--layer", "first"], "layer 'first' is not a whole number; give one"),
        (["--layer", "1.5"], "layer '1.5' is not a whole number"),
        (["--layer", "2..1"], "layer 2..1 is an empty range; write the smaller number first"),
        (["--layer", "1", "--magnitude", "much"], "magnitude 'much' is not a finite number"),
        (["--layer", "1", "--magnitude", "1,inf"], "magnitude inf is not a finite number"),
        (["--layer", "1", "--magnitude", "1e39"], r"magnitude 1e\+39 at layer 1 overflows"),
        (
            ["--layer", "1", "--encoding", "onehot"],
            "encoding 'onehot' is unknown; use one of unembed, unembed_spaced, embed, layer",
        ),
        (["--layer", "1", "--answer", ""], "the answer is empty; give a text"),
        (["--layer", "1", "--device", "abacus"], r"device abacus cannot be used \(.*\); use cpu, cuda or cuda:1"),
        (
            ["--layer", "1", "--device", "meta"],
            r"device meta cannot be used \(nothing is computed on meta here\); use cpu",
        ),
        (
            ["--layer", "0..99999999999"],
            r"layer 0\.\.99999999999 is a range of more than 10,000 numbers; give a shorter",
        ),
        (["--layer", "1", "--magnitude", "1..1" + 5000 * "0"], "magnitude '1000+' is not a whole number; give one"),
        (["--layer", "1", "--answer", "x\udce9"], r"the answer 'x\\udce9' is not text in UTF-8; write it in UTF-8"),
        (["--layer", "1", "--other", "x\udce9"], r"the other 'x\\udce9' is not text in UTF-8; write it in UTF-8"),
        (["--layer", "1", "--model", 2500 * "a/"], r"model '(a/){50}' is no folder here .* no name of a repository on"),
        (["--layer", "1", "--model", "\udce9"], r"model '\\udce9' is no folder here .* no name of a repository on the"),
        (["--layer", "1", "--device", "cuda:99"], r"device cuda:99 cannot be used \(.*\); use cpu"),
        (["--layer", "1", "--model", "nowhere"], "model folder nowhere has no config.json; save the model"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], sentence: str, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nowhere").mkdir()
    for form in ([], ["--json"]):
        done = run("inject", PROMPT, MEMORY, "--model", str(llama), *arguments, *form, status=1)
        assert done.stdout == ""
        said = [line for line in done.stderr.splitlines() if not line.startswith("loading ")]
        assert len(said) == 1
        assert re.match(f"memory-injections: {sentence}", said[0])


@pytest.mark.parametrize("arguments", [["--encoding", "onehot"], ["--layer", "first"], ["--answer", " "]])
def test_wrong_options_are_refused_before_a_model_is_loaded(arguments: list[str]) -> None:
    done = run("inject", PROMPT, MEMORY, "--layer", "1", "--model", "/no/such/folder", *arguments, status=1)
    assert "/no/such/folder" not in done.stderr


def test_the_version_and_help_come_without_the_libraries_that_compute() -> None:
    code = "import sys; from memory_injections.command_line import cli; print(*{'torch', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout == "\n"
    assert run("--version").stdout.startswith("memory-injections 0.")
    assert "--install-completion" in run("--help").stdout


def test_more_tokens_of_a_head_than_there_are(llama: Path) -> None:
    found = document("heads", PROMPT, "--layer", "1", "--top", "100000", "--model", str(llama))["heads"]
    assert len(found) == 4 * 400


def test_a_prompt_that_has_no_room_for_the_memory_in_front(llama: Path) -> None:
    """It is said before anything is computed, and what is too long is named."""
    long = " ".join(["London"] * 8)
    at = ["--layer", "1", "--model", str(llama)]
    assert run("inject", long, long, *at).stdout
    done = run("controls", long, long, ANSWER, *at, status=1)
    assert re.search(r"the prompt with the memory in front of it has \d+ tokens, BOS included, but the mo", done.stderr)


def test_paths_may_start_at_home(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "llama").symlink_to(llama)
    run("inject", PROMPT, MEMORY, "--layer", "1", "--model", "~/llama", "--save", "~/saved.csv")
    assert (tmp_path / "saved.csv").exists()
    assert "--pairs" in run("inject", "--pairs", "~/no.csv", "--layer", "1", status=1).stderr
    assert not Path("~").exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_that_is_not_utf8(encoding: str, llama: Path) -> None:
    """What it cannot show becomes an escape, in JSON one that JSON knows."""
    command = [sys.executable, "-m", "memory_injections.command_line.cli", "inject", "Der Fluß heißt 🏞", "Łódź"]
    command += ["--layer", "1", "--model", str(llama), "--top", "400", "--answer", "München"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for form in ([], ["--json"]):
        done = subprocess.run([*command, *form], capture_output=True, env=environment)
        assert done.returncode == 0, done.stderr
        shown = done.stdout.decode(encoding)
        if form:
            assert json.loads(shown)["memory"] == "Łódź"
        elif encoding == "ascii":
            assert "\\u" in shown


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_text_is_bad_input(text: str, llama: Path) -> None:
    at = ["--layer", "1", "--model", str(llama)]
    assert "the prompt is empty; give a text" in run("inject", text, MEMORY, *at, status=1).stderr
    assert "the memory is empty; give a text" in run("generate", PROMPT, text, *at, status=1).stderr
    assert "the prompt is empty; give a text" in run("heads", text, "--model", str(llama), status=1).stderr
    assert (
        "the answer is empty; give a text" in run("find", PROMPT, MEMORY, text, "--model", str(llama), status=1).stderr
    )


def test_a_place_that_cannot_be_saved_to(llama: Path, tmp_path: Path) -> None:
    command = ["find", PROMPT, MEMORY, ANSWER, "--model", str(llama), "--magnitude", "1", "--save"]
    assert "grid.txt ends in none of .csv, .parquet; give a file name" in run(*command, "grid.txt", status=1).stderr
    (tmp_path / "file").write_text("in the way")
    done = run(*command, str(tmp_path / "file" / "grid.csv"), status=1)
    assert "grid.csv cannot be written (" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["inject", PROMPT, MEMORY],
        ["heads", PROMPT, "--top", "0"],
        ["eject"],
        ["generate", PROMPT, MEMORY, "--layer", "1", "--seed", str(2**70)],
        ["controls", PROMPT, MEMORY, ANSWER, "--layer", "1", "--seed", "-1"],
    ],
)
def test_usage(arguments: list[str]) -> None:
    assert "Usage: " in run(*arguments, status=2).stderr


@pytest.mark.parametrize("command", ["inject", "find", "heads", "generate"])
def test_help_has_examples_that_parse(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    shown = [line.strip() for line in run(command, "--help").stdout.splitlines()]
    examples = [shlex.split(line)[1:] for line in shown if line.startswith("memory-injections ")]
    assert len(examples) >= 2
    for example in examples:
        assert example[0] == command
        run(*example, "--model", "/no/such/folder", status=1)  # not 2


def test_interrupt(llama: Path) -> None:
    command = [sys.executable, "-m", "memory_injections.command_line.cli", "heads", PROMPT, "--model", str(llama)]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("loading")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert (stdout, stderr) == ("", "memory-injections: interrupted; run the same command again\n")
