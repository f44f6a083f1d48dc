"""Charts that the server draws as SVG, so pages show them without a script."""
