"""Runs in other people's tools: TensorBoard, MLflow, Weights & Biases."""
