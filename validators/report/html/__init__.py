"""Writes `report.html`: a release on one page that needs no network, and the comparison of two in the same form.

* `worst_samples`: the samples on which artifacts differ most from the reference; `sample_image`: them as images.
* `page`: fills the templates. Everything from a model is escaped; the page's own policy lets it load nothing and run
  only our two scripts, by their digests.
* `report.html.j2`, `compare.html.j2`, `style.css`, `charts.js`: the page. Its tables hold every number, and D3 draws
  the charts from them: `d3.min.js`, some of its modules, is committed, so that a report needs nothing installed and
  costs a release no time. matplotlib would have cost 2 s of processor time a release and 75 MB (measured).
* `distance_chart`: the distances as one SVG, for pages that run no scripts.
"""

from validators.report.html.page import render, render_comparison
from validators.report.html.worst_samples import worst_samples

__all__ = ["render", "render_comparison", "worst_samples"]
