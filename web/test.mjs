// Runs the unit tests: node does not read TypeScript, so esbuild bundles them first.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

const target = "node_modules/.tests";
const names = readdirSync("test").filter((name) => name.endsWith(".test.ts") || name.endsWith(".test.tsx"));

rmSync(target, { recursive: true, force: true });
await build({
  entryPoints: names.map((name) => `test/${name}`),
  outdir: target,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  jsx: "transform",
  jsxFactory: "jsxCall",
  jsxFragment: "jsxFragment",
  inject: ["src/jsx.ts"],
  tsconfigRaw: {},
  loader: { ".css": "empty" },
});

const files = readdirSync(target).filter((name) => name.endsWith(".mjs"));
const { status } = spawnSync(process.execPath, ["--test", ...files.map((name) => `${target}/${name}`)], { stdio: "inherit" });
process.exit(status ?? 1);
