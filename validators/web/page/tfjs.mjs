// TF.js graph models; see `page.mjs` for the two functions and `validators/runtimes/tfjs.py` for the other end.
/* global tf */

import { gpu } from './tfjs_gpu.mjs';

const BUNDLES = {
  cpu: ['backend-cpu'],
  wasm: ['backend-wasm'],
  webgl: ['backend-webgl'],
  webgpu: ['backend-webgpu'],
};
let model;
let watched; // what `gpu` returns; undefined on the processor
let call = 'execute';

// The packages' prebuilt bundles are classic scripts that fill the global `tf`, each needing the one before it:
// `async: false` fetches them side by side and runs them in order.
function loadScript(src) {
  return new Promise((resolve, reject) => {
    const onerror = () => reject(new Error(`${src.pathname} could not be loaded`));
    document.head.append(Object.assign(document.createElement('script'), { src, async: false, onload: resolve, onerror }));
  });
}

async function facts() {
  const wasm = tf.getBackend() === 'wasm';
  return {
    version: tf.version_core,
    backend: tf.getBackend(),
    simd: wasm && await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT'),
    threads: wasm && await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT') ? tf.wasm.getThreadsCount() : 1,
    call,
    ...(watched && { gpu: watched.facts(model) }),
  };
}

export async function load({ backend }, base) {
  if (!(backend in BUNDLES)) throw new Error(`no backend '${backend}', valid are ${Object.keys(BUNDLES).join(', ')}`);
  const onGpu = gpu[backend];
  await Promise.all([onGpu?.require(), ...['core', 'converter', ...BUNDLES[backend]].map((name) => (
    loadScript(new URL(`node_modules/@tensorflow/tfjs-${name}/dist/tf-${name}.min.js`, base))))]);
  if (backend === 'wasm') tf.wasm.setWasmPaths(new URL('node_modules/@tensorflow/tfjs-backend-wasm/dist/', base).href);
  onGpu?.pin();
  if (!await tf.setBackend(backend)) throw new Error(`the backend '${backend}' did not start`);
  watched = onGpu?.watch();
  model = await tf.loadGraphModel(new URL('artifact/model.json', base).href);
  return facts();
}

// TF.js itself decides which call a graph needs and says so before it runs anything.
async function run(feeds, outputs) {
  if (call === 'execute') {
    try {
      return model.execute(feeds, outputs);
    } catch (error) {
      if (!error.message.includes('model.executeAsync() instead')) throw error;
      call = 'executeAsync';
    }
  }
  return model.executeAsync(feeds, outputs);
}

async function compute(inputs, outputs) {
  const feeds = {};
  for (const { name, dtype, shape, data } of inputs) {
    feeds[name] = tf.tensor(data, shape, dtype);
    watched?.feed(feeds[name]);
  }
  const results = [await run(feeds, outputs)].flat();
  const read = results.map(async (tensor, index) => (
    { name: outputs[index], dtype: tensor.dtype, shape: tensor.shape, data: await tensor.data() }));
  const tensors = await Promise.all(read);
  // An output that is a constant of the graph is the weight itself, and disposing of it would break the next run.
  const weights = new Set(Object.values(model.weights).flat().map((weight) => weight.id));
  tf.dispose([...results.filter((tensor) => !weights.has(tensor.id)), feeds]);
  return tensors;
}

export async function infer(inputs, outputs) {
  const work = () => compute(inputs, outputs);
  const tensors = await (watched ? watched.checked(work) : work());
  return { outputs: tensors, facts: await facts() };
}
