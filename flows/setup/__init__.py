"""Brings what pip cannot bring: `paritygate setup`, which `make setup` calls too.

* `steps`: what a step is, all of them in order, and `complete()`, which does those that this installation needs.
* `browser_packages`, `chromium`, `converter`, `prefect_database`: one step each.
"""
