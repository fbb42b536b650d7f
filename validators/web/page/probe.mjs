// Which GPUs a page is given here, for `paritygate doctor`; the other end is `validators/runtimes/gpu_probe.py`.

import { anyAdapter, described } from './webgpu.mjs';

function webgl() {
  const context = new OffscreenCanvas(1, 1).getContext('webgl2');
  if (!context) return null;
  const names = context.getExtension('WEBGL_debug_renderer_info');
  return described({ description: names ? context.getParameter(names.UNMASKED_RENDERER_WEBGL) : '' });
}

export async function load() {
  const adapter = await anyAdapter();
  return { WebGL: webgl(), WebGPU: adapter ? described(adapter.info) : null };
}
