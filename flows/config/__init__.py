"""Settings of a release: one pydantic model behind `release.toml`, the flow's form and the command line's flags.

`settings` is that model, `policy` its section on what the gate demands, `release_toml` reads the file. `input_files`
names the files that settings refer to, `model_folder` the models of a folder and the releases they become.
"""
