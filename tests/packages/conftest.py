"""The programs here need libraries that the tests do not install; ``__main__.py`` runs them."""

collect_ignore_glob = ['*.py']
