"""One output format a file: `render(report) -> str`. The folder is the list of formats."""
