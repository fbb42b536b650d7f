"""The validation layer: from artifacts to evidence to a verdict. Knows the exporters, and nothing of flows.

The rooms, each above all that it imports:

* `contract`: the records that cross the layer's border. `text`, `preloads`: what every room uses.
* `hardware`: graphics cards, Vulkan adapters and Chromium on this machine.
* `compare`: distances, tolerances and the comparison of two tensors. Pure.
* `samples`: the rows that every cell is fed, and how they are fed.
* `web`: runs web artifacts in headless Chromium.
* `runtimes`: one module for each runtime, the registry, and what of it this machine can run.
* `release`: the release directory: manifest, evidence, attestations, integrity.
* `reference`: what the original answers, and how far its own rounding goes.
* `cells`: runs one artifact in one runtime and compares it.
* `gate`: turns cells and artifacts into one verdict. It fails closed.
* `diagnosis`: finds the layer that an artifact gets wrong.
* `report`: what a person or a CI server reads.
"""

__distribution__ = "paritygate"
