"""The pattern of one camera body, pixel by pixel: dark shading, sensitivity, hot and telegraph pixels."""
