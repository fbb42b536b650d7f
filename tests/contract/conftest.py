"""What the contract tests look at: every chosen model, built, exported and run once."""

import pytest


@pytest.fixture(scope="session")
def proofs(request, bench):
    """Model -> `bench.Proof`; the models of all chosen tests are worked on side by side."""
    chosen = [item for item in request.session.items if "proofs" in item.fixturenames and hasattr(item, "callspec")]
    params = [item.callspec.params for item in chosen]
    bench.prove(list(dict.fromkeys(found["model"] for found in params if "model" in found)))
    return bench.proof


@pytest.fixture
def proof(proofs, model):
    return proofs(model)


@pytest.fixture(scope="session")
def _facts():
    return {}


@pytest.fixture
def facts(bench, proof, model, _facts):
    """Artifact -> what its own file says of itself."""
    if model not in _facts:
        folders = {key: str(proof.release / artifact.path) for key, artifact in proof.artifacts.items()}
        _facts[model] = bench.call("tests.contract.look_inside:facts", folders)
    return _facts[model]
