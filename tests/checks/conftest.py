"""Programs are run by a test, and not collected."""

collect_ignore_glob = ['programs/*']
