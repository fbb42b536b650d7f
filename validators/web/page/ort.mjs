// ONNX models; see `page.mjs` for the two functions and `validators/runtimes/ort_web.py` for the other end.

import { checked, described, loss, requireAdapter, unlessLost } from './webgpu.mjs';

// What pages load for either provider. The WebGPU builds lack most kernels for float64 and text (onnxruntime#27371), so the
// CPU cell runs the whole one; of the WebGPU builds JSPI's is the smallest.
const DIST = 'node_modules/onnxruntime-web/dist';
const BUNDLES = { wasm: `${DIST}/ort.wasm.bundle.min.mjs`, webgpu: `${DIST}/ort.jspi.bundle.min.mjs` };
const VERBOSE = 0; // the only level at which ORT says which provider a node went to
const HEAD = /^(?:\x1b\[[\d;]*m)?[-\d]+ [:.\d]+ \[([VIWEF]):onnxruntime:.*?\] /;

let ort;
let session;
let device;
let lost;
let listed; // provider whose nodes ORT is listing
const refused = {}; // name of a node that WebGPU has no kernel for -> its operator
const onCpu = {}; // operator -> how many nodes of it the CPU got
let programs = 0; // compute shaders that the last call started

function count(operator) {
  onCpu[operator] = (onCpu[operator] ?? 0) + 1;
}

// What ORT says of its own work reaches a page through the console alone. True for what only we asked for.
function hear(text) {
  const level = HEAD.exec(text)?.[1];
  if (level !== 'V' && level !== 'I') return false;
  if (text.includes('Starting program ')) programs += 1;
  const without = /kernel not found in registries for Op type: (\w+) node name: (.*)/.exec(text);
  if (without) refused[without[2]] = without[1];
  const told = / VerifyEachNodeIsAssignedToAnEp\]\s+(?:(All nodes|Node\(s\)) placed on \[(\w+)\]|(\w+) \()/.exec(text);
  if (told?.[2]) listed = told[2];
  if (listed !== 'CPUExecutionProvider' || !told) return true;
  if (told[3]) count(told[3]);
  if (told[1] === 'All nodes') Object.values(refused).forEach(count); // ORT lists them only where there are two providers
  return true;
}

// ORT asks for a device itself and shows it when the session stands; one that is lost on the way would go unnamed.
function askedDevice() {
  const { requestDevice } = GPUAdapter.prototype;
  return new Promise((resolve) => {
    GPUAdapter.prototype.requestDevice = async function ask(...how) {
      const given = await requestDevice.apply(this, how);
      resolve(given);
      return given;
    };
  });
}

// Rejects when a device is lost by accident. A session that fails destroys its own, which would hide why it failed.
function accident(asked) {
  const lostOnTheWay = asked.then(async (given) => {
    const { reason } = await given.lost;
    return reason === 'destroyed' ? new Promise(() => {}) : loss(given);
  });
  lostOnTheWay.catch(() => {}); // later than the session, it is the next call that says so
  return lostOnTheWay;
}

function facts() {
  return {
    version: ort.env.versions.web,
    threads: ort.env.wasm.numThreads,
    adapter: device ? described(device.adapterInfo) : null,
    half: Boolean(device?.features.has('shader-f16')),
    on_cpu: onCpu,
    programs,
  };
}

export async function load({ provider: name, external }, base) {
  const gpu = name === 'webgpu';
  if (gpu) await requireAdapter();
  ort = await import(new URL(BUNDLES[name], base));
  const tell = console.error;
  console.error = (...words) => hear(String(words[0])) || tell(...words);
  const create = () => ort.InferenceSession.create(new URL('artifact/model.onnx', base).href, {
    executionProviders: [name],
    externalData: external.split('\n').filter(Boolean).map((path) => ({ path, data: new URL(`artifact/${path}`, base).href })),
    ...(gpu ? { logSeverityLevel: VERBOSE } : {}),
  });
  if (gpu) {
    session = await unlessLost(accident(askedDevice()), create);
    device = await ort.env.webgpu.device;
    lost = device && loss(device);
  } else {
    session = await create();
  }
  return facts();
}

export async function infer(inputs) {
  const feeds = {};
  for (const { name, dtype, shape, data } of inputs) feeds[name] = new ort.Tensor(dtype, data, shape);
  programs = 0;
  const run = () => session.run(feeds);
  const results = await (device ? checked(device, lost, run) : run());
  const outputs = Object.entries(results).map(([name, { type, dims, data }]) => ({ name, dtype: type, shape: dims, data }));
  return { outputs, facts: facts() };
}
