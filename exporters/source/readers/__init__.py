"""Readers: one module for each form in which a model is stored. Standard library and h5py only.

`detection` tells which form a path is and opens it as a stored model (`stored_model`):

* `keras_archive`, the `.keras` file (through `zip_archive`, `zip_records`, `not_a_zip`);
* `h5_model`, the older HDF5 file (through `hdf5`, `hdf5_weights`);
* `saved_model`, a folder that Keras wrote (through `protobuf`, `checkpoint`);
* `weights_with_architecture`: weights whose architecture comes in a file or a function of its own (`model_json`).
"""
