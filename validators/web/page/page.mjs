// The side of `validators/web/session.py` that runs in the tab: fetches input tensors, lets the runtime's module compute,
// posts the outputs back. A runtime's module (`NAME.mjs`) exports
//   load(options, base)      -> facts about itself
//   infer(inputs, outputs)   -> {outputs: [{name, dtype, shape, data}], facts}
// where an input is {name, dtype, shape, data}, and `base` is the address that `artifact/` and `node_modules/` are under.

// NumPy's name of a type -> how a page holds its bytes. float16 goes in as its raw bits; what comes out may as well be a
// Float16Array: only the bytes travel.
const TYPES = {
  float16: Uint16Array,
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
};
const base = new URL('../', location.href);
const module = import(`./${new URLSearchParams(location.search).get('module')}.mjs`);

async function fetchTensor({ name, dtype, shape, path }) {
  if (dtype !== 'string' && !(dtype in TYPES)) throw new Error(`input ${name}: a page holds no ${dtype}`);
  const reply = await fetch(new URL(path, base));
  if (!reply.ok) throw new Error(`input ${name}: the server answered ${reply.status}`);
  const data = dtype === 'string' ? await reply.json() : new TYPES[dtype](await reply.arrayBuffer());
  return { name, dtype, shape, data };
}

async function postTensor({ name, dtype, shape, data }, index) {
  const path = `tensors/output-${index}`;
  const body = dtype === 'string' ? JSON.stringify(data) : data;
  const reply = await fetch(new URL(path, base), { method: 'POST', body });
  if (!reply.ok) throw new Error(`output ${name}: the server answered ${reply.status}`);
  return { name, dtype, shape, path };
}

// What a user of the runtime waits for, without the way of the tensors into the page and out of it.
async function timed(work) {
  const started = performance.now();
  const result = await work();
  return [result, (performance.now() - started) / 1000];
}

globalThis.cell = {
  async load(options) {
    const { load } = await module;
    const [facts, seconds] = await timed(() => load(options, base));
    return { ...facts, seconds };
  },
  async infer({ inputs, outputs }) {
    const { infer } = await module;
    const given = await Promise.all(inputs.map(fetchTensor));
    const [result, seconds] = await timed(() => infer(given, outputs));
    return { outputs: await Promise.all(result.outputs.map(postTensor)), facts: { ...result.facts, seconds } };
  },
};
