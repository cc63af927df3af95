"""What is done with a dataset or a trained model: previews, predictions, a run trained once more."""
