"""A real S3 server on loopback for the tests: OpenStack Swift with its S3 API."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".paritygate" / "swift" / "bin" / "python"
SERVE = Path(__file__).with_name("object_store") / "serve.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket, `s3://models`, and how two users reach it: its owner, and a guest who may nothing."""

    address: str
    url: str = "s3://models"

    def environment(self, user="owner"):
        """What AWS' own tools, and ours, read."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": f"test:{user}",
            "AWS_SECRET_ACCESS_KEY": f"{user}-secret",
        }

    def files(self, user="owner"):
        """The bucket as the tests see it, beside what is tested."""
        said = self.environment(user)
        where = {"endpoint_url": self.address, "region_name": said["AWS_REGION"]}
        key, secret = said["AWS_ACCESS_KEY_ID"], said["AWS_SECRET_ACCESS_KEY"]
        return fsspec.filesystem(
            "s3", key=key, secret=secret, client_kwargs=where, skip_instance_cache=True, use_listings_cache=False
        )


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Bucket]:
    """The server, for as long as the context is open."""
    assert PYTHON.exists(), "the object server's environment is missing: make .paritygate/swift/.ready"
    with (folder / "log").open("wb") as log:
        command = [str(PYTHON), str(SERVE), str(folder)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=os.environ)
    try:
        address = server.stdout.readline().decode().strip()
        assert address, (folder / "log").read_text()
        bucket = Bucket(address=address)
        bucket.files().mkdir("models")
        yield bucket
    finally:
        server.stdin.close()
        server.wait(30)
        server.stdout.close()
