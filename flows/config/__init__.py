"""Defines and reads the settings of a release.

One pydantic model is behind `release.toml`, the flow's form and the command line's flags. `settings` is that model,
`policy` its section on what the gate demands, `sections` the small ones. `release_toml` reads the file. `input_files`
finds the files that settings name, `model_folder` the models of a folder and the releases they become.
"""
