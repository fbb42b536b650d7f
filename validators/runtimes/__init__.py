"""Runs artifacts: one module for each runtime, all with one function, `load(artifact, signature, device, options)`.

It yields a `validators.contract.LoadedArtifact`: `placement`, as the runtime reports it, and `infer`, by canonical
name. Each module translates between canonical and native names and types itself; no other module knows native names.
"""
