"""Time and memory of one piece of work each: augmentation, calibration, demo, distillation, evaluation, frames."""
