"""Encoder blocks of transformers: attention, then two dense layers, each added to what went in and normalised."""

import keras
from keras import layers, ops


class TransformerBlock(layers.Layer):
    """With heads that share the width among them."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.0, **options):
        super().__init__(**options)
        self.sizes = {"d_model": d_model, "num_heads": num_heads, "d_ff": d_ff, "dropout": dropout}
        self.attn = layers.MultiHeadAttention(num_heads, d_model // num_heads, dropout=dropout)
        self.ff = keras.Sequential([layers.Dense(d_ff, activation="relu"), layers.Dense(d_model)])
        self.norm1 = layers.LayerNormalization(epsilon=1e-6)
        self.norm2 = layers.LayerNormalization(epsilon=1e-6)
        self.drop1 = layers.Dropout(dropout)
        self.drop2 = layers.Dropout(dropout)

    def call(self, inputs, training=None):
        attended = self.attn(inputs, inputs, training=training)
        first = self.norm1(inputs + self.drop1(attended, training=training))
        return self.norm2(first + self.drop2(self.ff(first), training=training))

    def get_config(self):
        return {**super().get_config(), **self.sizes}


class TransformerEncoder(layers.Layer):
    """With heads of the whole width, and padding left out of the attention."""

    def __init__(self, embed_dim, dense_dim, num_heads, **options):
        super().__init__(**options)
        self.sizes = {"embed_dim": embed_dim, "dense_dim": dense_dim, "num_heads": num_heads}
        self.attention = layers.MultiHeadAttention(num_heads, embed_dim)
        self.dense_proj = keras.Sequential([layers.Dense(dense_dim, activation="relu"), layers.Dense(embed_dim)])
        self.layernorm_1 = layers.LayerNormalization()
        self.layernorm_2 = layers.LayerNormalization()

    def call(self, inputs, mask=None):
        seen = None if mask is None else ops.expand_dims(mask, 1)
        first = self.layernorm_1(inputs + self.attention(inputs, inputs, attention_mask=seen))
        return self.layernorm_2(first + self.dense_proj(first))

    def get_config(self):
        return {**super().get_config(), **self.sizes}
