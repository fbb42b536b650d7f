"""This machine and what is on it: `doctor` tells what runs here, `inspection` what a model file declares.

`identity` names the machine in manifests and attestations.
"""
