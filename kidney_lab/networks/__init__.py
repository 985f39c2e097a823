"""Network architectures, one per file: tensors in, tensors out, free of Lightning, losses and paths."""
