"""Maps of one camera body, pixel by pixel: dark shading, photo response, hot and telegraph pixels."""
