"""What evaluate.py does with a trained model: a module per task, with a public function `run`."""
