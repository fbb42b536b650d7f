"""A runtime that computes y = 2 x, or what a test gives it instead; loaded like any other, by module name."""

from contextlib import contextmanager

from validators.contract import Placement


class Fake:
    """`answers` maps a batch to outputs; `calls` keeps the rows of each call."""

    device = "cpu"
    adapter = "fake"
    software = False
    fault = None
    answers = staticmethod(lambda inputs: {"y": inputs["x"] * 2})
    calls: list[int]

    def __init__(self):
        self.calls = []
        self.fallbacks = {}
        self.details = {}
        self.closed = False

    @property
    def placement(self):
        return Placement(
            device=self.device,
            runtime="fake 1.0",
            adapter=self.adapter,
            software=self.software,
            fallbacks=self.fallbacks,
            details=self.details,
        )

    def infer(self, inputs):
        self.calls.append(len(inputs["x"]))
        return self.answers(inputs)


current = Fake()


@contextmanager
def load(artifact, signature, device, options):
    if current.fault:
        raise current.fault
    current.loaded = (artifact, device, dict(options))
    try:
        yield current
    finally:
        current.closed = True
