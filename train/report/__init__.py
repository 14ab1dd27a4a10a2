"""Reports on predictions: Markdown, JSON and plots."""
