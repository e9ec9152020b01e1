"""The report as one HTML page, which needs no network: `libperf report FILE --html out.html`.

Drawn by Bokeh, which comes with `pip install 'libperf[html]'`; its JavaScript is copied out of the installed package
into the page.
"""

from .page import find_library, write_html

__all__ = ["find_library", "write_html"]
