"""The configuration: TOML, then environment, checked key by key.

Read with tomllib and msgspec alone, so that a refused second instance costs a tenth of a second.
Every key is also an environment variable ``WAGUARD_<SECTION>__<KEY>``, which beats the file; a
list there is JSON. Relative paths are relative to the file's folder, without a file to the working
folder. Where the file is found: ``host/configuration_file.py``.
"""
