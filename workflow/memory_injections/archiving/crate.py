"""A study as a Workflow Run RO-Crate: a zip file that describes itself (https://w3id.org/ro/wfrun/workflow/0.5)."""

import mimetypes
import zipfile
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rocrate.model import ComputationalWorkflow, ContextEntity, File
from rocrate.rocrate import ROCrate

from memory_injections.archiving.finished import FinishedStudy, list_versions
from memory_injections.atomic_files import hash_file, replace_file

SNAKEFILE = Path("workflow/Snakefile")
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
# The terms that RO-Crate's own vocabulary lacks.
TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
LICENCE = "https://spdx.org/licenses/MIT"
PARAMETER_PROFILE = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
WORKFLOW_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".md": "text/markdown",
    ".smk": "text/plain",
    ".yaml": "application/yaml",
    "": "text/plain",
}
# The zip format's first day: the same study gives the same bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)


def pack_study(study: FinishedStudy, path: Path) -> None:
    """Write a finished study to a zip file, as a Workflow Run RO-Crate; the same study gives the same bytes."""
    crate = describe_study(study)
    with replace_file(path) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        for part in (*crate.data_entities, crate.metadata):
            entry = zipfile.ZipInfo(unquote(part.id), EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as file:
                for _, chunk in part.stream(1 << 20):
                    file.write(chunk)


def describe_study(study: FinishedStudy) -> ROCrate:
    """Return the crate of a study: its files with checksums, its workflow, and the run that made its results."""
    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms.update(TERMS)
    workflow = _add_workflow(crate, study)
    parameter = _add_parameter(crate)
    workflow["input"] = parameter
    for path in study.list_code():
        if path != SNAKEFILE:
            about = {"about": crate.root_dataset} if path.name == "README.md" else {}
            _add_file(crate, study, path, **about)
    config = _add_file(crate, study, study.config, exampleOfWork=parameter)
    inputs = [_add_file(crate, study, path) for path in study.list_inputs()]
    results = [_add_file(crate, study, path) for path in study.list_results()]
    for path in study.list_records():
        _add_file(crate, study, path)
    provenance = study.tabulate_provenance().to_csv(index=False)
    _add_text(crate, "provenance.csv", provenance, "which job made which file, when, and from which files")
    _add_text(crate, "environment.txt", list_versions(), "versions of everything that was installed")
    _add_run(crate, study, workflow, [config, *inputs], results)
    return crate


def _add_workflow(crate: ROCrate, study: FinishedStudy) -> ComputationalWorkflow:
    workflow = crate.add_workflow(
        study.root / SNAKEFILE,
        SNAKEFILE,
        main=True,
        lang="snakemake",
        lang_version=version("snakemake"),
        properties=_describe_file(study, SNAKEFILE)
        | {
            "name": "memory-injections",
            "version": version("memory-injections"),
            "license": {"@id": LICENCE},
            "conformsTo": {"@id": WORKFLOW_PROFILE},
        },
    )
    crate.root_dataset["conformsTo"] = [
        crate.add(ContextEntity(crate, uri, {"@type": "CreativeWork", "name": name, "version": number}))
        for uri, (name, number) in PROFILES.items()
    ]
    return workflow


def _add_parameter(crate: ROCrate) -> ContextEntity:
    properties = {
        "@type": "FormalParameter",
        "additionalType": "File",
        "conformsTo": {"@id": PARAMETER_PROFILE},
        "name": "config",
        "description": "models, data sets and injections of a study (snakemake --configfile)",
        "valueRequired": True,
    }
    return crate.add(ContextEntity(crate, "#config", properties))


def _add_file(crate: ROCrate, study: FinishedStudy, path: Path, **properties: Any) -> File:
    inside = Path("config", path.name) if path.is_absolute() else path
    return crate.add_file(study.root / path, inside, properties=_describe_file(study, path) | properties)


def _describe_file(study: FinishedStudy, path: Path) -> dict[str, Any]:
    guessed, _ = mimetypes.guess_type(path.name)
    return {
        "name": path.name,
        "contentSize": str((study.root / path).stat().st_size),
        "encodingFormat": TYPES.get(path.suffix) or guessed or "application/octet-stream",
        "sha256": hash_file(study.root / path),
    }


def _add_text(crate: ROCrate, name: str, text: str, description: str) -> None:
    guessed, _ = mimetypes.guess_type(name)
    properties = {"name": name, "description": description, "encodingFormat": guessed}
    crate.add_file(StringIO(text), name, properties=properties)


def _add_run(
    crate: ROCrate, study: FinishedStudy, workflow: ComputationalWorkflow, inputs: list[File], results: list[File]
) -> None:
    started, ended = study.find_times()
    properties = {
        "@type": "CreateAction",
        "name": f"Run of the study {study.name}",
        "description": f"Snakemake ran the workflow with {study.config.name}; provenance.csv lists its jobs.",
        "actionStatus": "http://schema.org/CompletedActionStatus",
        **({"startTime": started.isoformat()} if started else {}),
        "endTime": ended.isoformat(),
    }
    run = crate.add(ContextEntity(crate, "#run", properties))
    run["instrument"], run["object"], run["result"] = workflow, inputs, results
    crate.root_dataset["mentions"] = run
    crate.name = f"Memory injections: the study {study.name}"
    crate.description = (
        f"Results of the study {study.name}, with its config, the Snakemake workflow that made them, versions, "
        "checksums and provenance."
    )
    crate.root_dataset["license"] = crate.add(
        ContextEntity(crate, LICENCE, {"@type": "CreativeWork", "name": "MIT", "description": "MIT licence"})
    )
    crate.datePublished = ended
