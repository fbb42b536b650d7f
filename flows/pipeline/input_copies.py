"""Copies the files that the user named into a run's scratch space, before any stage reads them.

A training run may write its next checkpoint under the same name during the release: every stage reads the same copy.
Errors name the user's own paths.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporters.errors import BadInput
from exporters.source.readers.detection import files_of
from exporters.source.readers.weights_with_architecture import builder_file, is_builder


class InputCopies:
    """Makes and names the copies of one run's inputs.

    Args:
        folder: scratch space for them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._originals: dict[Path, Path] = {}

    @contextmanager
    def naming_originals(self) -> Iterator[None]:
        """Replaces the paths of our copies in every BadInput by the user's own paths."""
        try:
            yield
        except BadInput as error:
            for copy, original in self._originals.items():
                error.message = error.message.replace(str(copy), str(original))
                error.next_step = error.next_step.replace(str(copy), str(original))
            raise

    def model(self, path: Path) -> Path:
        """Copies every file of a model; a checkpoint has several, and its path is none of them."""
        copy = self._place_for(path)
        for file in files_of(path):
            target = copy.parent / os.path.relpath(file, path.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        return copy

    def architecture(self, architecture: str) -> str:
        """Copies a `model.json`; a builder's file stays next to the modules that it may import."""
        if not is_builder(architecture):
            path = Path(architecture)
            return str(self.file_or_folder(path)) if path.is_file() else architecture
        if file := builder_file(architecture):
            self._originals[file.absolute()] = file
            return f"{file.absolute()}:{architecture.rpartition(':')[2]}"
        return architecture

    def file_or_folder(self, path: Path) -> Path:
        """Copies a file, or a folder with everything below it."""
        copy = self._place_for(path)
        if path.is_dir():
            shutil.copytree(path, copy)
        else:
            shutil.copyfile(path, copy)
        return copy

    def _place_for(self, path: Path) -> Path:
        copy = self._folder / str(len(self._originals)) / path.name
        self._originals[copy] = path
        copy.parent.mkdir(parents=True)
        return copy
