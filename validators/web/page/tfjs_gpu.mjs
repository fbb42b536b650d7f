// Proof that TF.js ran on the GPU: what lets it leave the GPU is switched off, what it did there is counted, and what the
// GPU reports is heard. `gpu[backend]` has three functions, called in this order: `require` fails where the page has no such
// GPU, `pin` sets TF.js's flags before it starts, `watch` is told when it has.
/* global tf */

import { checked, described, DeviceLost, loss, requireAdapter, unlessLost } from './webgpu.mjs';

// Operators whose result decides a shape: TF.js's executor computes them itself, on values it reads back.
// Source: tfjs-converter/src/operations/executors/dynamic_executor.ts
const EXECUTOR_OPS = new Set(['Where', 'ListDiff', ...[2, 3, 4, 5].map((version) => `NonMaxSuppressionV${version}`)]);
const SHAPE_SIZE = 1000; // elements; no tensor that holds a shape or an index has more

function pinned(values) {
  for (const [flag, value] of Object.entries(values)) tf.env().set(flag, value);
}

function flagsNow(names) {
  return Object.fromEntries(names.map((name) => [name, String(tf.env().get(name))]));
}

// Watches a backend compute: where its programs and its kernels ran.
//
// TF.js computes small tensors on the CPU, whatever they hold. Here it may do so only with integers made of shapes and
// constants, as in the size of a reshape: the page needs those, and would have to read them back from the GPU at once. They
// are told apart from kernels that the CPU computed on the model's own data. A kernel ran on the CPU when it leaves a new
// tensor in the page's memory; a reshape gives its input's own data back and is neither.
class Watch {
  #onCpu;

  #data = new WeakSet(); // identities of tensors that the model's inputs went into

  #counts;

  // `program` is the backend's method that starts a program; `onCpu` says whether data with an identity is in the page.
  constructor(backend, program, onCpu) {
    this.#onCpu = onCpu;
    this.reset();
    const runProgram = backend[program];
    backend[program] = (...args) => {
      this.#counts.programs += 1;
      return runProgram.apply(backend, args);
    };
    backend.shouldExecuteOnCPU = (inputs) => inputs.every((tensor) => (
      tensor.dtype === 'int32' && tf.util.sizeFromShape(tensor.shape) <= SHAPE_SIZE && this.#fixed(tensor)));
    for (const kernel of tf.getKernelsForBackend(tf.getBackend())) this.#wrap(kernel);
  }

  reset() {
    this.#counts = { programs: 0, cpu: {}, shapes: {} };
  }

  feed({ dataId }) {
    this.#data.add(dataId);
  }

  // What ran since `reset`. Operators of the executor have no kernel: they are counted in the graph.
  counts({ artifacts }) {
    const cpu = { ...this.#counts.cpu };
    for (const { op } of artifacts.modelTopology.node) if (EXECUTOR_OPS.has(op)) cpu[op] = (cpu[op] ?? 0) + 1;
    return { ...this.#counts, cpu };
  }

  #fixed({ dataId }) {
    return this.#onCpu(dataId) && !this.#data.has(dataId);
  }

  #wrap(kernel) {
    const { kernelName, kernelFunc } = kernel;
    kernel.kernelFunc = (call) => {
      const inputs = Object.values(call.inputs).flat().filter(Boolean);
      const fixed = inputs.every((tensor) => this.#fixed(tensor)); // asked before the kernel: it may upload them
      const results = kernelFunc(call);
      const given = new Set(inputs.map(({ dataId }) => dataId));
      const fresh = [results].flat().map(({ dataId }) => dataId).filter((dataId) => !given.has(dataId));
      if (!fixed) fresh.forEach((dataId) => this.#data.add(dataId));
      if (fresh.some((dataId) => this.#onCpu(dataId))) {
        const tally = fixed ? this.#counts.shapes : this.#counts.cpu;
        tally[kernelName] = (tally[kernelName] ?? 0) + 1;
      }
      return results;
    };
  }
}

const WEBGL = {
  WEBGL_CPU_FORWARD: false, // moves operators on up to 128 elements to the CPU
  TOPK_LAST_DIM_CPU_HANDOFF_SIZE_THRESHOLD: 0, // TopK along fewer elements would go to the CPU
  TOPK_K_CPU_HANDOFF_THRESHOLD: Number.MAX_SAFE_INTEGER, // and so would a larger k
  WEBGL_FORCE_F16_TEXTURES: false,
  SOFTWARE_WEBGL_ENABLED: true, // otherwise TF.js refuses the SwiftShader that stands in for a card without a driver
};
const WEBGL_READ = [...Object.keys(WEBGL), 'WEBGL_VERSION', 'WEBGL_RENDER_FLOAT32_ENABLED'];

const webgl = {
  async require() {
    if (!new OffscreenCanvas(1, 1).getContext('webgl2')) throw new Error('no WebGL2 context: getContext gave null');
  },
  pin: () => pinned(WEBGL),
  watch() {
    const backend = tf.backend();
    const { gl } = backend.gpgpu;
    const watch = new Watch(backend, 'runWebGLProgram', (id) => {
      const { values, texture } = backend.texData.get(id);
      return values != null && texture == null && values.length > 0;
    });
    const lost = new Promise((_, reject) => {
      const onLost = ({ statusMessage }) => reject(new DeviceLost(`the WebGL context was lost: ${statusMessage || 'no reason given'}`));
      gl.canvas.addEventListener('webglcontextlost', onLost);
    });
    lost.catch(() => {}); // where nobody waits for it, nobody was computing
    const { UNMASKED_RENDERER_WEBGL, UNMASKED_VENDOR_WEBGL } = gl.getExtension('WEBGL_debug_renderer_info');
    const adapter = described({
      vendor: gl.getParameter(UNMASKED_VENDOR_WEBGL),
      description: gl.getParameter(UNMASKED_RENDERER_WEBGL),
    });
    return {
      feed: (tensor) => watch.feed(tensor),
      facts: (model) => ({
        adapter,
        flags: flagsNow(WEBGL_READ),
        precision: tf.env().getBool('WEBGL_RENDER_FLOAT32_ENABLED') ? 'float32' : 'half',
        ...watch.counts(model),
      }),
      async checked(work) {
        watch.reset();
        const result = await unlessLost(lost, work);
        const error = gl.getError();
        if (error === gl.CONTEXT_LOST_WEBGL) await lost;
        if (error !== gl.NO_ERROR) throw new Error(`WebGL reports error 0x${error.toString(16)} after the call`);
        return result;
      },
    };
  },
};

const WEBGPU = { WEBGPU_CPU_FORWARD: false }; // moves operators on up to 1000 elements to the CPU

const webgpu = {
  require: requireAdapter,
  pin: () => pinned(WEBGPU),
  watch() {
    const backend = tf.backend();
    const lost = loss(backend.device);
    const watch = new Watch(backend, 'runWebGPUProgram', (id) => {
      const { values, resource } = backend.tensorMap.get(id);
      return values != null && resource == null && values.length > 0;
    });
    return {
      feed: (tensor) => watch.feed(tensor),
      facts: (model) => ({
        adapter: described(backend.device.adapterInfo),
        flags: flagsNow(Object.keys(WEBGPU)),
        ...watch.counts(model),
      }),
      checked(work) {
        watch.reset();
        return checked(backend.device, lost, work);
      },
    };
  },
};

export const gpu = { webgl, webgpu };
