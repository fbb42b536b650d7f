"""TODO tour of validators/diagnosis/inner_tensors."""
