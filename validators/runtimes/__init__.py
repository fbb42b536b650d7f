"""One module for every runtime, each with the same verb: `load(artifact, signature, device, options)`.

What it yields is a `validators.contract.LoadedArtifact`: `placement`, read back from the runtime, and `infer`, by
canonical name. Each module translates between canonical and native names and types at its own edge; nobody else knows
of them.
"""
