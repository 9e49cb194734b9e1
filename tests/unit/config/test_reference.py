"""The schema and the key table are up to date with the config's model."""

from conftest import ROOT
from memory_injections.config.reference import renew_key_table, write_schema
from memory_injections.config.study import Study


def test_schema_and_key_table_are_made_from_the_model() -> None:
    schema = (ROOT / "workflow" / "schemas" / "config.schema.json").read_text(encoding="utf-8")
    assert schema == write_schema(), "run `make schema`"
    readme = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    assert readme == renew_key_table(readme), "run `make schema`"
    assert set(Study.model_fields) <= set(readme.replace("`", " ").split())
