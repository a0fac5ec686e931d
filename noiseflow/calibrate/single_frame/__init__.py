"""Gain and noise from one picture of any scene, with error bars, or the reason why it cannot be measured."""
