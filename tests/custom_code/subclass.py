"""Models that are classes of their own."""

import keras
from keras import layers, ops


class CIFAR10Model(keras.Model):
    """Two convolutions and two dense layers."""

    def __init__(self, **options):
        super().__init__(**options)
        self.conv1 = layers.Conv2D(32, 3, activation="relu")
        self.conv2 = layers.Conv2D(64, 3, activation="relu")
        self.pool = layers.MaxPooling2D()
        self.flatten = layers.Flatten()
        self.dense1 = layers.Dense(128, activation="relu")
        self.output_layer = layers.Dense(10, activation="softmax")

    def call(self, inputs):
        x = self.pool(self.conv2(self.pool(self.conv1(inputs))))
        return self.output_layer(self.dense1(self.flatten(x)))


class RecommenderNet(keras.Model):
    """How well a user and a place fit: the product of their embeddings and two biases."""

    def __init__(self, num_users, num_place, embedding_size, **options):
        super().__init__(**options)
        self.sizes = {"num_users": num_users, "num_place": num_place, "embedding_size": embedding_size}
        self.user_embedding = layers.Embedding(num_users, embedding_size)
        self.user_bias = layers.Embedding(num_users, 1)
        self.place_embedding = layers.Embedding(num_place, embedding_size)
        self.place_bias = layers.Embedding(num_place, 1)

    def call(self, inputs):
        user, place = inputs[:, 0], inputs[:, 1]
        product = ops.sum(self.user_embedding(user) * self.place_embedding(place), axis=1, keepdims=True)
        return ops.sigmoid(product + self.user_bias(user) + self.place_bias(place))

    def get_config(self):
        return self.sizes
