// The side of `validators/web/page_session.py` that runs in the tab: takes input tensors, lets the runtime's module compute,
// gives the outputs back: small ones in the message itself, others through the server.
// A runtime's module (`NAME.mjs`) exports
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

async function fetchBytes(name, path) {
  const reply = await fetch(new URL(path, base));
  if (!reply.ok) throw new Error(`input ${name}: the server answered ${reply.status}`);
  return reply.arrayBuffer();
}

async function taken({ name, dtype, shape, path, base64 }) {
  if (dtype !== 'string' && !(dtype in TYPES)) throw new Error(`input ${name}: a page holds no ${dtype}`);
  const bytes = path ? await fetchBytes(name, path) : Uint8Array.from(atob(base64), (one) => one.charCodeAt(0)).buffer;
  const data = dtype === 'string' ? JSON.parse(new TextDecoder().decode(bytes)) : new TYPES[dtype](bytes);
  return { name, dtype, shape, data };
}

async function given({ name, dtype, shape, data }, index, small) {
  const body = dtype === 'string' ? new TextEncoder().encode(JSON.stringify(data)) : data;
  if (body.byteLength <= small) {
    const bytes = Array.from(new Uint8Array(body.buffer, body.byteOffset, body.byteLength));
    return { name, dtype, shape, base64: btoa(bytes.map((one) => String.fromCharCode(one)).join('')) };
  }
  const path = `tensors/output-${index}`;
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
  async infer({ inputs, outputs, small }) {
    const { infer } = await module;
    const feeds = await Promise.all(inputs.map(taken));
    const [result, seconds] = await timed(() => infer(feeds, outputs));
    const back = result.outputs.map((output, index) => given(output, index, small));
    return { outputs: await Promise.all(back), facts: { ...result.facts, seconds } };
  },
};
