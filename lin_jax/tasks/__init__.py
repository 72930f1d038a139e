"""What a job asks of a model: loss, metrics and predictions."""
