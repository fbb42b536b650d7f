"""Reads and writes the release directory, and checks that it is unchanged.

`manifest` is `release.json`; `evidence` the samples and reference outputs; `attestations` the later records, stored by
`attestation_files`; `integrity` compares every file with its digest. `json_records` reads and writes strict JSON, and
`json_schema` publishes its shape.
"""
