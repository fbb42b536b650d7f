"""Numbers that stand for categories."""

from keras import layers, ops


class CastAndClipLayer(layers.Layer):
    """Whole numbers of known districts."""

    def __init__(self, num_districts, **options):
        super().__init__(**options)
        self.num_districts = num_districts

    def call(self, inputs):
        return ops.clip(ops.cast(inputs, "int32"), 0, self.num_districts - 1)

    def get_config(self):
        return {**super().get_config(), "num_districts": self.num_districts}
