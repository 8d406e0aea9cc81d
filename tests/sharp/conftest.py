"""The programs are run by the test, not collected: most of them end in an error."""

collect_ignore_glob = ['[0-9]*.py']
