"""Text, one character after another."""

import keras
from keras import ops


class OneStep(keras.Model):
    """What a language model makes of a text of characters: how likely each next one is."""

    def __init__(self, model, chars_from_id, ids_from_chars, temperature=1.0, **options):
        super().__init__(**options)
        self.model = model
        self.chars_from_id = chars_from_id
        self.ids_from_chars = ids_from_chars
        self.temperature = temperature

    def call(self, inputs):
        return ops.softmax(self.model(inputs) / self.temperature)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in ("model", "chars_from_id", "ids_from_chars")
        }
        return cls(**{**config, **parts})
