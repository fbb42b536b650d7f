"""`report.html`: the whole release on one page that needs no network, and two releases side by side in the same form.

* `worst`: the samples on which artifacts lie furthest from the reference, from the evidence; `picture`: as images.
* `page`: templates to HTML, `render(manifest, worst=...)`. Everything from a model is escaped; the page's own policy
  lets it load nothing and run our two scripts alone, by their digests.
* `report.html.j2`, `compare.html.j2`, `style.css`, `charts.js`: the page. Its tables hold every number, and D3 draws
  the charts from them: `d3.min.js`, some of its modules, is committed, so that a report needs nothing installed and
  costs a release no time. matplotlib would have cost 2 s of processor time a release and 75 MB (measured).
"""

from validators.report.html.page import render, render_pair
from validators.report.html.worst_samples import worst_samples

__all__ = ["render", "render_pair", "worst_samples"]
