"""The release directory: what it holds, and whether it still holds it.

`manifest` is `release.json`; `evidence` the samples and reference outputs; `attestations` what came later, kept by
`attestation_files`; `integrity` compares every file with its digest. `json_records` reads and writes strict JSON, and
`json_schema` publishes its shape.
"""
