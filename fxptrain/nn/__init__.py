"""Floor 2, what a layer is: stages with formats and parameters, the model, the training step."""
