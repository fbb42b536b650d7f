"""What tells a transformer where in a sequence a token or a step stands."""

import keras
from keras import ops


class PositionalEmbedding(keras.layers.Layer):
    """The embedding of each token plus that of its place."""

    def __init__(self, sequence_length, input_dim, output_dim, **options):
        super().__init__(**options)
        self.sizes = {"sequence_length": sequence_length, "input_dim": input_dim, "output_dim": output_dim}
        self.token_embeddings = keras.layers.Embedding(input_dim, output_dim)
        self.position_embeddings = keras.layers.Embedding(sequence_length, output_dim)

    def call(self, inputs):
        places = ops.arange(self.sizes["sequence_length"])
        return self.token_embeddings(inputs) + self.position_embeddings(places)

    def compute_mask(self, inputs, mask=None):
        del mask
        return ops.not_equal(inputs, 0)

    def get_config(self):
        return {**super().get_config(), **self.sizes}


class PositionalEncoding(keras.layers.Layer):
    """Adds a learned vector to every step."""

    def __init__(self, seq_len, d_model, **options):
        super().__init__(**options)
        self.seq_len = seq_len
        self.d_model = d_model

    def build(self, shape):
        self.places = self.add_weight(shape=(1, self.seq_len, self.d_model), initializer="random_normal", name="places")
        super().build(shape)

    def call(self, inputs):
        return inputs + self.places

    def get_config(self):
        return {**super().get_config(), "seq_len": self.seq_len, "d_model": self.d_model}
