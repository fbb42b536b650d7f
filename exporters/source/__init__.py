"""A stored model: read, admitted and loaded. The files come from anywhere, so nothing in them is believed.

* `readers`: one module for each form a model is stored in; each gives a `StoredModel` without importing a framework.
* `admission`: decides in a bounded child process whether a file may reach Keras.
* `keras`: loads what was admitted, in the Keras that it was written by.
* `facts`, `keras_version`, `strict_json`, `untrusted_files`, `printable`: what these rooms share.
"""
