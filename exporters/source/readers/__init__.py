"""Opens a stored model: one module for each form. Uses the standard library and h5py only.

`detection` finds out which form a path has and opens it as a stored model (`stored_model`):

* `keras_archive`, the `.keras` file (through `zip_archive`, `zip_records`, `not_a_zip`);
* `h5_model`, the older HDF5 file (through `hdf5`, `hdf5_weights`);
* `saved_model`, a folder that Keras wrote (through `protobuf`, `checkpoint`);
* `weights_with_architecture`: weights whose architecture is in a separate file or function (`model_json`).
"""
