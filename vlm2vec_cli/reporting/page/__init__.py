"""The parts of the HTML page: markup, charts, tables, gallery, style and script."""
