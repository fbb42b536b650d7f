// LiteRT.js; see `page.mjs` for the two functions and `validators/runtimes/litertjs.py` for the other end.

import { checked, described, loss, requireAdapter } from './webgpu.mjs';

const PACKAGES = 'node_modules/@litertjs/';
// Of the package's four builds the one that serves both accelerators: the others stop at a graph that the GPU takes in
// part (`Asyncify is not defined`).
const BUILD = 'core/wasm/litert_wasm_jspi_internal.js';
const SIGNATURE = 'serving_default';
const PRECISION = 'fp32'; // unasked, LiteRT computes in halves where the card can
const LEVELS = ['log', 'info', 'warn', 'error'];
const COMPLAINT = /^(?:WARNING|ERROR|E\d{4})/;

const log = [];
let litert;
let model;
let device = null;
let lost;

// The package imports another by its bare name, which no browser resolves, and the page's policy forbids the inline
// script that an import map is.
async function importPackage(packages) {
  const reply = await fetch(new URL('core/dist/index.js', packages));
  if (!reply.ok) throw new Error(`@litertjs/core: the server answered ${reply.status}`);
  const address = JSON.stringify(new URL('wasm-utils/dist/index.js', packages));
  const text = (await reply.text()).replaceAll('"@litertjs/wasm-utils"', address);
  const blob = URL.createObjectURL(new Blob([text], { type: 'text/javascript' }));
  return import(blob).finally(() => URL.revokeObjectURL(blob));
}

// What LiteRT says of its own work reaches a page through the console alone, whose functions it takes when it starts.
async function overhear(work) {
  const own = LEVELS.map((level) => console[level]);
  let heard = true;
  LEVELS.forEach((level, index) => {
    console[level] = (...words) => {
      if (heard) log.push(...String(words[0]).split('\n'));
      own[index](...words);
    };
  });
  try {
    return await work();
  } catch (error) {
    error.message = [error.message, ...log.filter((line) => COMPLAINT.test(line)).slice(-5)].join('; ');
    throw error;
  } finally {
    heard = false;
    LEVELS.forEach((level, index) => { console[level] = own[index]; });
  }
}

function facts() {
  return {
    accelerator: model.options.accelerator,
    fully: model.isFullyAccelerated,
    precision: model.options.gpuOptions.precision ?? null,
    threads: litert.getGlobalLiteRt().liteRtWasm.getThreadCount(),
    adapter: device && described(device.adapterInfo),
    half: Boolean(device?.features.has('shader-f16')),
  };
}

async function compile(accelerator, base) {
  const gpu = accelerator === 'webgpu';
  if (gpu) await requireAdapter();
  const packages = new URL(PACKAGES, base);
  litert = await importPackage(packages);
  await litert.loadLiteRt(new URL(BUILD, packages).href);
  device = gpu ? litert.getWebGpuDevice() : null;
  lost = device && loss(device);
  const settings = { accelerator, ...(gpu ? { gpuOptions: { precision: PRECISION } } : {}) };
  const work = () => litert.loadAndCompile(new URL('artifact/model.tflite', base).href, settings);
  model = await (device ? checked(device, lost, work) : work());
}

export async function load({ accelerator }, base) {
  await overhear(() => compile(accelerator, base));
  return { ...facts(), log };
}

async function read(name, tensor) {
  const { dtype, layout } = tensor.type;
  const output = { name, dtype, shape: [...layout.dimensions], data: await tensor.data() };
  tensor.delete();
  return output;
}

async function run(inputs) {
  const feeds = {};
  for (const { name, shape, data } of inputs) feeds[name] = new litert.Tensor(data, shape);
  const results = await model.run(SIGNATURE, feeds);
  Object.values(feeds).forEach((tensor) => tensor.delete());
  return Promise.all(Object.entries(results).map(([name, tensor]) => read(name, tensor)));
}

export async function infer(inputs) {
  const outputs = await (device ? checked(device, lost, () => run(inputs)) : run(inputs));
  return { outputs, facts: facts() };
}
