// What every WebGPU runtime in a page shares: which adapter its device is on, and that nothing the device says is lost.
// WebGPU reports errors beside the calls that cause them, so a runtime that does not ask reads zeros and knows nothing.

const SCOPES = ['validation', 'out-of-memory', 'internal'];
const ASK_AGAIN = 4;
const ASK_AGAIN_MS = 500;
const TELL_MS = 250; // a call that fails because its device is gone may fail before the loss itself is told

// The error that `validators/web/devtools.py` knows by its name: the ground under the cell is gone, and whoever shared it lost it.
export class DeviceLost extends Error {
  name = 'DeviceLost';
}

// Facts of a GPUAdapterInfo, as `validators/web/gpu_adapters.py` takes them.
export function described({ vendor = '', architecture = '', device = '', description = '', isFallbackAdapter = false }) {
  return { vendor, architecture, device, description, fallback: isFallbackAdapter };
}

// The adapter that the page can have, null without one. Of two cards the faster, for which TF.js and LiteRT.js ask as well.
// Whoever asks while the GPU process still looks at its card is told that there is none, so a refusal is asked again.
export async function anyAdapter() {
  for (let again = ASK_AGAIN; navigator.gpu; again -= 1) {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (adapter || !again) return adapter;
    await new Promise((resolve) => { setTimeout(resolve, ASK_AGAIN_MS); });
  }
  return null;
}

// Throws unless the page can have an adapter; `validators/web/gpu_adapters.py` knows the words.
export async function requireAdapter() {
  const adapter = await anyAdapter();
  if (!adapter) throw new Error(`no WebGPU adapter: ${navigator.gpu ? 'requestAdapter gave null' : 'navigator.gpu is undefined'}`);
  return adapter;
}

// Runs async work; fails when `lost` (a promise that never resolves) rejects before the work ends, or right after it failed.
export async function unlessLost(lost, work) {
  await Promise.race([lost, Promise.resolve()]); // called on a device that is known to be gone, a runtime may spin for ever
  try {
    return await Promise.race([work(), lost]);
  } catch (error) {
    return Promise.race([lost, new Promise((_, reject) => { setTimeout(reject, TELL_MS, error); })]);
  }
}

// A promise that rejects when the device is lost.
export function loss(device) {
  const lost = device.lost.then(({ reason, message }) => {
    throw new DeviceLost(`the WebGPU device was lost (${reason}): ${message}`);
  });
  lost.catch(() => {}); // where nobody waits for it, nobody was computing
  return lost;
}

// Runs async work on a device; fails with what the device reports meanwhile.
export async function checked(device, lost, work) {
  return unlessLost(lost, async () => {
    SCOPES.forEach((scope) => device.pushErrorScope(scope));
    const result = await work();
    const errors = (await Promise.all(SCOPES.map(() => device.popErrorScope()))).filter(Boolean);
    if (errors.length) throw new Error(`WebGPU reports: ${errors.map((error) => error.message).join('; ')}`);
    return result;
  });
}
