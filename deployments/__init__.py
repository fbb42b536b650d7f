"""What is deployed to a Prefect server, and what stands there before it."""
