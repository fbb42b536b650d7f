"""What runs paritygate elsewhere: container files, a GitHub action, a GitLab template and their annotations."""
