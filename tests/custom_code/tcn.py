"""A temporal convolutional network: blocks of dilated causal convolutions whose outputs are added up."""

from keras import layers, ops


class ResidualBlock(layers.Layer):
    """Two convolutions and a way around them. Gives (the sum, what the convolutions made)."""

    def __init__(self, dilation, settings, **options):
        super().__init__(**options)
        self.filters = settings["nb_filters"]
        for number in range(2):
            convolution = layers.Conv1D(
                self.filters, settings["kernel_size"], dilation_rate=dilation, padding=settings["padding"]
            )
            setattr(self, f"conv1D_{number}", convolution)
        self.activation = layers.Activation(settings["activation"])
        self.dropout = layers.SpatialDropout1D(settings["dropout_rate"])

    def build(self, shape):
        if shape[-1] != self.filters:
            self.matching_conv1D = layers.Conv1D(self.filters, 1)
        super().build(shape)

    def call(self, inputs, training=None):
        made = inputs
        for convolution in (self.conv1D_0, self.conv1D_1):
            made = self.dropout(self.activation(convolution(made)), training=training)
        around = self.matching_conv1D(inputs) if hasattr(self, "matching_conv1D") else inputs
        return self.activation(around + made), made


DEFAULTS = {
    "nb_filters": 64,
    "kernel_size": 3,
    "nb_stacks": 1,
    "dilations": [1, 2, 4, 8, 16, 32],
    "padding": "causal",
    "use_skip_connections": True,
    "dropout_rate": 0.0,
    "return_sequences": False,
    "activation": "relu",
    "kernel_initializer": "he_normal",
    "use_batch_norm": False,
    "use_layer_norm": False,
    "go_backwards": False,
    "return_state": False,
}


class TCN(layers.Layer):
    """One block for every dilation; the last step of their sum."""

    def __init__(self, **options):
        settings = {key: options.pop(key, default) for key, default in DEFAULTS.items()}
        super().__init__(**options)
        self.settings = settings
        dilations = settings["dilations"] * settings["nb_stacks"]
        self.names = [f"residual_block_{number}" for number in range(len(dilations))]
        for name, dilation in zip(self.names, dilations, strict=True):
            setattr(self, name, ResidualBlock(dilation, settings))

    def call(self, inputs, training=None):
        x, total = inputs, 0
        for name in self.names:
            x, made = getattr(self, name)(x, training=training)
            total = total + made
        x = total if self.settings["use_skip_connections"] else x
        return x if self.settings["return_sequences"] else ops.take(x, -1, axis=1)

    def get_config(self):
        return {**super().get_config(), **self.settings}
