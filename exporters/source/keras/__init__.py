"""Loads an admitted model with Keras, under canonical tensor names. Runs inside a worker process only.

`loading.load` picks the reader, `keras3` or `keras2`; both return a `model.SourceModel`. `keras3_weights`,
`keras2_weights` and `weight_restoring` assign stored weights to their variables. `user_code` imports the user's own
classes, `custom_objects` finds every one that a file names. `float64` builds the same model in float64.
"""
