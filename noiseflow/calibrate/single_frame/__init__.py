"""One picture of anything: its gain and noise with error bars, and when it cannot say."""
