"""The console: the page on which persons see cases and decide them. `app.serve` runs it, beside the hub."""
