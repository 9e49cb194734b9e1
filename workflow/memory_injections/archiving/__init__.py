"""A finished study packed for an archive: its results with config, code, versions, checksums and provenance."""
