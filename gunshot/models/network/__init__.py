"""The fully convolutional network: its layers, its training, its int8 artifact; only here is TensorFlow imported."""
