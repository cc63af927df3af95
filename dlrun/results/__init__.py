"""Uses of a dataset or a trained model: previews of data, predictions for new inputs, reproducing a run."""
