"""Runs paritygate in CI and containers: container files, a GitHub action, a GitLab template, their annotations."""
