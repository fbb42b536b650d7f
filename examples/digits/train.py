"""Trains the example model on the handwritten digits that ship with scikit-learn.

In: nothing to download. Out, beside this file: `digits.keras` (the trained model) and `samples.npz` (64 held-out
rows: `image` float32 [64, 8, 8, 1] in 0..1, `labels` int64 [64]). Seeded and deterministic on the CPU: a second run on
the same machine and TensorFlow gives the same weights.

    .venv/bin/python examples/digits/train.py
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SEED = 7
HELD_OUT_SHARE = 0.25
SAMPLE_ROWS = 64
EPOCHS = 40
REQUIRED_ACCURACY = 0.97


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The digits, split once and for all.

    Attributes:
        train_images: float32 [N, 8, 8, 1], 0..1.
        train_labels: int64 [N].
        held_out_images: float32 [M, 8, 8, 1], 0..1, never seen in training.
        held_out_labels: int64 [M].
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    held_out_images: np.ndarray
    held_out_labels: np.ndarray


def load_split() -> Split:
    """Reads the 1,797 digits and holds a quarter of each class out."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[..., np.newaxis]
    train_images, held_out_images, train_labels, held_out_labels = train_test_split(
        images,
        digits.target.astype(np.int64),
        test_size=HELD_OUT_SHARE,
        random_state=SEED,
        stratify=digits.target,
    )
    return Split(
        train_images=train_images,
        train_labels=train_labels,
        held_out_images=held_out_images,
        held_out_labels=held_out_labels,
    )


def build_model() -> Any:
    """Builds the untrained network: two convolutions with batch norm, pooling, dropout and two dense layers."""
    import keras

    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv1")(image)
    x = keras.layers.BatchNormalization(name="norm1")(x)
    x = keras.layers.Activation("relu", name="relu1")(x)
    x = keras.layers.Conv2D(32, 3, padding="same", use_bias=False, name="conv2")(x)
    x = keras.layers.BatchNormalization(name="norm2")(x)
    x = keras.layers.Activation("relu", name="relu2")(x)
    x = keras.layers.MaxPooling2D(name="pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dropout(0.3, seed=SEED, name="dropout")(x)
    x = keras.layers.Dense(40, activation="relu", name="hidden")(x)
    probabilities = keras.layers.Dense(10, activation="softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="digits")


def train(split: Split) -> Any:
    """Trains the network on the training part and returns it."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    model = build_model()
    model.compile(optimizer=keras.optimizers.Adam(2e-3), loss="sparse_categorical_crossentropy")
    model.fit(split.train_images, split.train_labels, batch_size=64, epochs=EPOCHS, verbose=0)
    return model


def accuracy(model: Any, images: np.ndarray, labels: np.ndarray) -> float:
    """Returns the share of `images` [N, 8, 8, 1] whose most probable class is the label."""
    return float(np.mean(model.predict(images, verbose=0).argmax(axis=-1) == labels))


def main() -> int:
    """Trains, prints the held-out accuracy, and saves unless it is too low."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path(__file__).parent, help="folder to write to")
    folder = parser.parse_args().to
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

    split = load_split()
    model = train(split)
    reached = accuracy(model, split.held_out_images, split.held_out_labels)
    print(
        f"{model.count_params():,} parameters, held-out accuracy {reached:.4f} on {len(split.held_out_labels)} digits"
    )
    if reached <= REQUIRED_ACCURACY:
        print(f"not saved: the accuracy must be above {REQUIRED_ACCURACY}", file=sys.stderr)
        return 1

    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "digits.keras")
    np.savez_compressed(
        folder / "samples.npz",
        image=split.held_out_images[:SAMPLE_ROWS],
        labels=split.held_out_labels[:SAMPLE_ROWS],
    )
    print(f"saved {folder / 'digits.keras'} and {folder / 'samples.npz'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
