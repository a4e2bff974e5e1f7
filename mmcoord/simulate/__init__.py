"""Practice nights made by the project itself."""
