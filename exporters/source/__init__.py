"""Reads, admits and loads a stored model. The files come from anywhere, so nothing in them is trusted.

* `readers`: one module for each form a model is stored in; each opens a `StoredModel` without importing a framework.
* `admission`: decides in a bounded child process whether a file may reach Keras.
* `keras`: loads what was admitted, in the Keras that wrote it.
* `facts`, `keras_version`, `strict_json`, `untrusted_files`, `printable`: what these rooms share.
"""
