"""A config file is read strictly: whatever Snakemake would guess or lose is one sentence."""

from pathlib import Path

import pytest
from memory_injections.config.files import read_config
from memory_injections.errors import StudyError

BAD = {
    "a key twice": (b"seed: 1\nseed: 2\n", r"gives the key 'seed' \(line 2\) twice; remove one of them"),
    "a nested key twice": (b"models:\n  m: {}\n  m: {}\n", r"gives the key 'm' \(line 3\) twice"),
    "a key twice in JSON": (b'{\t"seed": 1, "seed": 2}', "gives the key 'seed' twice"),
    "UTF-16": ("study: a\n".encode("utf-16"), "is not text in UTF-8 .*; save it as UTF-8"),
    "Latin-1": ("# café\n".encode("latin-1"), "is not text in UTF-8"),
    "binary": (bytes(range(256)), "is not text in UTF-8"),
    "control characters": (b"study: \x00\n", "is neither YAML nor JSON"),
    "a tag that runs code": (b"a: !!python/object/apply:os.system [ls]\n", "is neither YAML nor JSON"),
    "a date that does not exist": (b"study: 2024-99-99\n", "is neither YAML nor JSON"),
    "a number without end": (b"seed: " + 5000 * b"1", "is neither YAML nor JSON"),
    "lists without end": (b"a: " + 5000 * b"[", "is neither YAML nor JSON"),
    "a list as key": (b"? [1]\n: 2\n", "is neither YAML nor JSON"),
    "a list": (b"- 1\n", "is no mapping of keys"),
    "nothing": (b"", "is no mapping of keys"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_sentence_for_a_wrong_file(case: str, tmp_path: Path) -> None:
    content, sentence = BAD[case]
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=f"^config {path} {sentence}") as error:
        read_config(path)
    assert str(error.value).isprintable()


def test_one_sentence_for_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=r"missing\.yaml cannot be read \(No such file or directory\); correct the path"
    ):
        read_config(tmp_path / "missing.yaml")


def test_yaml_with_merged_mappings_and_json_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("\ufeffa: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n", encoding="utf-8")
    assert read_config(tmp_path / "a.yaml")["b"] == {"x": 3, "y": 2}
    (tmp_path / "a.json").write_text('{\t"a": [1]}', encoding="utf-8")
    assert read_config(tmp_path / "a.json") == {"a": [1]}
