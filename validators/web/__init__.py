"""Runs web artifacts in a real headless Chromium.

In: an artifact folder and input tensors. Out: the tensors the page computed. The parts, in the order they are used:

* `browser`: finds Chromium and keeps one of them running for all the browser cells of a release;
* `browser_process`: the process in between, which makes sure that nothing of that Chromium is left;
* `gpu_adapters`: the GPU that Chromium is given, a card or SwiftShader, and the one that a page reports;
* `devtools`: a cell's own tab in it, over the DevTools protocol, in a context that ends with the cell's process;
* `page_server`: serves the page its scripts, the artifact and the tensors, over loopback only;
* `page_session`: the three together, with one verb to load an artifact and one to infer;
* `page/`: what runs inside the tab. A further web runtime is one module there and one in `validators/runtimes`.

DevTools is used directly: compared with Playwright, a cell spends 0.4 s instead of 1.6 s before its page is ready, and
the client takes 2 MB on disk instead of 168 MB.
"""
