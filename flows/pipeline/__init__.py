"""Runs the pipeline: the stages of one release and the data they pass to each other.

`run` owns a release while its stages run and writes the DAG down once; `stages` runs it on threads. `preconditions`
refuses before the first stage what cannot run, `stage_results` holds what the stages return. `exports` and `cells`
start the jobs, `verdict` judges and writes the release, `workspace` puts it together, `resume` finds what a killed run
had finished, `baseline` compares with an earlier release. `verify` runs the cells of a finished release again, as far
as `selection` says.
"""
