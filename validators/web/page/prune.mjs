// Leaves of `node_modules` what the pages load, and the licences: `npm run prune`, which `paritygate setup` calls. Installed
// whole, the packages take 235 MB, most of it builds and source maps that no page asks for.

import { readdirSync, rmSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';

const LOADED = [
  /^@tensorflow\/tfjs-[\w-]+\/dist\/tf-(core|converter|backend-(cpu|wasm|webgl|webgpu))\.min\.js$/,
  /^@tensorflow\/tfjs-backend-wasm\/dist\/[\w-]+\.wasm$/,
  /^onnxruntime-web\/dist\/ort\.(wasm|jspi)\.bundle\.min\.mjs$/,
  /^onnxruntime-web\/dist\/ort-wasm-simd-threaded(\.jspi)?\.wasm$/,
  /^@litertjs\/(core|wasm-utils)\/dist\/index\.js$/,
  /^@litertjs\/core\/wasm\/litert_wasm_jspi_internal\.(js|wasm)$/,
];
const KEPT = /^(package\.json|LICEN[CS]E.*|\.package-lock\.json|\.ready)$/;
const root = join(import.meta.dirname, 'node_modules');

function prune(folder) {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) prune(path);
    else if (!KEPT.test(entry.name) && !LOADED.some((pattern) => pattern.test(path))) rmSync(join(root, path));
  }
  if (folder && readdirSync(join(root, folder)).length === 0) rmdirSync(join(root, folder));
}

prune('');
