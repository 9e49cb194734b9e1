"""Records like those of 2WikiMultiHopQA, in the file formats in which it is distributed."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def make_record(film: str, place: str = "Kraków", **changes: Any) -> dict[str, Any]:
    """A record with all fields of the data set."""
    return {
        "_id": film,
        "type": "compositional",
        "question": f"Where was the director of {film} born?",
        "context": [[film, [f"{film} is a film."]]],
        "evidences": [[film, "director", f"Director of {film}"], [f"Director of {film}", "place of birth", place]],
        "answer": place,
    } | changes


RECORDS = [make_record(f"Film {number}") for number in range(50)]


def write_records(folder: Path, form: str) -> tuple[Path, str | None]:
    """Write the records in one of the file formats in which the data set is distributed."""
    path = folder / f"records-{form}"
    match form:
        case "json":
            path.write_text("\n" + json.dumps(RECORDS, ensure_ascii=False), encoding="utf-8")
        case "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in RECORDS) + "\n", encoding="utf-8")
        case "parquet":
            # As in the hub's copy: nested fields as JSON text.
            rows = [row | {key: json.dumps(row[key]) for key in ("evidences", "context")} for row in RECORDS]
            pq.write_table(pa.Table.from_pylist(rows), path)
        case "zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("data/train.json", "[]")
                archive.writestr("data/dev.json", json.dumps(RECORDS))
            return path, "data/dev.json"
    return path, None
