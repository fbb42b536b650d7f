"""Writes constructs of Keras and TensorFlow differently while a model is traced for a target.

One module for each construct, each removable once its upstream thread is closed. Most patch a function for the time of
the trace; `elu`, `grouped_convolution` and `strided_padding` change the traced graph for a single target.
"""
