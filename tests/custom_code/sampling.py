"""Parts of variational autoencoders, in either Keras. They draw while training and give the mean at inference."""

import keras
import tensorflow as tf


def sampling(inputs, training=None):
    """A draw from the normal distribution with this mean and logarithm of the variance."""
    mean, log_variance = inputs
    if not training:
        return mean
    return mean + tf.exp(0.5 * log_variance) * tf.random.normal(tf.shape(mean))


class Sampling(keras.layers.Layer):
    """The same as a layer."""

    def call(self, inputs, training=None):
        return sampling(inputs, training)


class VAELossLayer(keras.layers.Layer):
    """Adds the loss of an autoencoder and hands on what it decoded."""

    def call(self, inputs):
        original, decoded, mean, log_variance = inputs
        distance = tf.reduce_mean(tf.reduce_sum(tf.square(original - decoded), axis=-1))
        divergence = -0.5 * tf.reduce_mean(1 + log_variance - tf.square(mean) - tf.exp(log_variance))
        self.add_loss(distance + divergence)
        return decoded


class VAE(keras.Model):
    """An encoder that gives mean, logarithm of the variance and a draw, and a decoder of the draw."""

    def __init__(self, encoder, decoder, beta=1.0, **options):
        super().__init__(**options)
        self.encoder = encoder
        self.decoder = decoder
        self.beta = beta
        self.total_loss_tracker = keras.metrics.Mean(name="total_loss")
        self.reconstruction_loss_tracker = keras.metrics.Mean(name="reconstruction_loss")

    def call(self, inputs, training=None):
        _, _, drawn = self.encoder(inputs, training=training)
        return self.decoder(drawn, training=training)

    def get_config(self):
        parts = {"encoder": self.encoder, "decoder": self.decoder}
        saved = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**saved, "beta": self.beta}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in ("encoder", "decoder")
        }
        return cls(**{**config, **parts})
