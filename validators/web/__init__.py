"""Runs web artifacts in a real headless Chromium.

In: an artifact folder and input tensors. Out: the tensors the page computed. The parts, in the order they are used:

* `browser`: finds Chromium and keeps one of them running for all the browser cells of a release;
* `host`: the process in between, which sees to it that nothing of that Chromium is ever left;
* `adapters`: which GPU Chromium is given, a card or SwiftShader, and what a page says it got;
* `cdp`: a cell's own tab in it, over the DevTools protocol, in a context that vanishes with the cell's process;
* `server`: hands the page its scripts, the artifact and the tensors, over loopback only;
* `session`: the three together, with one verb to load an artifact and one to infer;
* `page/`: what runs inside the tab. A further web runtime is one module there and one in `validators/runtimes`.

DevTools is spoken directly: measured beside Playwright, a cell spends 0.4 s instead of 1.6 s before its page is ready,
and the client takes 2 MB on disk instead of 168 MB.
"""
