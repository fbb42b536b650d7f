"""Trains the digits model and hands it to paritygate the moment `fit` ends.

In: a Prefect server (PREFECT_API_URL) with paritygate's deployments (`paritygate server start` starts one). Out:
`digits.keras` and `samples.npz` in the folder given, and the event `paritygate.model.trained`, on which the deployment
`release/after-training` releases the model. Nothing of paritygate is imported here: a training environment needs Keras
and Prefect's client.

    PREFECT_API_URL=http://127.0.0.1:4200/api .venv/bin/python examples/train_and_release.py --to build/trained
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from digits.train import build_model, load_split
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL


class ReleaseAfterTraining(keras.callbacks.Callback):  # type: ignore[misc] # Keras is untyped
    """Saves the model when training ends, and tells the Prefect server where it is.

    Args:
        file: where the model goes, under a path that the workers see too.
        settings: of the release beside the model, as in release.toml.
    """

    def __init__(self, file: Path, **settings: Any) -> None:
        super().__init__()
        self._file = file.absolute()
        self._settings = settings

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Saves and tells; returns once the server has the event.

        Raises:
            RuntimeError: no Prefect server answers. The model is saved all the same.
        """
        self.model.save(self._file)
        if not PREFECT_API_URL.value():
            msg = f"{self._file} is saved, not released: PREFECT_API_URL names no Prefect server"
            raise RuntimeError(msg)
        with get_client(sync_client=True) as client:  # an event that nobody hears is dropped with a line in the log
            if wrong := client.api_healthcheck():
                msg = f"{self._file} is saved, not released: no Prefect server answers at {client.api_url}: {wrong!r}"
                raise RuntimeError(msg)
        emit_event(
            "paritygate.model.trained",
            resource={"prefect.resource.id": f"paritygate.model.{self._file.stem}"},
            payload={"settings": {"model": str(self._file), **self._settings}, "metrics": logs or {}},
        )
        EventsWorker.drain_all(timeout=30)


def main() -> None:
    """Trains for as long as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="folder for the model and its samples")
    parser.add_argument("--epochs", type=int, default=40)
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)

    split = load_split()
    samples = arguments.to.absolute() / "samples.npz"
    np.savez_compressed(samples, image=split.held_out_images[:64], labels=split.held_out_labels[:64])
    keras.utils.set_random_seed(7)
    model = build_model()
    model.compile(optimizer=keras.optimizers.Adam(2e-3), loss="sparse_categorical_crossentropy")
    model.fit(
        split.train_images,
        split.train_labels,
        batch_size=64,
        epochs=arguments.epochs,
        verbose=2,
        callbacks=[ReleaseAfterTraining(arguments.to / "digits.keras", samples={"path": str(samples)})],
    )


if __name__ == "__main__":
    main()
