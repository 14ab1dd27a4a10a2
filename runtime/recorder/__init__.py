"""What was received, on disk: raw signal as WFDB records and the events beside them, whatever happens to the process.

`record` is one record, `folder` the records in a directory, `recorder` the thread that writes them.
"""
