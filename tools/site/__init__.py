"""What the pages show: the gallery, pictures, links."""
