"""Installs what pip cannot install: `paritygate setup`, which `make setup` calls too.

* `step`: defines a step and its result.
* `steps`: lists the steps in order; `complete()` does those that this installation needs.
* `browser_packages`, `chromium`, `converter`, `prefect_database`: one step each.
"""
